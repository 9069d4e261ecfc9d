import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from vitol.models import (
    CheckpointError,
    create_model,
    file_digest,
    find_weights,
    load_checkpoint,
    save_checkpoint,
)

NAME = "vit_tiny_patch16_224"
OPTIONS = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
RECORD = {"architecture": NAME, "options": OPTIONS, "num_classes": 4, "note": "test"}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_model(NAME, 4, options=OPTIONS)


@pytest.fixture
def checkpoint(tmp_path, model):
    path = tmp_path / "run" / "seed0.safetensors"
    save_checkpoint(path, model, RECORD)
    return path


def test_a_checkpoint_gives_back_the_same_logits_and_its_record(checkpoint, model):
    loaded, record = load_checkpoint(checkpoint, num_classes=4)
    assert record == RECORD
    assert not loaded.training
    assert torch.equal(loaded(IMAGES), model.eval()(IMAGES))


def test_saving_leaves_two_files_and_equal_models_give_equal_bytes(checkpoint, model):
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["seed0.json", "seed0.safetensors"]
    before = file_digest(checkpoint)
    save_checkpoint(checkpoint.with_name("again.safetensors"), model, RECORD)
    assert file_digest(checkpoint.with_name("again.safetensors")) == before


def test_a_failed_save_leaves_the_earlier_checkpoint(checkpoint, model):
    before = file_digest(checkpoint)
    with pytest.raises(TypeError):
        save_checkpoint(checkpoint, model, {**RECORD, "bad": object()})
    assert file_digest(checkpoint) == before
    assert json.loads(checkpoint.with_suffix(".json").read_text()) == RECORD


def test_a_record_that_could_not_be_loaded_is_not_written(tmp_path, model):
    with pytest.raises(ValueError, match="record lacks num_classes, options"):
        save_checkpoint(tmp_path / "x.safetensors", model, {"architecture": NAME})
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_class_count_is_refused(checkpoint):
    with pytest.raises(
        CheckpointError, match=r"seed0\.safetensors is a checkpoint of 4 classes, 8 are asked for"
    ):
        load_checkpoint(checkpoint, num_classes=8)


def test_a_missing_or_damaged_checkpoint_is_named(checkpoint):
    with pytest.raises(CheckpointError, match=r"none\.safetensors is missing"):
        load_checkpoint(checkpoint.with_name("none.safetensors"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("metadata", [None, {"vitol": "{"}, {"vitol": "{}"}])
def test_weights_without_a_record_are_no_checkpoint(checkpoint, metadata):
    save_file(load_file(checkpoint), checkpoint, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"seed0\.safetensors has no record of a vitol checkpoint"):
        load_checkpoint(checkpoint)


def test_the_record_travels_in_the_file_of_the_weights(checkpoint):
    checkpoint.with_suffix(".json").unlink()
    assert load_checkpoint(checkpoint)[1] == RECORD


def test_tensors_that_do_not_fit_are_listed(checkpoint):
    tensors = load_file(checkpoint)
    tensors["stray"] = torch.zeros(1)
    tensors["norm.bias"] = torch.zeros(7)
    del tensors["cls_token"]
    save_file(tensors, checkpoint, metadata={"vitol": json.dumps(RECORD)})
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(checkpoint)
    for text in (
        "cls_token is missing",
        "stray is not of this model",
        r"norm.bias has shape (7,), not (24,)",
    ):
        assert text in str(error.value)


def test_pickled_weights_are_refused(tmp_path, model):
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    with pytest.raises(CheckpointError, match="is not a safetensors file .* other formats are not read"):
        create_model(NAME, 4, weights=path, options=OPTIONS)


def test_local_half_precision_weights_load_and_the_head_is_replaced_when_classes_differ(tmp_path):
    torch.manual_seed(0)
    source = create_model(NAME, 1000, options=OPTIONS)
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.half() for name, tensor in source.state_dict().items()}, path)

    same = create_model(NAME, 1000, weights=path, options=OPTIONS)
    assert all(parameter.dtype == torch.float32 for parameter in same.parameters())
    torch.testing.assert_close(same.eval()(IMAGES), source.eval()(IMAGES), rtol=1e-2, atol=1e-3)

    other = create_model(NAME, 3, weights=path, options=OPTIONS)
    assert other(IMAGES).shape == (2, 3)
    torch.testing.assert_close(other.blocks[1].mlp.fc1.weight, same.blocks[1].mlp.fc1.weight)


@pytest.mark.parametrize("count", [7, 1000])
def test_a_local_head_is_kept_when_its_class_count_is_the_models(tmp_path, count):
    torch.manual_seed(0)
    source = create_model(NAME, count, options=OPTIONS)
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    assert torch.equal(
        create_model(NAME, count, weights=path, options=OPTIONS).head.weight, source.head.weight
    )
    other = create_model(NAME, 1007 - count, weights=path, options=OPTIONS)
    assert other.head.weight.shape[0] == 1007 - count
    assert torch.equal(other.norm.weight, source.norm.weight)


def test_local_weights_of_another_architecture_are_refused(tmp_path, model):
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    with pytest.raises(CheckpointError, match=r"does not fit VisionTransformer: .*blocks\.2"):
        create_model(NAME, 4, weights=path, options={**OPTIONS, "depth": 3})
    with pytest.raises(CheckpointError, match="is missing"):
        create_model(NAME, 4, weights=tmp_path / "none.safetensors", options=OPTIONS)


def test_an_unknown_architecture_is_refused_with_near_names():
    with pytest.raises(ValueError, match="timm knows no model 'deit_huge'; near it: .*deit"):
        create_model("deit_huge", 2)


def test_weights_come_from_the_folder_named_in_the_environment_or_the_hub(tmp_path, monkeypatch):
    monkeypatch.delenv("VITOL_WEIGHTS", raising=False)
    assert find_weights(NAME) == "hub"
    monkeypatch.setenv("VITOL_WEIGHTS", str(tmp_path))
    with pytest.raises(
        CheckpointError, match=rf"VITOL_WEIGHTS is set, but there is no .*{NAME}\.safetensors"
    ):
        find_weights(NAME)
    (tmp_path / f"{NAME}.safetensors").touch()
    assert find_weights(NAME) == tmp_path / f"{NAME}.safetensors"


@pytest.mark.parametrize("failure", [OSError("no route"), RuntimeError("no pretrained weights exist")])
def test_a_hub_that_gives_no_weights_is_an_error_that_names_the_way_out(monkeypatch, failure):
    def create(*_, **__):
        raise failure

    monkeypatch.setattr("vitol.models.timm.create_model", create)
    with pytest.raises(
        CheckpointError, match=rf"{failure}.*put {NAME}\.safetensors into a folder and set VITOL_W"
    ):
        create_model(NAME, 2, weights="hub")


def test_the_real_deit_tiny_weights_load_strictly(shared):
    path = shared / "data" / "weights" / "deit_tiny_patch16_224.safetensors"
    model = create_model("deit_tiny_patch16_224", 1000, weights=path)
    head = load_file(path)["head.weight"].float()
    assert torch.equal(model.head.weight, head)
