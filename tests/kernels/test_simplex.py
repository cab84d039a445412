import numpy as np
import pytest
from scipy.optimize import minimize

from softwood.kernels import simplex_rows


def mapped(x, alpha):
    x = np.atleast_2d(np.asarray(x))
    out = np.empty_like(x)
    simplex_rows(x, np.full(len(x), 1 / (alpha - 1)), out)
    return out


@pytest.mark.parametrize("alpha", [1.2, 1.5, 2.0, 3.0])
def test_it_maximises_the_inner_product_plus_tsallis_entropy(alpha):
    x = np.random.default_rng(0).normal(size=(1, 5))

    def cost(p):
        return -x[0] @ p - (p - np.maximum(p, 1e-300) ** alpha).sum() / (alpha * (alpha - 1))

    whole = {"type": "eq", "fun": lambda p: p.sum() - 1}
    start, options = np.full(5, 0.2), {"ftol": 1e-15, "maxiter": 500}
    solved = minimize(cost, start, bounds=[(0, 1)] * 5, constraints=whole, options=options)
    np.testing.assert_allclose(mapped(x, alpha)[0], solved.x, atol=2e-5)


@pytest.mark.parametrize("alpha", [1.01, 1.5, 2.0, 2.5, 4.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_row_lies_on_the_simplex_and_keeps_the_order(alpha, dtype):
    rng = np.random.default_rng(1)
    for n in (1, 2, 3, 17, 400):
        for scale in (1e-3, 1.0, 1e3):
            x = (rng.normal(size=(4, n)) * scale + 100).astype(dtype)
            p = mapped(x, alpha)
            assert (p >= 0).all()
            np.testing.assert_allclose(p.sum(1, dtype=np.float64), 1, atol=1e-12 if dtype == np.float64 else 3e-6)
            order = np.argsort(x, axis=1)
            assert (np.diff(np.take_along_axis(p, order, 1)) >= 0).all()


def test_ties_share_and_a_shift_changes_nothing():
    np.testing.assert_allclose(mapped([3.0, 3.0, -9.0, 3.0], 1.5), [[1 / 3, 1 / 3, 0, 1 / 3]], atol=1e-15)
    x = np.random.default_rng(2).normal(size=(3, 9))
    np.testing.assert_allclose(mapped(x + 4, 2.0), mapped(x, 2.0), atol=1e-14)


@pytest.mark.parametrize("alpha", [1.5, 2.0, 3.0])
def test_absent_infinite_and_nan(alpha):
    inf = np.inf
    p = mapped([[1.0, -inf, 1.0], [-inf, -inf, -inf], [1.0, inf, 0.0], [np.nan, 1.0, 2.0], [1.0, 2.0, np.nan]], alpha)
    np.testing.assert_allclose(p[0], [0.5, 0, 0.5], atol=1e-15)
    assert p[1].tolist() == [0, 0, 0]
    assert np.isnan(p[2:]).all()
