"""Soft trees, hard trees and artefacts, into one another; alone and inside a network."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import softwood as sw
from softwood.artifacts import Column, HardEnsemble
from softwood.core import InputError, UnsupportedError
from softwood.trees import HardTree, SoftTree

GATES = ("sigmoid", "smooth_step")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def tree_of(features=4, outputs=3, depth=3, seed=0, dtype=torch.float64, **options):
    return SoftTree(features, outputs, depth, generator=seeded(seed), **options).to(dtype)


def rows_of(n=64, features=4, seed=1, missing=0.0, dtype=torch.float64):
    x = torch.rand(n, features, generator=seeded(seed), dtype=dtype)
    x[torch.rand(n, features, generator=seeded(seed + 1)) < missing] = math.nan
    return x


# ---------------------------------------------------------------- hard trees and artefacts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_artefact_agrees_on_every_row_and_on_the_thresholds(dtype):
    hard = tree_of(depth=4, dtype=dtype).harden()
    x = rows_of(300, missing=0.2, dtype=dtype)
    for column in range(4):  # rows exactly on, just below and just above each threshold
        on = hard.threshold[hard.feature == column]
        for values in (on, torch.nextafter(on, on + 1), torch.nextafter(on, on - 1)):
            placed = rows_of(len(values), seed=column, dtype=dtype)
            placed[:, column] = values
            x = torch.cat([x, placed])
    columns = [Column(f"c{i}", "number") for i in range(4)]
    model = hard.to_artifact(columns)
    assert model.columns == tuple(columns)
    np.testing.assert_array_equal(model.apply(x.numpy())[:, 0], hard.leaf_of(x).numpy())
    np.testing.assert_array_equal(model.predict(x.numpy()), hard(x).detach().numpy().astype(float))
    assert hard.size() == model.n_leaf_values == 16 * 3


def test_the_artefact_has_a_column_for_every_input_even_where_the_last_is_not_tested():
    tree = tree_of(features=6, depth=1, dtype=torch.float32)
    tree.feature_logits.data[:, 0] = 100.0
    x = rows_of(20, features=6, dtype=torch.float32)
    np.testing.assert_array_equal(tree.to_artifact().predict(x.numpy()), tree.harden()(x).detach().double().numpy())


def test_columns_that_do_not_fit_are_refused():
    hard = tree_of().harden()
    with pytest.raises(InputError, match="at least 4"):
        hard.to_artifact([Column("a", "number")])
    with pytest.raises(InputError, match="category"):
        hard.to_artifact([Column(name, "category", ("u",)) for name in "abcd"])


def ensemble(missing_left=True):
    """Return an uneven tree: x0 <= 0.5, then x2 <= -1 on the right."""
    nan = math.nan
    columns = tuple(Column(name, "number") for name in "abc")
    return HardEnsemble(
        columns, ("u", "v"), "identity", None, [0, -1, 2, -1, -1], [0.5, nan, -1.0, nan, nan],
        [missing_left, False, not missing_left, False, False], [1, 0, 3, 0, 0], [2, 0, 4, 0, 0], [-1] * 5,
        np.zeros((0, 0), bool), [-1, 0, -1, 1, 2], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.ones(3), [0], [10.0, 20.0],
    )  # fmt: skip


@pytest.mark.parametrize("missing_left", [True, False])
def test_softening_an_ensemble_and_hardening_it_gives_its_answers(missing_left):
    model = ensemble(missing_left)
    soft = sw.soften(model, temperature=0.2)
    x = torch.randn(300, 3, generator=seeded(0))
    x[torch.rand(300, 3, generator=seeded(1)) < 0.2] = math.nan
    x[:2] = torch.tensor([[0.5, 0.0, 0.0], [1.0, 0.0, -1.0]])  # exactly on the thresholds
    np.testing.assert_allclose(soft.harden()(x).detach().numpy(), model.predict(x.numpy()))
    np.testing.assert_allclose(soft.to_artifact().predict(x.numpy()), model.predict(x.numpy()))
    assert torch.isfinite(soft(x)).all()
    outside = ~soft.in_band(x)
    np.testing.assert_allclose(soft(x)[outside].detach().numpy(), model.predict(x.numpy())[outside])
    assert 0.2 < outside.double().mean() < 1


def test_softening_a_threshold_past_float32_gives_finite_numbers():
    model = ensemble()
    far = HardEnsemble.from_dict({**model.to_dict(), "threshold": [1e300, None, -1e300, None, None]})
    soft = sw.soften(far)
    x = torch.randn(20, 3, generator=seeded(0))
    np.testing.assert_allclose(soft.harden()(x).detach().numpy(), far.predict(x.numpy()))
    torch.testing.assert_close(soft(x), soft.harden()(x))
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(soft(x).sum(), list(soft.parameters())))


def test_softening_refuses_what_it_cannot_hold():
    content = ensemble().to_dict()
    content["columns"][2] = Column("c", "category", ("u", "w")).to_dict()
    changed = {"level_set": [-1, -1, 0, -1, -1], "levels_left": [[True, False]], "threshold": [0.5, *[None] * 4]}
    with pytest.raises(UnsupportedError, match="trees on numbers"):
        sw.soften(HardEnsemble.from_dict({**content, **changed}))


def test_softening_a_single_leaf_gives_a_tree_that_answers_it():
    leaf = HardEnsemble.single_leaf(ensemble().columns, np.array([1.0, 2.0]), outputs=("u", "v"))
    assert sw.soften(leaf).harden()(torch.zeros(2, 3)).tolist() == [[1, 2], [1, 2]]
    assert sw.soften(leaf)(torch.randn(2, 3)).tolist() == [[1, 2], [1, 2]]


# ---------------------------------------------------------------- inside a network


def network(seed=0, gate="sigmoid"):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 4), SoftTree(4, 3, depth=3, gate=gate, generator=seeded(seed)), nn.Linear(3, 1))


def test_a_tree_inside_a_network_is_calibrated_trained_annealed_and_hardened():
    x = torch.randn(256, 5, generator=seeded(0))
    y = (x[:, :1] * x[:, 1:2] > 0).float()
    model, loss = network(), nn.functional.mse_loss
    temperatures = sw.calibrate(model, x, softness=0.5)
    assert list(temperatures) == ["1"]
    assert model[1].temperature.item() == pytest.approx(0.5 * model[1].margins(model[0](x)).abs().median().item())
    start = loss(model(x), y).item()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    annealer = sw.Annealer(model, target_gap=0.002, rate=0.8)
    done = False
    for step in range(250):
        optimizer.zero_grad()
        torch.autograd.backward(loss(model(x), y))
        optimizer.step()
        if step > 100 and not done:
            done = annealer.step(sw.lifecycle.measure_gap(model, sw.harden(model).model, x, y, loss))
    assert model[1].temperature < temperatures["1"]
    result = sw.harden(model, (x, y), loss)
    hard = result.model
    assert isinstance(model[1], SoftTree)
    assert isinstance(hard[1], HardTree)
    names = [step.name for step in result.steps]
    assert names[0] == "plain rounding"
    plain = result.steps[0].loss
    shipped = loss(hard(x), y).item()
    assert shipped <= plain + 1e-9
    assert shipped < 0.8 * start
    assert torch.equal(hard[0].weight, model[0].weight)


def test_midpoints_keep_nodes_that_send_every_row_one_way():
    x = rows_of(50, features=3)
    x[:, 2] = 1.0
    x[:, 1] = math.nan
    tree = tree_of(features=3, outputs=2)
    for column, threshold in ((2, 0.5), (2, 1.5), (1, 0.5), (0, -1.0), (0, 2.0)):
        for missing_left in (True, False):
            tree.feature_logits.data[0] = 10.0 * nn.functional.one_hot(torch.tensor(column), 3)
            tree.threshold.data[0] = threshold
            tree.missing_logit.data.fill_(1.0 if missing_left else -1.0)
            plain = tree.harden()
            (name, moved), *_ = tree.roundings((x,), None, None)
            assert name == "float32-safe midpoints"
            torch.testing.assert_close(moved(x), plain(x).float())


def test_moving_to_midpoints_inside_a_network_changes_no_answer():
    x = torch.randn(128, 5, generator=seeded(3)).round(decimals=1)
    model = nn.Sequential(SoftTree(5, 3, depth=4, generator=seeded(1)), nn.Linear(3, 1))
    y = torch.randn(128, 1)
    result = sw.harden(model, (x, y), nn.functional.mse_loss)
    midpoints = [step for step in result.steps if step.name == "float32-safe midpoints"]
    assert len(midpoints) == 1
    assert midpoints[0].loss == pytest.approx(result.steps[0].loss, rel=1e-6)


@pytest.mark.parametrize("target", ["classes", "values"])
def test_roundings_are_never_worse_than_plain_rounding(target):
    improved = 0
    for seed in range(4):
        tree = tree_of(seed=seed, dtype=torch.float32, temperature=0.3)
        x = rows_of(200, seed=seed, missing=0.1, dtype=torch.float32)
        filled = torch.nan_to_num(x, 0.2)
        classes = (filled[:, 0] + filled[:, 1] > 1).long() + (filled[:, 2] > 0.6).long()
        y = classes if target == "classes" else torch.stack([filled[:, 0], filled[:, 1] ** 2, filled[:, 2]], 1)
        loss = nn.functional.cross_entropy if target == "classes" else nn.functional.mse_loss
        before = loss(tree.harden()(x), y).item()
        result = sw.harden(tree, (x, y), loss)
        after = loss(result.model(x), y).item()
        assert result.steps[0].loss == pytest.approx(before)
        assert after <= before
        assert {step.name for step in result.steps} >= {"leaves re-fitted", "nodes polished, leaves re-fitted"}
        improved += after < 0.9 * before
    assert improved == 4


@pytest.mark.parametrize("budget", [3, 6, 12])
def test_a_budget_is_a_hard_constraint(budget):
    x = rows_of(300, dtype=torch.float32)
    y = (x[:, 0] > 0.5).long() + (x[:, 1] > 0.3).long()
    result = sw.harden(tree_of(dtype=torch.float32), (x, y), nn.functional.cross_entropy, budget=budget)
    assert result.model.size() <= budget
    assert result.model.to_artifact().n_leaf_values == result.model.size()
    with pytest.raises(InputError):
        sw.harden(tree_of(dtype=torch.float32), (x, y), nn.functional.cross_entropy, budget=2)


@pytest.mark.parametrize(
    ("outputs", "make", "loss"),
    [
        (3, lambda n: torch.full((n,), -100), lambda a, y: nn.functional.cross_entropy(a, y.clamp(min=0))),
        (2, lambda n: torch.arange(n) % 7, lambda a, y: nn.functional.cross_entropy(a, y % 2)),
        (3, lambda n: torch.arange(n).double(), lambda a, y: (a.mean(1) - y).abs().mean()),
        (2, lambda n: torch.full((n, 2), math.nan), lambda a, y: (a - torch.nan_to_num(y)).abs().mean()),
        (1, lambda n: torch.arange(n) % 2, lambda a, y: (a[:, 0] - y).abs().mean()),
        (3, lambda n: (torch.arange(n) % 2)[:, None], lambda a, y: nn.functional.cross_entropy(a, y[:, 0])),
    ],
    ids=[
        "ignored classes",
        "classes past K",
        "one value for three outputs",
        "unknown values",
        "labels for one output",
        "a column",
    ],
)
def test_targets_of_another_shape_are_left_to_the_loss(outputs, make, loss):
    x = rows_of(60)
    tree = tree_of(outputs=outputs)
    result = sw.harden(tree, (x, make(60)), loss)
    assert result.steps[0].name == "plain rounding"
    assert all(math.isfinite(step.loss) for step in result.steps)
