"""Weighted quantiles of groups of rows."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def group_quantiles(
    values: np.ndarray, weight: np.ndarray, group: np.ndarray, n_groups: int, level: float
) -> np.ndarray:
    r"""Return a minimiser of the weighted pinball loss of each group, float64 ``[n_groups]``; 0 where nobody is in it.

    That is v with :math:`\sum_{x_i < v} w_i \le q W \le \sum_{x_i \le v} w_i`; the middle where there are many.

    Args:
        values: float64 ``[n]``.
        weight: float64 ``[n]``, >= 0; rows of weight 0 do not count.
        group: int32 ``[n]``, -1 for rows that do not count.
        n_groups: how many.
        level: q, in (0, 1).

    Example:
        >>> group_quantiles(np.array([1.0, 5.0, 2.0, 4.0]), np.ones(4), np.array([0, 0, 0, 1]), 2, 0.5).tolist()
        [2.0, 4.0]

    Cost: O(n log n).
    """
    total, below = np.zeros(n_groups), np.zeros(n_groups)
    for row in range(values.shape[0]):
        if group[row] >= 0:
            total[group[row]] += weight[row]
    low, high = np.zeros(n_groups), np.zeros(n_groups)
    reached, passed = np.zeros(n_groups, dtype=np.bool_), np.zeros(n_groups, dtype=np.bool_)
    for row in np.argsort(values):
        g = group[row]
        if g < 0 or weight[row] <= 0.0 or passed[g]:
            continue
        below[g] += weight[row]
        if not reached[g] and below[g] >= level * total[g] * (1.0 - 1e-12):  # sums of weights are not exact
            low[g], reached[g] = values[row], True
        if below[g] > level * total[g] * (1.0 + 1e-12):
            passed[g] = True
        high[g] = values[row]
    return 0.5 * (low + high)
