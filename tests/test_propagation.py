"""Relevance through whole models: against the original, the twin, and laws."""

import numpy as np
import pytest
import relevance_reference as reference
import timm
import torch
import torch.nn.functional as F
from test_maps import golden_model, relative
from torch import Tensor, nn

from vitol.attention import CaptureError, capture_attention
from vitol.maps import localization_maps
from vitol.propagation import Propagation, exact_arithmetic
from vitol.relevance import CHEFER, attn_lrp


def propagated(model, images, targets, rules, linear_type=torch.float64):
    """What arrives at every matrix, (B, K, H, N, N), and at the tokens entering the first block."""
    propagation = Propagation(len(images), linear_type)
    arrived: dict[int, Tensor] = {}
    with capture_attention(model, from_tokens=True) as capture:
        with propagation:
            logits = model(images)
        one_hot = F.one_hot(targets, logits.shape[1]).to(logits)
        with propagation.under(rules):
            (entering,) = capture.pull_back(logits, one_hot, arrived.__setitem__, also=[capture.entering])
    return torch.stack([arrived[block] for block in sorted(arrived)], dim=1), entering


def test_relevance_equals_the_original_implementation(golden_maps):
    images, targets = torch.tensor(golden_maps["images"]), torch.tensor(golden_maps["targets"])
    ours, _ = propagated(golden_model(golden_maps), images, targets, CHEFER)
    assert relative(ours.numpy(), golden_maps["relevance"]) < 1e-4


@pytest.mark.parametrize("gamma", [None, 0.0, 0.05])
def test_relevance_equals_the_twin(golden_maps, gamma):
    model = golden_model(golden_maps)
    weights = {k.removeprefix("weights/"): v for k, v in golden_maps.items() if k.startswith("weights/")}
    config = {k.removeprefix("config/"): int(v) for k, v in golden_maps.items() if k.startswith("config/")}
    images, targets = torch.tensor(golden_maps["images"][:2]), torch.tensor(golden_maps["targets"][:2])
    rules, twin = (
        (CHEFER, reference.CHEFER) if gamma is None else (attn_lrp(gamma), reference.attn_lrp(gamma))
    )
    matrices, entering = propagated(model, images, targets, rules)
    for i in range(2):
        made = reference.propagate(weights, config, golden_maps["images"][i], int(targets[i]), twin)
        # Not closer: timm scales the queries before their product with the keys, the twin after it, and the
        # stabiliser is added to either.
        assert relative(matrices[i].numpy(), made.matrices) < 1e-6
        assert relative(entering[i].numpy(), made.tokens) < 1e-6


def test_without_rules_gradients_are_torch_s(vit, images):
    targets = torch.tensor([0, 1, 2, 3])
    ours, _ = propagated(vit, images, targets, None)
    with capture_attention(vit) as capture:
        logits = vit(images)
        plain: dict[int, Tensor] = {}
        capture.pull_back(logits, F.one_hot(targets, 5).to(logits), plain.__setitem__)
    torch.testing.assert_close(ours, torch.stack([plain[b] for b in range(3)], dim=1), rtol=1e-10, atol=1e-14)


def test_values_are_torch_s(vit, images):
    with capture_attention(vit, from_tokens=True), Propagation(4, torch.float64):
        inside = vit(images)
    torch.testing.assert_close(inside, vit(images), rtol=1e-12, atol=1e-12)


MATRIX = torch.randn(8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Calls(nn.Module):
    """A model of blocks whose MLP makes one call of torch's."""

    def __init__(self, call):
        super().__init__()
        torch.manual_seed(0)
        self.inner = timm.create_model(
            "vit_tiny_patch16_224",
            img_size=16,
            patch_size=8,
            embed_dim=8,
            depth=1,
            num_heads=2,
            num_classes=3,
        ).double()
        self.inner.blocks[0].mlp.forward = call

    def relevance(self) -> Tensor:
        images = torch.ones(2, 3, 16, 16, dtype=torch.float64)
        return propagated(self.inner.eval(), images, torch.tensor([0, 1]), CHEFER)[1]


def test_a_function_without_a_rule_is_an_error_that_names_it():
    with pytest.raises(
        CaptureError, match="relevance has no rule for torch's cumsum, which this model calls"
    ):
        Calls(lambda x: x.cumsum(dim=1)).relevance()
    with pytest.raises(CaptureError, match="no rule for torch's add_"):
        Calls(lambda x: x.clone().add_(x)).relevance()
    with pytest.raises(CaptureError, match="no rule for torch's sub"):
        Calls(lambda x: x - x.mean(dim=-1, keepdim=True)).relevance()


def test_summands_of_other_shapes_are_an_error():
    with pytest.raises(CaptureError, match=r"summands of shapes \(2, 5, 8\) and \(2, 1, 8\)"):
        Calls(lambda x: x + x.mean(dim=1, keepdim=True)).relevance()


@pytest.mark.parametrize(
    ("call", "same_as"),
    [
        (lambda x: F.linear(input=x, weight=MATRIX, bias=None), lambda x: F.linear(x, MATRIX)),
        (lambda x: 3 * x, lambda x: x * 3),
        (lambda x: x / 2, lambda x: x * 0.5),
        (lambda x: x + torch.ones(8), lambda x: torch.ones(8) + x),
        (lambda x: F.gelu(x), lambda x: nn.GELU()(x)),
        (lambda x: x.softmax(-1), lambda x: F.softmax(x, dim=-1)),
        (lambda x: torch.add(x, x), lambda x: x + x),
        (lambda x: x * x.sigmoid(), lambda x: torch.sigmoid(x) * x),
    ],
)
def test_ways_of_writing_an_operation_agree(call, same_as):
    torch.testing.assert_close(Calls(call).relevance(), Calls(same_as).relevance(), rtol=1e-7, atol=1e-9)


def test_an_addition_in_place_leaves_what_a_linear_layer_remembers():
    bias = torch.ones(8, dtype=torch.float64)

    def in_place(x):
        out = F.linear(x, MATRIX)
        out += bias
        return out

    expected = Calls(lambda x: F.linear(x, MATRIX, bias)).relevance()
    torch.testing.assert_close(Calls(in_place).relevance(), expected)


def test_arithmetic_settings_are_restored():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with pytest.raises(RuntimeError), exact_arithmetic(torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == "highest"
            raise RuntimeError
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_precisions_agree_as_far_as_their_digits_go(vit, images):
    single = vit.float()
    maps = {
        precision: localization_maps(single, images.float(), method="lrp", precision=precision).numpy()
        for precision in ("model", "mixed", "double")
    }
    assert all(made.dtype == np.float32 for made in maps.values())
    assert relative(maps["mixed"], maps["double"]) < 1e-5
    assert relative(maps["model"], maps["double"]) < 0.5
    assert not np.array_equal(maps["model"], maps["double"])
