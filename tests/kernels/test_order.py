import numpy as np
import pytest

from softwood.kernels import sort_rows


def sorted_rows(x, descending):
    found, order = np.empty_like(x), np.empty(x.shape, np.int64)
    unsigned = np.uint32 if x.dtype == np.float32 else np.uint64
    sort_rows(x.view(unsigned), descending, found.view(unsigned), order)
    return found, order


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 2, 16, 40, 41, 300, 5000])
def test_rows_are_sorted_stably(dtype, n):
    rng = np.random.default_rng(n)
    x = np.concatenate(
        [rng.normal(size=(3, n)), rng.integers(-3, 3, (3, n)), 1e30 * rng.normal(size=(2, n)), np.ones((1, n))]
    )
    x = x.astype(dtype)
    x[rng.random(x.shape) < 0.05] = -0.0
    if n > 10:
        x[0, :5] = [np.inf, -np.inf, np.nan, -np.nan, np.inf]
    found, order = sorted_rows(x, False)
    np.testing.assert_array_equal(order, np.argsort(x, kind="stable"))
    np.testing.assert_array_equal(found, np.take_along_axis(x, order, 1))
    found, order = sorted_rows(x, True)
    np.testing.assert_array_equal(found, np.sort(x)[:, ::-1])
    np.testing.assert_array_equal(found, np.take_along_axis(x, order, 1))
    tied = found[:, 1:] == found[:, :-1]
    assert (np.diff(order)[tied] > 0).all()
