"""Soft forests: what they answer, their gradients, their hard limit, and the way to an artefact and back."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from torch import nn

import softwood as sw
from softwood.artifacts import Column, HardEnsemble, import_model
from softwood.core import InputError, UnsupportedError
from softwood.trees import HardForest, SoftForest, SoftTree, gate

KINDS = ("axis", "oblivious", "oblique")
GATES = ("sigmoid", "smooth_step")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def forest_of(features=4, outputs=2, trees=3, depth=2, seed=0, dtype=torch.float64, **options):
    return SoftForest(features, outputs, trees, depth, generator=seeded(seed), **options).to(dtype)


def rows_of(n=64, features=4, seed=1, missing=0.0, dtype=torch.float64):
    x = torch.rand(n, features, generator=seeded(seed), dtype=dtype)
    x[torch.rand(n, features, generator=seeded(seed + 1)) < missing] = math.nan
    return x


def enumerated(forest, x):
    """Return the answer of one row as a sum over all trees and leaves, test by test."""
    total = forest.base.detach().clone()
    for tree, leaf in itertools.product(range(forest.trees), range(2**forest.depth)):
        node, share = 0, torch.ones((), dtype=x.dtype)
        for level in range(forest.depth):
            test = (tree, level if forest.kind == "oblivious" else node)
            if forest.kind == "oblique":
                filled = torch.where(torch.isnan(x), forest.fill, x)
                right = gate((forest.weight[test] @ filled - forest.threshold[test]) / forest.temperature, forest.gate)
            else:
                feature = int(forest.feature_logits[test].argmax())
                right = gate((x[feature] - forest.threshold[test][feature]) / forest.temperature, forest.gate)
                if torch.isnan(x[feature]):
                    right = (forest.missing_logit[test] < 0).to(x.dtype)
            bit = leaf >> (forest.depth - 1 - level) & 1
            share = share * (right if bit else 1 - right)
            node = 2 * node + 1 + bit
        total += share * forest.leaf[tree, leaf]
    return total.detach()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kind_of_gate", GATES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_answer_is_the_sum_over_all_trees_and_leaves(kind, kind_of_gate, depth):
    forest, x = forest_of(depth=depth, kind=kind, gate=kind_of_gate, temperature=0.4), rows_of(9, missing=0.2)
    with torch.no_grad():
        forest.base += 0.3
        if kind != "oblique":
            forest.missing_logit += torch.randn(forest.missing_logit.shape, generator=seeded(5))
    torch.testing.assert_close(forest(x).detach(), torch.stack([enumerated(forest, row) for row in x]))


@pytest.mark.parametrize("kind", ["axis", "oblivious"])
def test_a_forest_of_one_axis_aligned_tree_is_a_soft_tree(kind):
    tree, forest = SoftTree(4, 2, 3, generator=seeded(0)), forest_of(trees=1, depth=3, kind=kind, dtype=torch.float32)
    level = torch.tensor([0, 1, 1, 2, 2, 2, 2]) if kind == "oblivious" else torch.arange(7)
    with torch.no_grad():
        for name in ("feature_logits", "threshold", "missing_logit"):
            getattr(tree, name).copy_(getattr(forest, name)[0, level])
        tree.leaf.copy_(forest.leaf[0])
    x = rows_of(50, missing=0.2, dtype=torch.float32)
    torch.testing.assert_close(forest(x), tree(x))
    torch.testing.assert_close(forest.harden()(x), tree.harden()(x))
    gradients = [torch.autograd.grad(model(x).square().sum(), model.leaf)[0].flatten() for model in (forest, tree)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kind_of_gate", GATES)
def test_gradients_are_those_of_finite_differences(kind, kind_of_gate):
    forest = forest_of(kind=kind, gate=kind_of_gate, temperature=0.8)
    x = rows_of(6, missing=0.2)
    upstream = torch.randn(6, 2, generator=seeded(3), dtype=torch.float64)
    smooth = {"axis": ("leaf", "base"), "oblivious": ("leaf", "base"), "oblique": ("leaf", "base", "weight", "fill")}
    chosen = torch.ones_like(forest.threshold, dtype=torch.bool)
    if kind != "oblique":  # the other features' thresholds get a surrogate, through the softmax
        chosen = nn.functional.one_hot(forest.feature_logits.argmax(-1), 4).bool()
    compared = 0
    for name in (*smooth[kind], "threshold"):
        parameter = dict(forest.named_parameters())[name]
        gradient = torch.autograd.grad((forest(x) * upstream).sum(), parameter)[0]
        for index in np.ndindex(*parameter.shape):
            if name == "threshold" and not chosen[index]:
                continue
            moved = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    parameter[index] += step
                    moved.append((forest(x) * upstream).sum().item())
                    parameter[index] -= step
            assert gradient[index].item() == pytest.approx((moved[0] - moved[1]) / 2e-6, abs=1e-6, rel=1e-4)
            compared += gradient[index].item() != 0
    assert compared > 10
    assert torch.autograd.gradcheck(lambda rows: forest(rows), rows_of(5).requires_grad_())


def test_weights_that_do_not_count_get_a_gradient_and_no_say():
    forest = forest_of(kind="oblique", active=2, temperature=0.5)
    x = rows_of(40)
    kept = forest.weight.abs().topk(2, dim=-1).indices
    with torch.no_grad():
        sparse = forest_of(kind="oblique", temperature=0.5)
        sparse.load_state_dict(forest.state_dict())
        sparse.weight.copy_(torch.zeros_like(forest.weight).scatter(-1, kept, forest.weight.gather(-1, kept)))
    torch.testing.assert_close(forest(x), sparse(x))
    assert (forest.harden().tests.weight != 0).sum(-1).eq(2).all()
    assert (torch.autograd.grad(forest(x).sum(), forest.weight)[0] != 0).all()
    with pytest.raises(InputError, match="active"):
        forest_of(kind="axis", active=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kind_of_gate", GATES)
def test_as_the_temperature_goes_to_zero_the_forest_is_hard(kind, kind_of_gate):
    forest, x = forest_of(kind=kind, gate=kind_of_gate, depth=3), rows_of(300, missing=0.1)
    gaps = []
    for temperature in (1.0, 0.1, 1e-9):
        forest.temperature.fill_(temperature)
        gaps.append((forest(x) - forest.harden()(x)).abs().mean().item())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_straight_through_answers_hard_and_differentiates_soft(kind):
    forest, x = forest_of(kind=kind, straight_through=True, depth=3), rows_of(40, missing=0.1)
    torch.testing.assert_close(forest(x), forest.harden()(x))
    assert torch.autograd.grad(forest(x).sum(), forest.threshold)[0].abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kind_of_gate", GATES)
@pytest.mark.parametrize("temperature", [0.02, 0.3])
def test_the_difference_of_soft_and_hard_is_within_the_bound(kind, kind_of_gate, temperature):
    forest = forest_of(kind=kind, gate=kind_of_gate, temperature=temperature, trees=5, depth=3)
    x = rows_of(200, missing=0.1)
    difference = (forest(x) - forest.harden()(x)).abs().amax(-1)
    assert forest.bound(x).shape == (200,)
    assert (difference <= forest.bound(x) + 1e-12).all()
    assert difference.max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_outside_the_band_of_a_smooth_step_soft_is_hard(kind):
    forest, x = forest_of(kind=kind, gate="smooth_step", temperature=0.03), rows_of(400, missing=0.1)
    inside = forest.in_band(x)
    assert 0.05 < inside.double().mean() < 0.95
    torch.testing.assert_close(forest(x)[~inside], forest.harden()(x)[~inside])
    assert (forest.bound(x)[~inside] == 0).all()
    assert (forest(x) - forest.harden()(x))[inside].abs().max() > 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_batch_shape_type_and_state(kind, dtype):
    forest, other = forest_of(kind=kind, dtype=dtype, temperature=0.2), forest_of(kind=kind, dtype=dtype, seed=9)
    x = rows_of(24, missing=0.1, dtype=dtype)
    flat = forest(x)
    assert flat.dtype == dtype
    for part in (forest, forest.harden()):
        torch.testing.assert_close(part(x.reshape(2, 3, 4, 4)).reshape(24, 2), part(x))
        torch.testing.assert_close(part(x[0]), part(x)[0])
        assert part(x[:0]).shape == (0, 2)
    assert forest.margins(x.reshape(2, 12, 4)).shape[:3] == (2, 12, 3)
    torch.testing.assert_close(forest.margins(x)[3], forest.margins(x[3]), equal_nan=True)
    assert forest.in_band(x.reshape(2, 12, 4)).shape == forest.bound(x.reshape(2, 12, 4)).shape == (2, 12)
    assert not torch.equal(other(x), flat)
    other.load_state_dict(forest.state_dict())
    assert torch.equal(other(x), flat)
    hard, blank = forest.harden(), forest_of(kind=kind, dtype=dtype, seed=7).harden()
    blank.load_state_dict(hard.state_dict())
    assert torch.equal(hard(x), blank(x))
    fast = forest_of(kind=kind, dtype=dtype, missing=False, temperature=0.2)
    torch.testing.assert_close(fast(rows_of(9, dtype=dtype)), forest(rows_of(9, dtype=dtype)))


@pytest.mark.parametrize("kind", ["oblivious", "oblique"])  # the contract suite compiles the axis-aligned one
def test_a_compiled_forest_is_the_same(kind):
    torch._dynamo.reset()
    forest, x = forest_of(kind=kind), rows_of(8)
    compiled = torch.compile(forest, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), forest(x))
    for ours, theirs in zip(
        *(torch.autograd.grad(f(x).square().sum(), forest.parameters(), allow_unused=True) for f in (forest, compiled)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
    torch._dynamo.reset()


@pytest.mark.parametrize("bad", [{"depth": 0}, {"trees": 0}, {"kind": "round"}, {"gate": "step"}, {"out_features": 0}])
def test_sizes_and_choices_are_checked(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        SoftForest(**{"in_features": 2, "out_features": 1, **bad})


# ---------------------------------------------------------------- artefacts


@pytest.mark.parametrize("kind", ["axis", "oblivious"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_artefact_agrees_on_every_row_and_on_the_thresholds(kind, dtype):
    forest = forest_of(kind=kind, depth=3, dtype=dtype)
    with torch.no_grad():
        forest.base += 0.25
        forest.missing_logit += torch.randn(forest.missing_logit.shape, generator=seeded(5))
    hard = forest.harden()
    x = rows_of(300, missing=0.2, dtype=dtype)
    at = hard.tests.threshold.flatten()
    for values in (at, torch.nextafter(at, at + 1), torch.nextafter(at, at - 1)):
        x = torch.cat([x, values[:, None].expand(-1, 4)])
    columns = [Column(f"c{i}", "number") for i in range(4)]
    model = hard.to_artifact(columns)
    assert model.columns == tuple(columns)
    assert (model.n_trees, model.n_leaf_values) == (3, hard.size()) == (3, 3 * 8 * 2)
    leaves = model.apply(x.numpy()) - np.arange(3) * 8
    np.testing.assert_array_equal(leaves, hard.leaf_of(x).numpy())
    np.testing.assert_allclose(model.raw(x.numpy()), hard(x).detach().double().numpy(), atol=1e-6)
    assert bool((model._packed.trees["tests"] <= forest.depth).all()) == (kind == "oblivious")


def test_an_oblique_forest_has_no_artefact_and_says_so():
    hard = forest_of(kind="oblique").harden()
    with pytest.raises(UnsupportedError, match="weighted sums"):
        hard.to_artifact()
    assert hard.size() == 3 * 4 * 2


def test_softening_many_trees_and_hardening_them_gives_the_same_answer_on_every_row():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 5))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    models = [
        import_model(GradientBoostingClassifier(n_estimators=12, max_depth=4, random_state=0).fit(x, y)),
        import_model(RandomForestRegressor(n_estimators=7, max_depth=8, random_state=0).fit(x, x[:, :2])),
    ]
    for model in models:
        on = model.threshold[model.feature >= 0]
        for dtype in (torch.float64, torch.float32):
            kind = torch.empty(0, dtype=dtype).numpy().dtype
            rows = np.concatenate([x, *(np.tile(on[:, None], 5) + d for d in (0.0, 1e-7, -1e-7))]).astype(kind)
            soft = sw.soften(model, dtype=dtype)
            assert isinstance(soft, SoftForest)
            hard = soft.harden()
            given = torch.from_numpy(rows)
            leaves, expected = hard.leaf_of(given).numpy(), model.apply(rows.astype(float))
            for tree in range(model.n_trees):  # the same partition, whatever the leaves are called
                pairs = set(zip(leaves[:, tree], expected[:, tree], strict=True))
                assert len(pairs) == len(set(leaves[:, tree]))
            atol = 1e-12 if dtype == torch.float64 else 1e-4
            np.testing.assert_allclose(hard(given).detach().numpy(), model.raw(rows.astype(float)), atol=atol)
            again = soft.to_artifact(model.columns)
            np.testing.assert_allclose(again.raw(rows.astype(float)), model.raw(rows.astype(float)), atol=atol)


def test_softening_keeps_the_base_and_missing_directions():
    left = HardEnsemble.single_leaf((Column("a", "number"),), np.array([1.0]), outputs=("y",))
    nan = math.nan
    two = HardEnsemble(
        left.columns, ("y",), "identity", None, [0, -1, -1, -1], [0.5, nan, nan, nan], [True, False, False, False],
        [1, 0, 0, 0], [2, 0, 0, 0], [-1] * 4, np.zeros((0, 0), bool), [-1, 0, 1, 2], [[1.0], [2.0], [4.0]], np.ones(3),
        [0, 3], [10.0],
    )  # fmt: skip
    soft = sw.soften(two)
    x = torch.tensor([[0.5], [0.6], [nan]])
    assert soft.harden()(x).ravel().tolist() == [15.0, 16.0, 15.0]


# ---------------------------------------------------------------- inside a network


@pytest.mark.parametrize("kind", KINDS)
def test_a_forest_inside_a_network_is_calibrated_trained_annealed_and_hardened(kind):
    torch.manual_seed(0)
    x = torch.randn(256, 5, generator=seeded(0))
    y = (x[:, :1] * x[:, 1:2] > 0).float()
    forest = SoftForest(4, 3, 6, 3, kind=kind, gate="smooth_step", generator=seeded(0))
    model, loss = nn.Sequential(nn.Linear(5, 4), forest, nn.Linear(3, 1)), nn.functional.mse_loss
    before = sw.calibrate(model, x, softness=0.5)["1"]
    start = loss(model(x), y).item()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    annealer = sw.Annealer(model, target_gap=1e-5, rate=0.8)
    for step in range(200):
        optimizer.zero_grad()
        torch.autograd.backward(loss(model(x), y))
        optimizer.step()
        if step > 100:
            annealer.step(sw.lifecycle.measure_gap(model, sw.harden(model).model, x, y, loss))
    hard = sw.harden(model).model
    assert forest.temperature.item() < before
    assert isinstance(hard[1], HardForest)
    assert loss(hard(x), y).item() < 0.8 * start
    certificate = sw.certify(lambda rows: hard(rows), lambda rows: model(rows), (x, y.numpy()), loss="squared")
    assert certificate.agreement.value > 0.5


@pytest.mark.parametrize("kind", ["axis", "oblivious"])
def test_a_certificate_of_a_forest_measures_bound_and_band(kind):
    forest = forest_of(kind=kind, outputs=1, gate="smooth_step", temperature=0.05, dtype=torch.float32)
    x = rows_of(200, dtype=torch.float32)
    y = forest.harden()(x).detach().numpy()
    certificate = sw.certify(forest.to_artifact(), forest, (x.numpy(), y[:, 0]), loss="squared")
    assert certificate.bound.holds
    assert certificate.bound.about_shipped
    assert 0 < certificate.in_band < 1
