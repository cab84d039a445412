import math

import numpy as np
import pytest
import torch
from torch import nn

from softwood.core import InputError
from softwood.trees import SoftTree, gate, path_probabilities

GATES = ("sigmoid", "smooth_step")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def tree_of(features=4, outputs=3, depth=3, seed=0, dtype=torch.float64, **options):
    return SoftTree(features, outputs, depth, generator=seeded(seed), **options).to(dtype)


def rows_of(n=64, features=4, seed=1, missing=0.0, dtype=torch.float64):
    x = torch.rand(n, features, generator=seeded(seed), dtype=dtype)
    x[torch.rand(n, features, generator=seeded(seed + 1)) < missing] = math.nan
    return x


# ---------------------------------------------------------------- gates and paths


@pytest.mark.parametrize("kind", GATES)
def test_a_gate_rises_from_0_to_1_and_is_even_about_a_half(kind):
    z = torch.linspace(-30, 30, 2001, dtype=torch.float64)
    g = gate(z, kind)
    assert (g.diff() >= 0).all()
    torch.testing.assert_close(g + g.flip(0), torch.ones_like(g))
    assert g[0] < 1e-12
    assert gate(torch.zeros(1), kind).item() == 0.5


def test_the_smooth_step_is_exactly_hard_outside_its_band_and_smooth_at_its_edge():
    z = torch.tensor([-5.0, -1.0, 1.0, 5.0], dtype=torch.float64, requires_grad=True)
    g = gate(z, "smooth_step")
    assert g.tolist() == [0, 0, 1, 1]
    assert torch.autograd.grad(g.sum(), z)[0].tolist() == [0, 0, 0, 0]
    inside = torch.tensor([-0.99, -0.3, 0.0, 0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: gate(v, "smooth_step"), inside)


def test_an_unknown_gate_lists_the_known_ones():
    with pytest.raises(InputError, match="smooth_step"):
        gate(torch.zeros(1), "step")
    with pytest.raises(InputError, match="smooth_step"):
        SoftTree(2, 1, gate="step")


def naive_paths(right):
    """Return the product over the path to each leaf, bit by bit."""
    depth = (len(right) + 1).bit_length() - 1
    leaves = []
    for leaf in range(2**depth):
        node, product = 0, torch.ones((), dtype=right.dtype)
        for level in reversed(range(depth)):
            bit = leaf >> level & 1
            product = product * (right[node] if bit else 1 - right[node])
            node = 2 * node + 1 + bit
        leaves.append(product)
    return torch.stack(leaves)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_path_probabilities_are_products_along_the_path_and_sum_to_one(depth):
    right = torch.rand(5, 2**depth - 1, dtype=torch.float64)
    paths = path_probabilities(right)
    torch.testing.assert_close(paths, torch.stack([naive_paths(row) for row in right]))
    torch.testing.assert_close(paths.sum(-1), torch.ones(5, dtype=torch.float64))
    for dim in (0, 1, -2):
        moved = right.movedim(-1, dim) if dim != -2 else right.mT
        torch.testing.assert_close(path_probabilities(moved, dim=dim), paths.movedim(-1, dim))
    assert torch.autograd.gradcheck(path_probabilities, right.requires_grad_())


# ---------------------------------------------------------------- values and gradients


@pytest.mark.parametrize("kind", GATES)
def test_the_answer_is_the_mean_leaf_of_the_chosen_tests(kind):
    tree, x = tree_of(gate=kind, temperature=0.3), rows_of()
    feature = tree.feature_logits.argmax(-1)
    threshold = tree.threshold.gather(1, feature[:, None])[:, 0]
    right = gate((x[:, feature] - threshold) / tree.temperature.double(), kind)
    expected = torch.stack([naive_paths(row) for row in right]) @ tree.leaf
    torch.testing.assert_close(tree(x), expected)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_gradients_of_thresholds_leaves_and_inputs_are_those_of_finite_differences(kind, missing):
    tree, x = tree_of(depth=2, gate=kind, temperature=0.8), rows_of(6, missing=missing)
    lost = torch.isnan(x)
    feature = tree.feature_logits.argmax(-1)
    chosen = nn.functional.one_hot(feature, 4).bool()

    def answer(threshold, leaf, present):
        # thresholds of features that are not chosen get a gradient through the softmax only; they are held here
        filled = torch.where(chosen, threshold, tree.threshold.detach())
        parameters = {**dict(tree.named_parameters()), "threshold": filled, "leaf": leaf}
        return torch.func.functional_call(tree, parameters, torch.where(lost, math.nan, present))

    present = torch.where(lost, 0.5, x).requires_grad_()
    threshold, leaf = tree.threshold.detach().clone().requires_grad_(), tree.leaf.detach().clone().requires_grad_()
    # straight-through on the features makes the gradient of the other features' thresholds a surrogate, so the
    # chosen entries are compared by finite differences one by one
    outputs = answer(threshold, leaf, present)
    upstream = torch.randn(outputs.shape, generator=seeded(3), dtype=torch.float64)
    gradients = torch.autograd.grad((outputs * upstream).sum(), (threshold, leaf, present))
    step = 1e-6
    variables = [threshold.detach(), leaf.detach(), present.detach()]
    weight = torch.softmax(tree.feature_logits.detach(), -1)
    assert weight.shape == chosen.shape
    for position, gradient in enumerate(gradients):
        if position == 2:
            continue
        for index in np.ndindex(*gradient.shape):
            moved = [[v.clone() for v in variables] for _ in range(2)]
            moved[0][position][index] += step
            moved[1][position][index] -= step
            up, down = ((answer(*values) * upstream).sum() for values in moved)
            torch.testing.assert_close(gradient[index], (up - down) / (2 * step), atol=1e-6, rtol=1e-5)
    assert gradients[2][lost].abs().sum() == 0


@pytest.mark.parametrize("kind", GATES)
def test_the_gradient_of_the_inputs_reaches_the_tested_feature_only(kind):
    tree, x = tree_of(depth=1, gate=kind, temperature=0.8), rows_of(5).requires_grad_()
    assert torch.autograd.gradcheck(tree, x)
    feature = int(tree.feature_logits.argmax())
    gradient = torch.autograd.grad(tree(x).sum(), x)[0]
    assert (gradient[:, feature] != 0).all()
    assert (gradient[:, torch.arange(4) != feature] == 0).all()


@pytest.mark.parametrize("missing", [False, True])
def test_the_gradient_of_the_feature_choice_is_that_of_the_softmax(missing):
    tree, x = tree_of(depth=1, temperature=0.5, missing=missing), rows_of(7)
    logits, threshold, leaf = tree.feature_logits[0], tree.threshold[0], tree.leaf
    gradient = torch.autograd.grad(tree(x).sum(), tree.feature_logits)[0][0]
    with torch.no_grad():
        weight = torch.softmax(logits, -1)
        margin = (x - threshold)[:, logits.argmax()]
        slope = torch.sigmoid(margin / 0.5) * torch.sigmoid(-margin / 0.5) / 0.5
        by_margin = slope * (leaf[1] - leaf[0]).sum()
        by_weight = by_margin @ (x - threshold)  # d margin / d w_f = x_f - t_f
        expected = weight * (by_weight - (weight * by_weight).sum())
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("kind", GATES)
def test_straight_through_answers_hard_and_differentiates_soft(kind):
    soft, x = tree_of(gate=kind, temperature=0.4), rows_of(40, missing=0.1)
    through = tree_of(gate=kind, temperature=0.4, straight_through=True)
    torch.testing.assert_close(through(x), soft.harden()(x), rtol=0, atol=0)
    assert not torch.equal(soft(x), through(x))
    gradient = torch.autograd.grad(through(x).sum(), through.threshold)[0]
    assert gradient.abs().sum() > 0
    # at depth 1 the gates enter linearly, so the two gradients are one
    one, other = (tree_of(depth=1, gate=kind, temperature=0.4, straight_through=flag) for flag in (True, False))
    pair = [torch.autograd.grad(tree(x).sum(), tree.threshold)[0] for tree in (one, other)]
    torch.testing.assert_close(*pair)


# ---------------------------------------------------------------- the limit, the bound, the band


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_limit_of_temperature_zero_is_the_hard_tree(kind, missing):
    tree, x = tree_of(depth=4, gate=kind), rows_of(500, missing=missing)
    tree.missing_logit.data.copy_(torch.randn(15, generator=seeded(5)) * 50)
    gaps = []
    for temperature in (0.3, 0.03, 1e-9):
        tree.temperature.fill_(temperature)
        gaps.append((tree(x) - tree.harden()(x)).abs().mean().item())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-12


def test_missing_values_take_the_learned_direction_exactly():
    tree = tree_of(depth=1, outputs=1)
    x = torch.full((1, 4), math.nan, dtype=torch.float64)
    for logit, side in ((0.01, 0), (-0.01, 1), (0.0, 0)):
        tree.missing_logit.data.fill_(logit)
        assert tree(x).item() == tree.leaf[side].item() == tree.harden()(x).item()
    gradient = torch.autograd.grad(tree(x).sum(), tree.missing_logit)[0]
    torch.testing.assert_close(gradient, 0.25 * (tree.leaf[0] - tree.leaf[1]))  # that of the sigmoid at 0


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("temperature", [0.02, 0.2, 1.0])
def test_the_difference_of_soft_and_hard_is_within_the_bound(kind, temperature):
    for seed in range(5):
        tree, x = tree_of(gate=kind, temperature=temperature, seed=seed), rows_of(200, seed=seed, missing=0.1)
        difference = (tree(x) - tree.harden()(x)).abs().amax(-1)
        bound = tree.bound(x)
        assert bound.shape == (200,)
        assert (difference <= bound + 1e-12).all()
    assert difference.max() > 0


def test_outside_the_band_of_a_smooth_step_soft_is_hard_exactly():
    tree, x = tree_of(depth=4, gate="smooth_step", temperature=0.05), rows_of(400, missing=0.1)
    inside = tree.in_band(x)
    assert 0.05 < inside.double().mean() < 0.95
    assert torch.equal(tree(x)[~inside], tree.harden()(x)[~inside])
    assert (tree.bound(x)[~inside] == 0).all()
    assert (tree(x)[inside] != tree.harden()(x)[inside]).any()


def test_margins_are_distances_to_the_thresholds():
    tree, x = tree_of(), rows_of(10)
    hard = tree.harden()
    torch.testing.assert_close(tree.margins(x), x[:, hard.feature] - hard.threshold)


# ---------------------------------------------------------------- housekeeping


def test_state_travels_temperature_included():
    tree, other = tree_of(temperature=0.25), tree_of(seed=9)
    x = rows_of(missing=0.1)
    assert not torch.equal(tree(x), other(x))
    other.load_state_dict(tree.state_dict())
    assert torch.equal(tree(x), other(x))
    hard, blank = tree.harden(), tree_of(seed=9).harden()
    blank.load_state_dict(hard.state_dict())
    assert torch.equal(hard(x), blank(x))


def test_any_batch_shape_and_the_fast_path_without_missing_values():
    tree, x = tree_of(), rows_of(24)
    shaped = x.reshape(2, 3, 4, 4)
    torch.testing.assert_close(tree(shaped).reshape(24, 3), tree(x))
    torch.testing.assert_close(tree.harden()(shaped).reshape(24, 3), tree.harden()(x))
    torch.testing.assert_close(tree(x[0]), tree(x)[0])
    fast = tree_of(missing=False)
    torch.testing.assert_close(fast(x), tree(x))


@pytest.mark.parametrize("bad", [{"depth": 0}, {"depth": 11}, {"in_features": 0}, {"out_features": 1.5}])
def test_sizes_are_checked(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        SoftTree(**{"in_features": 2, "out_features": 1, **bad})


def test_infinite_input_counts_as_the_largest_number():
    tree = SoftTree(3, 2, depth=2, generator=torch.Generator().manual_seed(0))
    x = torch.rand(20, 3)
    x[::2, 0], x[1::3, 1] = math.inf, -math.inf
    largest = torch.finfo(x.dtype).max
    answers = tree(x)
    torch.testing.assert_close(answers, tree(x.clamp(-largest, largest)))
    assert torch.isfinite(answers).all()
    tree.temperature.fill_(1e-6)
    torch.testing.assert_close(tree(x), tree.harden()(x))


def test_a_hard_tree_refuses_rows_of_another_width():
    hard = SoftTree(3, 2, depth=2, generator=torch.Generator().manual_seed(0)).harden()
    for width in (2, 4):
        with pytest.raises(InputError, match="another width than the tree: got"):
            hard(torch.rand(5, width))
