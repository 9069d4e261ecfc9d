"""The inquiry into AR and GAR, end to end on toy data sets: from images to lines, figure, record and page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT
from fakes import write_image

from experiments import bench, inquire, suspicions
from experiments.params import read_params
from experiments.suspicions import (
    CLASSES as FEW_CLASSES,
)
from experiments.suspicions import NORMALISATION, SATURATION, SUSPICIONS, outcome, section
from vitol.checkpoints import save_checkpoint
from vitol.chunks import Chunks
from vitol.datasets.layout import Layout
from vitol.datasets.register import register
from vitol.datasets.splits import Split
from vitol.datasets.wsol import write_wsol
from vitol.models import create_model
from vitol.training import train

OPTIONS = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 7, "num_heads": 2}
CLASSES = 4


def data_set(name: str, train: int) -> None:
    """Noise images of four classes in the split format, with boxes small and large, and its manifest."""
    splits, root = {}, Path(name)
    for split, count in (("train", train), ("test", 12)):
        if count:
            ids = tuple(f"{split}/{at}.jpg" for at in range(count))
            for at, image in enumerate(ids):
                write_image(root / "images" / image, seed=at)
            boxes = tuple(np.array([[2, 2, 10 + 25 * (at % 2), 25]]) for at in range(count))
            splits[split] = Split(ids, np.arange(count) % CLASSES, np.tile([40, 30], (count, 1)), boxes)
    write_wsol(Layout(tuple("abcd"), splits, root / "images"), root)
    register("wsol", root, name, Path("registered"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two registered data sets, a pretrained model of their classes, and params.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inquire, "EPOCHS", (1, 2))
    monkeypatch.setattr(inquire, "HEADS", (2, 3))
    monkeypatch.setattr(inquire, "ANIMALS", range(2))
    monkeypatch.setattr(inquire, "IMAGENET", CLASSES)
    monkeypatch.setattr(inquire, "FOLDER", Path("inquiry"))
    data_set("birds", train=20)
    data_set("objects", train=0)
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", CLASSES, options=OPTIONS)
    record = {"architecture": "vit_tiny_patch16_224", "options": OPTIONS, "num_classes": CLASSES}
    save_checkpoint(Path("toy.safetensors"), model, record)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    toy = {
        "architecture": "toy.safetensors",
        "options": {},
        "image_size": 32,
        "resize": 36,
        "pretrained": True,
    }
    params["backbones"]["toy"] = toy
    recipe = params["datasets"]["mini"]["baseline"] | {"epochs": 2, "batch_size": 6}
    params["datasets"] |= {"birds": {"baseline": recipe, "finetune": None}}
    params |= {"workers": 0, "explain": {"batch_size": 5}, "bootstrap": {"replicates": 50, "seed": 0}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def test_one_command_measures_every_suspicion_and_goes_on_where_it_was_broken_off(project, monkeypatch):
    params = Path("params.yaml").read_text()
    Path("params.yaml").write_text(params.replace("every_seconds: 60", "every_seconds: 0"))
    steps, epochs, write, written = [], [], Chunks.write, []

    def broken_off(*arguments, progress, **options):
        for record in train(*arguments, progress=lambda *step: steps.append(step), **options):
            epochs.append(record.epoch)
            yield record
            if epochs == [1]:
                raise KeyboardInterrupt

    def counted(chunks, chunk, arrays):
        written.append((chunks.folder, chunk))
        write(chunks, chunk, arrays)

    monkeypatch.setattr(bench, "train", broken_off)
    monkeypatch.setattr(Chunks, "write", counted)
    with pytest.raises(KeyboardInterrupt):
        inquire.main("birds", "objects", "toy")
    assert not Path("inquiry").exists()
    inquire.main("birds", "objects", "toy")
    assert not list(Path("results/resume").iterdir())
    assert epochs == [1, 1, 2] and len(steps) == 2 * 3  # 18 images in batches of 6; the first epoch once
    assert len(written) == len(set(written))  # no chunk twice
    found = pd.read_csv("inquiry/inquiry.csv")

    shutil.rmtree("inquiry")
    monkeypatch.setattr(bench, "train", train)
    inquire.main("birds", "objects", "toy")
    pd.testing.assert_frame_equal(pd.read_csv("inquiry/inquiry.csv"), found)

    assert set(found["suspicion"]) == {suspicion.title for suspicion in SUSPICIONS}
    assert found["ci_low"].le(found["ci_high"]).all() and found["n_images"].between(1, 12).all()
    np.testing.assert_allclose(found["difference"], found["gar"] - found["ar"], atol=0.011)
    assert (found["change"].isna() == found["outcome"].isna()).all()
    # The fine-tuned model's own line is the same wherever it stands.
    tuned = found[found["condition"].isin(["2 epochs", "2 epochs, GAR as released"])]
    assert len(tuned) == 4 and tuned["difference"].nunique() == 1 and tuned["change"].isna().all()
    # AR asks for no class, so no head and no gradient changes it.
    for suspicion in (FEW_CLASSES, SATURATION, NORMALISATION):
        assert found.loc[found["suspicion"] == suspicion.title, "ar"].nunique() == 1
    assert Path("inquiry/inquiry.png").stat().st_size > 5000
    record = json.loads(Path("inquiry/provenance.json").read_text())
    assert record["config"]["seeds"] == [0] and record["weights"].startswith("sha256:") and record["device"]
    assert {"top1, frozen backbone", "top1, epoch 1", "top1, epoch 2", "after epoch 2"} <= set(record)

    page = section(Path("inquiry"))
    assert page.count("\n") + 1 == 2 + len(SUSPICIONS) + len(found)
    assert all(suspicion.expects in page for suspicion in SUSPICIONS)


def test_a_data_set_without_enough_epochs_is_refused(project):
    of_toy = bench.Bench(read_params(), "toy", resume=None)
    with pytest.raises(ValueError, match="no baseline of 3 epochs for 'birds'; the inquiry needs one"):
        next(bench.fine_tuned(of_toy, "birds", (1, 3), 0, {}))


@pytest.mark.parametrize(
    ("expected", "low", "high", "said"),
    [
        ("up", 0.1, 9, "for"),
        ("up", -9, 4.9, "against"),  # a quarter of the gap is left out
        ("up", -1, 5.1, "undecided"),
        ("up", 0, 9, "undecided"),
        ("down", -9, -0.1, "for"),
        ("down", -4.9, 9, "against"),
        ("down", -5.1, 1, "undecided"),
        ("none", -4.9, 4.9, "for"),
        ("none", 0.1, 1, "against"),
        ("none", -1, -0.1, "against"),
        ("none", -6, 1, "undecided"),
    ],
)
def test_a_condition_speaks_by_the_interval_of_its_change(expected, low, high, said):
    assert outcome(expected, low, high) == said


def test_what_the_inquiry_cannot_be_made_of_is_named(project, monkeypatch):
    with pytest.raises(ValueError, match="no backbone 'toy2' or no recipe for 'birds'; it has base,"):
        inquire.main("birds", "objects", "toy2")
    monkeypatch.setattr(inquire, "IMAGENET", 1000)
    with pytest.raises(ValueError, match="'objects' has 4 classes; give ImageNet images, with its 1000"):
        inquire.main("birds", "objects", "toy")


def test_without_an_inquiry_the_page_has_no_part_of_it(tmp_path):
    assert suspicions.section(tmp_path) == ""
