import argparse
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from vitol.checkpoints import load_checkpoint
from vitol.models import create_model
from vitol.photos import Explainer
from vitol.released import ARCHITECTURES, convert, read_plain, save_released, tensor_faults
from vitol.weight_files import CheckpointError

TINY = "deit_tiny_patch16_224"
IMAGES = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def layout(width: int = 192, depth: int = 12, classes: int = 5) -> "OrderedDict[str, torch.Tensor]":
    """The parameters of the release's VisionTransformer (wsol_model/ViT.py), in its order, with random values."""
    shapes: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, 197, width),
        "cls_token": (1, 1, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
    }
    for block in range(depth):
        for name, rows, columns in (
            ("norm1", width, None),
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("norm2", width, None),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ):
            shapes[f"blocks.{block}.{name}.weight"] = (rows,) if columns is None else (rows, columns)
            shapes[f"blocks.{block}.{name}.bias"] = (rows,)
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    shapes |= {"head.weight": (classes, width), "head.bias": (classes,)}
    draw = torch.Generator().manual_seed(0)
    return OrderedDict((name, 0.05 * torch.randn(shape, generator=draw)) for name, shape in shapes.items())


def release_logits(state: dict[str, torch.Tensor], images: torch.Tensor, epsilon: float) -> torch.Tensor:
    """The release's forward pass, written out from its parameters; `epsilon` is the last LayerNorm's."""
    width = state["cls_token"].shape[-1]
    heads, depth = width // 64, sum(name.endswith("attn.qkv.weight") for name in state)

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: torch.Tensor, name: str, eps: float) -> torch.Tensor:
        return F.layer_norm(x, (width,), state[f"{name}.weight"], state[f"{name}.bias"], eps)

    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=16)
    x = torch.cat([state["cls_token"].expand(len(x), 1, width), x.flatten(2).transpose(1, 2)], dim=1)
    x = x + state["pos_embed"]
    for block in range(depth):
        at = f"blocks.{block}"
        qkv = linear(norm(x, f"{at}.norm1", 1e-6), f"{at}.attn.qkv")
        q, k, v = qkv.reshape(*qkv.shape[:2], 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-1, -2) * (width // heads) ** -0.5).softmax(dim=-1)
        mixed = (attention @ v).transpose(1, 2).reshape(x.shape)
        x = x + linear(mixed, f"{at}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{at}.norm2", 1e-6), f"{at}.mlp.fc1")), f"{at}.mlp.fc2")
    return linear(norm(x, "norm", epsilon)[:, 0], "head")


def write(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.fixture(scope="module")
def state() -> "OrderedDict[str, torch.Tensor]":
    return layout()


@pytest.fixture(scope="module")
def release(tmp_path_factory, state) -> Path:
    """A checkpoint as the authors' trainer writes it: parameters, epoch, and the optimiser's state beside."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    weight.sum().backward()
    optimizer.step()
    content = {
        "architecture": "vit_deit",
        "epoch": 9,
        "state_dict": state,
        "optimizer": optimizer.state_dict(),
    }
    return write(tmp_path_factory.mktemp("release") / "ViTOL_last.pth.tar", content)


@pytest.fixture(scope="module")
def small() -> "OrderedDict[str, torch.Tensor]":
    """Parameters of a model that the release cannot build, for faults."""
    return layout(width=64, depth=1)


def test_a_release_s_checkpoint_is_told_from_its_size_and_every_tensor_kept(release, state):
    released = convert(release)
    assert (released.architecture, released.num_classes) == (TINY, 5)
    assert released.tensors.keys() == state.keys()
    assert all(torch.equal(released.tensors[name], state[name]) for name in state)
    assert released.parameters == sum(tensor.numel() for tensor in state.values())


def test_logits_before_and_after_are_equal(release, state, tmp_path):
    out = tmp_path / "out.safetensors"
    save_released(convert(release), release, out)
    model = create_model(TINY, 5, weights=out).eval()
    with torch.no_grad():
        after = model(IMAGES)
        torch.testing.assert_close(after, release_logits(state, IMAGES, epsilon=1e-6), rtol=1e-4, atol=1e-5)
        # Their last LayerNorm's epsilon, which timm's model does not have.
        torch.testing.assert_close(after, release_logits(state, IMAGES, epsilon=1e-5), rtol=1e-3, atol=1e-4)
        by_hand = timm.create_model(TINY, num_classes=5).eval()
        own = by_hand.state_dict()
        for name in state:  # the names are timm's own
            own[name].copy_(state[name])
        assert torch.equal(after, by_hand(IMAGES))


def test_the_output_is_a_vitol_checkpoint_that_says_what_it_was_made_from(release, tmp_path):
    out = tmp_path / "out.safetensors"
    save_released(convert(release), release, out)
    model, record = load_checkpoint(out, num_classes=5)
    assert record["weights"].startswith("sha256:") and len(record["weights"]) == 71
    assert record["mean"] == [0.485, 0.456, 0.406] and "classes" not in record
    assert torch.equal(model.head.weight, load_file(out)["head.weight"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.safetensors"]


def test_a_thousand_classes_have_imagenet_s_names(tmp_path):
    source = write(tmp_path / "x.pth", layout(classes=1000))
    save_released(convert(source), source, tmp_path / "out.safetensors")
    assert Explainer(tmp_path / "out.safetensors").names.find("bow tie") == 457


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {name: tensor.half() for name, tensor in state.items()}},
    ],
    ids=["alone", "DeiT's key", "DataParallel", "DataParallel alone", "half precision"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_the_other_forms_are_read_too(tmp_path, state, wrap, zipped):
    path = write(tmp_path / "x.pth", wrap(state), _use_new_zipfile_serialization=zipped)
    tensors = convert(path).tensors
    assert tensors.keys() == state.keys()
    assert all(torch.allclose(tensors[name].float(), state[name], atol=1e-3) for name in state)


@pytest.mark.parametrize(("size", "name"), ARCHITECTURES.items())
def test_sizes_are_those_of_timm_s_models(size, name):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert (model.embed_dim, len(model.blocks)) == size
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        key: value.shape for key, value in layout(*size, classes=1000).items()
    }


# Faults


class Attack:
    """Unpickled the ordinary way it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, small, zipped):
    content = {"state_dict": small, "args": Attack(tmp_path / "made")}
    path = write(tmp_path / "evil.pth", content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        CheckpointError, match=r"evil.pth is refused: .* asks for (posix|nt)\.system, which can"
    ):
        convert(path)
    assert not (tmp_path / "made").exists()
    torch.load(path, weights_only=False)  # the attack is a real one
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("extra", "asked"),
    [
        (argparse.Namespace(lr=1), r"argparse\.Namespace"),
        (np.float64(1), r"numpy\.\S*multiarray\.scalar"),
        (torch.nn.Linear(1, 1), r"torch\.nn\.modules\.linear\.Linear"),
    ],
)
def test_what_a_refused_pickle_asks_for_is_named(tmp_path, small, extra, asked):
    with pytest.raises(CheckpointError, match=asked):
        convert(write(tmp_path / "x.pth", {"state_dict": small, "extra": extra}))


@pytest.mark.parametrize("keep", [0, 11, 1000, -1000])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_is_cut_short_is_an_error_that_names_it(tmp_path, small, keep, zipped):
    path = write(tmp_path / "cut.pth", small, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"cut.pth cannot be read .* fetch it again"):
        convert(path, TINY)


def test_other_files_are_errors_in_words(tmp_path):
    page = tmp_path / "quota.pth"
    page.write_text("<html>too many users have downloaded this file</html>")
    with pytest.raises(CheckpointError, match=r"quota.pth cannot be read as a checkpoint of torch.save"):
        convert(page)
    with pytest.raises(CheckpointError, match=r"none.pth is missing; give a checkpoint"):
        convert(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ([1, 2], "a list"),
        ({}, "nothing"),
        ({"epoch": 3, "weights": {}}, "'epoch', 'weights'"),
        ({"state_dict": {}}, "'state_dict'"),
    ],
)
def test_a_checkpoint_without_parameters_says_what_it_holds(tmp_path, content, seen):
    with pytest.raises(CheckpointError, match=f"x.pth holds {seen}; needed: parameters"):
        convert(write(tmp_path / "x.pth", content))


def test_all_faults_are_in_one_report(tmp_path, state):
    odd = dict(state)
    del odd["blocks.3.norm1.bias"]
    odd["blocks.0.adl.weight"] = torch.zeros(1)
    odd["head.bias"] = torch.zeros(4)
    odd["norm.weight"] = torch.ones(192, dtype=torch.int64)
    odd["norm.bias"] = state["norm.bias"].clone().index_fill(0, torch.tensor([0, 5]), float("nan"))
    odd["cls_token"] = state["cls_token"].clone().index_fill(2, torch.tensor([0]), float("inf"))
    odd["blocks.11.mlp.fc2.bias"] = [0.0] * 192
    with pytest.raises(CheckpointError) as error:
        convert(write(tmp_path / "x.pth", {"state_dict": odd}), num_classes=200)
    first, *faults = str(error.value).split("\n  ")
    assert first == f"{tmp_path / 'x.pth'} does not fit {TINY} (faults: 8)"
    assert faults == [
        "head.weight has 5 classes, 200 are asked for",
        "blocks.3.norm1.bias is missing",
        "blocks.0.adl.weight is not of this model",
        "cls_token has 1 of 192 values that are not finite",
        "blocks.11.mlp.fc2.bias is no tensor (list)",
        "norm.weight has the type torch.int64; weights are floating",
        "norm.bias has 2 of 192 values that are not finite",
        "head.bias has shape (4,), not (5,)",
    ]


@pytest.mark.parametrize(
    ("tensor", "kind"), [(torch.eye(3).to_sparse(), "sparse"), (torch.empty(3, 3, device="meta"), "meta")]
)
def test_a_tensor_without_plain_values_is_a_fault(tensor, kind):
    assert tensor_faults({"a": tensor}, {"a": (3, 3)}) == [f"a is a {kind} tensor; weights are plain ones"]


def test_another_architecture_is_refused_and_the_right_one_named(release):
    with pytest.raises(
        CheckpointError, match=f"does not fit deit_small_patch16_224 .* that of {TINY}"
    ) as error:
        convert(release, "deit_small_patch16_224")
    assert "cls_token has shape (1, 1, 192), not (1, 1, 384)" in str(error.value)
    with pytest.raises(ValueError, match="timm knows no model 'deit_huge'"):
        convert(release, "deit_huge")


def test_a_size_that_the_release_does_not_have_needs_its_architecture(tmp_path, small):
    with pytest.raises(CheckpointError, match=r"width 64, blocks 1\); give its timm architecture"):
        convert(write(tmp_path / "x.pth", small))
    with pytest.raises(CheckpointError, match=r"width unknown, as there is no cls_token, blocks 0"):
        convert(write(tmp_path / "y.pth", {"weight": torch.zeros(1)}))


def test_a_failed_conversion_writes_nothing(tmp_path, release, monkeypatch):
    monkeypatch.setattr(
        "vitol.checkpoints.save_model", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(CheckpointError, match="disk full"):
        save_released(convert(release), release, tmp_path / "out.safetensors")
    assert not list(tmp_path.iterdir())


def test_plain_containers_are_read_as_they_are(tmp_path):
    content = {"epoch": 3, "best": [0.5, None], "order": OrderedDict(a=(1, "x"))}
    assert read_plain(write(tmp_path / "x.pth", content)) == content
