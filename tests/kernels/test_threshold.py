import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import expit

from softwood.kernels import EXPONENTIAL, LAPLACE, LOGISTIC, POWER, threshold_rows

STEPS = {
    (LOGISTIC, 1.0): expit,
    (LAPLACE, 1.0): lambda u: np.where(u < 0, 0.5 * np.exp(-abs(u)), 1 - 0.5 * np.exp(-abs(u))),
    (EXPONENTIAL, 1.0): lambda u: np.exp(np.minimum(u, 0)),
    (POWER, 1.0): lambda u: np.clip(u, 0, 1),
    (POWER, 3.0): lambda u: np.clip(u / 3, 0, 1) ** 3,
    (POWER, 0.5): lambda u: np.clip(u / 0.5, 0, 1) ** 0.5,
}
KINDS = list(STEPS)


def masks(x, k, kind, q):
    x = np.atleast_2d(np.asarray(x))
    out, tau = np.empty_like(x), np.empty(len(x))
    threshold_rows(x, np.broadcast_to(np.float64(k), len(x)).copy(), kind, q, out, tau)
    return out, tau


@pytest.mark.parametrize(("kind", "q"), KINDS)
def test_threshold_and_mask_are_those_of_a_root_finder(kind, q):
    rng = np.random.default_rng(0)
    for n, k in ((2, 1), (7, 2.5), (7, 6), (40, 1), (40, 39.5)):
        x = rng.normal(size=n)
        wanted = brentq(lambda tau, x=x, k=k: STEPS[kind, q](x - tau).sum() - k, -60, 60, xtol=1e-13)
        out, tau = masks(x, k, kind, q)
        np.testing.assert_allclose(STEPS[kind, q](x - tau), out[0], atol=1e-12)  # some gaps have many thresholds
        np.testing.assert_allclose(out[0], STEPS[kind, q](x - wanted), atol=1e-9)


@pytest.mark.parametrize(("kind", "q"), KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_mask_sums_to_k_at_any_scale(kind, q, dtype):
    rng = np.random.default_rng(1)
    for n in (2, 5, 300, 20_000):
        for scale in (1e-4, 1.0, 100.0, 1e5):
            x = (rng.normal(size=(3, n)) * scale).astype(dtype)
            for k in (0.25, 1, n / 2, n - 1):
                out, _ = masks(x, k, kind, q)
                np.testing.assert_allclose(out.sum(1, dtype=np.float64) / k, 1, atol=1e-6)
                assert ((out >= 0) & (out <= 1)).all()


def test_power_one_is_the_nearest_point_of_the_capped_simplex():
    x = np.random.default_rng(2).normal(size=6)
    solved = minimize(lambda p: ((p - x) ** 2).sum(), np.full(6, 0.5), bounds=[(0, 1)] * 6,
                      constraints={"type": "eq", "fun": lambda p: p.sum() - 3}, options={"ftol": 1e-15})  # fmt: skip
    np.testing.assert_allclose(masks(x, 3, POWER, 1.0)[0][0], solved.x, atol=1e-6)


@pytest.mark.parametrize(("kind", "q"), KINDS)
def test_ends_ties_and_what_is_absent(kind, q):
    inf = np.inf
    x = [[3.0, 1.0, 2.0], [1.0, -inf, 0.0], [inf, 0.0, 1.0], [inf, inf, 0.0], [inf, inf, inf], [np.nan, 1.0, 2.0]]
    out, tau = masks(x, [3, 2, 1, 2, 2, 1], kind, q)
    assert out[:4].tolist() == [[1, 1, 1], [1, 0, 1], [1, 0, 0], [1, 1, 0]]
    assert tau[:4].tolist() == [-inf, -inf, inf, inf]
    assert np.isnan(out[4:]).all()
    assert masks([1.0, 2.0], 0, kind, q)[0].tolist() == [[0, 0]]
    np.testing.assert_allclose(masks([5.0, 5.0, 5.0, 5.0], 3, kind, q)[0], 0.75, atol=1e-12)
