"""Rivals that guide or compare features in training: SPG, MEIL and I2C."""

from __future__ import annotations

from functools import cache

import cams_reference_guidance as reference
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vitol.cams import i2c, meil, spg
from vitol.cams.cam import CAM
from vitol.cams.i2c import I2C
from vitol.cams.meil import MEIL
from vitol.cams.spg import SPG

NETWORK = {"architecture": "resnet10t", "options": {"channels": (4, 6, 8, 10), "stem_width": 4}}
LABELS = torch.tensor([2, 0, 2, 2])
THRESHOLDS = {"b2": (0.2, 0.6), "b1": (0.47, 0.5), "c": (0.48, 0.51)}
SETTINGS = {SPG: {"width": 6, **THRESHOLDS}, MEIL: {}, I2C: {"neck": 0, "dropout": 0.0, "threshold": 0.5}}
METHODS = pytest.mark.parametrize("method", SETTINGS)


@cache
def weights():
    torch.manual_seed(0)
    return CAM.on(num_classes=5, **NETWORK).state_dict()


def built(method, **settings):
    """A model in training mode, its normalisation that of inference; network and head are the same for every method."""
    torch.manual_seed(1)
    model = method.on(num_classes=5, **NETWORK | SETTINGS.get(method, {}) | settings)
    if not settings.get("neck"):
        model.load_state_dict(weights(), strict=False)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    return model


def drawn(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def images():
    return drawn(4, 3, 64, 64)


def twin(images):
    """CAM of the same weights as `built`."""
    return built(CAM)(images, LABELS, 0.1)


def gradients(loss, modules):
    """Of all parameters of some modules; None where a parameter took no part."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)


@METHODS
def test_maps_of_a_batch_are_those_of_its_images_alone(method, images):
    model = built(method).eval()
    classes = torch.tensor([[0, 3], [1, 1], [2, 4], [4, 0]])
    logits, maps = model.localize(images, classes)
    for i in range(4):
        alone = model.localize(images[i : i + 1], classes[i : i + 1])
        torch.testing.assert_close((logits[i : i + 1], maps[i : i + 1]), alone)


@METHODS
def test_maps_and_scores_are_those_of_cam(method, images):
    classes = torch.tensor([[0], [3], [1], [2]])
    for expected, found in zip(
        built(CAM).localize(images, classes), built(method).localize(images, classes), strict=True
    ):
        assert not found.requires_grad
        torch.testing.assert_close(found, expected)


@METHODS
def test_a_step_tells_the_logits_of_the_whole_images(method, images):
    _, logits = built(method)(images, LABELS, 0.0)
    torch.testing.assert_close(logits, built(CAM)(images))


@METHODS
def test_turning_the_batch_around_turns_the_logits_and_leaves_the_loss(method, images):
    # With the maximum alone for an object, I2C's draws make no difference; in eval mode its centres stay.
    model = built(method, **({"threshold": 1.0, "lambda_gc": 1.0} if method is I2C else {}))
    if method is I2C:
        model.eval().centres.fill_(1)
        model.updates.fill_(1)
    order = torch.tensor([2, 0, 3, 1])
    loss, logits = model(images, LABELS, 0.1)
    turned_loss, turned = model(images[order], LABELS[order], 0.1)
    torch.testing.assert_close(turned, logits[order])
    torch.testing.assert_close(turned_loss, loss)
    assert loss > twin(images)[0] + 0.01


@METHODS
def test_a_step_in_bfloat16_has_a_finite_loss_in_float32(method, images):
    model = built(method).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = [model(images, LABELS, 0.1)[0] for _ in range(2)]
    for loss in losses:
        loss.backward()
        assert loss.dtype == torch.float32 and loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@METHODS
def test_a_few_steps_of_training_lower_the_loss(method, images):
    model = built(method).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(5):
        loss, _ = model(images, LABELS, 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[1]


# SPG


def branches(model, images):
    """What SPG's branches say, before resizing, and its class maps; layer by layer."""
    outputs = model.features.body(images)
    b1, b2 = (
        model.branch_b(branch(outputs[stage]))
        for branch, stage in zip((model.branch_b1, model.branch_b2), model.stages, strict=True)
    )
    return model.head(outputs[-1]), {"b1": b1, "b2": b2, "c": model.branch_c(outputs[-1])}


def test_seeds_are_those_of_the_twin():
    scores = torch.rand(3, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    scores[1] *= 0.6
    for low, high in ((0.1, 0.5), (0.05, 0.7), (0.5, 0.5), (0.0, 1.0)):
        expected = [reference.seeds(image.numpy(), low, high) for image in scores]
        np.testing.assert_array_equal(spg.seeds(scores, low, high), expected)


def test_an_image_with_few_pixels_above_the_threshold_gets_its_own():
    scores = torch.zeros(2, 6, 6)
    scores[0], scores[1, 0] = 0.9, torch.tensor([0.4, 0.29, 0.27, 0.1, 0.0, 0.2])
    marks = spg.seeds(scores, 0.15, 0.8)
    assert marks[0].eq(1).all()
    assert marks[1, 0].tolist() == [1, 1, 255, 0, 0, 255]


def test_a_map_that_is_zero_everywhere_has_no_object_and_seeds_have_no_gradient():
    scores = torch.zeros(1, 3, 3, requires_grad=True)
    for low, mark in ((0.0, 255), (0.05, 0)):
        marks = spg.seeds(scores, low, 0.7)
        assert marks.eq(mark).all() and not marks.requires_grad


def test_the_loss_of_seeds_is_that_of_the_twin():
    logits = drawn(3, 7, 5, dtype=torch.float64)
    marks = torch.tensor([0.0, 1.0, 255.0])[torch.arange(105) % 3].reshape(3, 7, 5).double()
    expected = reference.seed_loss(list(logits.numpy()), list(marks.numpy()))
    assert spg.seed_loss(logits, marks).item() == pytest.approx(expected, rel=1e-12)


def test_ignored_pixels_change_nothing():
    logits = drawn(2, 4, 4).requires_grad_()
    marks = torch.full((2, 4, 4), 255.0)
    marks[0, 0, 0], marks[1, 2, 3] = 1, 0
    loss = spg.seed_loss(logits, marks)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.ne(0).sum() == 2 and gradient[0, 0, 0] < 0 < gradient[1, 2, 3]
    moved = torch.where(marks == 255, logits + 3, logits)
    torch.testing.assert_close(spg.seed_loss(moved, marks), loss)


def test_without_any_seed_the_loss_of_seeds_is_zero():
    logits = drawn(1, 2, 2).requires_grad_()
    loss = spg.seed_loss(logits, torch.full((1, 2, 2), 255.0))
    loss.backward()
    assert loss == 0 and logits.grad.eq(0).all()


@pytest.mark.parametrize("size", [(64, 48), (3, 5), (8, 8)])
def test_resizing_is_bilinear_between_pixel_centres(size):
    maps = drawn(1, 2, 8, 6, dtype=torch.float64)
    for found, image in zip(spg.resized(maps, size)[0], maps[0], strict=True):
        torch.testing.assert_close(
            found, torch.tensor(reference.bilinear(image.numpy(), *size), dtype=torch.float32)
        )


def test_the_loss_of_spg_is_that_of_the_twin(images):
    # Maps of 14 x 10 and 7 x 5, whose greatest values lie between the pixels that they are resized to.
    options = NETWORK["options"] | {"output_stride": 8}
    model, images, labels = built(SPG, options=options, stages=(1, 2)), images[:3, :, :56, :40], LABELS[:3]
    with torch.no_grad():
        # Far from 0, where the mean of sigmoids would be the sigmoid of the mean, and of either sign.
        model.branch_b[-1].weight *= 40
        model.branch_b[-1].bias -= 6
    maps, says = branches(model, images)
    expected = reference.spg(
        maps.detach().double().numpy(),
        {name: value[:, 0].detach().double().numpy() for name, value in says.items()},
        labels.tolist(),
        (56, 40),
        THRESHOLDS,
    )
    loss = model(images, labels, 0.0)[0].item()
    assert loss == pytest.approx(expected, rel=1e-5)
    assert loss > built(CAM, options=options)(images, labels, 0.0)[0] + 1


def test_the_loss_of_spg_without_its_branches_is_that_of_cam(images, monkeypatch):
    monkeypatch.setattr(spg, "seed_loss", lambda logits, marks: logits.sum() * 0)
    torch.testing.assert_close(built(SPG)(images, LABELS, 0.1)[0], twin(images)[0], rtol=0, atol=0)


def test_branches_teach_the_features_and_not_each_other(images, monkeypatch):
    losses = []
    kept = spg.seed_loss
    monkeypatch.setattr(spg, "seed_loss", lambda *args: losses.append(kept(*args)) or losses[-1])
    model = built(SPG)
    model(images, LABELS, 0.0)
    stages = [model.features.end_of(stage) for stage in range(5)]
    own = {"b2": model.branch_b2, "b1": model.branch_b1, "c": model.branch_c}
    reach = {"b2": 4, "b1": 3, "c": 5}
    for name, loss in zip(own, losses, strict=True):
        assert all(g is None for g in gradients(loss, [model.head]))
        for other, branch in own.items():
            assert all((g is not None and g.any()) == (other == name) for g in gradients(loss, [branch]))
        shared = gradients(loss, [model.branch_b])
        assert all((g is not None) == (name != "c") for g in shared)
        for number, stage in enumerate(stages[1:], start=1):
            assert any(g is not None and g.any() for g in gradients(loss, [stage])) == (number < reach[name])


def test_c_reads_what_the_last_convolution_reads(images):
    model = built(SPG, neck=7)
    assert model.branch_c[0].weight.shape == (6, 7, 3, 3)
    loss, _ = model(images, LABELS, 0.0)
    assert all(g is not None for g in gradients(loss, [model.head, model.branch_c]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"b2": (0.7, 0.05)}, r"b2 = \(0.7, 0.05\) is not a low and a high threshold, 0 <= low <= high <= 1"),
        ({"b1": (-0.1, 0.5)}, r"b1 = \(-0.1, 0.5\) is not a low and a high threshold"),
        ({"c": (0.1, 1.1)}, r"c = \(0.1, 1.1\) is not a low and a high threshold"),
        ({"c": (0.1,)}, r"c = \(0.1,\) is not a low and a high threshold"),
        ({"stages": (3, 2)}, r"stages = \(3, 2\): give two, that of B1 first, which comes before that of B2"),
        ({"stages": (2, -3)}, r"stages = \(2, -3\): give two"),
        ({"stages": (1, 2, 3)}, r"stages = \(1, 2, 3\): give two"),
        (
            {"stages": (2, 5)},
            r"stage 5 does not exist; the stages of these features are 0..4, or -5..-1 from the end",
        ),
        ({"width": 0}, r"width = 0: the branches need at least 1 channel"),
    ],
)
def test_spg_refuses_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        built(SPG, **settings)


# MEIL


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.7, 1.0])
def test_what_is_erased_is_what_the_twin_erases(gamma):
    features = drawn(3, 5, 4, 6, dtype=torch.float64) + 0.3
    features[2] -= 4
    expected = np.stack([reference.erased(image.numpy(), gamma) for image in features])
    np.testing.assert_array_equal(meil.erased(features, gamma), expected)
    lost = (expected == 0).all(axis=1).sum(axis=(1, 2))
    assert 0 < lost[0] < 24 and (lost[2] == 0) == (gamma < 1)


def test_the_gradient_of_erased_features_is_the_mask():
    features = drawn(2, 3, 4, 4).requires_grad_()
    out = meil.erased(features, 0.5)
    (gradient,) = torch.autograd.grad(out.sum(), features)
    assert torch.equal(gradient, (out != 0).float()) and 0 < gradient.mean() < 1


def passed_on(model, features, stage):
    """Logits of the output of a stage, layer by layer."""
    names = [name for name, _ in model.features.body.named_children()]
    for name in names[names.index(model.features.stages[stage]) + 1 :]:
        features = model.features.body.get_submodule(name)(features)
    return model.head(features).mean(dim=(2, 3))


@pytest.mark.parametrize("stages", [(2,), (-2, 2), (1, 3, 4)])
def test_the_loss_of_meil_is_that_of_every_stream_on_its_own(images, stages):
    model = built(MEIL, stages=stages, gamma=0.8, alpha=0.6).double()
    outputs = model.features.body(images.double())
    expected = reference.cross_entropy(model(images.double()).detach().numpy(), LABELS.tolist(), 0.1)
    for stage in stages:
        features = torch.tensor(
            np.stack([reference.erased(image.numpy(), 0.8) for image in outputs[stage].detach()])
        )
        assert not torch.equal(features, outputs[stage])
        logits = passed_on(model, features, stage).detach().numpy()
        expected += 0.6 * reference.cross_entropy(logits, LABELS.tolist(), 0.1)
    loss, logits = model(images.double(), LABELS, 0.1)
    assert logits.shape == (4, 5)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_meil_without_weight_is_cam_to_the_last_bit(images):
    model, cam = built(MEIL, alpha=0.0).train(), built(CAM).train()
    for found, expected in zip(model(images, LABELS, 0.1), cam(images, LABELS, 0.1), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_in_eval_mode_meil_erases_nothing(images):
    torch.testing.assert_close(built(MEIL).eval()(images, LABELS, 0.1)[0], twin(images)[0], rtol=0, atol=0)


def test_in_training_mode_scores_without_labels_are_of_whole_images_alone(images):
    torch.testing.assert_close(built(MEIL)(images), built(CAM)(images))


def test_meil_leaves_no_hooks_and_no_keys_behind(images):
    model = built(MEIL)
    assert model.state_dict().keys() == built(CAM).state_dict().keys()
    model(images, LABELS, 0.0)
    with pytest.raises(RuntimeError):
        model(images[:, :2], LABELS, 0.0)
    assert not any(module._forward_hooks for module in model.modules())


def test_the_erased_stream_teaches_what_lies_before_the_stage_where_nothing_is_erased(images):
    model = built(MEIL, stages=(3,), gamma=0.9)
    seen = []
    handle = model.features.end_of(3).register_forward_hook(lambda _, __, output: seen.append(output))
    with_both, _ = model(images, LABELS, 0.0)
    handle.remove()
    features = seen[0]
    whole = F.cross_entropy(passed_on(model, features, 3), LABELS)
    (gradient,) = torch.autograd.grad(with_both - whole, features)
    kept = meil.erased(torch.ones_like(features) * features.detach(), 0.9).ne(0).any(dim=1)
    away = ~kept & features.detach().ne(0).any(dim=1)
    assert gradient.abs().sum(dim=1)[away].max() < 1e-6 < gradient.abs().sum(dim=1)[kept].max()


def test_stages_are_counted_from_either_end():
    assert built(MEIL, stages=(-5, 4, -2)).stages == [0, 4, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.5}, r"gamma = 1.5 lies outside \[0, 1\]; it is a share of the maximum"),
        ({"gamma": -0.1}, r"gamma = -0.1 lies outside"),
        ({"alpha": -1.0}, r"alpha = -1.0 is negative; 0 trains as CAM does"),
        ({"alpha": float("nan")}, r"alpha = nan is negative"),
        ({"stages": ()}, r"stages = \(\): give at least one, and each of them once"),
        ({"stages": (2, -3)}, r"stages = \(2, -3\): give at least one, and each of them once"),
        (
            {"stages": (-6,)},
            r"stage -6 does not exist; the stages of these features are 0..4, or -5..-1 from the end",
        ),
    ],
)
def test_meil_refuses_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        built(MEIL, **settings)


# I2C


def test_object_pixels_are_drawn_as_the_twin_draws_them():
    maps = drawn(4, 5, 6, dtype=torch.float64)
    for threshold, count in ((0.3, 4), (0.9, 5), (1.0, 2), (0.0, 40)):
        torch.manual_seed(3)
        draws = torch.rand(4, 30).tolist()
        torch.manual_seed(3)
        expected = [
            reference.object_pixels(image.numpy(), draw, threshold, count)
            for image, draw in zip(maps, draws, strict=True)
        ]
        assert i2c.object_pixels(maps, threshold, count).tolist() == expected


def test_a_flat_map_is_all_object():
    assert set(i2c.object_pixels(torch.ones(1, 2, 2), 0.7, 8)[0].tolist()) == {0, 1, 2, 3}


def test_other_draws_take_other_pixels():
    found = [i2c.object_pixels(drawn(1, 8, 8), 0.2, 3).tolist() for _ in range(2)]
    assert found[0] != found[1]


def test_both_consistencies_are_those_of_the_twin_batch_after_batch():
    bank, model = reference.Bank(0.3), built(I2C, decay=0.3).double()
    for number, labels in enumerate(([1, 4, 1, 1, 2], [1, 2, 3, 4, 0], [4, 4, 1, 1, 4])):
        objects = drawn(5, 3, 10, seed=number, dtype=torch.float64)
        expected = reference.stochastic_consistency(objects.numpy(), labels)
        found = i2c.stochastic_consistency(objects, torch.tensor(labels))
        assert found.item() == pytest.approx(expected, rel=1e-12) and bool(expected) == (number != 1)
        classes, means = i2c.class_means(objects, torch.tensor(labels))
        known = model.updates[classes] > 0
        found = i2c.global_consistency(means, model.centres[classes], known)
        expected = bank.global_consistency(objects.numpy(), labels)
        assert found.item() == pytest.approx(expected, rel=1e-6) and bool(expected) == (number != 0)
        model._move(classes, means.float())
    for c, centre in bank.centres.items():
        np.testing.assert_allclose(model.centres[c], centre, rtol=1e-4, atol=1e-6)
        assert model.updates[c] == bank.updates[c]


def test_the_loss_of_i2c_is_that_of_the_twin_batch_after_batch(images):
    model = built(I2C, lambda_sc=0.5, lambda_gc=0.25, decay=0.3)
    bank = reference.Bank(0.3)
    for labels in ([2, 0, 2, 2], [1, 0, 3, 1], [2, 2, 0, 3]):
        features = model.features(images).detach()
        maps = model.head(features).detach().double().numpy()
        torch.manual_seed(5)
        draws = torch.rand(4, 4).tolist()
        places = [reference.object_pixels(maps[i, label], draws[i], 0.5, 3) for i, label in enumerate(labels)]
        flat = features.double().flatten(2).numpy()
        objects = np.stack([flat[i][:, place].T for i, place in enumerate(places)])
        expected = (
            reference.cross_entropy(maps.mean(axis=(2, 3)), labels)
            + 0.5 * reference.stochastic_consistency(objects, labels)
            + 0.25 * bank.global_consistency(objects, labels)
        )
        torch.manual_seed(5)
        loss, _ = model(images, torch.tensor(labels), 0.0)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        # What features come to must change between batches for the centres to be any distance away.
        images = images.flip(0)


def test_in_a_batch_of_pairs_the_losses_of_i2c_are_the_authors():
    # Two images of each class side by side: a distance a pair and pixel, and a mean feature a pair.
    objects, labels = drawn(6, 3, 10, dtype=torch.float64), torch.tensor([0, 0, 2, 2, 4, 4])
    centres, pairs = drawn(5, 10, seed=2, dtype=torch.float64), objects.numpy().reshape(3, 2, 3, 10)
    apart = [reference.distance(one[k], other[k]) for one, other in pairs for k in range(3)]
    assert i2c.stochastic_consistency(objects, labels).item() == pytest.approx(np.mean(apart), rel=1e-12)
    classes, means = i2c.class_means(objects, labels)
    from_centres = [
        reference.distance(pair.mean(axis=1).mean(axis=0), centres[c].numpy())
        for pair, c in zip(pairs, (0, 2, 4), strict=True)
    ]
    found = i2c.global_consistency(means, centres[classes], torch.ones(3, dtype=torch.bool))
    assert found.item() == pytest.approx(np.mean(from_centres), rel=1e-12)


def test_means_of_classes_are_not_rounded_in_bfloat16():
    objects, labels = 3 + drawn(4, 3, 10), torch.tensor([0, 1, 1, 0])
    expected = i2c.class_means(objects, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = i2c.class_means(objects, labels)
    assert found[1].dtype == torch.float32 and torch.equal(found[1], expected[1])


def test_i2c_has_the_head_of_its_authors(images):
    head = I2C.on(num_classes=5, **NETWORK).head
    convolutions = [layer for layer in head if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [1024, 1024, 5]
    assert [type(layer).__name__ for layer in head] == [
        *["Dropout", "Conv2d", "ReLU"] * 2,
        "Dropout",
        "Conv2d",
    ]
    assert {layer.p for layer in head if isinstance(layer, nn.Dropout)} == {0.5}
    model = built(I2C, neck=6, dropout=0.5)
    assert not torch.equal(model.class_scores(images), model.class_scores(images))
    model.eval()
    assert torch.equal(model.class_scores(images), model.class_scores(images))


def test_without_weights_i2c_is_cam_to_the_last_bit(images):
    model = built(I2C, lambda_sc=0.0, lambda_gc=0.0)
    for _ in range(2):
        torch.testing.assert_close(model(images, LABELS, 0.1)[0], twin(images)[0], rtol=0, atol=0)


def test_a_batch_without_pairs_and_centres_trains_as_cam_does(images):
    labels = torch.tensor([0, 1, 2, 3])
    loss, _ = built(I2C)(images, labels, 0.1)
    torch.testing.assert_close(loss, built(CAM)(images, labels, 0.1)[0], rtol=0, atol=0)


def test_consistency_teaches_the_features_and_not_the_head(images):
    losses = {}
    for name, weights in {"cam": (0, 0), "sc": (1, 0), "gc": (0, 1)}.items():
        model = built(I2C, lambda_sc=weights[0], lambda_gc=weights[1])
        model.centres.fill_(1)
        model.updates.fill_(4)
        torch.manual_seed(6)
        loss, _ = model(images, LABELS, 0.0)
        losses[name] = (gradients(loss, [model.head]), gradients(loss, [model.features]))
    for name in ("sc", "gc"):
        for found, expected in zip(losses[name][0], losses["cam"][0], strict=True):
            assert torch.equal(found, expected)
        assert any(not torch.equal(a, b) for a, b in zip(losses[name][1], losses["cam"][1], strict=True))


def test_only_pixels_drawn_get_a_gradient():
    objects = drawn(3, 2, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(i2c.stochastic_consistency(objects, torch.tensor([1, 0, 1])), objects)
    assert gradient[1].eq(0).all() and gradient[[0, 2]].ne(0).all()
    torch.testing.assert_close(gradient[0], -gradient[2])


def test_pixels_of_equal_features_have_no_gradient_instead_of_none_at_all():
    objects = torch.ones(2, 1, 3, requires_grad=True)
    i2c.stochastic_consistency(objects, torch.tensor([0, 0])).backward()
    assert objects.grad.eq(0).all()


def test_centres_move_in_training_alone_and_go_into_the_state(images):
    model = built(I2C).eval()
    model(images, LABELS, 0.0)
    assert model.centres.eq(0).all() and model.updates.eq(0).all()
    model.train()
    model(images, LABELS, 0.0)
    assert model.updates.tolist() == [1, 0, 1, 0, 0]
    assert model.centres.ne(0).any(dim=1).tolist() == [True, False, True, False, False]
    assert not model.centres.requires_grad
    other = built(I2C)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.centres, model.centres) and torch.equal(other.updates, model.updates)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lambda_sc": -1.0}, r"lambda_sc = -1.0 is negative; give 0 or more"),
        ({"lambda_gc": -1.0}, r"lambda_gc = -1.0 is negative; give 0 or more"),
        ({"decay": -0.1}, r"decay = -0.1 is negative; give 0 or more"),
        ({"threshold": 1.5}, r"threshold = 1.5 lies outside \[0, 1\]; it is a share of the maximum"),
        ({"dropout": 1.0}, r"dropout = 1.0 lies outside \[0, 1\); it is a probability, and 1 leaves nothing"),
        ({"pixels": 0}, r"pixels = 0: draw at least 1; for CAM set both lambdas to 0"),
    ],
)
def test_i2c_refuses_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        built(I2C, **settings)
