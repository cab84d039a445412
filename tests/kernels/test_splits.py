import itertools

import numpy as np
import pytest

from softwood.kernels import ENTROPY, ERROR, MISSING, SQUARED, best_splits, leaf_cost

FRESH = np.zeros(0)
CHARGES = [
    pytest.param(ENTROPY, True, id="log-loss"),
    pytest.param(ERROR, True, id="wrong labels"),
    pytest.param(SQUARED, True, id="gini"),
    pytest.param(SQUARED, False, id="squared"),
]


def every_split(naive, data, rows, costs):
    """Yield (feature, cut, missing_left, cost) of each split of ``rows`` that is allowed, by the definition.

    A cut of -1 parts the missing from all others with the missing on the left.
    """
    for feature in np.flatnonzero(data.allowed):
        for cut, missing_left in itertools.product(range(-1, data.n_bins[feature]), (False, True)):
            left = naive.side(data.codes, feature, cut, missing_left)
            masks = [rows & left, rows & ~left]
            weights = [data.weight[mask].sum() for mask in masks]
            if min(weights) <= 0 or min(weights) < data.min_leaf:
                continue
            if len(costs):
                cost = costs[masks[0]].sum()
            else:
                cost = sum(naive.loss_at(data, mask, naive.best_value(data, mask)) for mask in masks)
            yield feature, cut, missing_left, cost


def check(naive, data, node, n_nodes, costs):
    found = best_splits(data, node, n_nodes, costs)
    for v in range(n_nodes):
        feature, cut, missing_left, cost = (part[v] for part in found)
        rows = node == v
        options = {option[:3]: option[3] for option in every_split(naive, data, rows, costs)}
        if not options:
            assert feature == -1
            assert cost == np.inf
            continue
        np.testing.assert_allclose(cost, min(options.values()), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(options[feature, cut, bool(missing_left)], cost, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kind", "by_label"), CHARGES)
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_split_is_that_of_an_enumeration(naive, kind, by_label, given, seed):
    data = naive.build(seed, kind=kind, by_label=by_label, smoothing=(seed % 2) * 1.5, min_leaf=seed * 1.0)
    rng = np.random.default_rng(seed)
    node = rng.integers(-1, 4, 40).astype(np.int32)
    check(naive, data, node, 4, rng.normal(size=40) if given else FRESH)


def test_given_costs_may_send_the_missing_left_and_all_others_right(naive):
    data = naive.build(0, n=6, features=1, bins=2, missing=0.0)
    data.codes[0] = [0, 1, 0, 1, MISSING, MISSING]
    costs = np.array([1.0, 1.0, 1.0, 1.0, -1.0, -1.0])
    feature, cut, missing_left, cost = best_splits(data, np.zeros(6, np.int32), 1, costs)
    assert (feature[0], cut[0], missing_left[0], cost[0]) == (0, -1, True, -2.0)


@pytest.mark.parametrize("given", [False, True])
def test_rows_that_do_not_count_do_not_count(naive, given):
    rng = np.random.default_rng(1)
    data = naive.build(1, n=60)
    node = rng.integers(-1, 2, 60).astype(np.int32)
    costs = rng.normal(size=60) if given else FRESH
    found = best_splits(data, node, 2, costs)
    kept = node >= 0
    without = data._replace(codes=data.codes[:, kept].copy(), labels=data.labels[kept], weight=data.weight[kept])
    again = best_splits(without, node[kept], 2, costs[kept] if given else FRESH)
    for part, same in zip(found, again, strict=True):
        np.testing.assert_array_equal(part, same)


def test_a_weight_is_so_many_rows(naive):
    data = naive.build(2, n=30)
    times = np.random.default_rng(2).integers(1, 4, 30)
    repeated = data._replace(
        codes=np.repeat(data.codes, times, axis=1), labels=np.repeat(data.labels, times), weight=np.ones(times.sum())
    )
    weighted = data._replace(weight=times.astype(float))
    node = np.zeros(times.sum(), np.int32)
    for part, same in zip(
        best_splits(weighted, node[:30], 1, FRESH), best_splits(repeated, node, 1, FRESH), strict=True
    ):
        np.testing.assert_allclose(part, same)


def test_the_least_leaf_is_met_by_weights_whose_sum_is_not_exact(naive):
    data = naive.build(3, n=30, features=1, bins=2, outputs=2, missing=0.0)
    data.codes[0] = np.arange(30) >= 10
    data = data._replace(labels=(np.arange(30) >= 10).astype(np.int32), weight=np.full(30, 0.1))
    node = np.zeros(30, np.int32)
    assert sum([0.1] * 10) < 1
    assert best_splits(data._replace(min_leaf=1.0), node, 1, FRESH)[0][0] == 0
    assert best_splits(data._replace(min_leaf=1.001), node, 1, FRESH)[0][0] == -1


def test_a_feature_that_is_not_allowed_is_not_tested(naive):
    data = naive.build(4, n=50)
    node = np.zeros(50, np.int32)
    best = best_splits(data, node, 1, FRESH)[0][0]
    allowed = np.arange(3) != best
    check(naive, data._replace(allowed=allowed), node, 1, FRESH)
    assert best_splits(data._replace(allowed=allowed), node, 1, FRESH)[0][0] in np.flatnonzero(allowed)
    assert best_splits(data._replace(allowed=np.zeros(3, bool)), node, 1, FRESH)[0][0] == -1


def test_without_a_missing_value_what_is_missing_later_goes_with_the_heavier_side(naive):
    data = naive.build(0, n=5, features=1, bins=2, outputs=2, missing=0.0)
    data.codes[0] = [0, 0, 0, 1, 1]
    data = data._replace(labels=np.array([0, 0, 0, 1, 1], np.int32), weight=np.ones(5))
    node = np.zeros(5, np.int32)
    assert best_splits(data, node, 1, FRESH)[2][0]
    assert not best_splits(data._replace(weight=np.array([0.1, 0.1, 0.1, 1, 1])), node, 1, FRESH)[2][0]


def test_the_first_of_equally_good_splits_wins(naive):
    data = naive.build(5, n=30)
    data.codes[1:] = data.codes[0]
    found = best_splits(data, np.zeros(30, np.int32), 1, FRESH)
    assert found[0][0] == 0


def test_missing_against_present_is_found_where_a_column_has_one_bin(naive):
    data = naive.build(0, n=6, features=1, bins=1, outputs=2, missing=0.0)
    data.codes[0, 3:] = MISSING
    data = data._replace(labels=np.array([0, 0, 0, 1, 1, 1], np.int32))
    feature, cut, missing_left, cost = best_splits(data, np.zeros(6, np.int32), 1, FRESH)
    assert (feature[0], cut[0], missing_left[0]) == (0, 0, False)
    np.testing.assert_allclose(cost[0], 0, atol=1e-12)


@pytest.mark.parametrize(("kind", "by_label"), CHARGES)
@pytest.mark.parametrize("smoothing", [0.0, 2.5])
def test_the_cost_of_a_leaf_is_its_loss_at_the_mean(naive, kind, by_label, smoothing):
    data = naive.build(6, kind=kind, by_label=by_label, smoothing=smoothing)
    mask = np.arange(40) < 17
    stats = np.concatenate([[data.weight[mask].sum()], naive.targets(data)[mask].sum(0)])
    expected = naive.loss_at(data, mask, naive.best_value(data, mask))
    np.testing.assert_allclose(leaf_cost(stats, data.prior, smoothing, kind), expected, rtol=1e-12)
    assert leaf_cost(np.zeros(4), data.prior, 0.0, kind) == 0.0
