import json

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from vitol.checkpoints import load_checkpoint, save_checkpoint
from vitol.models import create_model
from vitol.sources import find_source, find_weights
from vitol.weight_files import CheckpointError, file_digest

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


# Models by other names


@pytest.fixture
def folder(tmp_path, model):
    """A model's folder as timm writes it."""
    path = tmp_path / "folder"
    path.mkdir()
    save_file(model.state_dict(), path / "model.safetensors")
    stated = {
        "input_size": [3, 32, 32],
        "fixed_input_size": True,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 1, 1],
    }
    config = {"architecture": NAME, "num_classes": 4, "model_args": OPTIONS, "pretrained_cfg": stated}
    write_config(path, {**config, "label_names": ["a", "b", "c", "d"]})
    return path


def write_config(folder, content):
    (folder / "config.json").write_text(content if isinstance(content, str) else json.dumps(content))


def read_config(folder):
    return json.loads((folder / "config.json").read_text())


def test_a_folder_gives_architecture_options_and_weights(folder, model):
    name = f"local-dir:{folder}"
    source = find_source(name, {"drop_rate": 0.5})
    assert (source.architecture, source.options) == (NAME, {**OPTIONS, "drop_rate": 0.5})
    assert (source.config["mean"], source.config["std"], source.license) == ((0.5,) * 3, (0.25, 1, 1), "")
    assert find_weights(name) == folder / "model.safetensors"
    for weights in ("hub", find_weights(name)):
        loaded = create_model(name, 4, weights=weights)
        assert torch.equal(loaded.eval()(IMAGES), model.eval()(IMAGES))
        assert loaded.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
        assert loaded.pretrained_cfg["label_names"] == ["a", "b", "c", "d"]
    assert not torch.equal(create_model(name, 4).head.weight, model.head.weight)


def test_a_folder_s_head_is_made_anew_when_the_class_count_differs(folder, model):
    other = create_model(f"local-dir:{folder}", 7, weights="hub")
    assert other.head.weight.shape == (7, 24)
    assert torch.equal(other.blocks[1].mlp.fc1.weight, model.blocks[1].mlp.fc1.weight)


def test_a_checkpoint_started_from_a_folder_is_loaded_without_it(folder, tmp_path, model):
    source = find_source(f"local-dir:{folder}")
    started = create_model(f"local-dir:{folder}", 4, weights="hub")
    record = {"architecture": source.architecture, "options": source.options, "num_classes": 4}
    save_checkpoint(tmp_path / "x.safetensors", started, record)
    for path in folder.iterdir():
        path.unlink()
    loaded, _ = load_checkpoint(tmp_path / "x.safetensors")
    assert torch.equal(loaded(IMAGES), model.eval()(IMAGES))


def test_a_config_alone_and_one_without_options_are_read_as_timm_wrote_them(folder):
    config = read_config(folder)
    write_config(folder, {"architecture": "test_vit", **config["pretrained_cfg"], "license": "mit"})
    source = find_source(f"local-dir:{folder}")
    assert (source.options, source.license) == ({"img_size": [32, 32]}, "mit")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '"x"',
        "{}",
        {"architecture": NAME, "pretrained_cfg": 3},
        {"architecture": NAME, "model_args": [1]},
        {"architecture": NAME, "pretrained_cfg": {"mean": "abc"}},
        {"architecture": NAME, "pretrained_cfg": {"fixed_input_size": True}},
    ],
)
def test_a_damaged_config_is_named(folder, content):
    write_config(folder, content)
    with pytest.raises(CheckpointError, match=r"config\.json is no config of a timm model .*; needed: JSON"):
        find_source(f"local-dir:{folder}")


def test_a_folder_with_anything_missing_is_an_error_that_names_it(folder):
    name = f"local-dir:{folder}"
    (folder / "config.json").rename(folder / "else.json")
    with pytest.raises(CheckpointError, match=r"folder.config\.json is missing; a model's folder has"):
        create_model(name, 4, weights="hub")
    (folder / "else.json").rename(folder / "config.json")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"folder.model\.safetensors is missing"):
        create_model(name, 4, weights="hub")
    with pytest.raises(
        CheckpointError, match="nowhere is not a folder; give one with config.json and model.saf"
    ):
        find_weights(f"local-dir:{folder}/nowhere")


@pytest.mark.parametrize("pickled", ["pytorch_model.bin", "model.pth"])
def test_a_folder_with_pickled_weights_alone_is_refused_before_timm_sees_it(
    folder, monkeypatch, model, pickled
):
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / pickled)
    monkeypatch.setattr("vitol.models.timm.create_model", lambda *_, **__: pytest.fail("timm was asked"))
    with pytest.raises(
        CheckpointError, match=rf"folder has {pickled} but no model.safetensors; pickled weights"
    ):
        create_model(f"local-dir:{folder}", 4, weights="hub")


def test_a_damaged_folder_s_weights_are_named(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not a safetensors file"):
        create_model(f"local-dir:{folder}", 4, weights="hub")


@pytest.mark.parametrize("option", ["checkpoint_path", "pretrained_cfg", "pretrained", "cache_dir"])
def test_options_that_would_have_timm_read_other_weights_are_refused(folder, tmp_path, model, option):
    config = read_config(folder)
    config["model_args"] = {**OPTIONS, option: "evil.pth"}
    write_config(folder, config)
    text = f"{option} of .*: not an option of a model, but of timm.create_model; leave it out"
    with pytest.raises(ValueError, match=text):
        create_model(f"local-dir:{folder}", 4)
    save_checkpoint(tmp_path / "x.safetensors", model, {**RECORD, "options": {**OPTIONS, option: "evil.pth"}})
    with pytest.raises(ValueError, match=text):
        load_checkpoint(tmp_path / "x.safetensors")


def test_safetensors_by_another_name_are_refused_as_timm_would_unpickle_them(tmp_path, model):
    path = tmp_path / "weights.bin"
    save_file(model.state_dict(), path)
    with pytest.raises(CheckpointError, match=r"weights.bin is not a safetensors file \(it does not end in"):
        create_model(NAME, 4, weights=path, options=OPTIONS)


def test_a_checkpoint_is_a_model_s_name_too(checkpoint, model):
    source = find_source(str(checkpoint), {"drop_rate": 0.5})
    assert (source.architecture, source.options) == (NAME, {**OPTIONS, "drop_rate": 0.5})
    assert find_weights(str(checkpoint)) == checkpoint
    loaded = create_model(str(checkpoint), 9, weights="hub")
    assert loaded.head.weight.shape[0] == 9
    assert torch.equal(loaded.cls_token, model.cls_token)


def hub_of(folder, asked):
    """A stand-in for the hub's client that finds the files of a folder."""

    def download(repository, filename, revision=None):
        asked.append((repository, filename, revision))
        if not (folder / filename).is_file():
            raise EntryNotFoundError(f"no {filename}")
        return str(folder / filename)

    return download


def test_a_model_of_the_hub_is_its_folder(folder, monkeypatch, model):
    asked = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub_of(folder, asked))
    loaded = create_model("hf-hub:org/name@v1", 4, weights="hub")
    assert torch.equal(loaded.eval()(IMAGES), model.eval()(IMAGES))
    assert asked == [("org/name", "config.json", "v1"), ("org/name", "model.safetensors", "v1")]
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match="hf-hub:org/name has no model.safetensors; pickled weights can"
    ):
        create_model("hf-hub:org/name", 4, weights="hub")


@pytest.mark.parametrize(
    "failure", [LocalEntryNotFoundError("no route"), OSError("no route"), ValueError("bad id")]
)
def test_a_hub_out_of_reach_is_an_error_that_names_the_way_out(monkeypatch, failure):
    def download(*_, **__):
        raise failure

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(
        CheckpointError, match=rf"hf-hub:o/n is not there, or the hub .*{failure}.*give local-dir:"
    ):
        find_source("hf-hub:o/n")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("deit_tiny_patch16_224.fb_in1k", "deit_tiny_patch16_224.fb_in1k"),
        ("deit_tiny_patch16_224.fb_in1k", "deit_tiny_patch16_224"),
        ("deit_tiny_patch16_224", "deit_tiny_patch16_224.fb_in1k"),
        ("vit_base_patch16_224.mae", None),
    ],
)
def test_the_tag_of_timm_s_default_weights_may_be_left_out(tmp_path, monkeypatch, name, file):
    monkeypatch.setenv("VITOL_WEIGHTS", str(tmp_path))
    (tmp_path / f"{file or 'vit_base_patch16_224'}.safetensors").touch()
    if file is None:
        with pytest.raises(CheckpointError, match=rf"there is no .*{name}\.safetensors"):
            find_weights(name)
    else:
        assert find_weights(name) == tmp_path / f"{file}.safetensors"


def test_a_timm_name_is_its_own_source_and_its_licence_timm_s():
    source = find_source("deit_tiny_patch16_224.fb_in1k", {"img_size": 96})
    assert (source.architecture, source.options) == ("deit_tiny_patch16_224.fb_in1k", {"img_size": 96})
    assert (source.config, source.license) == ({}, "apache-2.0")
    assert find_source("deit_tiny_patch16_224.nobody").license == ""
    assert find_source(NAME, OPTIONS).options == OPTIONS


def test_a_folder_of_an_architecture_that_timm_does_not_know_is_refused(folder):
    write_config(folder, {**read_config(folder), "architecture": "deit_huge"})
    with pytest.raises(ValueError, match="timm knows no model 'deit_huge'"):
        find_source(f"local-dir:{folder}")
