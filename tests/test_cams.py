"""The rivals' shared skeleton, and CAM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from vitol.cams.cam import CAM
from vitol.cams.skeleton import Features, Localizer, chosen, rescaled
from vitol.weight_files import CheckpointError

TOY = {"channels": (4, 6, 8, 10), "stem_width": 4}
NETWORK = {"architecture": "resnet10t", "options": TOY}


@pytest.fixture
def cam() -> Localizer:
    torch.manual_seed(0)
    return CAM.on(num_classes=5, **NETWORK).eval().double()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_class_maps_are_the_head_applied_at_every_place(cam, images):
    features = cam.features(images)
    weight, bias = cam.head[-1].weight[:, :, 0, 0], cam.head[-1].bias
    for y in range(features.shape[2]):
        for x in range(features.shape[3]):
            expected = features[:, :, y, x] @ weight.T + bias
            torch.testing.assert_close(cam.class_maps(images)[:, :, y, x], expected)


def test_scores_are_those_of_a_linear_layer_on_pooled_features(cam, images):
    weight, bias = cam.head[-1].weight[:, :, 0, 0], cam.head[-1].bias
    pooled = cam.features(images).mean(dim=(2, 3))
    torch.testing.assert_close(cam(images), pooled @ weight.T + bias)


def test_localizing_gives_the_maps_of_the_classes_asked_for(cam, images):
    classes = torch.tensor([[0, 4], [1, 1], [3, 2]])
    logits, maps = cam.float().localize(images.float(), classes)
    whole = cam.class_maps(images.float())
    assert not maps.requires_grad and maps.shape == (3, 2, 2, 2)
    for image, row in enumerate(classes.tolist()):
        for place, label in enumerate(row):
            torch.testing.assert_close(maps[image, place], whole[image, label].detach())
    torch.testing.assert_close(logits, cam(images.float()).detach())


def test_a_step_of_cam_is_cross_entropy(cam, images):
    labels = torch.tensor([1, 0, 4])
    loss, logits = cam(images, labels, 0.1)
    torch.testing.assert_close(loss, F.cross_entropy(logits.float(), labels, label_smoothing=0.1))


def test_maps_of_a_batch_are_those_of_its_images(cam, images):
    classes = torch.tensor([[0], [1], [2]])
    _, together = cam.localize(images, classes)
    alone = torch.cat([cam.localize(images[i : i + 1], classes[i : i + 1])[1] for i in range(3)])
    torch.testing.assert_close(together, alone)


def test_a_stage_before_the_last_has_larger_maps():
    features = Features(**NETWORK, stage=3)
    assert features(torch.zeros(1, 3, 64, 64)).shape == (1, 8, 4, 4) and features.channels == 8
    assert features.stages == ["act1", "layer1", "layer2", "layer3"]
    assert features.end_of(-1) is features.body.layer3


def test_larger_maps_come_from_a_smaller_stride():
    options = {**NETWORK["options"], "output_stride": 8}
    assert Features("resnet10t", options=options)(torch.zeros(1, 3, 64, 64)).shape[2:] == (8, 8)


def test_a_neck_stands_between_features_and_head():
    model = CAM.on(num_classes=5, neck=7, **NETWORK)
    shapes = [tuple(layer.weight.shape) for layer in model.head if hasattr(layer, "weight")]
    assert shapes == [(7, 10, 3, 3), (7, 7, 3, 3), (5, 7, 1, 1)]


def test_rescaling_spans_zero_to_one_and_leaves_flat_maps_at_zero():
    maps = rescaled(torch.tensor([[[-2.0, 2.0]], [[3.0, 3.0]]]))
    assert maps.tolist() == [[[0.0, 1.0]], [[0.0, 0.0]]]


def test_chosen_maps_are_in_the_order_asked_for():
    maps = torch.arange(6.0).reshape(1, 3, 1, 2)
    assert chosen(maps, torch.tensor([[2, 0]])).tolist() == [[[[4.0, 5.0]], [[0.0, 1.0]]]]


@pytest.mark.parametrize("stage", [5, -6])
def test_a_stage_that_is_not_there_is_refused(stage):
    with pytest.raises(ValueError, match=rf"stage {stage} of resnet10t does not exist; its stages are 0..4"):
        Features("resnet10t", stage=stage)


def saved(path: Path, architecture: str, **options: Any) -> dict[str, torch.Tensor]:
    """The weights of a timm classifier, all of them written to a file."""
    torch.manual_seed(1)
    tensors = timm.create_model(architecture, **options).state_dict()
    save_file(tensors, path)
    return tensors


@pytest.mark.parametrize("classes", [0, 7, 1000])
def test_a_file_gives_all_features_their_weights_and_leaves_the_classifier_s(tmp_path, classes):
    path = tmp_path / "network.safetensors"
    tensors = saved(path, "resnet10t", **TOY, num_classes=classes)
    own = Features(**NETWORK, weights=path).body.state_dict()
    assert own.keys() == tensors.keys() - {"fc.weight", "fc.bias"}
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in own.items())


@pytest.mark.parametrize(
    ("architecture", "options", "fault"),
    [
        ("resnet10t", {**TOY, "channels": (4, 6, 8, 12)}, r"layer4\.0\.bn1\.bias has shape \(12,\)"),
        # The same names and shapes, and more blocks: timm would take it without a word.
        (
            "resnet18",
            {**TOY, "stem_type": "deep_tiered", "avg_down": True},
            r"layer1\.1\S* is not of this model",
        ),
        ("vit_tiny_patch16_224", {"depth": 1, "embed_dim": 12}, "bn1.bias is missing; .*; and .* more"),
    ],
)
def test_a_file_of_another_network_is_refused(tmp_path, architecture, options, fault):
    path = tmp_path / "foreign.safetensors"
    saved(path, architecture, **options)
    with pytest.raises(CheckpointError, match=rf"foreign\.safetensors does not fit ResNet: .*{fault}"):
        Features(**NETWORK, weights=path)


def test_half_a_classifier_is_a_fault(tmp_path):
    path = tmp_path / "network.safetensors"
    tensors = saved(path, "resnet10t", **TOY)
    del tensors["fc.bias"]
    save_file(tensors, path)
    with pytest.raises(
        CheckpointError, match=r"network\.safetensors does not fit ResNet: fc\.bias is missing$"
    ):
        Features(**NETWORK, weights=path)


def test_pickled_weights_are_not_read(tmp_path):
    with pytest.raises(CheckpointError, match=r"network\.pth is not a safetensors file"):
        Features(**NETWORK, weights=tmp_path / "network.pth")


def test_the_second_head_that_inception_s_files_have_is_left_out(tmp_path):
    path = tmp_path / "network.safetensors"
    tensors = saved(path, "resnet10t", **TOY)
    save_file({**tensors, "AuxLogits.fc.weight": torch.zeros(3, 4)}, path)
    own = Features(**NETWORK, weights=path).body.state_dict()
    assert own and all(torch.equal(tensor, tensors[name]) for name, tensor in own.items())


def test_a_network_without_weights_says_where_to_put_them(monkeypatch):
    create = timm.create_model

    def offline(*arguments, pretrained, **further):
        if pretrained:
            raise OSError("no route")
        return create(*arguments, pretrained=False, **further)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        CheckpointError, match=r"no route.*put resnet10t\.safetensors into a folder and set VITOL_WEIGHTS"
    ):
        Features("resnet10t", weights="hub")
