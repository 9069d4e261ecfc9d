"""The slow twins of relevance propagation against the original's output, by hand, and by law."""

import numpy as np
import pytest
import relevance_reference as reference

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def transformer(golden_maps):
    weights = {k.removeprefix("weights/"): v for k, v in golden_maps.items() if k.startswith("weights/")}
    config = {k.removeprefix("config/"): int(v) for k, v in golden_maps.items() if k.startswith("config/")}
    return weights, config


def relative(ours, golden):
    return np.abs(ours - golden).max() / np.abs(golden).max()


def test_the_twins_forward_pass_equals_the_originals(transformer, golden_maps):
    for i, image in enumerate(golden_maps["images"]):
        blocks, _, logits = reference.forward(*transformer, image)
        assert relative(logits, golden_maps["logits"][i]) < 1e-12
        attention = np.array([[head.attention for head in block.heads] for block in blocks])
        assert relative(attention, golden_maps["attention"][i]) < 1e-12


@pytest.mark.parametrize(
    ("round_trips", "of_relevance", "of_map"), [(True, 1e-10, 1e-10), (False, 1e-4, 2e-5)]
)
def test_relevance_and_map_equal_the_original(transformer, golden_maps, round_trips, of_relevance, of_map):
    for i, image in enumerate(golden_maps["images"]):
        target = int(golden_maps["targets"][i])
        relevance = reference.vit_relevance(*transformer, image, target, round_trips=round_trips)
        assert relative(relevance, golden_maps["relevance"][i]) < of_relevance
        made = reference.lrp_map(relevance, golden_maps["attention_gradient"][i])
        assert relative(made, golden_maps["map_lrp"][i]) < of_map


def test_stabilised_division_gives_nothing_where_there_is_nothing():
    made = reference.stabilised_division(np.array([4.0, 4.0, 4.0, 0.0]), np.array([2.0, 0.0, -1e-9, 1.0]))
    np.testing.assert_allclose(made, [4 / (2 + 1e-9), 0, 4e9, 0], rtol=1e-15)


def test_linear_relevance_by_hand():
    x, weight = np.array([[1.0, -2.0, 3.0]]), np.array([[2.0, -1.0, -5.0], [0.0, 4.0, 1.0]])
    # Positive contributions: 2 and 2 to the first output, 3 to the second.
    made = reference.linear_relevance(x, weight, np.array([[8.0, 6.0]]))
    np.testing.assert_allclose(made, [[4, 4, 6]], rtol=1e-8)


def test_linear_and_matmul_rules_keep_the_sum_of_relevance():
    x, weight, relevance = RNG.normal(size=(4, 6)), RNG.normal(size=(5, 6)), RNG.normal(size=(4, 5))
    assert reference.linear_relevance(x, weight, relevance).sum() == pytest.approx(relevance.sum())
    for gamma in (0.0, 0.3):
        made = reference.gamma_linear(x, weight, relevance, gamma=gamma)
        assert made.sum() == pytest.approx(relevance.sum())
    a, b = RNG.uniform(1, 2, size=(4, 6)), RNG.uniform(1, 2, size=(6, 5))
    for rule in (reference.matmul_relevance, reference.uniform_matmul):
        of_a, of_b = rule(a, b, relevance)
        assert of_a.shape == a.shape and of_b.shape == b.shape
        assert of_a.sum() == pytest.approx(relevance.sum() / 2, rel=1e-5)
        assert of_b.sum() == pytest.approx(relevance.sum() / 2, rel=1e-5)


def test_add_relevance_shares_the_whole_by_the_size_of_the_sums():
    a, b = np.array([3.0, 1.0]), np.array([1.0, -3.0])
    relevance = np.array([4.0, 2.0])
    # In proportion: a gets 3 and -1, sum 2; b gets 1 and 3, sum 4. Of 6, a third and two thirds.
    of_a, of_b = reference.add_relevance(a, b, relevance)
    np.testing.assert_allclose(of_a, [3, -1], rtol=1e-8)
    np.testing.assert_allclose(of_b, [1, 3], rtol=1e-8)
    # a gets 3 and -5, sum -2; b gets 1 and 15, sum 16. Of 14, a ninth and eight ninths.
    of_a, of_b = reference.add_relevance(a, b, np.array([4.0, 10.0]))
    np.testing.assert_allclose(of_a, np.array([3, -5]) * (14 / 9 / -2), rtol=1e-8)
    np.testing.assert_allclose(of_b, np.array([1, 15]) * (14 * 8 / 9 / 16), rtol=1e-8)
    np.testing.assert_allclose(sum(reference.epsilon_add(a, b, relevance)), relevance, rtol=1e-5)


def test_gamma_linear_leaves_the_biases_share_and_prefers_the_outputs_own_sign():
    x, relevance = np.array([[1.0, 2.0]]), np.array([[10.0]])
    made = reference.gamma_linear(x, np.array([[3.0, 1.0]]), relevance, np.array([5.0]))
    np.testing.assert_allclose(made, [[3, 2]], rtol=1e-8)
    # Contributions 1 and -6, output -5 - 1; of them -6 counts twice, so -12 in all.
    made = reference.gamma_linear(x, np.array([[1.0, -3.0]]), relevance, np.array([-1.0]), gamma=1.0)
    np.testing.assert_allclose(made, [[-10 / 12, 10]], rtol=1e-8)


def test_matmul_relevance_by_hand():
    a, b = np.array([[1.0, 2.0]]), np.array([[3.0, 1.0], [1.0, 2.0]])
    relevance = np.array([[10.0, 15.0]])
    # Outputs 5 = 3 + 2 and 5 = 1 + 4, so contributions carry 6, 4 and 3, 12, one half to each factor.
    for rule in (reference.matmul_relevance, reference.uniform_matmul):
        of_a, of_b = rule(a, b, relevance)
        np.testing.assert_allclose(of_a, [[4.5, 8]], rtol=1e-6)
        np.testing.assert_allclose(of_b, [[3, 1.5], [2, 6]], rtol=1e-6)


def test_softmax_rule_is_input_times_the_jacobian():
    x, relevance = RNG.normal(size=(2, 5)), RNG.normal(size=(2, 5))
    made = reference.taylor_softmax(x, relevance)
    for row in range(2):
        s = reference.softmax(x[row])
        jacobian = np.diag(s) - np.outer(s, s)
        np.testing.assert_allclose(made[row], x[row] * (jacobian @ (relevance[row] / s)), rtol=1e-12)
    assert reference.unchanged_softmax(x, relevance) is relevance


def test_propagation_by_the_other_rules_reaches_every_token(transformer, golden_maps):
    propagated = reference.propagate(
        *transformer, golden_maps["images"][0], target=9, rules=reference.attn_lrp(gamma=0.05)
    )
    assert propagated.matrices.shape == (4, 3, 17, 17) and propagated.tokens.shape == (17, 48)
    assert np.isfinite(propagated.tokens).all() and (propagated.tokens.sum(axis=1) != 0).all()


def test_class_attention_is_the_first_rows_mean_over_heads():
    attention = np.array([[[0.2, 0.8], [0.5, 0.5]], [[0.6, 0.4], [0.1, 0.9]]])
    np.testing.assert_allclose(reference.class_attention(attention), [0.6])


def test_grad_cam_weights_by_the_patches_mean_gradient_and_clamps():
    activations = np.array([[9.0, 9.0], [1.0, 2.0], [3.0, -1.0], [-1.0, 0.0]])
    gradients = np.array([[50.0, 50.0], [1.0, 0.0], [2.0, 3.0], [3.0, 0.0]])
    # Weights 2 and 1, the class token's gradient left out.
    np.testing.assert_allclose(reference.grad_cam(activations, gradients), [4, 5, 0])


def test_legrad_averages_the_positive_part_over_heads_and_queries():
    gradient = np.array([[[9.0, 1.0], [9.0, -4.0]], [[9.0, 2.0], [9.0, 5.0]]])
    np.testing.assert_allclose(reference.legrad_layer(gradient), [8 / 4])
