"""Deal whole groups of rows out to folds."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def deal(counts: np.ndarray, order: np.ndarray, folds: int) -> np.ndarray:
    r"""Give each group to the fold that is fullest of other classes than the group's, and emptiest of its own.

    Group g with counts c goes to the fold f with the least :math:`\sum_k h_{fk} c_k / \sum_g c_{gk}`, where h is
    what the fold holds already: the greedy step that keeps the sum of squares of the classes' shares least.
    Of equal folds the one with the fewest rows is taken, then the first.

    Args:
        counts: float64 ``[G, classes]``, rows of each class in each group.
        order: int ``[G]``, in which groups are dealt.
        folds: how many.

    Returns:
        int64 ``[G]``, the fold of each group. No fold is empty where there are as many groups.

    Cost: O(G folds classes).

    Example:
        >>> deal(np.array([[2.0], [1.0], [1.0]]), np.arange(3), 2)
        array([0, 1, 1])
    """
    groups, classes = counts.shape
    total = np.zeros(classes)
    for group in range(groups):
        total += counts[group]
    holds, rows, members = np.zeros((folds, classes)), np.zeros(folds), np.zeros(folds)
    fold = np.empty(groups, np.int64)
    left = groups
    empty = folds
    for group in order:
        best, least = -1, np.inf
        for candidate in range(folds):
            if left <= empty and members[candidate] > 0:
                continue  # each group that is left has an empty fold to fill
            cost = 0.0
            for k in range(classes):
                if total[k] > 0:
                    cost += holds[candidate, k] * counts[group, k] / total[k]
            if best < 0 or cost < least or (cost == least and rows[candidate] < rows[best]):
                best, least = candidate, cost
        fold[group] = best
        empty -= members[best] == 0
        members[best] += 1
        holds[best] += counts[group]
        rows[best] += counts[group].sum()
        left -= 1
    return fold
