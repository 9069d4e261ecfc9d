"""The rivals that erase or mix: HaS, ADL, CutMix, ACoL."""

from __future__ import annotations

import copy

import cams_reference_erasing as reference
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vitol import batches
from vitol.cams.acol import ACoL
from vitol.cams.adl import ADL
from vitol.cams.cam import CAM
from vitol.cams.cutmix import CutMix
from vitol.cams.has import HaS
from vitol.cams.skeleton import Features

NETWORK = {"architecture": "resnet10t", "options": {"channels": (4, 6, 8, 10), "stem_width": 4}}
CLASSES = 5
LABELS = torch.tensor([1, 0, 4, 2])
METHODS = {
    "has": (HaS, {}),
    "adl": (ADL, {}),
    "cutmix": (CutMix, {}),
    "acol": (ACoL, {"neck": 3}),
}
each_method = pytest.mark.parametrize("name", METHODS)
trained_otherwise = pytest.mark.parametrize("name", ["has", "adl", "cutmix"])


def built(name: str, **settings: object) -> nn.Module:
    """A method on a toy network, in training mode; equal weights in every call."""
    method, defaults = METHODS[name]
    torch.manual_seed(0)
    return method.on(num_classes=CLASSES, **NETWORK, **{**defaults, **settings})


def cam() -> nn.Module:
    torch.manual_seed(0)
    return CAM.on(num_classes=CLASSES, **NETWORK)


def photos(count: int = 4, height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


class Given(nn.Module):
    """Features that are given, whatever the images."""

    def __init__(self, maps: torch.Tensor) -> None:
        super().__init__()
        self.maps = nn.Parameter(maps)
        self.channels = maps.shape[1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.maps


def acol_on_given(threshold: float = 0.6) -> ACoL:
    torch.manual_seed(2)
    features = Given(torch.randn(4, 3, 4, 5, dtype=torch.float64))
    return ACoL(features, CLASSES, neck=0, threshold=threshold).double()


def convolution(head: nn.Sequential) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = head[-1].weight, head[-1].bias
    return weight.detach()[:, :, 0, 0].numpy(), bias.detach().numpy()


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


# What they share


@each_method
def test_localizing_a_batch_is_localizing_its_images(name):
    model, classes = built(name).eval(), torch.tensor([[0, 1], [2, 3], [4, 0], [1, 1]])
    together = model.localize(photos(), classes)
    for i in range(4):
        alone = model.localize(photos()[i : i + 1], classes[i : i + 1])
        for whole, single in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[i], single[0], rtol=1e-4, atol=1e-5)


@each_method
def test_localizing_is_equivariant_to_the_order_of_images_and_classes(name):
    model, order = built(name).eval(), torch.tensor([2, 0, 3, 1])
    classes = torch.tensor([[0, 1], [2, 3], [4, 0], [1, 2]])
    logits, maps = model.localize(photos(), classes)
    other_logits, other_maps = model.localize(photos()[order], classes[order].flip(1))
    torch.testing.assert_close(other_logits, logits[order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other_maps, maps[order].flip(1), rtol=1e-4, atol=1e-5)


@each_method
def test_localizing_leaves_detached_maps_in_float32(name):
    logits, maps = built(name).eval().localize(photos(), LABELS[:, None])
    assert maps.shape == (4, 1, 2, 2) and logits.shape == (4, CLASSES)
    assert maps.dtype == logits.dtype == torch.float32 and not maps.requires_grad


@trained_otherwise
def test_in_eval_mode_a_method_that_changes_only_training_is_cam(name):
    model, plain = built(name).eval(), cam().eval()
    assert list(model.state_dict()) == list(plain.state_dict())
    for ours, theirs in zip(model(photos(), LABELS, 0.1), plain(photos(), LABELS, 0.1), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(
        model.localize(photos(), LABELS[:, None]), plain.localize(photos(), LABELS[:, None]), strict=True
    ):
        assert torch.equal(ours, theirs)


@trained_otherwise
def test_a_step_of_training_is_not_that_of_cam(name):
    loss, logits = built(name)(photos(), LABELS)
    plain_loss, plain_logits = cam()(photos(), LABELS)
    assert abs(loss.item() - plain_loss.item()) > 1e-4 and not torch.equal(logits, plain_logits)


@trained_otherwise
def test_draws_are_those_of_torchs_seed(name):
    model = built(name)

    def scores(seed: int, numpys: int = 0) -> torch.Tensor:
        torch.manual_seed(seed)
        np.random.seed(numpys)  # noqa: NPY002
        return model(photos(), LABELS)[1]

    assert torch.equal(scores(3), scores(3, numpys=1))
    assert len({tuple(scores(seed).flatten().tolist()) for seed in range(6)}) > 1


@each_method
def test_a_step_leaves_its_inputs_and_trains_every_parameter(name):
    model, images, labels = built(name), photos(), LABELS.clone()
    torch.manual_seed(1)
    loss, logits = model(images, labels, 0.1)
    loss.backward()
    assert torch.equal(images, photos()) and torch.equal(labels, LABELS)
    assert logits.shape == (4, CLASSES) and loss.shape == ()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name


@each_method
def test_the_loss_of_half_precision_is_in_float32(name):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = built(name)(photos(), LABELS)
    for loss, logits in (mixed, built(name).bfloat16()(photos().bfloat16(), LABELS)):
        assert loss.dtype == torch.float32 and loss.isfinite() and logits.dtype == torch.bfloat16


@each_method
def test_weights_go_to_a_new_model_and_a_copy_is_on_its_own(name):
    model = built(name)
    images, labels = photos(), LABELS
    torch.manual_seed(9)
    new = METHODS[name][0].on(num_classes=CLASSES, **NETWORK, **METHODS[name][1])
    new.load_state_dict(model.state_dict())
    twin = copy.deepcopy(model).eval()
    assert torch.equal(new.eval()(images), twin(images))
    assert model.training and not twin.training
    torch.manual_seed(1)
    loss, _ = model(images, labels)
    twin.train()
    torch.manual_seed(1)
    assert torch.equal(twin(images, labels)[0], loss)
    assert hooks(model) == hooks(twin) == 0


# HaS


@pytest.mark.parametrize("size", [(21, 21), (20, 33)])
def test_hiding_is_what_the_twin_hides(size):
    model, images = built("has", grid=7, drop_rate=0.4), photos(3, *size)
    torch.manual_seed(4)
    draws = torch.rand(3, 7, 7).numpy()
    torch.manual_seed(4)
    ours = model.hide(images)
    for image, draw, hidden in zip(images, draws, ours, strict=True):
        np.testing.assert_array_equal(hidden.numpy(), reference.hidden(image.numpy(), draw, 0.4))


def test_a_step_of_has_is_that_of_cam_on_hidden_images():
    model, plain = built("has"), cam()
    torch.manual_seed(4)
    images = model.hide(photos())
    torch.manual_seed(4)
    for ours, theirs in zip(model(photos(), LABELS, 0.1), plain(images, LABELS, 0.1), strict=True):
        assert torch.equal(ours, theirs)


def test_images_and_patches_are_hidden_on_their_own():
    torch.manual_seed(5)
    images = torch.ones(400, 1, 4, 4)
    hidden = 1 - built("has", grid=2, drop_rate=0.3).hide(images)[:, 0, ::2, ::2].flatten(1)
    assert abs(hidden.mean() - 0.3) < 0.03
    pairs = np.cov(torch.cat([hidden[:200], hidden[200:]], dim=1).numpy().T)
    assert np.abs(pairs - np.diag(np.diag(pairs))).max() < 0.06


def test_has_that_hides_nothing_is_cam_and_one_that_hides_all_sees_no_image():
    for ours, theirs in zip(
        built("has", drop_rate=0.0)(photos(), LABELS), cam()(photos(), LABELS), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert not built("has", drop_rate=1.0).hide(photos()).any()


def test_hidden_pixels_get_no_gradient():
    model, images = built("has"), photos().requires_grad_()
    torch.manual_seed(4)
    hidden = model.hide(images.detach()) == 0
    torch.manual_seed(4)
    model(images, LABELS)[0].backward()
    assert 0.2 < hidden.float().mean() < 0.8
    assert not images.grad[hidden].any() and images.grad[~hidden].any()


def test_processes_hide_in_their_shares_what_one_hides_in_the_batch(monkeypatch):
    model, images = built("has"), photos()
    torch.manual_seed(4)
    whole = model.hide(images)
    for process in range(2):
        monkeypatch.setattr(batches, "this_process", lambda process=process: (process, 2))
        torch.manual_seed(4)
        assert torch.equal(model.hide(images[process::2]), whole[process::2])


# ADL


def test_the_layers_of_a_step_are_the_twin_with_one_draw_each():
    model = built("adl", drop_rate=0.5, drop_threshold=0.7).double()
    assert model.blocks() == [model.features.end_of(-2)[0], model.features.end_of(-1)[0]]
    seen: list[torch.Tensor] = []
    layer3, layer4 = model.blocks()
    for place in (layer3, layer4):
        place.register_forward_hook(lambda _, __, output: seen.append(output.detach().clone()))
    for place in (layer4, model.head):
        place.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    dropped = set()
    for seed in range(4):
        seen.clear()
        torch.manual_seed(seed)
        draws = [torch.rand(1).item() for _ in range(2)]
        torch.manual_seed(seed)
        model(photos().double(), LABELS)
        before, after = [seen[0], seen[2]], [seen[1], seen[3]]
        for raw, layered, draw in zip(before, after, draws, strict=True):
            dropped.add(draw < 0.5)
            for image, result in zip(raw, layered, strict=True):
                expected = reference.dropped_or_weighted(image.numpy(), draw, 0.5, 0.7)
                np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12)
    assert dropped == {True, False}


def test_a_dropped_map_has_the_mask_for_gradient_and_a_weighted_one_that_of_its_sigmoid_too():
    output = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    output.requires_grad_()
    dropping = built("adl", drop_rate=1.0)._drop_or_weight
    (gradient,) = torch.autograd.grad(dropping(None, None, output).sum(), output)
    assert torch.equal(gradient, (dropping(None, None, output) != 0).double())
    assert set(gradient.unique().tolist()) == {0.0, 1.0}
    weighting = built("adl", drop_rate=0.0)._drop_or_weight
    assert torch.autograd.gradcheck(lambda output: weighting(None, None, output), output)


def test_adl_that_drops_every_place_leaves_the_bias():
    model = built("adl", drop_rate=1.0, drop_threshold=0.0)
    _, logits = model(photos(), LABELS)
    torch.testing.assert_close(logits, model.head[-1].bias.expand(4, -1))


def test_layers_are_behind_the_first_blocks_of_two_stages_and_at_the_end():
    features = Features("resnet18", options=NETWORK["options"])
    layer3, layer4 = features.end_of(-2), features.end_of(-1)
    assert ADL(features, CLASSES).blocks() == [layer3[0], layer4[0], layer4[1]]
    assert ADL(features, CLASSES, after=[(3, -1), (-2, 1)]).blocks() == [layer3[1]]


def test_a_stage_without_blocks_is_one():
    model = built("adl", after=((0, 0), (0, -1)))
    assert model.blocks() == [model.features.body.act1]


def test_no_hook_is_left_by_a_step_that_fails():
    model = built("adl")
    with pytest.raises(IndexError, match="out of bounds"):
        model(photos(), LABELS + CLASSES)
    assert hooks(model) == 0


# CutMix


def twin_draws(seed: int, alpha: float, height: int, width: int) -> tuple[float, tuple[int, int]]:
    """Lambda and centre from numpy's generator, seeded with torch's first number."""
    torch.manual_seed(seed)
    numbers = np.random.RandomState(int(torch.randint(2**32, (1,))))
    numbers.rand()
    lam = numbers.beta(alpha, alpha)
    return lam, (numbers.randint(height), numbers.randint(width))


@pytest.mark.parametrize(("count", "smoothing"), [(4, 0.0), (4, 0.1), (3, 0.1), (1, 0.0)])
def test_mixing_is_what_the_twin_mixes(count, smoothing):
    model, images, labels = built("cutmix", alpha=0.8), photos(count, 20, 31), LABELS[:count]
    for seed in range(5):
        lam, centre = twin_draws(seed, 0.8, 20, 31)
        expected, targets = reference.mixed(images.numpy(), labels.tolist(), CLASSES, smoothing, lam, centre)
        torch.manual_seed(seed)
        ours, probabilities = model.mix(images, labels, smoothing)
        np.testing.assert_array_equal(ours.numpy(), expected)
        np.testing.assert_allclose(probabilities.numpy(), targets, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_of_cutmix_is_the_cross_entropy_of_mixed_labels_and_gives_the_logits_of_mixed_images(dtype):
    model, plain = built("cutmix").to(dtype), cam().to(dtype)
    torch.manual_seed(6)
    images, targets = model.mix(photos().to(dtype), LABELS, 0.1)
    torch.manual_seed(6)
    loss, logits = model(photos().to(dtype), LABELS, 0.1)
    assert torch.equal(logits, plain(images))
    expected = reference.cross_entropy(logits.detach().float().numpy(), targets.numpy())
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-5)


@pytest.mark.parametrize("count", [4, 5])
def test_labels_are_mixed_as_pixels_are(count):
    model, labels = built("cutmix"), torch.arange(count)
    images = labels[:, None, None, None].expand(-1, 3, 12, 10).float()
    shares = []
    for seed in range(60):
        torch.manual_seed(seed)
        mixed, targets = model.mix(images, labels, 0.0)
        for image, target in zip(mixed, targets, strict=True):
            pixels = torch.bincount(image[0].flatten().long(), minlength=CLASSES) / image[0].numel()
            torch.testing.assert_close(pixels, target)
        shares.append(targets.diagonal())
    assert all((torch.stack(shares) < 0.9).any(dim=0)), "an image is never mixed"


def test_a_large_alpha_cuts_half_the_image():
    model, sizes = built("cutmix", alpha=1e6), set()
    images = torch.stack([torch.zeros(3, 64, 64), torch.ones(3, 64, 64)])
    for seed in range(60):
        torch.manual_seed(seed)
        cut = model.mix(images, LABELS[:2], 0.0)[0][0, 0]
        sizes.add(int(cut.any(dim=0).sum()))
    assert max(sizes) == int(64 * 0.5**0.5) and min(sizes) >= max(sizes) // 2


@pytest.mark.parametrize("count", [4, 3])
def test_cutmix_that_never_mixes_is_cam(count):
    images, labels = photos(count), LABELS[:count]
    loss, logits = built("cutmix", mix_rate=0.0)(images, labels, 0.1)
    plain_loss, plain_logits = cam()(images, labels, 0.1)
    assert torch.equal(logits, plain_logits)
    torch.testing.assert_close(loss, plain_loss)


def test_the_share_of_mixed_batches_is_the_mix_rate():
    model, images = built("cutmix", mix_rate=0.3), photos(2, 16, 16)
    torch.manual_seed(0)
    mixed = [not torch.equal(model.mix(images, LABELS[:2], 0.0)[0], images) for _ in range(400)]
    assert abs(np.mean(mixed) - 0.3) < 0.07


def test_numpys_generator_is_as_before_also_after_a_failure():
    model = built("cutmix")
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.RandomState(7).rand(3)
    model.mix(photos(), LABELS, 0.0)
    with pytest.raises(RuntimeError):
        model.mix(photos(), LABELS + CLASSES, 0.0)
    np.testing.assert_array_equal(np.random.rand(3), expected)  # noqa: NPY002


def test_processes_cut_the_same_rectangle():
    model, cuts = built("cutmix"), []
    for images in (photos(4)[0::2], photos(4)[1::2]):
        torch.manual_seed(8)
        cuts.append((model.mix(images, LABELS[:2], 0.0)[0] != images).any(dim=(0, 1)))
    assert torch.equal(*cuts) and cuts[0].any()


# ACoL


@pytest.mark.parametrize("threshold", [0.0, 0.6, 1.0])
def test_a_step_of_acol_is_the_twins_sum_of_two_cross_entropies(threshold):
    model = acol_on_given(threshold)
    loss, logits = model(torch.zeros(4), LABELS, 0.1)
    heads = convolution(model.head), convolution(model.head_b)
    found = [
        reference.acol(features.detach().numpy(), label, threshold, *heads)
        for features, label in zip(model.features.maps, LABELS.tolist(), strict=True)
    ]
    targets = 0.9 * np.eye(CLASSES)[LABELS] + 0.1 / CLASSES
    first, second = (np.stack([image[k] for image in found]) for k in range(2))
    np.testing.assert_allclose(logits.detach().numpy(), first, rtol=1e-6)
    expected = reference.cross_entropy(first, targets) + reference.cross_entropy(second, targets)
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-5)


@pytest.mark.parametrize("threshold", [0.3, 0.6, 1.0])
def test_maps_of_acol_are_the_twins_for_every_class_asked_for(threshold):
    model, classes = acol_on_given(threshold), torch.tensor([[0, 4], [1, 1], [3, 2], [2, 0]])
    logits, maps = model.localize(torch.zeros(4), classes)
    heads = convolution(model.head), convolution(model.head_b)
    for i, features in enumerate(model.features.maps.detach().numpy()):
        for k, label in enumerate(classes[i].tolist()):
            own, _, fused = reference.acol(features, label, threshold, *heads)
            np.testing.assert_allclose(maps[i, k].numpy(), fused, atol=1e-5)
            np.testing.assert_allclose(logits[i].numpy(), own, atol=1e-6)


def test_the_map_of_a_class_is_that_of_asking_for_it_alone():
    model = acol_on_given()
    all_classes = torch.arange(CLASSES).expand(4, -1)
    together = model.localize(torch.zeros(4), all_classes)[1]
    for label in range(CLASSES):
        alone = model.localize(torch.zeros(4), torch.full((4, 1), label))[1]
        assert torch.equal(together[:, label], alone[:, 0])


def test_what_erases_carries_no_gradient():
    model = acol_on_given()
    head = model.head[-1].weight
    (whole,) = torch.autograd.grad(model(torch.zeros(4), LABELS)[0], head)
    scores = model.class_scores(torch.zeros(4))
    (alone,) = torch.autograd.grad(F.cross_entropy(scores.float(), LABELS), head)
    torch.testing.assert_close(whole, alone)


def test_features_learn_from_b_only_where_they_are_not_erased():
    model = acol_on_given()
    loss, _ = model(torch.zeros(4), LABELS)
    loss -= F.cross_entropy(model.class_scores(torch.zeros(4)).float(), LABELS)
    (gradient,) = torch.autograd.grad(loss, model.features.maps)
    heads = convolution(model.head)
    for features, label, found in zip(model.features.maps, LABELS.tolist(), gradient, strict=True):
        own = reference.to_unit_range(reference.class_maps(features.detach().numpy(), *heads)[label])
        erased = torch.from_numpy(own >= 0.6)
        assert found[:, erased].abs().max() < 1e-7 < 1e-4 < found[:, ~erased].abs().max()


def test_acols_logits_are_as_if_there_were_no_b():
    model = built("acol").eval()
    before = model(photos()), model.localize(photos(), LABELS[:, None])[0], model(photos(), LABELS)[1]
    for parameter in model.head_b.parameters():
        nn.init.constant_(parameter, 3.0)
    after = model(photos()), model.localize(photos(), LABELS[:, None])[0], model(photos(), LABELS)[1]
    for ours, theirs in zip(before, after, strict=True):
        assert torch.equal(ours, theirs)


def test_fused_maps_span_zero_to_one_and_a_flat_map_erases_nothing():
    model = acol_on_given()
    maps = model.localize(torch.zeros(4), LABELS[:, None])[1]
    assert maps.min() >= 0 and maps.max() == 1
    nn.init.zeros_(model.head[-1].weight)
    loss, _ = model(torch.zeros(4), LABELS)
    flat = F.cross_entropy(model.class_scores(torch.zeros(4)).float(), LABELS)
    others = model.head_b(model.features.maps).mean(dim=(2, 3))
    torch.testing.assert_close(loss, flat + F.cross_entropy(others.float(), LABELS))


def test_acols_classifiers_have_the_papers_neck():
    model = ACoL(Given(torch.zeros(1, 3, 2, 2)), CLASSES)
    for head in (model.head, model.head_b):
        shapes = [tuple(layer.weight.shape) for layer in head if hasattr(layer, "weight")]
        assert shapes == [(1024, 3, 3, 3), (1024, 1024, 3, 3), (CLASSES, 1024, 1, 1)]


# Settings that are refused


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("has", {"grid": 0}, "grid = 0 makes no patches; give how many there are along a side, 1 or more"),
        (
            "has",
            {"drop_rate": 1.2},
            r"drop_rate = 1.2 lies outside \[0, 1\]; it is a patch's chance to be hidden",
        ),
        ("has", {"drop_rate": float("nan")}, r"drop_rate = nan lies outside \[0, 1\]"),
        ("adl", {"drop_rate": -0.1}, r"drop_rate = -0.1 lies outside \[0, 1\]"),
        ("adl", {"drop_threshold": 1.1}, r"drop_threshold = 1.1 lies outside \[0, 1\]"),
        ("adl", {"after": ()}, r"after = \(\) leaves ADL no layer; give a \(stage, block\), or take CAM"),
        ("adl", {"after": [(5, 0)]}, r"after: stage 5 does not exist; the features' stages are 0\.\.4"),
        ("adl", {"after": [(-6, 0)]}, r"after: stage -6 does not exist; the features' stages are 0\.\.4"),
        ("adl", {"after": [(-1, 1)]}, r"after: block 1 of stage -1 does not exist; its blocks are 0\.\.0"),
        ("cutmix", {"alpha": 0.0}, "alpha = 0.0 is no positive number; 1 draws areas uniformly"),
        ("cutmix", {"alpha": float("inf")}, "alpha = inf is no positive number"),
        (
            "cutmix",
            {"mix_rate": 2.0},
            r"mix_rate = 2.0 lies outside \[0, 1\]; it is a batch's chance to be mixed",
        ),
        (
            "acol",
            {"threshold": -0.5},
            r"threshold = -0.5 lies outside \[0, 1\], the range of the map that erases",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        built(name, **settings)
