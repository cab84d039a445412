import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import binomtest
from sklearn.metrics import r2_score as reference_r2

from softwood.core import InputError
from softwood.lifecycle import clopper_pearson, mean_of, share_of
from softwood.lifecycle._intervals import paired_error, r2_score


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_the_interval_of_a_share_is_the_exact_one(counted, level):
    count, n = counted
    expected = binomtest(count, n).proportion_ci(level, method="exact")
    found = clopper_pearson(count, n, level)
    assert found.value == count / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("count", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_counts_that_cannot_be_are_refused(count, n):
    with pytest.raises(InputError):
        clopper_pearson(count, n)


@pytest.mark.parametrize("outputs", [1, 3])
def test_r2_is_that_of_scikit_learn(outputs):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, outputs))
    output, weight = y + rng.normal(size=y.shape), rng.random(200)
    found = r2_score(y, output, weight / weight.sum())
    assert found.value == pytest.approx(reference_r2(y, output, sample_weight=weight))
    assert found.low < found.value < found.high


def test_the_interval_of_r2_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    n, covered, rounds = 300, 0, 400
    weight = np.full(n, 1 / n)
    for _ in range(rounds):  # y = signal + noise of equal variance, predicted by the signal: R2 is 1/2
        signal, noise = rng.normal(size=(2, n, 1))
        found = r2_score(signal + noise, signal, weight, level=0.9)
        covered += found.low <= 0.5 <= found.high
    assert clopper_pearson(covered, rounds, 0.999).low < 0.9 < clopper_pearson(covered, rounds, 0.999).high


def test_each_row_twice_narrows_the_interval_by_root_two():
    rng = np.random.default_rng(2)
    y = rng.normal(size=(50, 1))
    output = y + rng.normal(size=y.shape)
    one = r2_score(y, output, np.full(50, 1 / 50))
    two = r2_score(np.tile(y, (2, 1)), np.tile(output, (2, 1)), np.full(100, 1 / 100))
    assert two.value == pytest.approx(one.value)
    assert (one.high - one.low) == pytest.approx(np.sqrt(2) * (two.high - two.low))


def test_a_constant_target_has_no_r2():
    assert r2_score(np.ones((5, 1)), np.zeros((5, 1)), np.full(5, 0.2)) is None
    assert r2_score(np.ones((1, 1)), np.zeros((1, 1)), np.ones(1)) is None


def test_a_mean_has_the_t_interval():
    values = np.array([1.0, 2.0, 4.0, 8.0])
    found = mean_of(values, np.ones(4))
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((3.75, low, high), rel=1e-12)
    assert mean_of(values[:1], np.ones(1)) is None
    assert mean_of(values, np.array([1.0, 0, 0, 0])) is None


def test_weights_count_as_rows_where_they_are_equal():
    hit = np.array([True] * 7 + [False] * 3)
    plain = share_of(hit, None)
    assert share_of(hit, np.full(10, 3.0)) == plain
    heavy = share_of(hit, np.where(hit, 9.0, 1.0))
    assert heavy.low <= heavy.value <= heavy.high
    assert heavy.value == pytest.approx(63 / 66)


def test_a_paired_error_is_that_of_the_mean_of_the_differences():
    r = np.random.default_rng(0)
    difference = r.normal(size=50)
    assert paired_error(difference, np.full(50, 1 / 50)) == pytest.approx(stats.sem(difference), rel=1e-12)
    twice = np.repeat(difference, 2)  # a row that counts twice is no second row
    assert paired_error(difference, np.full(50, 2 / 100)) > paired_error(twice, np.full(100, 1 / 100))
    assert paired_error(np.array([1.0]), np.ones(1)) is None
