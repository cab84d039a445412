"""One tree under any loss: exact leaves, monotone search, and what it wins over a tree of squared errors."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_poisson_deviance

from softwood.artifacts import Column
from softwood.trees import TreeClassifier, TreeRegressor
from softwood.trees._dense_tree import DenseTree, grown, node_costs, polished
from softwood.trees._loss import Poisson, Quantile
from softwood.trees._loss_names import class_loss, regression_loss, value_rows
from softwood.trees._loss_torch import batched_losses
from softwood.trees._restarts import row_losses
from softwood.trees._rows import Group, Rows

COLUMNS = tuple(Column(f"x{i}", "number") for i in range(4))


def huber(prediction, y):
    return torch.nn.functional.huber_loss(prediction, y, reduction="none").sum(1)


def smoothed(logits, y):
    return torch.nn.functional.cross_entropy(logits, y, reduction="none", label_smoothing=0.1)


def entropy(logits, y):
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def make(n, seed=0, heavy=True):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    signal = np.sin(2 * x[:, 0]) + x[:, 1] * (x[:, 2] > 0)
    return x, signal + 0.5 * rng.standard_t(1.5, n) if heavy else rng.poisson(np.exp(signal)).astype(float)


def group_of(loss, n=240, outputs=1):
    x, y = make(n, heavy=not isinstance(loss, Poisson))
    wide = np.column_stack([y, y[::-1]])[:, :outputs]
    weight = np.random.default_rng(1).integers(1, 3, n).astype(float)
    rows = value_rows(Rows(COLUMNS, x, np.zeros(0, np.int32), wide, weight), loss, weight)[0]
    return Group(rows, np.arange(n) < 200)


LOSSES = {"absolute": Quantile(0.5, 2.0), "quantile": Quantile(0.8), "huber": regression_loss(huber, 0.5)}


@pytest.mark.parametrize("strength", [0.0, 3.0])
@pytest.mark.parametrize("name", LOSSES)
def test_leaves_are_the_best_constants(name, strength):
    group = group_of(LOSSES[name], outputs=2)
    fit = group.fit
    leaf = (np.arange(fit.rows.n) % 5).astype(np.int32)
    scores = fit.scores(leaf, 6, strength)
    np.testing.assert_allclose(scores[5], fit.start, atol=1e-9)  # an empty leaf
    for place in range(5):
        rows = fit.rows.take(leaf == place)

        def cost(value, rows=rows):
            here = float(rows.weight @ rows.loss.by_row(np.tile(value, (rows.n, 1)), rows))
            if not strength:
                return here
            if name == "huber":
                return here + strength / 2 * float(((value - fit.start) ** 2).sum())
            gap = fit.start - value
            pull = np.maximum(rows.loss.level * gap, (rows.loss.level - 1) * gap).sum()
            return here + strength * rows.loss.factor * float(pull)

        best = minimize(cost, scores[place], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).fun
        assert cost(scores[place]) <= best * (1 + 1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_every_step_of_the_search_lowers_the_loss(name):
    fit = group_of(LOSSES[name]).fit
    tree = fit.grown(3, 5.0)
    root = fit.level_costs(tree)[0][0]
    start, costs = DenseTree(np.full(7, 1, np.int32), np.arange(7, dtype=np.int32), np.zeros(7, bool)), []
    for level in (2, 1, 0, 2, 1, 0):
        start = fit._moved(start, level, 5.0)
        costs.append(fit.cost(start))
    assert (np.diff(costs) <= 1e-9).all()
    assert costs[-1] < costs[0]
    assert fit.cost(tree) < 0.95 * root
    better = fit.polished(tree, 5.0)
    assert fit.cost(better) <= fit.cost(tree)
    assert fit.cost(fit.found([tree, start], 5.0, 12, 0)) <= min(fit.cost(better), costs[-1])
    assert [len(costs) for costs in fit.level_costs(better)] == [1, 2, 4, 8]
    assert fit.level_costs(better)[-1].sum() == pytest.approx(fit.cost(better))


def test_a_moved_test_is_the_best_of_all():
    """Enumeration: no other cut of any column at the root costs less, the leaves being as they are."""
    fit = group_of(Quantile(0.8)).fit
    tree = fit.grown(2, 5.0)
    moved = fit._moved(tree, 0, 5.0)
    leaf = tree.leaf_of(fit.codes)
    scores = fit.scores(leaf, 4)

    def cost(feature, cut):
        other = DenseTree(tree.feature.copy(), tree.cut.copy(), tree.missing_left)
        other.feature[0], other.cut[0] = feature, cut
        left = fit.codes[feature] <= cut
        if min(fit.weight[left].sum(), fit.weight[~left].sum()) < 5:
            return np.inf
        raw = scores[other.leaf_of(fit.codes)]
        return float(fit.weight @ fit.loss.by_row(raw, fit.rows))

    best = min(cost(f, c) for f in range(4) for c in range(int(fit.n_bins[f])))
    assert cost(int(moved.feature[0]), int(moved.cut[0])) == pytest.approx(best)


def test_poisson_trees_are_grown_and_polished_on_their_deviance():
    group = group_of(Poisson())
    data = group.problem("poisson", 5.0, 0.0)
    tree = grown(data, 3)
    rows, live = group.rows, group.active

    def deviance(tree):
        answers = tree.values(data, 0.0)[tree.leaf_of(group.codes)]
        raw = np.log(np.maximum(answers, 1e-12))
        return float(rows.weight[live] @ rows.loss.parts(np.maximum(raw, -27.0), rows)[0][live])

    better = polished(tree, data)
    gap = node_costs(tree, data)[-1].sum() - node_costs(better, data)[-1].sum()
    assert gap > 0  # what the kernel calls the loss is the deviance, but for a constant
    assert deviance(tree) - deviance(better) == pytest.approx(gap, rel=1e-6)


@pytest.mark.parametrize("loss", [Quantile(0.8), Poisson(), regression_loss(huber, 0.5), class_loss(entropy)])
def test_many_soft_trees_have_the_losses_of_single_rows(loss):
    answer = torch.randn(2, 3, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if loss.name.endswith("entropy"):
        target = torch.tensor([0, 1, 2, 1, 0, 2])
        expected = row_losses(answer, target)
    else:
        target = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.1
        rows = Rows(COLUMNS, np.zeros((6, 4)), np.zeros(0, np.int32), target.numpy(), np.ones(6), given=target.numpy())
        flat = [loss.by_row(part.T.numpy(), rows) for part in answer.reshape(6, 3, 6)]
        constant = np.zeros(6)
        if isinstance(loss, Poisson):
            constant = loss.by_row(np.zeros((6, 3)), rows) - 3
        expected = torch.from_numpy(np.array(flat) - constant).reshape(2, 3, 6)
    np.testing.assert_allclose(batched_losses(loss, row_losses)(answer, target), expected)


@pytest.mark.parametrize("loss", ["absolute", "quantile", "poisson", "function"])
def test_a_tree_of_the_right_loss_beats_one_of_squared_errors(loss):
    (x, y), (other, truth) = (make(n, seed, loss != "poisson") for n, seed in ((600, 3), (4000, 4)))

    def judged(found):
        if loss == "poisson":
            return mean_poisson_deviance(truth, np.maximum(found, 1e-3))
        if loss == "function":
            return float(huber(torch.from_numpy(found)[:, None], torch.from_numpy(truth)[:, None]).mean())
        return mean_absolute_error(truth, found) if loss == "absolute" else mean_pinball_loss(truth, found, alpha=0.8)

    small = {"max_depth": 3, "effort": 0.05, "n_jobs": 1}
    tree = TreeRegressor(loss=huber if loss == "function" else loss, quantile=0.8, **small).fit(x, y)
    plain = TreeRegressor(**small).fit(x, y)
    assert judged(tree.predict(other)) < judged(plain.predict(other)) * {"poisson": 1.02, "function": 0.98}.get(
        loss, 0.95
    )
    assert {trial["search"] for trial in tree.record_["trials"]} == {"cart", "kicks", "gradient"}
    assert tree.record_["loss"] == tree.certificate_.loss == tree.loss_.name
    assert tree.soft_ is None
    if loss == "poisson":
        assert (tree.predict(other) > 0).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_tree_of_a_function(classes):
    x, y = make(300)
    labels = np.digitize(y, [0.0, 0.8][: classes - 1])
    tree = TreeClassifier(2, loss=smoothed, effort=0.05, n_jobs=1).fit(x, labels)
    chances = tree.predict_proba(x)
    np.testing.assert_allclose(chances.sum(1), 1.0)
    assert (chances > 0.01).all()  # smoothed labels forbid certainty
    assert tree.score(x, labels) > (0.7 if classes == 2 else 0.5)
    assert tree.record_["options"]["metric"].endswith("smoothed")


def test_several_targets():
    x, y = make(150)
    for loss in ("absolute", "poisson", huber):
        target = np.column_stack([y, x[:, 0]]) if loss != "poisson" else np.column_stack([np.abs(y), x[:, 0] > 0])
        tree = TreeRegressor(2, loss=loss, effort=0.02, n_jobs=1).fit(x, target)
        assert tree.predict(x).shape == (150, 2)
