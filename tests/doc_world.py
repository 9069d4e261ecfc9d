"""What the documentation's commands find on a reader's machine, as toys: photos, maps, data sets, models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from conftest import ROOT
from fakes import fake_cub, fake_ilsvrc, write_image
from safetensors.torch import save_model
from score_files import small_split, write_logits, write_maps, write_masks, write_metadata

from vitol.checkpoints import save_checkpoint

DEIT = "deit_tiny_patch16_224"
DEPTH = 2  # of its twelve blocks, so that a page takes a moment
RELEASED_CLASSES = 3  # of the toy of the authors' checkpoint, which has them all: its size tells its name
TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}


def write_weights(folder: Path) -> Path:
    """A folder for `$VITOL_WEIGHTS`: a shallow DeiT-Tiny, untrained."""
    folder.mkdir()
    torch.manual_seed(0)
    save_model(timm.create_model(DEIT, depth=DEPTH), str(folder / f"{DEIT}.safetensors"))
    return folder


def write_world(folder: Path) -> Path:
    """A folder to work in, which is the home folder, too."""
    shutil.copytree(ROOT / "docs/photos", folder / "docs/photos")
    for name in ("photo.jpg", "bird.jpg", "photos/a.jpg", "photos/b.jpg"):
        write_image(folder / name)
    for name, seed in (("test", 0), ("val", 1)):
        write_metadata(folder / "metadata" / name, small_split(12, name, seed))
    test, val = small_split(12), small_split(12, "val", 1)
    for name, size in zip(test.ids, test.sizes, strict=True):
        write_image(folder / "images" / name, tuple(size))
    write_maps(folder / "maps/gar", test)
    write_maps(folder / "maps/ar", test, noise=1, seed=1)
    write_maps(folder / "maps/gar-val", val)
    write_masks(folder / "masks", test)
    write_logits(folder / "logits.npy", test)
    fake_cub(folder / "data/CUB_200_2011", birds())
    fake_ilsvrc(folder / "data/ILSVRC")
    write_birds(folder / "data/birds")
    (folder / "results").mkdir()
    shutil.copy2(ROOT / "experiments/results/mini/measurements.csv", folder / "results")

    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, **TINY)
    record = {"architecture": "vit_tiny_patch16_224", "options": TINY, "num_classes": 3}
    for name in ("tiny.safetensors", "results/models/cub/deit_tiny/mmp/seed0.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder / name, model, {**record, "classes": ["wren", "crane", "tern"]})
    released = timm.create_model(DEIT, num_classes=RELEASED_CLASSES)
    torch.save({"state_dict": released.state_dict()}, folder / "ViTOL_base.pth.tar")
    return folder


def birds(classes: int = 4, train: int = 30, test: int = 2) -> list[tuple[int, int, int, str, str]]:
    """Images for `fake_cub`, enough of them that a tenth held out for validation has every class."""
    places = [(label, at) for label in range(1, classes + 1) for at in range(train + test)]
    return [
        (number, label, int(at < train), f"{label:03}.Bird/{at}.jpg", "5 5 30 20")
        for number, (label, at) in enumerate(places, start=1)
    ]


def write_birds(root: Path) -> None:
    """The layout that docs/extend.md adds: two classes, two train and two test images with boxes."""
    for split in ("train", "test"):
        for seed, name in enumerate(("crane", "wren")):
            write_image(root / split / name / "1.jpg", seed=seed)
    (root / "boxes.csv").write_text("test/crane/1.jpg,1,2,30,20\ntest/wren/1.jpg,0,0,40,30\n")


def with_weights(create: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """timm's `create_model` with a shallow DeiT-Tiny, and with weights from a folder where it would fetch them."""

    def create_model(name: str, pretrained: bool = False, **arguments: Any) -> Any:
        if name == DEIT and arguments.get("num_classes") != RELEASED_CLASSES:
            arguments.setdefault("depth", DEPTH)
        if pretrained and "pretrained_cfg_overlay" not in arguments:
            arguments["pretrained_cfg_overlay"] = {"file": str(folder / f"{name}.safetensors")}
        return create(name, pretrained=pretrained, **arguments)

    return create_model
