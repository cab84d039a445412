"""Shares and scores with their confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtri

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
