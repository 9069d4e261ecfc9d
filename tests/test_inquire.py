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

from experiments import inquire, suspicions
from experiments.params import read_params
from experiments.prepare import write_layout
from experiments.suspicions import SUSPICIONS, change_of, section
from vitol.datasets.layout import Layout
from vitol.datasets.register import register
from vitol.datasets.splits import Split
from vitol.models import create_model, save_checkpoint
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
    write_layout(Layout(tuple("abcd"), splits, root / "images"), root)
    register("wsol", root, name, Path("registered"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two registered data sets, a pretrained model of a thousand classes, and params.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inquire, "EPOCHS", (1, 2))
    monkeypatch.setattr(inquire, "HEADS", (2, 3))
    monkeypatch.setattr(inquire, "ANIMALS", range(2))
    monkeypatch.setattr(inquire, "FOLDER", Path("inquiry"))
    data_set("birds", train=20)
    data_set("objects", train=0)
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", 1000, options=OPTIONS)
    record = {"architecture": "vit_tiny_patch16_224", "options": OPTIONS, "num_classes": 1000}
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
    calls = []

    def broken_off(*arguments, **options):
        for record in train(*arguments, **options):
            calls.append(record.epoch)
            yield record
            if calls == [1]:
                raise KeyboardInterrupt

    monkeypatch.setattr(inquire, "train", broken_off)
    with pytest.raises(KeyboardInterrupt):
        inquire.main("birds", "objects", "toy")
    assert not Path("inquiry").exists()
    inquire.main("birds", "objects", "toy")
    assert not list(Path("results/resume").iterdir())
    found = pd.read_csv("inquiry/inquiry.csv")
    again = found.copy()

    shutil.rmtree("inquiry")
    monkeypatch.setattr(inquire, "train", train)
    inquire.main("birds", "objects", "toy")
    pd.testing.assert_frame_equal(pd.read_csv("inquiry/inquiry.csv"), again)

    assert list(found["suspicion"].unique()) == [suspicion.title for suspicion in SUSPICIONS]
    assert found["ci_low"].le(found["ci_high"]).all() and found["n_images"].between(3, 12).all()
    first = ~found.duplicated(["suspicion", "dataset"])
    assert (found["change"].isna() == first).all()
    np.testing.assert_allclose(found["difference"], found["gar"] - found["ar"], atol=0.011)
    # The fine-tuned model's own line is the same wherever it stands.
    tuned = found[found["condition"].isin(["2 epochs", "the logit, rows normalised"])]
    assert len(tuned) == 4 and tuned["difference"].nunique() == 1
    # AR asks for no class, so no head and no gradient changes it.
    for title in ("Saturation", "Normalisation"):
        assert found.loc[found["suspicion"] == title, "ar"].nunique() == 1
    assert found.loc[found["suspicion"] == "Few classes", "ar"].nunique() == 1
    assert Path("inquiry/inquiry.png").stat().st_size > 5000
    record = json.loads(Path("inquiry/provenance.json").read_text())
    assert record["config"]["seeds"] == [0] and record["weights"].startswith("sha256:") and record["device"]

    page = section(Path("inquiry"))
    assert page.count("\n") + 1 == 2 + len(SUSPICIONS) + len(found)
    assert all(suspicion.refuted_if in page for suspicion in SUSPICIONS)


def test_a_data_set_without_enough_epochs_is_refused(project, monkeypatch):
    monkeypatch.setattr(inquire, "EPOCHS", (1, 3))
    bench = inquire.Bench(read_params(), "toy", resume=None)
    with pytest.raises(ValueError, match="no baseline of 3 epochs for 'birds'; the inquiry needs one"):
        next(inquire.fine_tuned(bench, "birds", {}))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 2, "towards GAR"),
        (-2, -0.1, "towards AR"),
        (-1, 1, "no change to be told"),
        (0, 1, "no change to be told"),
    ],
)
def test_a_change_is_told_by_its_interval(low, high, expected):
    assert change_of(pd.Series({"change_low": low, "change_high": high})) == expected


def test_without_an_inquiry_the_page_has_no_part_of_it(tmp_path):
    assert suspicions.section(tmp_path) == ""
