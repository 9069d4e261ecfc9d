import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml
from fakes import write_image
from PIL import Image
from safetensors.torch import load_file

from vitol import export as module
from vitol.checkpoints import load_checkpoint, save_checkpoint
from vitol.export import FILES, export
from vitol.models import create_model
from vitol.photo_input import read_photo
from vitol.photos import Explainer
from vitol.sources import find_source
from vitol.weight_files import CheckpointError

PLAIN = (
    "vit_tiny_patch16_224",
    {"img_size": [48, 32], "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3},
)
DISTILLED = ("deit_tiny_distilled_patch16_224", {"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 3})
CLASSES = ["bow tie", "crane", "crane"]
PADL = {"position": "mmp", "drop_rate": 0.75, "drop_threshold": 0.9}
BASELINE = {
    "variant": "baseline",
    "weights": "random",
    "recipe": {"epochs": 6, "lr": 1e-3},
    "seed": 3,
    "final": {"epoch": 6, "train_loss": 1.25, "val_top1": None},
}


def write_checkpoint(path: Path, kind: tuple[str, dict[str, Any]] = PLAIN, **record: Any) -> Path:
    """A small model with random weights, heads included."""
    torch.manual_seed(0)
    architecture, options = kind
    model = create_model(architecture, len(CLASSES), options=options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    made = {"architecture": architecture, "options": options, "num_classes": len(CLASSES), "classes": CLASSES}
    save_checkpoint(path, model, {**made, **record})
    return path


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint; its folder is the current one."""
    monkeypatch.chdir(tmp_path)
    return write_checkpoint(Path("tiny.safetensors"))


def header(path: Path) -> dict[str, Any]:
    """The YAML above a model card."""
    return yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])


@pytest.mark.parametrize("kind", [PLAIN, DISTILLED], ids=["plain", "distilled"])
def test_timm_loads_an_export_and_gives_the_checkpoint_s_logits(tmp_path, kind):
    path = write_checkpoint(tmp_path / "tiny.safetensors", kind)
    export(path, tmp_path / "out")
    model, _ = load_checkpoint(path)
    images = torch.randn(2, 3, *model.patch_embed.img_size)
    with torch.no_grad():
        logits = model(images)
        for loaded in (
            timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True),
            create_model(f"local-dir:{tmp_path / 'out'}", len(CLASSES), weights="hub"),
            Explainer(f"local-dir:{tmp_path / 'out'}").model.cpu(),
        ):
            assert torch.equal(loaded.eval()(images), logits)


def test_an_export_is_explained_like_its_checkpoint(checkpoint):
    write_image(Path("photo.jpg"))
    export(checkpoint, Path("out"))
    first, second = Explainer(checkpoint), Explainer("local-dir:out")
    assert second.prepare == first.prepare
    assert [second.names.full(index) for index in range(3)] == CLASSES
    ours, theirs = (asked.explain(["photo.jpg"], classes=["bow tie", 2]) for asked in (first, second))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.map, other.map)
        assert (one.label, one.probability, one.box.tolist()) == (
            other.label,
            other.probability,
            other.box.tolist(),
        )


def test_the_source_of_an_export_is_enough_to_build_the_model_without_the_folder(checkpoint):
    export(checkpoint, Path("out"))
    source = find_source("local-dir:out")
    assert source.architecture == PLAIN[0]
    model = create_model(source.architecture, 3, options=source.options)
    model.load_state_dict(load_file(Path("out/model.safetensors")), strict=True)


def test_timm_s_transform_prepares_photos_as_vitol_does(checkpoint):
    export(checkpoint, Path("out"))
    write_image(Path("photo.jpg"), (60, 45))
    config = timm.data.resolve_model_data_config(timm.create_model("local-dir:out", pretrained=True))
    transform = timm.data.create_transform(**config)
    photo = read_photo(Path("photo.jpg"))
    torch.testing.assert_close(transform(photo), Explainer("local-dir:out").prepare(photo))
    expected = Image.fromarray(np.asarray(photo)).resize((32, 48), Image.Resampling.BILINEAR)
    assert transform(photo).shape == (3, *np.asarray(expected).shape[:2])


def test_the_config_says_nothing_of_timm_s_own_weights(checkpoint):
    write_checkpoint(checkpoint, mean=[0.5, 0.5, 0.25], std=[0.5, 0.5, 1])
    export(checkpoint, Path("out"))
    config = json.loads(Path("out/config.json").read_text())
    assert (config["architecture"], config["num_classes"]) == (PLAIN[0], 3)
    assert config["label_names"] == CLASSES
    assert {key: config["model_args"][key] for key in PLAIN[1]} == PLAIN[1]
    stated = config["pretrained_cfg"]
    assert (stated["input_size"], stated["mean"], stated["std"]) == (
        [3, 48, 32],
        [0.5, 0.5, 0.25],
        [0.5, 0.5, 1],
    )
    assert (stated["interpolation"], stated["crop_pct"], stated["crop_mode"]) == ("bilinear", 1, "squash")
    assert not {"tag", "license", "url", "hf_hub_id", "origin_url", "paper_name"} & stated.keys()


def test_only_safetensors_are_written(checkpoint):
    export(checkpoint, Path("out"))
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(FILES)


def test_the_card_says_what_the_record_says(checkpoint):
    made = {"variant": "mmp", "padl": PADL, "seed": 3, "draws": 1000003, "recipe": {"epochs": 3, "lr": 1e-5}}
    final = {"epoch": 3, "train_loss": 0.5, "val_top1": 87.5}
    write_checkpoint(
        checkpoint, **made, final=final, dataset="cub", **{"from": {**BASELINE, "license": "apache-2.0"}}
    )
    export(checkpoint, Path("out"))
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert header(Path("out/README.md")) == {
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "timm", "vitol", "weakly-supervised-object-localization"],
        "license": "apache-2.0",
    }
    assert json.loads(Path("out/config.json").read_text())["pretrained_cfg"]["license"] == "apache-2.0"
    for line in (
        "# vit_tiny_patch16_224, mmp",
        "- Data set: cub",
        "- Base weights, which training started from: random",
        "- p-ADL: drop_rate 0.75, drop_threshold 0.9, position mmp",
        "- Recipe: epochs 6, lr 0.001",
        "- Recipe: epochs 3, lr 1e-05",
        "- Last epoch (top-1 in percent): epoch 6, train_loss 1.25, val_top1 not measured",
        "- Last epoch (top-1 in percent): epoch 3, train_loss 0.5, val_top1 87.5",
        'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()',
        "vitol explain photo.jpg --model local-dir:FOLDER",
    ):
        assert line in card.splitlines(), line
    assert card.index("## Training: baseline") < card.index("## Training: mmp")
    assert str(Path.cwd()) not in card


def test_the_card_invents_nothing(checkpoint):
    export(checkpoint, Path("out"))
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert header(Path("out/README.md"))["license"] is None
    for line in (
        "- Data set: not in the record",
        "- Base weights, which training started from: not in the record",
        "- Recipe: not in the record",
    ):
        assert line in card.splitlines()
    assert "Last epoch" not in card and "p-ADL" not in card


def test_an_existing_folder_is_kept_unless_forced(checkpoint):
    export(checkpoint, Path("out"))
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    write_checkpoint(checkpoint, variant="other")
    with pytest.raises(ValueError, match="out exists already; give another name, or --force to replace it"):
        export(checkpoint, Path("out"))
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    export(checkpoint, Path("out"), force=True)
    assert "# vit_tiny_patch16_224, other" in Path("out/README.md").read_text()
    assert sorted(path.name for path in Path().iterdir()) == ["out", "tiny.json", "tiny.safetensors"]


def test_a_folder_with_anything_else_in_it_is_never_replaced(checkpoint):
    Path("mine").mkdir()
    for name in ("a.txt", "config.json", "z.txt"):
        Path("mine", name).write_text("mine")
    with pytest.raises(ValueError, match="mine holds a.txt and 1 more, which no export wrote"):
        export(checkpoint, Path("mine"), force=True)
    with pytest.raises(ValueError, match="tiny.json is a file; give a folder to write"):
        export(checkpoint, Path("tiny.json"), force=True)
    assert Path("mine/config.json").read_text() == "mine"


@pytest.mark.parametrize("there", [True, False])
def test_an_export_that_breaks_leaves_what_was_there(checkpoint, monkeypatch, there):
    if there:
        export(checkpoint, Path("out"))
    before = sorted(str(path) for path in Path().rglob("*"))

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(module.os, "fsync", fail)
    with pytest.raises(CheckpointError, match=r"out could not be written \(disk full\)"):
        export(checkpoint, Path("out"), force=True)
    assert sorted(str(path) for path in Path().rglob("*")) == before


def test_an_export_that_cannot_take_its_place_gives_it_back(checkpoint, monkeypatch):
    export(checkpoint, Path("out"))
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("no such luck")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(CheckpointError, match="out could not be written .no such luck"):
        export(checkpoint, Path("out"), force=True)
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_what_is_no_checkpoint_is_not_exported(checkpoint):
    with pytest.raises(CheckpointError, match="none.safetensors is missing"):
        export(Path("none.safetensors"), Path("out"))
    Path("bad.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="bad.safetensors is not a safetensors file"):
        export(Path("bad.safetensors"), Path("out"))
    assert not Path("out").exists()
