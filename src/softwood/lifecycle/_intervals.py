"""Shares and scores with their confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtri, stdtrit

from softwood.core import check_number


@dataclass(frozen=True)
class Estimate:
    """A measured value and a two-sided confidence interval.

    Args:
        value: what was measured.
        low: lower end.
        high: upper end.

    Example:
        >>> print(Estimate(0.9, 0.8, 0.95))
        0.9 [0.8, 0.95]
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def clopper_pearson(count: int, n: int, level: float = 0.95) -> Estimate:
    r"""Return a share with its exact interval, which covers the truth with probability ``level`` or more.

    The ends are quantiles of beta distributions: :math:`B(\alpha/2;\, k,\, n-k+1)` and
    :math:`B(1-\alpha/2;\, k+1,\, n-k)` for k of n and :math:`\alpha = 1 - level`.

    Args:
        count: k, rows of which it is true.
        n: rows, >= 1, drawn independently.
        level: confidence, in (0, 1).

    Raises:
        InputError: a count is out of range.

    Cost: O(1).

    Example:
        >>> print(clopper_pearson(9, 10))
        0.9 [0.555, 0.9975]

    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 1934.
    """
    n = check_number("n", n, low=1, integer=True)
    count = check_number("count", count, low=0, high=n, integer=True)
    tail = (1 - check_number("level", level, low=1e-6, high=1 - 1e-9)) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, n - count + 1, tail))
    high = 1.0 if count == n else float(betaincinv(count + 1, n - count, 1 - tail))
    return Estimate(count / n, low, high)


def share_of(hit: np.ndarray, weight: np.ndarray | None, level: float = 0.95) -> Estimate:
    r"""Return a share with its Clopper-Pearson interval.

    With weights the interval is that of :math:`(\sum w)^2 / \sum w^2` rows, rounded down.

    Args:
        hit: bool ``[m]``, m >= 1.
        weight: ``[m]``, or None.
        level: confidence, in (0, 1).

    Example:
        >>> print(share_of(np.arange(10) > 0, None))
        0.9 [0.555, 0.9975]
    """
    if weight is None:
        return clopper_pearson(int(hit.sum()), len(hit), level)
    if not weight.any():
        return Estimate(float("nan"), 0.0, 1.0)
    share = min(float(np.average(hit, weights=weight)), 1.0)
    rows = max(int(weight.sum() ** 2 / (weight**2).sum() + 1e-9), 1)
    found = clopper_pearson(round(share * rows), rows, level)
    return Estimate(share, min(found.low, share), max(found.high, share))


def mean_of(values: np.ndarray, weight: np.ndarray, level: float = 0.95) -> Estimate | None:
    """Return a mean with its t interval; None for fewer than two rows, whose mean would be a row's own value.

    Args:
        values: ``[m]``.
        weight: ``[m]``.
        level: confidence, in (0, 1).

    Example:
        >>> print(mean_of(np.array([1.0, 2.0, 3.0]), np.ones(3)))
        2 [-0.4841, 4.484]
    """
    if (weight > 0).sum() < 2:
        return None
    mean = float(np.average(values, weights=weight))
    rows = float(weight.sum() ** 2 / (weight**2).sum())
    variance = float(np.average((values - mean) ** 2, weights=weight)) * rows / max(rows - 1, 1e-9)
    reach = float(stdtrit(max(rows - 1, 1e-9), (1 + level) / 2)) * (variance / rows) ** 0.5
    return Estimate(mean, mean - reach, mean + reach)


def paired_error(difference: np.ndarray, weight: np.ndarray) -> float | None:
    r"""Return the standard error of a weighted mean of paired differences; None for fewer than two rows.

    .. math:: \sqrt{\tfrac{n}{n-1} \sum_i w_i^2 (d_i - \bar d)^2}, \qquad \sum_i w_i = 1,

    with n the effective number of rows :math:`1 / \sum w_i^2`.

    Args:
        difference: d, ``[m]``.
        weight: w, ``[m]``, summing to 1.

    Example:
        >>> paired_error(np.array([1.0, 3.0]), np.full(2, 0.5))
        1.0
    """
    rows = 1.0 / float((weight**2).sum())
    if rows <= 1 + 1e-9:
        return None
    apart = weight * (difference - weight @ difference)
    return float(np.sqrt((apart**2).sum() * rows / (rows - 1)))


def r2_score(target: np.ndarray, output: np.ndarray, weight: np.ndarray, level: float = 0.95) -> Estimate | None:
    r"""Return R² = 1 − E/V with its normal interval by the delta method; None where it is not defined.

    With the weighted means E of :math:`e_i = (y_i - \hat y_i)^2` and V of :math:`v_i = (y_i - \bar y)^2`, the
    influence of row i on R² is :math:`-(e_i - (E/V) v_i) / V`. Several outputs: the mean of their R².

    Args:
        target: float64 [n, K].
        output: float64 [n, K].
        weight: float64 [n], summing to 1.
        level: confidence, in (0, 1).

    Returns:
        None where n < 2 or a target is constant.

    Cost: O(nK) time and memory.

    Example:
        >>> y = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> r2_score(y, y, np.full(4, 0.25)).value
        1.0
    """
    spread = (target - weight @ target) ** 2
    variance = weight @ spread
    if len(target) < 2 or not np.all(variance > 0):
        return None
    error = (target - output) ** 2
    ratio = (weight @ error) / variance
    influence = ((error - ratio * spread) / variance).mean(axis=1)
    reach = float(ndtri((1 + level) / 2) * np.sqrt(np.sum((weight * influence) ** 2)))
    value = float(1 - ratio.mean())
    return Estimate(value, value - reach, value + reach)
