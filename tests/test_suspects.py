"""What the inquiry into AR and GAR measures with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.suspects import (
    AS_RELEASED,
    Compared,
    Variant,
    compare,
    fit_head,
    of_contrast,
    of_log_probability,
    of_logit,
    of_probability,
    ranks,
    rollouts,
    row_of,
)
from vitol.datasets.images import normalise
from vitol.maps import localization_maps

CLASSES = torch.tensor([2, 0, 4, 1])


def test_the_variants_that_the_library_has_are_the_librarys(vit, images):
    equation, late = Variant("Eq. 7", normalize_rows=False), Variant("late", start_block=2)
    made = rollouts(vit, images, CLASSES, [AS_RELEASED, equation, late])
    for name, method, options in (
        ("AR", "ar", {}),
        ("as released", "gar", {}),
        ("Eq. 7", "gar", {"normalize_rows": False}),
        ("late", "gar", {"start_block": 2}),
    ):
        expected = localization_maps(vit, images, CLASSES, method, **options)
        torch.testing.assert_close(made[name], expected, rtol=1e-12, atol=1e-14)


def test_without_classes_the_predicted_ones_are_explained(vit, images):
    made = rollouts(vit, images, None, [AS_RELEASED])
    assert torch.equal(made["predicted"], vit(images).argmax(dim=1))
    again = rollouts(vit, images, made["predicted"], [AS_RELEASED])
    torch.testing.assert_close(made["as released"], again["as released"], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("signal", "function"),
    [
        (of_logit, lambda logits: logits),
        (of_contrast, lambda logits: logits - logits.mean(dim=1, keepdim=True)),
        (of_log_probability, lambda logits: logits.log_softmax(dim=1)),
        (of_probability, lambda logits: logits.softmax(dim=1)),
    ],
)
def test_a_signal_is_the_gradient_of_what_it_is_named_after(signal, function):
    logits = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    own = function(logits).gather(1, CLASSES[:, None]).sum()
    (expected,) = torch.autograd.grad(own, logits)
    torch.testing.assert_close(signal(logits.detach(), CLASSES), expected)


def test_a_small_scale_leaves_one_step_of_the_rollout(vit, images):
    # (I + s T_K) ... (I + s T_1) = I + s (T_K + ... + T_1) + O(s^2)
    small, smaller = (Variant(str(s), scale=s, normalize_rows=False) for s in (1e-6, 1e-7))
    made = rollouts(vit, images, CLASSES, [small, smaller])
    torch.testing.assert_close(made["1e-06"] / 10, made["1e-07"], rtol=1e-4, atol=0)


def test_ranks_keep_order_and_ties_and_use_all_levels():
    maps = np.array([[[0.1, 5.0], [0.1, 0.2]], [[1, 1], [1, 1]]])
    assert ranks(maps).tolist() == [[[0, 2], [0, 1]], [[0, 0], [0, 0]]]


def test_a_line_holds_both_maps_their_difference_and_the_change_against_the_reference():
    rng = np.random.default_rng(0)
    ar, gar = rng.uniform(0, 0.4, (60, 255)), rng.uniform(0.5, 1, (60, 255))
    members = np.arange(60) < 40
    of, other = compare(ar, gar, members, 200, 0), compare(gar, ar, members, 200, 0)
    line = row_of("turned", other, of, "down")
    assert line["n_images"] == 40 and line["difference"] == pytest.approx(-of.difference)
    assert line["change"] == pytest.approx(-2 * of.difference)
    assert line["change_low"] <= line["change"] <= line["change_high"] < 0
    assert line["outcome"] == "for" and row_of("turned", other, of, "up")["outcome"] == "against"
    alone = row_of("itself", of, None, "up")
    assert np.isnan(alone["change"]) and alone["outcome"] == "" and alone["difference"] == of.difference


def test_the_same_images_in_other_conditions_are_paired():
    rng = np.random.default_rng(0)
    ar, gar = rng.uniform(0, 1, (50, 255)), rng.uniform(0, 1, (50, 255))
    every = np.ones(50, dtype=bool)
    one, same = (compare(ar, gar, every, 100, 0) for _ in range(2))
    assert isinstance(one, Compared)
    line = row_of("same", same, one, "up")
    assert line["change"] == line["change_low"] == line["change_high"] == 0


def test_a_head_is_fitted_on_the_features_of_its_classes_alone(vit):
    class Images(torch.utils.data.Dataset):
        """Twelve images of three classes, told apart by their brightness."""

        class split:
            labels = np.array([0, 1, 2] * 4)

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            label = int(self.split.labels[index])
            return torch.full((3, 32, 32), 30 + 100 * label, dtype=torch.uint8), label

    vit.float()
    before = {name: value.clone() for name, value in vit.state_dict().items() if "head" not in name}
    fit_head(vit, Images(), [2, 0], workers=0)
    assert vit.head.out_features == 2 and not vit.head.weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in vit.state_dict().items() if name in before)
    batch = torch.stack([Images()[at][0] for at in (2, 0)])
    assert vit(normalise(batch)).argmax(dim=1).tolist() == [0, 1]
