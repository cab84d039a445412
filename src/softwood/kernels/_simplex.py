"""Sparse maps of rows onto the simplex: p = (x / q - tau)_+ ** q with a sum of 1."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_SUMS = {"reassoc", "contract", "nsz"}  # a sum may be taken in any order; NaN and infinity keep their meaning


@njit(nogil=True, cache=True, fastmath=_SUMS, inline="always")
def _power_sums(u: np.ndarray, size: int, tau: float, q: float) -> tuple[float, float]:
    """Return the sum of (u - tau)_+ ** q and minus its derivative by tau."""
    total, slope = 0.0, 0.0
    if q == 1.0:
        for i in range(size):
            over = max(u[i] - tau, 0.0)
            total += over
            slope += 1.0 if over > 0.0 else 0.0
    elif q == 2.0:
        for i in range(size):
            over = max(u[i] - tau, 0.0)
            total += over * over
            slope += 2.0 * over
    else:
        for i in range(size):
            over = u[i] - tau
            if over > 0.0:
                powered = over**q
                total += powered
                slope += q * powered / over
    return total, slope


@njit(nogil=True, cache=True)
def _tau(u: np.ndarray, size: int, q: float) -> float:
    """Return the root of sum (u - tau)_+ ** q = 1 for shifted values u in (-1, 0], of which one is 0."""
    low, high = -1.0, -((1.0 / size) ** (1.0 / q))
    tau = low
    if high - low < 1e-15:
        return tau
    for _ in range(200):
        total, slope = _power_sums(u, size, tau, q)
        error = total - 1.0
        if error >= 0.0:
            low = tau
        else:
            high = tau
        if abs(error) <= 4e-16 or high - low <= 4e-16:
            break
        # the sum is convex for q >= 1: Newton from the left never overshoots; otherwise the bracket holds it
        step = tau + error / slope
        if not (low < step < high):
            if step >= high and error >= 0.0 and step - high < 1e-15:
                return high
            step = 0.5 * (low + high)
        if abs(step - tau) <= 1e-16:
            break
        tau = step
    return tau


@njit(nogil=True, cache=True)
def _simplex_row(x: np.ndarray, q: float, u: np.ndarray, out: np.ndarray) -> None:
    n = x.shape[0]
    top = x[0]
    for i in range(1, n):
        top = max(top, x[i])
    bad = not 0.0 < q < np.inf
    for i in range(n):
        bad |= np.isnan(x[i])
    if bad or top == np.inf:
        out[:] = np.nan
        return
    if top == -np.inf:  # nothing is present
        out[:] = 0.0
        return
    size = 0
    for i in range(n):  # only values within 1 of the largest can have weight
        shifted = (np.float64(x[i]) - top) / q
        u[size] = shifted
        size += shifted > -1.0
    tau = _tau(u, size, q)
    if q == 1.0:
        for i in range(n):
            out[i] = max(np.float64(x[i]) - top - tau, 0.0)
    elif q == 2.0:
        for i in range(n):
            over = max(0.5 * (np.float64(x[i]) - top) - tau, 0.0)
            out[i] = over * over
    else:
        for i in range(n):
            over = (np.float64(x[i]) - top) / q - tau
            out[i] = over**q if over > 0.0 else 0.0


@njit(nogil=True, cache=True)
def simplex_rows(x: np.ndarray, q: np.ndarray, out: np.ndarray) -> None:
    r"""Write into ``out`` the map :math:`p_i = (x_i / q - \tau)_+^q`, :math:`\sum_i p_i = 1`, of each row of ``x``.

    q = 1 is sparsemax, q = 2 entmax-1.5, q = 1 / (alpha - 1) alpha-entmax.

    Args:
        x: floats ``[rows, n]``, n >= 1. Minus infinity is absent; a row with NaN or plus infinity answers NaN; a row
            in which nothing is present answers 0.
        q: float64 ``[rows]``, > 0 (a row where it is not answers NaN).
        out: ``[rows, n]``, as ``x``.

    Example:
        >>> p = np.empty((1, 3))
        >>> simplex_rows(np.array([[1.0, 0.5, -2.0]]), np.ones(1), p)
        >>> p.tolist()
        [[0.75, 0.25, 0.0]]

    Cost: O(n) a pass, 3 passes and some over the values within q of the largest; O(n) memory.

    Source: Martins and Astudillo, From Softmax to Sparsemax, 2016; Peters, Niculae and Martins, Sparse
    Sequence-to-Sequence Models, 2019. Newton's method takes the place of their sort.
    """
    u = np.empty(x.shape[1] + 1)
    for row in range(x.shape[0]):
        _simplex_row(x[row], q[row], u, out[row])


@njit(nogil=True, cache=True, fastmath=_SUMS)
def simplex_pullback_rows(p: np.ndarray, grad: np.ndarray, q: np.ndarray, out: np.ndarray) -> None:
    r"""Write the gradient of ``simplex_rows`` by x, from its answer p and the gradient by p.

    With :math:`s_i = p_i^{1 - 1/q}` where p_i > 0 and else 0, it is :math:`s_i (g_i - \sum_j s_j g_j / \sum_j s_j)`.

    Args:
        p: ``[rows, n]``, what ``simplex_rows`` wrote.
        grad: ``[rows, n]``, as ``p``.
        q: float64 ``[rows]``, > 0 (a row where it is not answers NaN).
        out: ``[rows, n]``, as ``p``.

    Example:
        >>> by_x = np.empty((1, 3))
        >>> simplex_pullback_rows(np.array([[0.75, 0.25, 0.0]]), np.array([[1.0, 0.0, 5.0]]), np.ones(1), by_x)
        >>> by_x.tolist()
        [[0.5, -0.5, 0.0]]

    Cost: O(n) time; no memory of its own.

    Source: Peters, Niculae and Martins, Sparse Sequence-to-Sequence Models, 2019.
    """
    for row in range(p.shape[0]):
        power, total, weighted = 1.0 - 1.0 / q[row], 0.0, 0.0
        for i in range(p.shape[1]):
            value = np.float64(p[row, i])
            if value != 0.0:  # NaN is kept
                slope = 1.0 if power == 0.0 else (math.sqrt(value) if power == 0.5 else value**power)
                total += slope
                weighted += slope * grad[row, i]
        mean = weighted / total if total != 0.0 else 0.0
        for i in range(p.shape[1]):
            value = np.float64(p[row, i])
            slope = 0.0
            if value != 0.0:
                slope = 1.0 if power == 0.0 else (math.sqrt(value) if power == 0.5 else value**power)
            out[row, i] = slope * (grad[row, i] - mean) if slope != 0.0 else 0.0
