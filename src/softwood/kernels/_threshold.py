"""The threshold of each row at which soft steps of its values add up to k."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

LOGISTIC, LAPLACE, POWER, EXPONENTIAL = 0, 1, 2, 3

_SUMS = {"reassoc", "contract", "nsz"}  # a sum may be taken in any order; NaN and infinity keep their meaning
_PASSES = 200  # bisection alone needs about 60
_WIDE = 40.0  # spread of the values, in units of the step
_CLOSE = 1e-13  # error of the sum by k: what rounding leaves of it


@njit(nogil=True, cache=True, inline="always")
def _step(kind: int, q: float, u: float) -> float:
    """Return F(u), from 0 to 1."""
    if kind == LOGISTIC:
        return 1.0 / (1.0 + math.exp(-u))
    if kind == LAPLACE:
        return 0.5 * math.exp(u) if u < 0.0 else 1.0 - 0.5 * math.exp(-u)
    if kind == EXPONENTIAL:
        return math.exp(min(u, 0.0))
    if u <= 0.0:
        return 0.0
    return 1.0 if u >= q else (u / q) ** q


@njit(nogil=True, cache=True)
def _inverse(kind: int, q: float, p: float) -> float:
    """Return u with F(u) = p, for p in (0, 1)."""
    if kind == LOGISTIC:
        return math.log(p) - math.log1p(-p)
    if kind == LAPLACE:
        return math.log(2.0 * p) if p < 0.5 else -math.log(2.0 * (1.0 - p))
    if kind == EXPONENTIAL:
        return math.log(p)
    return q * p ** (1.0 / q)


@njit(nogil=True, cache=True, fastmath=_SUMS)
def _sums(kind: int, q: float, x: np.ndarray, size: int, tau: float) -> tuple[float, float, float]:
    """Return the sum of F(x - tau), of 1 - F and of F', each without cancellation."""
    inside, outside, slope = 0.0, 0.0, 0.0
    if kind == LOGISTIC:
        for i in range(size):
            u = x[i] - tau
            small = math.exp(-abs(u))
            large = 1.0 / (1.0 + small)
            small *= large
            inside += large if u >= 0.0 else small
            outside += small if u >= 0.0 else large
            slope += small * large
    elif kind == LAPLACE:
        for i in range(size):
            u = x[i] - tau
            small = 0.5 * math.exp(-abs(u))
            inside += 1.0 - small if u >= 0.0 else small
            outside += small if u >= 0.0 else 1.0 - small
            slope += small
    elif kind == EXPONENTIAL:
        for i in range(size):
            u = x[i] - tau
            if u >= 0.0:
                inside += 1.0
            else:
                small = math.exp(u)
                inside += small
                outside += 1.0 - small
                slope += small
    elif q == 1.0:
        for i in range(size):
            u = min(max(x[i] - tau, 0.0), 1.0)
            inside += u
            outside += 1.0 - u
            slope += 1.0 if 0.0 < u < 1.0 else 0.0
    else:
        for i in range(size):
            u = x[i] - tau
            if u >= q:
                inside += 1.0
            elif u > 0.0:
                powered = (u / q) ** q
                inside += powered
                outside += 1.0 - powered
                slope += q * powered / u
            else:
                outside += 1.0
    return inside, outside, slope


@njit(nogil=True, cache=True)
def _root(kind: int, q: float, x: np.ndarray, size: int, k: float, low: float, high: float, tau: float) -> float:
    """Return tau with sum F(x - tau) = k, for finite x in [low, high] and 0 < k < size, by Newton from a guess."""
    rest = size - k
    shift = _inverse(kind, q, k / size)
    low, high = low - shift, high - shift
    tau = min(max(tau, low), high)
    for _ in range(_PASSES):
        inside, outside, slope = _sums(kind, q, x, size, tau)
        # the smaller side is compared, because the larger one carries its rounding
        error = inside - k if k <= rest else rest - outside
        if abs(error) <= _CLOSE * min(k, rest) or high - low <= 1e-15 * max(abs(low), abs(high)):
            return tau
        if error > 0.0:
            low = tau
        else:
            high = tau
        step = math.nan
        if slope > 0.0:
            if kind == POWER:
                step = tau + error / slope
            elif k <= rest:  # log of the sum is nearly straight in the tail
                step = tau + math.log(inside / k) * inside / slope
            elif outside > 0.0:
                step = tau - math.log(outside / rest) * outside / slope
        if not (low < step < high):
            step = 0.5 * (low + high)
        if step == tau:
            return tau
        tau = step
    return tau


@njit(nogil=True, cache=True)
def _solve(kind: int, q: float, x: np.ndarray, size: int, k: float, low: float, high: float) -> float:
    """Return the root, from a guess that suits the spread of x."""
    if kind == POWER:
        return _root(kind, q, x, size, k, low, high, 0.5 * (low + high))
    if high - low > _WIDE:  # steep steps: the cheap straight ones lead close
        return _root(kind, q, x, size, k, low, high, _root(POWER, 1.0, x, size, k, low, high, 0.5 * (low + high)) + 0.5)
    total = 0.0  # the tails are about exp: for small k the guess is nearly right
    for i in range(size):
        total += math.exp(x[i] - high)
    return _root(kind, q, x, size, k, low, high, high + math.log(total / k))


@njit(nogil=True, cache=True)
def threshold_rows(x: np.ndarray, k: np.ndarray, kind: int, q: float, out: np.ndarray, tau: np.ndarray) -> None:
    r"""Solve :math:`\sum_i F(x_i - \tau) = k` for each row; write :math:`F(x_i - \tau)` and :math:`\tau`.

    F is ``LOGISTIC`` 1 / (1 + exp(-u)), ``LAPLACE`` the distribution function of exp(-abs(u)) / 2, ``EXPONENTIAL``
    min(1, exp(u)), or ``POWER`` clip(u / q, 0, 1) ** q; POWER with q = 1 is the projection onto the capped simplex
    {0 <= p <= 1, sum p = k}, and EXPONENTIAL the same with the entropy for distance.

    Args:
        x: floats ``[rows, n]``. Plus infinity is taken whole and minus infinity not at all; a row with NaN, or with
            more than k values of plus infinity, answers NaN.
        k: float64 ``[rows]``. From the number of present (finite or plus infinite) values on, all of them are taken
            and tau is minus infinity; at 0 none is, and tau is plus infinity.
        kind: one of the four.
        q: > 0, for POWER.
        out: ``[rows, n]``, as ``x``.
        tau: float64 ``[rows]``.

    Example:
        >>> p, tau = np.empty((1, 3)), np.empty(1)
        >>> threshold_rows(np.array([[2.0, 0.5, 0.0]]), np.array([1.5]), POWER, 1.0, p, tau)
        >>> p.tolist(), tau.tolist()
        ([[1.0, 0.5, 0.0]], [0.0])

    Cost: O(n) a pass; Newton's method, held by bisection, takes 5 to 20 passes. O(n) memory.

    Source: the logistic step is the two-anchor transport of Xie et al., Differentiable Top-k with Optimal Transport,
    2020; Laplace is Struski et al., LapSum, 2025; the capped powers are Sander et al., Fast, Differentiable and
    Sparse Top-k, 2023.
    """
    n = x.shape[1]
    finite = np.empty(n)
    for row in range(x.shape[0]):
        size, whole, bad = 0, 0, np.isnan(k[row])
        low, high = np.inf, -np.inf
        for i in range(n):
            value = np.float64(x[row, i])
            bad |= np.isnan(value)
            whole += value == np.inf
            if abs(value) < np.inf:
                finite[size] = value
                size += 1
                low, high = min(low, value), max(high, value)
        left = k[row] - whole
        if bad or left < 0.0:
            out[row, :], tau[row] = np.nan, np.nan
            continue
        if left >= size:
            tau[row] = -np.inf
        elif left == 0.0:
            tau[row] = np.inf
        else:
            tau[row] = _solve(kind, q, finite, size, left, low, high)
        for i in range(n):
            value = np.float64(x[row, i])
            if abs(value) == np.inf or abs(tau[row]) == np.inf:
                out[row, i] = 1.0 if value == np.inf or (value > -np.inf and tau[row] == -np.inf) else 0.0
            else:
                out[row, i] = _step(kind, q, value - tau[row])
