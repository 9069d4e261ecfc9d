"""The grid pointing game on a run of the grid: from checkpoints to scores, differences, figure and record."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT
from PIL import Image

from experiments import follow, mosaics, prepare
from vitol.checkpoints import load_checkpoint, save_checkpoint
from vitol.chunks import Chunks
from vitol.class_grid import cell_scores, draw_mosaics
from vitol.datasets import mini
from vitol.datasets.images import SplitImages, normalise
from vitol.datasets.splits import Split, read_split
from vitol.maps import localization_maps
from vitol.models import create_model

COUNTS = {"train": {"plain": 8}, "val": {"plain": 8}, "test": {"plain": 24}}
OPTIONS = {
    "img_size": 60,
    "patch_size": 12,
    "embed_dim": 48,
    "depth": 1,
    "num_heads": 2,
}  # 5 x 5 patches: odd
WRONG = {("baseline", 0): [0, 3], ("control", 1): [3, 5, 8]}  # test images that a checkpoint gets wrong
MODELS, SEEDS = ["baseline", "control"], [0, 1]


def write_checkpoint(split: Split, root: Path, model_name: str, seed: int) -> None:
    """A transformer of random weights whose head is fitted to the test images: right on all but WRONG."""
    torch.manual_seed(seed)
    model = create_model("vit_tiny_patch16_224", 8, options=OPTIONS).eval()
    images = SplitImages(split, root, 60)
    batch = normalise(torch.stack([images[index][0] for index in range(len(split))]))
    wanted = torch.from_numpy(split.labels.copy())
    wrong = WRONG.get((model_name, seed), [])
    wanted[wrong] = (wanted[wrong] + 1) % 8
    with torch.no_grad():
        features = model.forward_head(model.forward_features(batch), pre_logits=True)
        model.head.weight.copy_(torch.linalg.lstsq(features, torch.eye(8)[wanted]).solution.T)
        model.head.bias.zero_()
        assert torch.equal(model(batch).argmax(dim=1), wanted)
    record = {"architecture": "vit_tiny_patch16_224", "options": OPTIONS, "num_classes": 8}
    save_checkpoint(Path(f"results/models/mini/small/{model_name}/seed{seed}.safetensors"), model, record)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a tiny data set, params.yaml and the checkpoints of two models and seeds."""
    folder = tmp_path_factory.mktemp("project")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["grid"] = {
        "datasets": {"mini": "data/mini"},
        "backbones": ["small"],
        "variants": ["control"],
        "models": MODELS,
        "rivals": [],
        "scored": MODELS,
    }
    params |= {"seeds": SEEDS, "workers": 0, "explain": {"batch_size": 3}}
    params["bootstrap"] = {"replicates": 50, "seed": 0}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    mini.write_archive(folder / "data/mini/mini.zip", counts=COUNTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare.main("mini")
        split = read_split(Path("results/data/mini/test"))
        for model in MODELS:
            for seed in SEEDS:
                write_checkpoint(split, Path("results/data/mini/images"), model, seed)
    return folder


@pytest.fixture
def here(project, monkeypatch):
    """The project as the current folder, without what an earlier test left there."""
    monkeypatch.chdir(project)
    for name in ("experiments", "results/resume"):
        shutil.rmtree(name, ignore_errors=True)
    return Path("experiments/results/follow-mini-small")


def test_one_command_goes_from_checkpoints_to_scores_differences_figure_and_record(here):
    frame = follow.main("mini", "small")
    assert {path.name for path in here.iterdir()} == {
        "follow.csv",
        "differences.csv",
        "follow.png",
        "provenance.json",
    }
    assert [path.name for path in here.parent.iterdir()] == [here.name]
    assert not list(Path("results/resume").iterdir())
    pd.testing.assert_frame_equal(pd.read_csv(here / "follow.csv"), frame)
    assert len(frame) == 2 * 2 * 5 and (frame["n_images"] == 4 * frame["n_mosaics"]).all()
    assert (frame["ci_low"] <= frame["score"]).all() and (frame["score"] <= frame["ci_high"]).all()
    agnostic = frame["map"].isin(["AR", "Attention"])
    assert (frame.loc[agnostic, ["score", "ci_low", "ci_high"]] == 25).all(axis=None)
    assert (frame.loc[agnostic, "correlation"] == 1).all() and (frame.loc[~agnostic, "correlation"] < 1).all()
    assert (here / "follow.png").stat().st_size > 5000

    record = json.loads((here / "provenance.json").read_text())
    usable = 24 - len({0, 3, 5, 8})
    assert record["images"] == {
        "test": 24,
        "looked_at": 24,
        "correct": {"baseline-seed0": 22, "baseline-seed1": 24, "control-seed0": 24, "control-seed1": 21},
        "correct_by_all": usable,
        "in_mosaics": frame["n_images"].iloc[0],
    }
    assert usable - 4 < frame["n_images"].iloc[0] <= usable
    assert {"commit", "device", "packages", "wall_seconds"} <= set(record)
    assert record["checkpoints"] == {
        f"{model}-seed{seed}": sha256(
            Path(f"results/models/mini/small/{model}/seed{seed}.safetensors").read_bytes()
        ).hexdigest()
        for model in MODELS
        for seed in SEEDS
    }
    assert record["config"]["models"] == MODELS and record["config"]["bootstrap"]["replicates"] == 50


def test_scores_and_differences_are_those_of_every_mosaic_made_by_hand(here):
    frame = follow.main("mini", "small")
    split, root = read_split(Path("results/data/mini/test")), Path("results/data/mini/images")
    order = np.random.default_rng(0).permutation(24)
    usable = np.array([index for index in order if index not in {0, 3, 5, 8}])
    drawn = usable[draw_mosaics(split.labels[usable], 0)]
    scores = {}
    for seed in SEEDS:
        model, _ = load_checkpoint(Path(f"results/models/mini/small/control/seed{seed}.safetensors"))
        for name in ("gar", "lrp"):
            of_mosaics = []
            for mosaic in drawn:
                pixels = np.zeros((60, 60, 3), np.uint8)
                for cell, index in enumerate(mosaic):
                    image = Image.open(root / split.ids[index]).convert("RGB")
                    top, left = 30 * (cell // 2), 30 * (cell % 2)
                    pixels[top : top + 30, left : left + 30] = image.resize(
                        (30, 30), Image.Resampling.BILINEAR
                    )
                batch = normalise(torch.from_numpy(pixels).movedim(-1, 0)[None])
                maps = localization_maps(model, batch, torch.from_numpy(split.labels[mosaic])[None], name)
                of_mosaics.append(100 * cell_scores(maps).mean().item())
            scores[name, seed] = np.array(of_mosaics)
            row = frame.query("model == 'control' and map == @name.upper() and seed == @seed").iloc[0]
            assert row["score"] == pytest.approx(scores[name, seed].mean(), abs=0.011)
    row = pd.read_csv(here / "differences.csv").query(
        "model == 'control' and map_a == 'LRP' and map_b == 'GAR'"
    )
    apart = np.stack([scores["lrp", seed] - scores["gar", seed] for seed in SEEDS])
    draws = np.random.default_rng(0).integers(0, len(drawn), (50, len(drawn)))
    low, high = np.percentile(apart.mean(axis=0)[draws].mean(axis=1), [2.5, 97.5])
    expected = [apart.mean(), low, high, apart.mean(axis=1).std(ddof=1)]
    np.testing.assert_allclose(
        row[["difference", "ci_low", "ci_high", "seed_sd"]].iloc[0].tolist(), expected, atol=0.011
    )
    assert row[["n_mosaics", "seeds"]].iloc[0].tolist() == [len(drawn), 2]


def test_what_is_broken_off_goes_on_from_there_and_ends_as_it_would_have(here, monkeypatch):
    follow.main("mini", "small", ["baseline"])
    before = {path.name: path.read_bytes() for path in here.iterdir() if path.suffix != ".json"}
    write, written = Chunks.write, []

    def broken_off(chunks, chunk, arrays):
        written.append(chunks.path(chunk))
        write(chunks, chunk, arrays)
        if len(written) == 2 * 8 + 3:  # the images of both seeds, and three of four batches of mosaics
            raise KeyboardInterrupt

    monkeypatch.setattr(Chunks, "write", broken_off)
    shutil.rmtree(here)
    with pytest.raises(KeyboardInterrupt):
        follow.main("mini", "small", ["baseline"])
    assert not here.parent.exists() or not list(here.parent.iterdir())
    follow.main("mini", "small", ["baseline"])
    assert len(written) == len(set(written)) == 2 * 8 + 4
    assert {path.name: path.read_bytes() for path in here.iterdir() if path.suffix != ".json"} == before


def test_a_look_at_fewer_images_replaces_nothing(here):
    frame = follow.main("mini", "small", ["control"], images=16)
    assert not here.exists()
    record = json.loads(Path("results/provenance/follow-mini-small.json").read_text())
    assert record["images"]["looked_at"] == 16 and record["images"]["test"] == 24
    assert set(record["images"]["correct"]) == {"control-seed0", "control-seed1"}
    assert frame["n_images"].iloc[0] <= 16 and set(frame["model"]) == {"control"}


def test_what_cannot_be_played_is_refused_and_leaves_what_was_there(here, monkeypatch):
    here.mkdir(parents=True)
    (here / "follow.csv").write_text("as it was")
    for arguments, message in (
        (("cub", "small"), r"data set 'cub' is not in the grid of params\.yaml, which has mini; `python -m"),
        (("mini", "base"), "backbone 'base' is not in the grid of params.yaml, which has small"),
        (
            ("mini", "small", ["mpm"]),
            "model 'mpm' is not in the grid of params.yaml, which has baseline, control",
        ),
        (("mini", "small", None, 0), "images is 0; look at 1 or more"),
        (
            ("mini", "small", None, 3),
            r"images that all 4 checkpoints classify correctly: the . images have . diff",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            follow.main(*arguments)
    monkeypatch.setattr(mosaics, "cell_scores", lambda maps: cell_scores(maps * torch.inf))
    with pytest.raises(
        ValueError,
        match=r"baseline/seed0\.safetensors, mosaics from 0: AR, mosaic 0, the map of cell 0: .* not finite",
    ):
        follow.main("mini", "small")
    checkpoint = Path("results/models/mini/small/control/seed1.safetensors")
    checkpoint.rename("elsewhere")
    with pytest.raises(
        ValueError, match=r"control/seed1\.safetensors is missing; run `dvc repro` for this grid"
    ):
        follow.main("mini", "small")
    Path("elsewhere").rename(checkpoint)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("image_size: 60", "image_size: 61"))
    with pytest.raises(
        ValueError, match="images of 'small' are 61 px wide, which two cells cannot share evenly"
    ):
        follow.main("mini", "small")
    Path("params.yaml").write_text(text)
    assert [path.read_text() for path in here.iterdir()] == ["as it was"]
