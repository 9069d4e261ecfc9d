import numpy as np
import pytest
import relevance_reference as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vitol.relevance import CHEFER, attn_lrp, product_parts, stabilised_ratio

GENERATOR = torch.Generator().manual_seed(0)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def same(ours: Tensor, twin: np.ndarray) -> None:
    np.testing.assert_allclose(ours.numpy(), twin, rtol=1e-9, atol=1e-12)


def test_the_ratio_equals_its_twin_and_is_zero_where_nothing_contributes():
    relevance, z = random(3, 4), random(3, 4)
    z[1] = 0
    made = stabilised_ratio(relevance, z)
    same(made, reference.stabilised_division(relevance.numpy(), z.numpy()))
    assert (made[1] == 0).all()


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("gamma", [None, 0.0, 0.05, 2.0])
def test_linear_rules_equal_their_twins(with_bias, gamma):
    x, weight, relevance = random(7, 5), random(6, 5), random(7, 6)
    bias = random(6) if with_bias else None
    output = torch.nn.functional.linear(x, weight, bias)
    rules = CHEFER if gamma is None else attn_lrp(gamma)
    twin = reference.CHEFER if gamma is None else reference.attn_lrp(gamma)
    arrays = (x.numpy(), weight.numpy(), None if bias is None else bias.numpy(), relevance.numpy())
    same(rules.linear(x, weight, bias, output, relevance), twin.linear(*arrays))


def test_linear_rule_hands_on_all_relevance_and_none_to_a_bias():
    x, weight, bias, relevance = random(7, 50), random(6, 50), random(6), random(7, 6)
    made = CHEFER.linear(x, weight, bias, x @ weight.T + bias, relevance)
    torch.testing.assert_close(made.sum(dim=1), relevance.sum(dim=1))


def test_an_input_of_zeros_gets_no_relevance():
    x, weight, relevance = torch.zeros(2, 5).double(), random(6, 5), random(2, 6)
    assert (CHEFER.linear(x, weight, None, x @ weight.T, relevance) == 0).all()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_an_output_without_a_positive_contribution_hands_nothing_on(kind):
    x, weight = random(3, 50).abs().to(kind), -random(4, 50).abs().to(kind)
    weight[0] = -weight[0]
    relevance = torch.ones(3, 4, dtype=kind)
    made = CHEFER.linear(x, weight, None, x @ weight.T, relevance)
    torch.testing.assert_close(made.sum(dim=1), torch.ones(3, dtype=kind))


@pytest.mark.parametrize("rules", ["chefer", "attnlrp"])
def test_add_equals_its_twin_image_by_image(rules):
    a, b, relevance = random(3, 4, 5), random(3, 4, 5), random(3, 4, 5)
    ours, twin = (CHEFER, reference.CHEFER) if rules == "chefer" else (attn_lrp(), reference.attn_lrp(0.05))
    made = ours.add(a, b, relevance)
    for i in range(3):
        of_image = twin.add(a[i].numpy(), b[i].numpy(), relevance[i].numpy())
        same(made[0][i], of_image[0])
        same(made[1][i], of_image[1])


def test_add_shares_the_sum_of_relevance_out_per_image():
    a, b = random(3, 4, 5).abs(), random(3, 4, 5).abs()
    relevance = random(3, 4, 5).abs() * torch.tensor([1.0, 10.0, 100.0])[:, None, None]
    made = CHEFER.add(a, b, relevance)
    torch.testing.assert_close((made[0] + made[1]).sum(dim=(1, 2)), relevance.sum(dim=(1, 2)))


def test_products_equal_their_twins():
    a, b, relevance = random(4, 6), random(6, 5), random(4, 5)
    ratio = stabilised_ratio(relevance, a @ b)
    made = product_parts([a, b], [ratio @ b.T, a.T @ ratio], 0.5)
    twin = reference.matmul_relevance(a.numpy(), b.numpy(), relevance.numpy())
    same(made[0], twin[0])
    same(made[1], twin[1])


def test_softmax_rules_equal_their_twins():
    x, relevance = random(3, 6), random(3, 6)
    output = x.softmax(dim=-1)
    assert torch.equal(CHEFER.softmax(x, output, -1, relevance), relevance)
    same(attn_lrp().softmax(x, output, -1, relevance), reference.taylor_softmax(x.numpy(), relevance.numpy()))


def test_norm_rules_equal_their_twins():
    x, weight, bias, relevance = random(4, 6), random(6), random(6), random(4, 6)
    output = torch.nn.functional.layer_norm(x, (6,), weight, bias, 1e-6)
    assert torch.equal(CHEFER.norm(x, weight, 1e-6, 1, True, output, relevance), relevance)
    made = attn_lrp().norm(x, weight, 1e-6, 1, True, output, relevance)
    same(made, reference.epsilon_norm(x.numpy(), weight.numpy(), bias.numpy(), relevance.numpy()))


def test_an_uncentred_norm_shares_nothing_with_its_neighbours():
    x, weight, relevance = random(4, 6), random(6), random(4, 6)
    output = torch.nn.functional.rms_norm(x, (6,), weight, 1e-6)
    made = attn_lrp().norm(x, weight, 1e-6, 1, False, output, relevance)
    torch.testing.assert_close(made, relevance, rtol=1e-6, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_relevance_is_linear_in_what_arrives(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    x, weight = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    relevance = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    for rules in (CHEFER, attn_lrp()):
        once = rules.linear(x, weight, None, x @ weight.T, relevance)
        more = rules.linear(x, weight, None, x @ weight.T, scale * relevance)
        torch.testing.assert_close(more, scale * once)
