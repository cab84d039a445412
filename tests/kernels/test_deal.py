import numpy as np
import pytest

from softwood.kernels import deal


def dealt_in_python(counts, order, folds):
    """The same greedy rule, by the sum of squares itself."""
    holds = np.zeros((folds, counts.shape[1]))
    fold, members = np.empty(len(counts), int), np.zeros(folds, int)
    for place, group in enumerate(order):
        left = len(order) - place
        open_ones = [f for f in range(folds) if left > (members == 0).sum() or members[f] == 0]

        def cost(f, group=group):
            after = holds.copy()
            after[f] += counts[group]
            return ((after**2 - holds**2) / counts.sum(0)).sum().round(9), holds[f].sum(), f

        fold[group] = min(open_ones, key=cost)
        holds[fold[group]] += counts[group]
        members[fold[group]] += 1
    return fold


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_greedy_rule(seed):
    rng = np.random.default_rng(seed)
    groups, folds = int(rng.integers(2, 30)), int(rng.integers(2, 6))
    counts = rng.integers(0, 9, (groups, int(rng.integers(1, 4)))).astype(float) + 1
    order = rng.permutation(groups)
    np.testing.assert_array_equal(deal(counts, order, folds), dealt_in_python(counts, order, folds))


def test_no_fold_stays_empty_where_there_are_as_many_groups():
    counts = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert sorted(deal(counts, np.arange(3), 3)) == [0, 1, 2]
    assert set(deal(np.array([[9.0], [1.0], [1.0], [1.0]]), np.arange(4), 4)) == {0, 1, 2, 3}
