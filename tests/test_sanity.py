"""Maps under randomised weights: what is randomised, what stays, and what similarity means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from torch import nn

from vitol import sanity
from vitol.maps import Explanation, Method, explain
from vitol.sanity import (
    Cascade,
    parts_of,
    randomization_cascade,
    rank_correlation,
    redraw,
    restored,
    similarity_frame,
)

METHODS = {"ar": Method.of("ar"), "gar": Method.of("gar")}
PARTS = ["head", "block 3", "block 2", "block 1", "embedding"]


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_bits(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


# The cascade


def test_the_cascade_starts_with_the_models_own_maps_and_follows_its_own_predictions(vit, images):
    cascade = randomization_cascade(vit, images, None, METHODS)
    assert cascade.parts == ("none", *PARTS)
    own = explain(vit, images, None, list(METHODS.values()))
    for name, maps in zip(METHODS, own.maps, strict=True):
        assert cascade.maps[name].shape == (6, 4, 4, 4)
        torch.testing.assert_close(cascade.maps[name][0], maps)
    asked = randomization_cascade(vit, images, own.logits.argmax(dim=1), METHODS)
    assert all(torch.equal(asked.maps[name], cascade.maps[name]) for name in METHODS)


def test_the_class_stays_that_of_the_untouched_model_at_every_depth(vit, images, monkeypatch):
    asked = []

    def spy(model, batch, targets, methods):
        asked.append(targets)
        return explain(model, batch, targets, methods)

    monkeypatch.setattr(sanity, "explain", spy)
    predicted = vit(images).argmax(dim=1)
    randomization_cascade(vit, images, None, METHODS, batch_size=4)
    assert len(asked) == 6 and asked[0] is None
    assert all(torch.equal(targets, predicted) for targets in asked[1:])


def test_each_depth_randomises_one_part_more_and_keeps_the_parts_before_it(vit, images):
    before, parts = weights(vit), parts_of(vit)
    names = {id(parameter): name for name, parameter in vit.named_parameters()}
    seen = []
    randomization_cascade(vit, images, None, METHODS, progress=lambda: seen.append(weights(vit)))
    randomised: set[str] = set()
    for depth, part in enumerate(([], *parts.values())):
        own = {names[id(parameter)] for parameter in part}
        randomised |= own
        assert {name for name in before if not torch.equal(seen[depth][name], before[name])} == randomised
        assert all(torch.equal(seen[depth][name], seen[-1][name]) for name in own)
    assert randomised == set(names.values())


def test_a_map_without_a_class_does_not_see_the_head_and_one_with_a_class_does(vit, images):
    cascade = randomization_cascade(vit, images, None, METHODS)
    assert torch.equal(cascade.maps["ar"][1], cascade.maps["ar"][0])
    frame = similarity_frame(cascade).set_index(["method", "part"])["similarity"]
    assert frame["ar", "head"] == 1 and frame["gar", "head"] < 0.99
    assert (frame[:, "none"] == 1).all() and (frame[:, "embedding"] < 0.9).all()


def test_a_map_that_ignores_the_weights_stays_at_similarity_1(vit, images, monkeypatch):
    ramp = torch.arange(16.0).reshape(4, 4)

    def blind(model, batch, targets, methods):
        maps = (ramp.expand(len(batch), 4, 4), torch.ones(len(batch), 4, 4))
        return Explanation(model(batch), maps, torch.zeros(len(batch), dtype=torch.int64))

    monkeypatch.setattr(sanity, "explain", blind)
    frame = similarity_frame(randomization_cascade(vit, images, None, METHODS))
    assert (frame[["similarity", "ci_low", "ci_high"]] == 1).all(axis=None) and len(frame) == 12


def test_equal_seeds_give_equal_maps_and_other_seeds_others(vit, images):
    one, again, other = (randomization_cascade(vit, images, None, METHODS, seed=seed) for seed in (5, 5, 6))
    for name in METHODS:
        assert torch.equal(one.maps[name], again.maps[name])
        assert not torch.equal(one.maps[name][-1], other.maps[name][-1])
        assert torch.equal(one.maps[name][0], other.maps[name][0])


def test_batches_of_any_size_give_the_same_maps(vit, images):
    whole, split = (randomization_cascade(vit, images, None, METHODS, batch_size=size) for size in (4, 3))
    for name in METHODS:
        torch.testing.assert_close(whole.maps[name], split.maps[name], rtol=1e-9, atol=1e-12)


# The weights


def test_the_weights_come_back_bit_for_bit(vit, images):
    before = weights(vit)
    flags = {name: parameter.requires_grad for name, parameter in vit.named_parameters()}
    randomization_cascade(vit, images, None, METHODS)
    assert_same_bits(vit, before)
    assert {name: parameter.requires_grad for name, parameter in vit.named_parameters()} == flags
    assert all(parameter.grad is None for parameter in vit.parameters())


def test_the_weights_come_back_after_an_exception_at_any_depth(vit, images):
    before, depths = weights(vit), []

    def stop():
        depths.append(weights(vit))
        if len(depths) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        randomization_cascade(vit, images, None, METHODS, progress=stop)
    assert any(not torch.equal(depths[3][name], before[name]) for name in before)
    assert_same_bits(vit, before)
    with pytest.raises(ValueError, match="inside"), restored(vit):
        redraw(list(vit.parameters()), torch.Generator())
        raise ValueError("inside")
    assert_same_bits(vit, before)


def test_redrawn_tensors_keep_mean_and_spread_and_lose_their_order():
    values = nn.Parameter(torch.linspace(2, 5, 40_000).reshape(200, 200))
    before = values.detach().clone()
    redraw([values], torch.Generator().manual_seed(0))
    # Standard error of the mean and of the standard deviation: 0.87 / 200, and that over sqrt(2).
    assert abs(values.mean() - before.mean()) < 4 * 0.87 / 200
    assert abs(values.std() - before.std()) < 4 * 0.87 / 200 / 2**0.5
    assert abs(np.corrcoef(values.detach().flatten(), before.flatten())[0, 1]) < 4 / 200
    assert values.requires_grad


def test_a_constant_tensor_stays_as_it_is():
    zeros, single = nn.Parameter(torch.zeros(7)), nn.Parameter(torch.tensor([3.0]))
    redraw([zeros, single], torch.Generator().manual_seed(0))
    assert torch.equal(zeros, torch.zeros(7)) and torch.equal(single, torch.tensor([3.0]))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 24, "depth": 3, "num_heads": 3}),
        ("deit_tiny_distilled_patch16_224", {"img_size": 32, "embed_dim": 24, "depth": 3, "num_heads": 3}),
        ("eva02_tiny_patch14_224", {"img_size": 28, "embed_dim": 24, "depth": 3, "num_heads": 3}),
        ("beit_base_patch16_224", {"img_size": 32, "embed_dim": 24, "depth": 3, "num_heads": 3}),
        ("vit_relpos_base_patch16_clsgap_224", {"img_size": 32, "embed_dim": 24, "depth": 3, "num_heads": 3}),
    ],
)
def test_every_parameter_belongs_to_exactly_one_part(name, options):
    model = timm.create_model(name, num_classes=5, **options)
    parts = parts_of(model)
    assert list(parts) == PARTS
    ids = [id(parameter) for part in parts.values() for parameter in part]
    assert sorted(ids) == sorted(id(parameter) for parameter in model.parameters())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for at, part in enumerate(("block 1", "block 2", "block 3")):
        assert all(names[id(parameter)].startswith(f"blocks.{at}.") for parameter in parts[part])
    head, embedding = ({names[id(p)].split(".")[0] for p in parts[part]} for part in ("head", "embedding"))
    assert "head" in head and head <= {"norm", "fc_norm", "head", "head_dist"}
    assert "patch_embed" in embedding


# Similarity


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation with ranks counted one by one."""
    ranks = [
        np.array([(values < value).sum() + ((values == value).sum() - 1) / 2 for value in values])
        for values in (a.ravel(), b.ravel())
    ]
    return float(np.corrcoef(*ranks)[0, 1])


def test_rank_correlation_equals_counting_ranks_ties_included():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, (2, 20, 4, 5)).astype(float)
    expected = [spearman(one, other) for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlation(a, b), expected, atol=1e-12)


def test_rank_correlation_asks_for_the_order_alone():
    a = np.random.default_rng(1).random((3, 4, 4))
    np.testing.assert_allclose(rank_correlation(a, np.exp(5 * a)), 1)
    np.testing.assert_allclose(rank_correlation(a, -a), -1)


def test_a_constant_map_is_equal_to_itself_and_like_no_other():
    a, flat = np.random.default_rng(1).random((1, 4, 4)), np.full((1, 4, 4), 0.3)
    assert rank_correlation(flat, flat).tolist() == [1] == rank_correlation(a, a).tolist()
    assert rank_correlation(a, flat).tolist() == [0] == rank_correlation(flat, a).tolist()
    assert rank_correlation(flat, flat + 1).tolist() == [0]


def test_the_frame_holds_the_mean_over_images_and_the_interval_of_its_bootstrap():
    maps = torch.rand(3, 50, 4, 4, generator=torch.Generator().manual_seed(0))
    frame = similarity_frame(Cascade(("none", "head", "block 1"), {"gar": maps}), replicates=300, seed=4)
    assert list(frame) == ["method", "depth", "part", "similarity", "ci_low", "ci_high", "n_images"]
    assert frame["depth"].tolist() == [0, 1, 2] and (frame["n_images"] == 50).all()
    assert frame["part"].tolist() == ["none", "head", "block 1"]
    assert frame.loc[0, ["similarity", "ci_low", "ci_high"]].tolist() == [1, 1, 1]
    values = rank_correlation(maps[0].double().numpy(), maps[2].double().numpy())
    assert frame["similarity"][2] == pytest.approx(values.mean())
    draws = np.random.default_rng(4).integers(0, 50, (300, 50))
    expected = np.percentile([values[draw].mean() for draw in draws], [2.5, 97.5])
    np.testing.assert_allclose(frame.loc[2, ["ci_low", "ci_high"]].astype(float), expected)
    again = similarity_frame(Cascade(("none", "head", "block 1"), {"gar": maps}), replicates=300, seed=4)
    pd.testing.assert_frame_equal(frame, again)


# Refusals


def test_bad_input_is_refused_and_leaves_the_model_alone(vit, images):
    before = weights(vit)
    with pytest.raises(ValueError, match="0 methods and batch_size 32; give at least 1 of each"):
        randomization_cascade(vit, images, None, {})
    with pytest.raises(ValueError, match="2 methods and batch_size 0"):
        randomization_cascade(vit, images, None, METHODS, batch_size=0)
    with pytest.raises(
        ValueError, match=r"targets have shape \(4, 2\); one class an image is followed, \(B,\)"
    ):
        randomization_cascade(vit, images, torch.zeros(4, 2, dtype=torch.long), METHODS)
    with pytest.raises(
        ValueError, match="Linear has no `blocks` to randomise one by one; take a timm vision"
    ):
        randomization_cascade(nn.Linear(2, 2), images, None, METHODS)
    with pytest.raises(ValueError):
        randomization_cascade(vit, images[:0], None, METHODS)
    with pytest.raises(ValueError, match="training mode"):
        randomization_cascade(vit.train(), images, None, METHODS)
    assert_same_bits(vit, before)


def test_a_map_that_is_not_finite_is_named_with_image_and_depth(vit, images, monkeypatch):
    before = weights(vit)

    def broken(model, batch, targets, methods):
        maps = torch.rand(len(batch), 4, 4)
        if targets is not None:
            maps[2, 0, 0] = torch.nan
        return Explanation(model(batch), (maps,), torch.zeros(len(batch), dtype=torch.int64))

    monkeypatch.setattr(sanity, "explain", broken)
    with pytest.raises(
        ValueError, match="the 'gar' map of image 2 is not finite with the weights randomised down to 'head'"
    ):
        randomization_cascade(vit, images, None, {"gar": Method.of("gar")})
    assert_same_bits(vit, before)
