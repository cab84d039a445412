import itertools

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from softwood.kernels import (
    ENTROPY,
    ERROR,
    MISSING,
    SQUARED,
    dense_leaf_indices,
    grow,
    kick,
    leaf_cost,
    leaf_statistics,
    leaf_values,
    polish,
    tree_cost,
)

CHARGES = [
    pytest.param(ENTROPY, True, id="log-loss"),
    pytest.param(ERROR, True, id="wrong labels"),
    pytest.param(SQUARED, True, id="gini"),
    pytest.param(SQUARED, False, id="squared"),
]


def random_tree(rng, depth, data):
    inner = 2**depth - 1
    feature = rng.integers(-1, len(data.n_bins), inner).astype(np.int32)
    return feature, rng.integers(0, 4, inner).astype(np.int32), rng.random(inner) < 0.5


def loss_of(naive, data, tree):
    """Return the loss of a tree whose leaves answer their mean target, by the definition."""
    leaf = naive.leaves(data.codes, *tree)
    masks = [data.active & (leaf == index) for index in range(len(tree[0]) + 1)]
    return sum(naive.loss_at(data, mask, naive.best_value(data, mask)) for mask in masks)


@pytest.mark.parametrize(("kind", "by_label"), CHARGES)
@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_the_loss_of_a_tree_is_that_of_its_leaves_at_their_mean(naive, kind, by_label, smoothing):
    data = naive.build(0, kind=kind, by_label=by_label, smoothing=smoothing, active=np.arange(40) % 5 > 0)
    for seed in range(5):
        tree = random_tree(np.random.default_rng(seed), 3, data)
        np.testing.assert_allclose(tree_cost(data, *tree, 3), loss_of(naive, data, tree), rtol=1e-9)


@pytest.mark.parametrize(("kind", "by_label"), [(ENTROPY, True), (SQUARED, True), (SQUARED, False)])
@pytest.mark.parametrize("smoothing", [0.5, 3.0])
def test_no_other_leaf_value_has_a_lower_loss(naive, kind, by_label, smoothing):
    data = naive.build(1, kind=kind, by_label=by_label, smoothing=smoothing)
    mask = np.arange(40) < 15
    stats = leaf_statistics(data, np.where(mask, 0, -1).astype(np.int32), 1)
    value = leaf_values(stats, data.prior, smoothing)[0]

    def loss(free):
        answer = np.exp(free) / np.exp(free).sum() if kind == ENTROPY else free
        return naive.loss_at(data, mask, answer)

    found = minimize(loss, np.zeros(3), options={"gtol": 1e-9})
    answer = np.exp(found.x) / np.exp(found.x).sum() if kind == ENTROPY else found.x
    np.testing.assert_allclose(value, answer, atol=1e-5)
    np.testing.assert_allclose(leaf_cost(stats[0], data.prior, smoothing, kind), found.fun, rtol=1e-9)


@pytest.mark.parametrize("by_label", [True, False])
def test_statistics_are_weighted_sums_by_leaf(naive, by_label):
    data = naive.build(2, kind=SQUARED, by_label=by_label)
    leaf = np.random.default_rng(0).integers(-1, 4, 40).astype(np.int32)
    expected = [[data.weight[leaf == v].sum(), *naive.targets(data)[leaf == v].sum(0)] for v in range(4)]
    np.testing.assert_allclose(leaf_statistics(data, leaf, 4), expected, atol=1e-12)


def test_an_empty_leaf_answers_the_prior():
    prior = np.array([0.2, 0.8])
    assert leaf_values(np.zeros((1, 3)), prior, 0.0).tolist() == [[0.2, 0.8]]
    assert leaf_values(np.array([[2.0, 2.0, 0.0]]), prior, 0.0).tolist() == [[1.0, 0.0]]
    np.testing.assert_allclose(leaf_values(np.array([[2.0, 2.0, 0.0]]), prior, 2.0), [[0.6, 0.4]])


# ---------------------------------------------------------------- growing


@pytest.mark.parametrize("depth", [1, 3, 5])
@pytest.mark.parametrize("criterion", ["gini", "entropy", "squared_error"])
def test_growing_is_cart(naive, depth, criterion):
    rng = np.random.default_rng(depth)
    n, outputs = 240, 3 if criterion != "squared_error" else 1
    x = np.argsort(rng.random((4, n)), axis=1).astype(np.uint8)  # every value once
    labels = (rng.integers(0, 3, n) + (x[0] > 100) + (x[1] > 60)).clip(0, 2).astype(np.int32)
    y = rng.normal(size=n) + x[0] / 50
    weight = rng.integers(1, 4, n).astype(float)
    kind = ENTROPY if criterion == "entropy" else SQUARED
    by_label = criterion != "squared_error"
    data = naive.build(
        0, kind=kind, codes=x, n_bins=np.full(4, n, np.int32), labels=labels if by_label else np.zeros(0, np.int32),
        moments=np.zeros((0, 3)) if by_label else (y * weight)[:, None], weight=weight, active=np.ones(n, bool),
        allowed=np.ones(4, bool), prior=np.full(outputs, 1 / outputs), min_leaf=0.0,
    )  # fmt: skip
    model = (DecisionTreeClassifier if by_label else DecisionTreeRegressor)(
        criterion=criterion, max_depth=depth, random_state=0
    )
    model.fit(x.T, labels if by_label else y, sample_weight=weight)
    tree = grow(data, depth)
    ours = tree_cost(data, *tree, depth)
    leaves = model.tree_.children_left < 0
    theirs = (model.tree_.impurity * model.tree_.weighted_n_node_samples)[leaves].sum()
    if criterion == "entropy":
        theirs *= np.log(2)  # scikit-learn counts bits
    else:  # without the constant sum of squares
        theirs -= weight.sum() if by_label else weight @ y**2
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    weights = np.bincount(dense_leaf_indices(x, *tree), weights=weight)
    assert sorted(weights[weights > 0]) == sorted(model.tree_.weighted_n_node_samples[leaves])


def test_growing_leaves_a_node_without_a_gain_alone(naive):
    data = naive.build(0, labels=np.zeros(40, np.int32))
    assert (grow(data, 3)[0] == -1).all()
    heavy = naive.build(0, min_leaf=1e9)
    assert (grow(heavy, 3)[0] == -1).all()


def test_growing_obeys_the_least_leaf(naive):
    data = naive.build(1, n=200, min_leaf=20.0, missing=0.1)
    feature, cut, missing_left = grow(data, 4)
    assert (feature >= 0).sum() >= 2
    weights = np.bincount(naive.leaves(data.codes, feature, cut, missing_left), weights=data.weight, minlength=16)
    assert weights[weights > 0].min() >= 20


def test_growing_and_polishing_look_at_active_rows_only(naive):
    data = naive.build(2, n=80)
    active = np.arange(80) < 50
    part = data._replace(codes=data.codes[:, :50].copy(), labels=data.labels[:50], weight=data.weight[:50])
    part = part._replace(active=np.ones(50, bool))
    some, few = grow(data._replace(active=active), 3), grow(part, 3)
    for ours, same in zip(some, few, strict=True):
        np.testing.assert_array_equal(ours, same)
    assert polish(data._replace(active=active), *some, 3, 50) == polish(part, *few, 3, 50)
    for ours, same in zip(some, few, strict=True):
        np.testing.assert_array_equal(ours, same)


# ---------------------------------------------------------------- polishing


def interacting(naive, seed, kind, by_label, smoothing):
    """Return a problem in which two features say something together only, so that a greedy tree is not the best."""
    data = naive.build(seed, n=300, kind=kind, by_label=by_label, smoothing=smoothing, min_leaf=4.0, missing=0.05)
    answer = ((data.codes[0] <= 2) ^ (data.codes[1] <= 1)) + np.random.default_rng(seed).normal(size=300) / 2
    if by_label:
        return data._replace(labels=(answer > 0.5).astype(np.int32))
    return data._replace(moments=np.column_stack([answer, -answer, answer]) * data.weight[:, None])


@pytest.mark.parametrize(("kind", "by_label"), CHARGES)
@pytest.mark.parametrize("start", ["grown", "random"])
@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_polishing_never_raises_the_loss(naive, kind, by_label, start, smoothing):
    improved = 0
    for seed in range(6):
        data = interacting(naive, seed, kind, by_label, smoothing)
        tree = grow(data, 3) if start == "grown" else random_tree(np.random.default_rng(seed), 3, data)
        before = tree_cost(data, *tree, 3)
        for passes in (1, 1, 50):
            after = polish(data, *tree, 3, passes)
            assert after <= before + 1e-9 * abs(before)
            np.testing.assert_allclose(after, tree_cost(data, *tree, 3), rtol=1e-12)
            improved += after < before - 1e-6
            before = after
    assert improved >= (3 if start == "random" else 0)  # a greedy tree may be a fixed point already


def single_changes(naive, data, tree, node, rows):
    """Yield every other test of one node that leaves both sides some weight, and enough of it."""
    for feature in np.flatnonzero(data.allowed):
        for cut, missing_left in itertools.product(range(-1, data.n_bins[feature]), (False, True)):
            left = naive.side(data.codes, feature, cut, missing_left)
            weights = data.weight[rows & left].sum(), data.weight[rows & ~left].sum()
            if min(weights) <= 0 or min(weights) < data.min_leaf:
                continue
            changed = tuple(part.copy() for part in tree)
            changed[0][node], changed[1][node], changed[2][node] = feature, cut, missing_left
            yield changed


def loss_with(naive, data, tree, values):
    """Return the loss of a tree with leaf values that stay, pseudo-rows included."""
    leaf = naive.leaves(data.codes, *tree)
    total = 0.0
    for index, value in enumerate(values):
        with np.errstate(divide="ignore"):
            total += naive.loss_at(data, data.active & (leaf == index), np.maximum(value, 1e-12))
    return total


@pytest.mark.parametrize(("kind", "by_label"), CHARGES)
@pytest.mark.parametrize("seed", range(2))
def test_no_single_change_of_a_node_lowers_the_loss_of_a_polished_tree(naive, kind, by_label, seed):
    data = naive.build(seed, n=60, kind=kind, by_label=by_label, smoothing=1.0, min_leaf=2.0, bins=4)
    tree = grow(data, 3)
    polish(data, *tree, 3, 200)
    loss = tree_cost(data, *tree, 3)
    values = leaf_values(leaf_statistics(data, dense_leaf_indices(data.codes, *tree), 8), data.prior, 1.0)
    tried = 0
    for node in range(7):
        level = (node + 1).bit_length() - 1
        above = tuple(part[: 2**level - 1] for part in tree)
        rows = naive.leaves(data.codes, *above) == node - (2**level - 1)
        for changed in single_changes(naive, data, tree, node, rows):
            tried += 1
            # on the lowest level the two leaves are fitted anew; above, the answers below stay as they are
            after = loss_of(naive, data, changed) if level == 2 else loss_with(naive, data, changed, values)
            assert after >= loss - 1e-7 * abs(loss)
    assert tried > 50


def test_polishing_a_polished_tree_changes_nothing(naive):
    """Polishing looks again only where a change can have moved the best test; a fresh call looks everywhere."""
    for seed in range(40):
        data = interacting(naive, seed, ENTROPY, True, 1.0)
        tree = random_tree(np.random.default_rng(seed), 4, data)
        loss = polish(data, *tree, 4, 200)
        before = tuple(part.copy() for part in tree)
        assert polish(data, *tree, 4, 200) == loss
        for part, same in zip(tree, before, strict=True):
            np.testing.assert_array_equal(part, same)


def test_polishing_finds_what_growing_cannot(naive):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, (4, 400)).astype(np.uint8)
    noise = rng.random(400) < 0.1
    labels = (codes[0] ^ codes[1] ^ noise).astype(np.int32)  # no single test tells anything of an exclusive or
    codes[2] = np.where(rng.random(400) < 0.6, labels, codes[2])  # and this one leads the greedy search astray
    data = naive.build(
        0, n=400, features=4, bins=2, outputs=2, codes=codes, labels=labels, weight=np.ones(400), smoothing=1.0
    )
    tree = grow(data, 2)
    greedy = tree_cost(data, *tree, 2)
    nodes = rng.integers(0, 3, (30, 3)).astype(np.int32)
    polish(data, *tree, 2, 50)
    best = kick(data, *tree, 2, 50, nodes, rng.integers(0, 4, (30, 3)).astype(np.int32), rng.random((30, 3)))
    assert best < 0.8 * greedy
    assert set(tree[0].tolist()) == {0, 1}


@pytest.mark.parametrize(("kind", "by_label"), CHARGES)
def test_a_kick_is_never_worse_and_does_the_same_every_time(naive, kind, by_label):
    gained = 0
    for seed in range(4):
        data = naive.build(seed, n=120, kind=kind, by_label=by_label, smoothing=1.0, min_leaf=3.0, features=5)
        rng = np.random.default_rng(seed)
        nodes = rng.integers(-1, 7, (20, 3)).astype(np.int32)
        features, places = rng.integers(0, 5, (20, 3)).astype(np.int32), rng.random((20, 3))
        trees = [tuple(part.copy() for part in grow(data, 3)) for _ in range(2)]
        before = [polish(data, *tree, 3, 50) for tree in trees]
        after = [kick(data, *tree, 3, 50, nodes, features, places) for tree in trees]
        assert before[0] == before[1]
        assert after[0] == after[1] <= before[0]
        np.testing.assert_allclose(after[0], tree_cost(data, *trees[0], 3), rtol=1e-12)
        for part, same in zip(*trees, strict=True):
            np.testing.assert_array_equal(part, same)
        gained += after[0] < before[0]
    assert gained >= 2


def test_a_kick_of_no_nodes_changes_nothing(naive):
    data = naive.build(0, n=100, smoothing=1.0)
    tree = grow(data, 3)
    loss = polish(data, *tree, 3, 50)
    before = tuple(part.copy() for part in tree)
    none = np.full((5, 3), -1, np.int32)
    assert kick(data, *tree, 3, 50, none, none, np.zeros((5, 3))) == loss
    for part, same in zip(tree, before, strict=True):
        np.testing.assert_array_equal(part, same)


def test_missing_values_go_where_the_loss_is_lower(naive):
    for label_of_missing in (0, 1):
        codes = np.array([[0] * 20 + [1] * 20 + [MISSING] * 10], np.uint8)
        labels = np.array([0] * 20 + [1] * 20 + [label_of_missing] * 10, np.int32)
        data = naive.build(
            0, n=50, features=1, bins=2, outputs=2, codes=codes, labels=labels, weight=np.ones(50), smoothing=1.0
        )
        for tree in (grow(data, 1), tuple(np.array([v]).astype(t) for v, t in ((0, "i4"), (0, "i4"), (0, bool)))):
            polish(data, *tree, 1, 10)
            leaf = dense_leaf_indices(codes, *tree)
            assert leaf[40] == leaf[0 if label_of_missing == 0 else 20]
            assert leaf[0] != leaf[20]
