import numpy as np

from softwood.kernels import group_quantiles


def _pinball(values, weight, level, at):
    return weight @ np.maximum(level * (values - at), (level - 1) * (values - at))


def test_no_other_value_has_less_pinball_loss():
    rng = np.random.default_rng(0)
    for level in (0.05, 0.5, 0.9):
        values, weight = rng.integers(0, 9, 60).astype(float), rng.integers(0, 4, 60).astype(float)
        group = rng.integers(-1, 3, 60).astype(np.int32)
        found = group_quantiles(values, weight, group, 3, level)
        for g in range(3):
            inside = group == g
            best = min(_pinball(values[inside], weight[inside], level, at) for at in np.arange(0, 9.5, 0.5))
            assert abs(_pinball(values[inside], weight[inside], level, found[g]) - best) < 1e-9


def test_ties_take_the_middle_and_empty_groups_zero():
    two = group_quantiles(np.array([3.0, 1.0]), np.ones(2), np.zeros(2, np.int32), 2, 0.5)
    assert two.tolist() == [2.0, 0.0]
    heavy = group_quantiles(np.array([3.0, 1.0, 7.0]), np.array([2.0, 1.0, 0.0]), np.zeros(3, np.int32), 1, 0.5)
    assert heavy.tolist() == [3.0]
