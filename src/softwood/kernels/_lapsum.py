"""Sums of Laplace distribution functions, and their inverse, in one pass over sorted rows."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _decay(from_: float, to: float) -> float:
    return 1.0 if from_ == to else math.exp(-abs(to - from_))  # infinities of one sign are equal


@njit(nogil=True, cache=True)
def laplace_sums(
    q: np.ndarray, q_order: np.ndarray, x: np.ndarray, x_order: np.ndarray, v: np.ndarray, kind: int, out: np.ndarray
) -> None:
    r"""Write :math:`\sum_i v_i \, \phi(q_k - x_i)` for each k.

    Kind 0: :math:`\phi` is the Laplace distribution function, :math:`\tfrac12 e^u` below 0 and
    :math:`1 - \tfrac12 e^{-u}` above. Kind 1: its density. Kind 2: the derivative of that, 0 at 0.

    Args:
        q: ``[rows, m]``, sorted upward.
        q_order: int64 ``[rows, m]``: where the answer of each goes.
        x: ``[rows, n]``, sorted upward. A NaN there or in q makes the row NaN.
        x_order: int64 ``[rows, n]``: which of v belongs to each.
        v: ``[rows, n]``.
        kind: 0, 1 or 2.
        out: ``[rows, m]``, is written.

    Example:
        >>> at, out, zero = np.array([[0.0]]), np.zeros((1, 1)), np.zeros((1, 1), np.int64)
        >>> laplace_sums(at, zero, at, zero, np.array([[3.0]]), 0, out)
        >>> out
        array([[1.5]])

    Cost: O(n + m) time for each row.
    """
    m, n = q.shape[1], x.shape[1]
    left, count, equal = np.empty(m), np.empty(m), np.empty(m)
    for row in range(q.shape[0]):
        if (m > 0 and math.isnan(q[row, m - 1])) or (n > 0 and math.isnan(x[row, n - 1])):
            out[row] = math.nan
            continue
        sum_, at, total, i = 0.0, 0.0, 0.0, 0
        for k in range(m):
            point = q[row, k]
            while i < n and x[row, i] < point:
                weight = v[row, x_order[row, i]]
                sum_ = sum_ * _decay(at, x[row, i]) + weight if i > 0 else weight
                at = x[row, i]
                total += weight
                i += 1
            left[k], count[k], equal[k] = sum_ * _decay(at, point) if i > 0 else 0.0, total, 0.0
            j = i
            if k > 0 and q[row, k - 1] == point:
                equal[k] = equal[k - 1]
            else:
                while j < n and x[row, j] == point:
                    equal[k] += v[row, x_order[row, j]]
                    j += 1
        sum_, at, i = 0.0, 0.0, n - 1
        for k in range(m - 1, -1, -1):
            point = q[row, k]
            while i >= 0 and x[row, i] > point:
                weight = v[row, x_order[row, i]]
                sum_ = sum_ * _decay(at, x[row, i]) + weight if i < n - 1 else weight
                at = x[row, i]
                i -= 1
            right = sum_ * _decay(at, point) if i < n - 1 else 0.0
            if kind == 0:
                answer = count[k] + 0.5 * (equal[k] + right - left[k])
            elif kind == 1:
                answer = 0.5 * (left[k] + equal[k] + right)
            else:
                answer = 0.5 * (right - left[k])
            out[row, q_order[row, k]] = answer


@njit(nogil=True, cache=True)
def _between(low: float, high: float, a: float, b: float, c: float) -> float:
    """Solve c = b e^(s - high) / 2 - a e^(low - s) / 2 for s in [low, high], without a difference of near numbers."""
    gap = math.exp(low - high)
    root = math.sqrt(c * c + a * b * gap)
    if root == 0.0:  # far apart, and exactly between them
        return 0.5 * (low + high + math.log(a / b))
    if c < 0.0:
        return min(max(low + math.log(a / (root - c)), low), high)
    return min(max(high - math.log(b / (root + c)), low), high)


@njit(nogil=True, cache=True)
def laplace_quantiles(t: np.ndarray, x: np.ndarray, x_order: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
    r"""Write the b with :math:`\sum_i v_i F(b - x_i) = t_k`, F the Laplace distribution function, for each k.

    Args:
        t: ``[rows, m]``, rising. Not above 0: -inf; not below the sum of v: inf.
        x: ``[rows, n]``, sorted upward. A NaN makes the row NaN.
        x_order: int64 ``[rows, n]``: which of v belongs to each.
        v: ``[rows, n]``, >= 0.
        out: ``[rows, m]``, is written.

    Example:
        >>> out = np.zeros((1, 1))
        >>> laplace_quantiles(np.ones((1, 1)), np.array([[-2.0, 6.0]]), np.array([[0, 1]]), np.ones((1, 2)), out)
        >>> out
        array([[2.]])

    Cost: O(n + m) time for each row.
    """
    m, n = t.shape[1], x.shape[1]
    places, weights, right = np.empty(n), np.empty(n), np.empty(n)
    for row in range(t.shape[0]):
        if n > 0 and math.isnan(x[row, n - 1]):
            out[row] = math.nan
            continue
        below, whole, size = 0.0, 0.0, 0  # those at -inf count everywhere, those at inf and without weight nowhere
        for i in range(n):
            weight = v[row, x_order[row, i]]
            if weight > 0.0 and x[row, i] == -math.inf:
                below += weight
            elif weight > 0.0 and x[row, i] < math.inf:
                places[size], weights[size] = x[row, i], weight
                whole += weight
                size += 1
        for i in range(size - 1, -1, -1):
            more = right[i + 1] * math.exp(places[i] - places[i + 1]) if i + 1 < size else 0.0
            right[i] = weights[i] + more
        left, count, i = 0.0, 0.0, -1  # sums over those up to places[i]
        for k in range(m):
            target = t[row, k] - below
            if target <= 0.0 or size == 0:
                out[row, k] = -math.inf if target <= 0.0 else math.inf
                continue
            if target >= whole:
                out[row, k] = math.inf
                continue
            while i + 1 < size:
                near = left * math.exp(places[i] - places[i + 1]) if i >= 0 else 0.0
                if count - 0.5 * near + 0.5 * right[i + 1] > target:
                    break
                i += 1
                left, count = near + weights[i], count + weights[i]
            if i < 0:
                out[row, k] = places[0] + math.log(2.0 * target / right[0])
            elif i + 1 < size:
                out[row, k] = _between(places[i], places[i + 1], left, right[i + 1], target - count)
            else:
                out[row, k] = places[i] + math.log(left / (2.0 * (whole - target)))
