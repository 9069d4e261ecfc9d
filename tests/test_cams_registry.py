"""The table of rivals: starting, saving, loading and training each one."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy import OPTIONS, RECIPE, toy_split, weights

from vitol import training
from vitol.cams import registry
from vitol.cams.about import RIVALS
from vitol.cams.cam import CAM
from vitol.cams.registry import METHODS, default_settings, load_localizer, start_localizer
from vitol.cams.skeleton import Localizer
from vitol.checkpoints import load_checkpoint, save_checkpoint
from vitol.datasets.images import SplitImages, TrainImages
from vitol.models import create_model, start_model
from vitol.recipe import Recipe
from vitol.snapshots import Snapshots
from vitol.sources import find_source
from vitol.training import Losses, own_objective, train
from vitol.weight_files import CheckpointError

TRANSFORMER = ("vit_tiny_patch16_224", OPTIONS)
CONVOLUTIONAL = ("resnet10t", {"channels": (4, 6, 8, 10), "stem_width": 4})
CLASSES = ["dark", "bright"]
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
WANTED = torch.tensor([[0, 1], [1, 0]])


def start(method, **arguments):
    """A rival on the toy network that it goes with."""
    architecture, options = TRANSFORMER if RIVALS[method].transformer else CONVOLUTIONAL
    torch.manual_seed(0)
    arguments = {"pretrained": False, "options": options, **arguments}
    return start_localizer(method, architecture, "toy", CLASSES, **arguments)


@pytest.fixture
def checkpoint(tmp_path):
    model, record = start("ts-cam")
    save_checkpoint(tmp_path / "rival.safetensors", model, record)
    return tmp_path / "rival.safetensors"


@pytest.fixture
def classifier(tmp_path):
    torch.manual_seed(0)
    model, record = start_model("resnet10t", "toy", CLASSES, pretrained=False, options=CONVOLUTIONAL[1])
    save_checkpoint(tmp_path / "classifier.safetensors", model, record)
    return tmp_path / "classifier.safetensors"


def rewritten(checkpoint, **changes):
    """The checkpoint with another record; None takes an entry out."""
    record = {**json.loads(checkpoint.with_suffix(".json").read_text()), **changes}
    record = {name: value for name, value in record.items() if value is not None}
    save_file(load_file(checkpoint), checkpoint, metadata={"vitol": json.dumps(record)})


@pytest.mark.parametrize("method", METHODS)
def test_every_rival_comes_back_from_its_checkpoint_as_it_was(tmp_path, method):
    model, record = start(method)
    save_checkpoint(tmp_path / "x.safetensors", model, record)
    loaded, found = load_localizer(tmp_path / "x.safetensors", 2)
    assert type(loaded) is METHODS[method] and not loaded.training
    assert found == json.loads(json.dumps(record)) and found["method"] == method
    expected = model.eval().localize(IMAGES, WANTED)
    torch.testing.assert_close(loaded.localize(IMAGES, WANTED), expected, rtol=0, atol=0, equal_nan=True)


def test_every_rival_has_a_paper_and_a_key_and_a_title_of_its_own():
    assert list(METHODS) == list(RIVALS)
    assert len({row.title for row in RIVALS.values()}) == len(set(METHODS.values())) == len(RIVALS)
    assert all("20" in row.source for row in RIVALS.values())
    assert [method for method, row in RIVALS.items() if row.with_boxes] == ["few-shot"]


def test_a_record_is_a_classifier_s_with_method_settings_and_stage_besides():
    _, record = start("cam", stage=3, settings={"neck": 7})
    _, plain = start_model("resnet10t", "toy", CLASSES, pretrained=False, options=CONVOLUTIONAL[1])
    assert record == {**plain, "method": "cam", "settings": {"neck": 7}, "stage": 3}
    assert plain["classes"] == CLASSES and plain["weights"] == "random"


def test_settings_are_recorded_with_their_defaults_and_come_back_with_the_weights(tmp_path):
    model, record = start("scm", settings={"flow": 0.5, "iterations": [2, 1]})
    assert record["settings"] == {"iterations": [2, 1], "flow": 0.5, "threshold": 0.5}
    save_checkpoint(tmp_path / "x.safetensors", model, record)
    loaded, _ = load_localizer(tmp_path / "x.safetensors")
    assert [block.iterations for block in loaded.diffusion] == [2, 1]
    # With its blocks' number, steps and weights a step of training is the same.
    labels = torch.tensor([0, 1])
    torch.testing.assert_close(loaded(IMAGES, labels, 0.0), model.eval()(IMAGES, labels, 0.0))


def test_settings_that_a_class_hands_on_are_its_own_too(monkeypatch):
    class Middle(Localizer):
        def __init__(self, features, num_classes, *, rate=0.5, neck=3, **settings):
            super().__init__(features, num_classes, neck=neck, **settings)

    class Last(Localizer):
        def __init__(self, features, num_classes, *, rate=0.5):
            super().__init__(features, num_classes)

    monkeypatch.setattr(registry, "METHODS", {"middle": Middle, "last": Last})
    assert default_settings("middle") == {"rate": 0.5, "neck": 3}
    assert default_settings("last") == {"rate": 0.5}


def test_a_method_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=rf"there is no rival 'cams'; there are {', '.join(METHODS)}"):
        start_localizer("cams", "resnet10t", "toy", CLASSES)


def test_a_setting_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=r"drop, rate: no setting of cam, which has neck \(0\)"):
        start("cam", settings={"drop": 1, "neck": 3, "rate": 2})
    with pytest.raises(ValueError, match="neck: no setting of ts-cam, which has none"):
        start("ts-cam", settings={"neck": 3})


def test_a_method_that_does_not_go_with_the_network_is_refused():
    with pytest.raises(
        ValueError, match=r"vit_tiny_patch16_224 has no stages .*; take a convolutional network"
    ):
        start_localizer("cam", TRANSFORMER[0], "toy", CLASSES, pretrained=False, options=OPTIONS)
    with pytest.raises(
        ValueError, match=r"deit_tiny_patch16_224 has no stages \(it embeds patches, as transfo"
    ):
        start_localizer("cam", "deit_tiny_patch16_224", "toy", CLASSES, pretrained=False)
    with pytest.raises(ValueError, match="ResNet has no `blocks` with attention to capture"):
        start_localizer(
            "ts-cam", *CONVOLUTIONAL[:1], "toy", CLASSES, pretrained=False, options=CONVOLUTIONAL[1]
        )


def test_pretrained_weights_are_those_that_go_by_the_network_s_name(tmp_path, monkeypatch, classifier):
    # A classifier's checkpoint is a model's name, too.
    model, record = start_localizer("cam", str(classifier), "toy", ["a", "b", "c"])
    plain = load_file(classifier)
    own = model.features.body.state_dict()
    assert own and all(torch.equal(tensor, plain[name]) for name, tensor in own.items())
    assert record["architecture"] == "resnet10t" and record["weights"].startswith("sha256:")
    assert model.head[-1].out_channels == record["num_classes"] == 3

    torch.manual_seed(0)
    transformer = create_model(TRANSFORMER[0], 7, options=OPTIONS)
    save_file(transformer.state_dict(), tmp_path / f"{TRANSFORMER[0]}.safetensors")
    monkeypatch.setenv("VITOL_WEIGHTS", str(tmp_path))
    model, record = start("ts-cam", pretrained=True)
    assert torch.equal(model.features.body.pos_embed, transformer.pos_embed)
    assert record["weights"].startswith("sha256:") and record["license"]


def test_a_classifier_s_checkpoint_is_no_rival_s_and_the_reverse(checkpoint, classifier):
    with pytest.raises(
        CheckpointError,
        match=r"classifier\.safetensors is a checkpoint of a timm classifier \(resnet10t\), not of a rival; read it "
        r"with vitol\.checkpoints\.load_checkpoint",
    ):
        load_localizer(classifier)
    for read in (load_checkpoint, lambda path: find_source(str(path))):
        with pytest.raises(
            CheckpointError,
            match=r"rival\.safetensors is a checkpoint of the rival ts-cam on vit_tiny_patch16_224, not of a timm "
            r"classifier; read it with vitol\.cams\.registry\.load_localizer",
        ):
            read(checkpoint)


def test_a_rival_s_checkpoint_of_another_class_count_is_refused(checkpoint):
    with pytest.raises(
        CheckpointError, match=r"rival\.safetensors is a checkpoint of 2 classes, 8 are asked"
    ):
        load_localizer(checkpoint, 8)


def test_a_rival_s_missing_damaged_or_foreign_file_is_named(checkpoint):
    with pytest.raises(CheckpointError, match=r"none\.safetensors is missing"):
        load_localizer(checkpoint.with_name("none.safetensors"))
    save_file(load_file(checkpoint), checkpoint.with_name("bare.safetensors"))
    with pytest.raises(CheckpointError, match=r"bare\.safetensors has no record of a vitol checkpoint"):
        load_localizer(checkpoint.with_name("bare.safetensors"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        load_localizer(checkpoint)


def test_tensors_of_a_rival_that_do_not_fit_are_listed(checkpoint):
    tensors = load_file(checkpoint)
    del tensors["head.bias"]
    tensors["stray"] = torch.zeros(1)
    record = checkpoint.with_suffix(".json").read_text()
    save_file(tensors, checkpoint, metadata={"vitol": record})
    with pytest.raises(
        CheckpointError, match="does not fit TSCAM: head.bias is missing; stray is not of this model"
    ):
        load_localizer(checkpoint)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method": "later"}, "the rival later, but .*there is no rival 'later'; there are cam"),
        ({"settings": {"bold": 1}}, "the rival ts-cam, but .*bold: no setting of ts-cam, which has none"),
        ({"settings": None}, "'settings'"),
        ({"stage": None}, "'stage'"),
    ],
)
def test_a_record_that_a_rival_cannot_be_built_from_is_named_with_its_fault(checkpoint, changes, text):
    rewritten(checkpoint, **changes)
    with pytest.raises(
        CheckpointError, match=rf"rival\.safetensors is a checkpoint of .*{text}.*; read it with the version"
    ):
        load_localizer(checkpoint)


# Training


def train_cam(split, root, **arguments):
    """Train CAM on the toy images from seed 0's weights."""
    model, _ = start("cam", stage=2)
    images, validation = TrainImages(split, root, 16, 18, 0), SplitImages(split, root, 16)
    recipe = Recipe(**{**RECIPE, "lr": 1e-2, "epochs": 4, "decay_every": 4})
    arguments = {"objective": own_objective, **arguments}
    return model, list(train(model, images, recipe, validation=validation, **arguments))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The toy images and their folder; CAM trained on them by its own objective, and the log of that."""
    root = tmp_path_factory.mktemp("toy")
    split = toy_split(root)
    return split, root, *train_cam(split, root)


def test_cam_learns_and_goes_on_after_an_interruption_as_if_there_had_been_none(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "LOOK_EVERY", 2)
    split, root, whole, log = trained
    assert log[-1].train_loss < 0.9 * log[0].train_loss and log[-1].val_top1 == 100

    class Interrupted(Exception):
        pass

    def stop(done, total):
        if done == 6 * 8:
            raise Interrupted

    snapshots = Snapshots(tmp_path / "resume", {"seed": 0}, 0)
    with pytest.raises(Interrupted):
        train_cam(split, root, snapshots=snapshots, progress=stop)
    assert snapshots.position().epoch == 1
    again, log_again = train_cam(split, root, snapshots=snapshots)
    assert torch.equal(weights(whole), weights(again)) and log == log_again


def test_the_objective_of_a_classifier_trains_cam_just_as_its_own(trained):
    split, root, own, log = trained
    plain, plain_log = train_cam(split, root, objective=training.cross_entropy)
    assert isinstance(own, CAM) and log == plain_log
    assert torch.equal(weights(own), weights(plain))


def test_an_image_whose_pixels_have_labels_counts_by_the_share_that_is_right():
    losses, position = Losses(training.Position()), training.Position()
    logits = torch.zeros(2, 2, 2, 2)
    logits[:, 1, 0] = 1  # The upper row is called foreground.
    labels = torch.tensor([[[1, 1], [0, 0]], [[1, 0], [0, 1]]])
    losses.add(torch.tensor(0.5), logits, labels)
    losses.look(position)
    assert (position.right, position.seen, position.loss_sum) == (1.5, 2, 1.0)
