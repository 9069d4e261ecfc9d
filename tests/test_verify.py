"""From a file of the release to the numbers beside the paper's."""

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import ROOT
from fakes import fake_ilsvrc
from rich.console import Console

from experiments import verify
from vitol.chunks import Chunks
from vitol.datasets.register import register
from vitol.models import create_model
from vitol.weight_files import CheckpointError

IMAGES = 7


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of the release's layout, a registered data set of its three classes, and the project's params."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    register("ilsvrc", fake_ilsvrc(tmp_path / "ILSVRC", IMAGES), "three", Path("registered"))
    torch.manual_seed(0)
    model = create_model("deit_tiny_patch16_224", 3)
    torch.save({"epoch": 10, "state_dict": model.state_dict()}, "released.pth.tar")
    return Path("released.pth.tar")


def test_one_command_goes_from_the_file_to_the_numbers_and_goes_on_where_it_was_broken_off(
    checkpoint, monkeypatch
):
    monkeypatch.setattr(verify, "CHUNK", 1)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("explain: {batch_size: 16}", "explain: {batch_size: 3}"))
    write, written = Chunks.write, []

    def broken_off(chunks, chunk, arrays):
        written.append(chunk)
        write(chunks, chunk, arrays)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Chunks, "write", broken_off)
    with pytest.raises(KeyboardInterrupt):
        verify.main(checkpoint, "three", None, None)
    frame = verify.main(checkpoint, "three", None, None)
    assert written == [0, 1, 2]
    assert set(frame["map"]) == {"AR", "GAR", "LRP", "Gaussian", "Full image", ""}
    assert (frame["n_images"] == IMAGES).all()
    gar = frame[frame["map"] == "GAR"]
    assert set(gar["policy"]) == {"oracle-per-iou", "oracle-single", "fixed"}
    assert gar.loc[gar["policy"] == "fixed", "threshold"].dropna().unique() == [0.165]
    assert not list(Path("results/resume").iterdir())


def test_a_checkpoint_of_other_classes_is_refused(checkpoint):
    torch.save({"state_dict": create_model("deit_tiny_patch16_224", 5).state_dict()}, checkpoint)
    with pytest.raises(CheckpointError, match=r"head\.weight has 5 classes, 3 are asked for"):
        verify.main(checkpoint, "three", None, None)
    assert not Path("results/verify").exists()


def test_an_architecture_without_a_backbone_is_refused(checkpoint):
    model = create_model("vit_large_patch16_224", 3, options={"depth": 1})
    state = {name: tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state}, checkpoint)
    with pytest.raises(
        CheckpointError, match="a width and a number of blocks that no model of the release has"
    ):
        verify.main(checkpoint, "three", None, None)


def test_the_papers_and_the_releases_numbers_are_found(monkeypatch):
    monkeypatch.chdir(ROOT)
    base, small = verify.expected("DeiT-B"), verify.expected("DeiT-S")
    assert (base["GAR", "MaxBoxAccV2"], base["LRP", "MaxBoxAccV2"], base["", "Top1Cls"]) == (
        69.17,
        70.47,
        77.08,
    )
    assert (small["GAR", "MaxBoxAccV2"], small["LRP", "GTKnownLoc"]) == (69.61, 70.48)


@pytest.mark.parametrize(
    ("dataset", "images", "difference"),
    [("ilsvrc", 50_000, "-0.67"), ("ilsvrc", 300, ""), ("other", 50_000, "")],
)
def test_only_the_papers_images_are_compared(dataset, images, difference):
    row = {"map": "GAR", "metric": "MaxBoxAccV2", "value": 68.5, "ci_low": 68.0, "ci_high": 69.0}
    frame = pd.DataFrame([{**row, "policy": "oracle-per-iou"}, {**row, "policy": "fixed", "value": 66.0}])
    table = verify.render(frame, {("GAR", "MaxBoxAccV2"): 69.17}, "DeiT-B", dataset, images)
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    text = console.file.getvalue()
    (row,) = (line for line in text.splitlines() if "GAR" in line and "MaxBoxAccV2" in line)
    cells = [cell.strip() for cell in row.split("│")]
    assert cells[3:7] == ["68.50 [68.00, 69.00]", "66.00 [68.00, 69.00]", "69.17", difference]
    assert ("nothing is compared" in text) == (difference == "")
