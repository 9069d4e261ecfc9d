import numpy as np
import pytest
import reference
import torch

from vitol.rollout import (
    Rollout,
    attention_rollout,
    fuse_heads,
    gar_transition,
    gradient_attention_rollout,
)


def stack(blocks: int, batch: int = 2, heads: int = 3, count: int = 4, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, heads, count, count)
    attention = [
        torch.randn(shape, generator=generator, dtype=torch.float64).softmax(-1) for _ in range(blocks)
    ]
    gradients = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(blocks)]
    return attention, gradients


def unit(count: int = 4) -> torch.Tensor:
    return torch.eye(count, dtype=torch.float64)[0]


@pytest.mark.parametrize("normalize_rows", [True, False])
def test_rollout_sums_over_all_token_paths(normalize_rows):
    attention, _ = stack(blocks=3)
    ours = attention_rollout(attention, unit(), normalize_rows=normalize_rows)
    for image in range(2):
        matrices = [
            reference.with_identity(reference.ar_transition(a[image].numpy()), normalize_rows)
            for a in attention
        ]
        np.testing.assert_allclose(ours[image], reference.rollout_by_paths(matrices, start=0), rtol=1e-13)


@pytest.mark.parametrize("clamp", ["heads", "mean"])
@pytest.mark.parametrize("normalize_rows", [True, False])
def test_gradient_rollout_equals_equations_7_and_8(normalize_rows, clamp):
    attention, gradients = stack(blocks=3)
    ours = gradient_attention_rollout(
        attention, gradients, unit(), normalize_rows=normalize_rows, clamp=clamp
    )
    for image in range(2):
        matrices = [
            reference.with_identity(
                reference.gar_transition(a[image].numpy(), g[image].numpy(), clamp == "heads"), normalize_rows
            )
            for a, g in zip(attention, gradients, strict=True)
        ]
        np.testing.assert_allclose(ours[image], reference.rollout_by_paths(matrices, start=0), rtol=1e-13)


def test_the_row_recursion_equals_rows_of_the_whole_product():
    attention, _ = stack(blocks=6, count=5)
    matrices = [reference.with_identity(a[0].mean(0).numpy(), True) for a in attention]
    product = reference.rollout_by_matrices(matrices)
    for token in range(5):
        row = torch.eye(5, dtype=torch.float64)[token]
        np.testing.assert_allclose(attention_rollout(attention, row)[0], product[token], rtol=1e-13)


def test_normalised_rollout_is_a_distribution_over_tokens():
    attention, gradients = stack(blocks=5)
    for result in (
        attention_rollout(attention, unit()),
        gradient_attention_rollout(attention, gradients, unit()),
    ):
        assert (result >= 0).all()
        torch.testing.assert_close(result.sum(dim=1), torch.ones(2, dtype=torch.float64))


def test_rollout_is_linear_in_the_row():
    attention, _ = stack(blocks=3)
    one, two = torch.eye(4, dtype=torch.float64)[:2]
    both = attention_rollout(attention, 0.3 * one + 0.7 * two)
    apart = 0.3 * attention_rollout(attention, one) + 0.7 * attention_rollout(attention, two)
    torch.testing.assert_close(both, apart)


def test_without_gradient_the_row_stays_where_it_is():
    attention, gradients = stack(blocks=3)
    zero = [torch.zeros_like(g) for g in gradients]
    result = gradient_attention_rollout(attention, zero, unit())
    torch.testing.assert_close(result, unit().expand(2, 4))


def test_unnormalised_rollout_never_falls_when_blocks_are_added():
    attention, gradients = stack(blocks=4)
    fewer = gradient_attention_rollout(attention[1:], gradients[1:], unit(), normalize_rows=False)
    assert (gradient_attention_rollout(attention, gradients, unit(), normalize_rows=False) >= fewer).all()


def test_attention_and_gradients_of_different_depth_are_refused():
    attention, gradients = stack(blocks=3)
    with pytest.raises(ValueError, match="argument"):
        gradient_attention_rollout(attention, gradients[:2], unit())


def test_no_blocks_leave_the_row():
    assert torch.equal(attention_rollout([], unit()), unit())
    assert torch.equal(Rollout(unit(), normalize_rows=True).row, unit())


@pytest.mark.parametrize("rollout", [attention_rollout, gradient_attention_rollout])
def test_a_start_block_leaves_the_blocks_before_it_out(rollout):
    attention, gradients = stack(blocks=4)
    both = (attention, gradients) if rollout is gradient_attention_rollout else (attention,)
    late = rollout(*both, unit(), start_block=2)
    torch.testing.assert_close(late, rollout(*(values[2:] for values in both), unit()))
    assert torch.equal(rollout(*both, unit(), start_block=4), unit())


def test_heads_are_fused_by_mean_minimum_or_maximum():
    matrix = torch.tensor([[[[0.2, 0.8], [0.5, 0.5]], [[0.6, 0.4], [0.1, 0.9]]]])
    torch.testing.assert_close(fuse_heads(matrix), torch.tensor([[[0.4, 0.6], [0.3, 0.7]]]))
    torch.testing.assert_close(fuse_heads(matrix, "min"), torch.tensor([[[0.2, 0.4], [0.1, 0.5]]]))
    torch.testing.assert_close(fuse_heads(matrix, "max"), torch.tensor([[[0.6, 0.8], [0.5, 0.9]]]))


def test_fused_attention_rolls_out_as_attention_does():
    attention, _ = stack(blocks=3)
    fused = [fuse_heads(matrix, "max") for matrix in attention]
    assert torch.equal(attention_rollout(fused, unit()), attention_rollout(attention, unit(), heads="max"))


def test_half_precision_is_carried_in_single():
    attention, gradients = stack(blocks=3)
    halves = [[matrix.bfloat16() for matrix in matrices] for matrices in (attention, gradients)]
    assert attention_rollout(halves[0], unit()).dtype == torch.float32
    assert gradient_attention_rollout(*halves, unit()).dtype == torch.float32


def test_products_that_half_precision_has_no_number_for_count():
    matrix, gradient = torch.full((1, 1, 2, 2), 1e-3), torch.full((1, 1, 2, 2), 1e-5)
    torch.testing.assert_close(
        gar_transition(matrix.half(), gradient.half()), (matrix * gradient)[0], rtol=0.01, atol=0
    )
