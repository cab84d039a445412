"""Sorting networks of soft swaps, applied as index swaps to rows, and the gradient of that."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

RECIPROCAL, CAUCHY, OPTIMAL, LOGISTIC_SWAP, ART = 0, 1, 2, 3, 4

_ART_WIDTH = 1e-4  # keeps the slope of ART finite at a tie
_LANES, _FEW_LANES = 64, 16  # rows that go through the network side by side, as one vector; with many features
_LOOSE = {"reassoc", "contract", "nsz", "arcp"}


def network_layers(n: int, odd_even: bool) -> np.ndarray:
    """Return the layers of a network that sorts n values, int64: m > 0 swaps i with i XOR m, 0 odd i with i + 1.

    The bitonic network has all its arrows in one direction, so that values behind the last one, taken as infinite,
    never move: a swap with a place >= n is left out, at any n.

    Args:
        n: how many values.
        odd_even: n layers of neighbours, instead of about log2(n) ** 2 / 2 layers.

    Example:
        >>> network_layers(4, False).tolist(), network_layers(3, True).tolist()
        ([1, 3, 1], [1, 0, 1])

    Source: Batcher, Sorting Networks and their Applications, 1968.
    """
    if odd_even:
        return np.arange(1, n + 1, dtype=np.int64) % 2
    layers, block = [], 2
    while block < 2 * n and n > 1:
        layers.append(block - 1)
        stride = block // 4
        while stride:
            layers.append(stride)
            stride //= 2
        block *= 2
    return np.array(layers, dtype=np.int64)


@njit(nogil=True, cache=True, fastmath=_LOOSE)
def _decay(d: np.ndarray, out: np.ndarray, bits: np.ndarray, scale: np.ndarray) -> None:
    """Write exp(-abs(d)): a power of two made of bits, and a polynomial, so that lanes go side by side."""
    for lane in range(d.shape[0]):
        u = max(-abs(d[lane]), -700.0)
        k = math.floor(u * 1.4426950408889634 + 0.5)
        r = (u - k * 0.693145751953125) - k * 1.42860682030941723212e-6
        p = 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        p = p * r + 1.0
        out[lane] = p * r + 1.0
        bits[lane] = (np.int64(k) + 1023) << 52
    for lane in range(d.shape[0]):
        out[lane] *= scale[lane]


@njit(nogil=True, cache=True, fastmath=_LOOSE)
def _shares(
    kind: int, power: float, d: np.ndarray, s: np.ndarray, slope: np.ndarray, bits: np.ndarray, scale: np.ndarray
) -> None:
    """Write how far pairs with differences d stand in order, 0 to 1, and its derivative: 1/4 at 0 (ART: steeper)."""
    lanes = d.shape[0]
    if kind == RECIPROCAL:
        for lane in range(lanes):
            wide = 1.0 / (2.0 + abs(d[lane]))
            s[lane], slope[lane] = 0.5 + 0.5 * d[lane] * wide, wide * wide
    elif kind == CAUCHY:
        for lane in range(lanes):
            v = 0.25 * math.pi * d[lane]
            s[lane], slope[lane] = 0.5 + math.atan(v) / math.pi, 0.25 / (1.0 + v * v)
    elif kind == OPTIMAL:
        for lane in range(lanes):
            u = d[lane]
            wide = 1.0 / max(abs(u), 1.0)
            far = 1.0 - 0.25 * wide
            s[lane] = 0.5 + 0.25 * u if abs(u) <= 1.0 else (far if u > 0.0 else 1.0 - far)
            slope[lane] = 0.25 * wide * wide
    else:
        if kind == ART:
            for lane in range(lanes):
                u = abs(d[lane])
                wide = u + _ART_WIDTH
                root = 1.0 / (math.sqrt(math.sqrt(wide)) if power == 0.25 else wide**power)
                slope[lane] = root * (1.0 - power * u / wide)
                d[lane] *= root
        else:
            slope[:] = 1.0
        _decay(d, s, bits, scale)
        for lane in range(lanes):
            small = s[lane]
            large = 1.0 / (1.0 + small)
            s[lane] = large if d[lane] >= 0.0 else small * large
            slope[lane] *= small * large * large


@njit(nogil=True, cache=True)
def _pairs(layer: int, size: int, pairs: np.ndarray) -> int:
    """Write the pairs that a layer swaps, the first below the second below size, and return how many."""
    count = 0
    if layer == 0:
        for i in range(1, size - 1, 2):
            pairs[0, count], pairs[1, count] = i, i + 1
            count += 1
        return count
    high = 1
    while 2 * high <= layer:
        high *= 2
    for base in range(0, size, 2 * high):
        for i in range(base, min(base + high, size)):
            j = i ^ layer
            if j < size:
                pairs[0, count], pairs[1, count] = i, j
                count += 1
    return count


@njit(nogil=True, cache=True, fastmath=_LOOSE)
def _layer(kind, power, exact, layer, size, y, w, pairs, d, s, slope, bits, scale):  # type: ignore[no-untyped-def]
    """Apply one layer to values ``[n, lanes]`` and features ``[n, f, lanes]``."""
    lanes = d.shape[0]
    for p in range(_pairs(layer, y.shape[0], pairs)):
        i, j = pairs[0, p], pairs[1, p]
        for lane in range(lanes):
            d[lane] = y[j, lane] - y[i, lane]
        if exact:
            for lane in range(lanes):
                s[lane] = 1.0 if d[lane] >= 0.0 else 0.0
        else:
            _shares(kind, power, d, s, slope, bits, scale)
        for lane in range(lanes):
            share = s[lane] if j < size[lane] else 1.0  # who does not take part stays
            s[lane] = share
            u, v = y[i, lane], y[j, lane]
            y[i, lane] = share * u + (1.0 - share) * v
            y[j, lane] = share * v + (1.0 - share) * u
        for f in range(w.shape[1]):
            for lane in range(lanes):
                u, v = w[i, f, lane], w[j, f, lane]
                w[i, f, lane] = s[lane] * u + (1.0 - s[lane]) * v
                w[j, f, lane] = s[lane] * v + (1.0 - s[lane]) * u


@njit(nogil=True, cache=True)
def network_rows(
    x: np.ndarray, v: np.ndarray, size: np.ndarray, layers: np.ndarray, kind: int, power: float, exact: bool,
    y: np.ndarray, w: np.ndarray,
) -> None:  # fmt: skip
    r"""Sort each row by soft swaps, ascending, and move the features of its items along.

    A swap of (a, b) gives :math:`s a + (1 - s) b` and :math:`s b + (1 - s) a` with s the share of b - a.

    Args:
        x: floats ``[rows, n]``, in units of the temperature.
        v: ``[rows, f, n]``, as ``x``; f may be 0.
        size: int64 ``[rows]``: only so many values, from the front, take part.
        layers: of ``network_layers(n, ...)``.
        kind: ``RECIPROCAL, CAUCHY, OPTIMAL, LOGISTIC_SWAP`` or ``ART``; slope 1/4 at 0 (ART: steeper).
        power: of ART, from 0 (logistic) to below 1.
        exact: swap hard.
        y: ``[rows, n]``, what comes out.
        w: ``[rows, f, n]``, what comes out of v.

    Example:
        >>> x, none = np.array([[3.0, 1.0, 2.0]]), np.empty((1, 0, 3))
        >>> y = np.empty_like(x)
        >>> network_rows(x, none, np.array([3]), network_layers(3, False), OPTIMAL, 0.0, True, y, none)
        >>> y.tolist()
        [[1.0, 2.0, 3.0]]

    Cost: O(n (1 + f)) time for each layer; O(n) memory.

    Source: Petersen et al., Differentiable Sorting Networks, 2021; Monotonic Differentiable Sorting Networks, 2022.
    """
    rows, n = x.shape
    pairs = np.empty((2, n), np.int64)
    at_once = _LANES if v.shape[1] < 8 else _FEW_LANES
    for begin in range(0, rows, at_once):
        end = min(begin + at_once, rows)
        d, s, slope, bits = (
            np.empty(end - begin),
            np.empty(end - begin),
            np.empty(end - begin),
            np.empty(end - begin, np.int64),
        )
        scale = bits.view(np.float64)
        held_y, held_w = np.ascontiguousarray(x[begin:end].T), np.ascontiguousarray(v[begin:end].transpose(2, 1, 0))
        for layer in layers:
            _layer(kind, power, exact, layer, size[begin:end], held_y, held_w, pairs, d, s, slope, bits, scale)
        y[begin:end], w[begin:end] = held_y.T, held_w.transpose(2, 1, 0)


@njit(nogil=True, cache=True, fastmath=_LOOSE)
def _pull_layer(kind, power, layer, size, y, w, gy, gw, pairs, d, s, slope, by_share, bits, scale):  # type: ignore[no-untyped-def]
    """Turn the gradient by what a layer gives into that by what it took: y and w are what it took."""
    lanes = d.shape[0]
    for p in range(_pairs(layer, y.shape[0], pairs)):
        i, j = pairs[0, p], pairs[1, p]
        for lane in range(lanes):
            d[lane] = y[j, lane] - y[i, lane]
            by_share[lane] = -d[lane] * (gy[i, lane] - gy[j, lane])
        _shares(kind, power, d, s, slope, bits, scale)
        for lane in range(lanes):
            s[lane] = s[lane] if j < size[lane] else 1.0
            slope[lane] = slope[lane] if j < size[lane] else 0.0
        for f in range(w.shape[1]):
            for lane in range(lanes):
                u, v = gw[i, f, lane], gw[j, f, lane]
                by_share[lane] += (w[i, f, lane] - w[j, f, lane]) * (u - v)
                gw[i, f, lane] = s[lane] * u + (1.0 - s[lane]) * v
                gw[j, f, lane] = s[lane] * v + (1.0 - s[lane]) * u
        for lane in range(lanes):
            u, v, moved = gy[i, lane], gy[j, lane], by_share[lane] * slope[lane]
            gy[i, lane] = s[lane] * u + (1.0 - s[lane]) * v - moved
            gy[j, lane] = s[lane] * v + (1.0 - s[lane]) * u + moved


@njit(nogil=True, cache=True)
def network_pullback_rows(
    x: np.ndarray, v: np.ndarray, size: np.ndarray, grad_y: np.ndarray, grad_w: np.ndarray, layers: np.ndarray,
    kind: int, power: float, exact: bool, by_x: np.ndarray, by_v: np.ndarray,
) -> None:  # fmt: skip
    """Write the gradient of ``network_rows`` by x and v; nothing is kept from the forward pass.

    The forward pass is made again in stretches of about sqrt(layers) layers, of which one at a time is held in full.
    With ``exact`` the swaps are hard forward and have the gradient of soft ones, each on the values that reached it.

    Args:
        x: as in ``network_rows``.
        v: as in ``network_rows``.
        size: as in ``network_rows``.
        grad_y: ``[rows, n]``.
        grad_w: ``[rows, f, n]``.
        layers: as in ``network_rows``.
        kind: as in ``network_rows``.
        power: as in ``network_rows``.
        exact: as in ``network_rows``.
        by_x: ``[rows, n]``.
        by_v: ``[rows, f, n]``.

    Example:
        >>> x, none, one = np.array([[1.0, 1.0]]), np.empty((1, 0, 2)), np.array([[1.0, 0.0]])
        >>> by_x = np.empty_like(x)
        >>> network_pullback_rows(x, none, np.array([2]), one, none, np.array([1]), OPTIMAL, 0.0, False, by_x, none)
        >>> by_x.tolist()
        [[0.5, 0.5]]

    Cost: twice the forward pass and the gradient; O(n (1 + f) sqrt(layers)) memory.

    Source: Petersen et al., Differentiable Sorting Networks, 2021; Kim et al., Generalized Neural Sorting Networks
    with Error-Free Differentiable Swap Functions, 2024.
    """
    (rows, n), f, depth = x.shape, v.shape[1], len(layers)
    stretch = max(1, math.ceil(math.sqrt(depth)))
    n_stretches = (depth + stretch - 1) // stretch
    pairs = np.empty((2, n), np.int64)
    at_once = _LANES if v.shape[1] < 8 else _FEW_LANES
    for begin in range(0, rows, at_once):
        end = min(begin + at_once, rows)
        lanes, size_here = end - begin, size[begin:end]
        d, s, slope, by_share, bits = (
            np.empty(lanes),
            np.empty(lanes),
            np.empty(lanes),
            np.empty(lanes),
            np.empty(lanes, np.int64),
        )
        scale = bits.view(np.float64)
        start_y, start_w = np.empty((n_stretches, n, lanes), x.dtype), np.empty((n_stretches, n, f, lanes), x.dtype)
        held_y, held_w = np.empty((stretch, n, lanes), x.dtype), np.empty((stretch, n, f, lanes), x.dtype)
        held_y[0], held_w[0] = x[begin:end].T, v[begin:end].transpose(2, 1, 0)
        for place in range(depth - 1):
            if place % stretch == 0:
                start_y[place // stretch], start_w[place // stretch] = held_y[0], held_w[0]
            _layer(kind, power, exact, layers[place], size_here, held_y[0], held_w[0], pairs, d, s, slope, bits, scale)
        if depth and (depth - 1) % stretch == 0:
            start_y[-1], start_w[-1] = held_y[0], held_w[0]
        gy = np.ascontiguousarray(grad_y[begin:end].T)
        gw = np.ascontiguousarray(grad_w[begin:end].transpose(2, 1, 0))
        for part in range(n_stretches - 1, -1, -1):
            first, last = part * stretch, min((part + 1) * stretch, depth)
            held_y[0], held_w[0] = start_y[part], start_w[part]
            for at in range(1, last - first):
                held_y[at], held_w[at] = held_y[at - 1], held_w[at - 1]
                _layer(
                    kind,
                    power,
                    exact,
                    layers[first + at - 1],
                    size_here,
                    held_y[at],
                    held_w[at],
                    pairs,
                    d,
                    s,
                    slope,
                    bits,
                    scale,
                )
            for at in range(last - first - 1, -1, -1):
                layer = layers[first + at]
                _pull_layer(
                    kind,
                    power,
                    layer,
                    size_here,
                    held_y[at],
                    held_w[at],
                    gy,
                    gw,
                    pairs,
                    d,
                    s,
                    slope,
                    by_share,
                    bits,
                    scale,
                )
        by_x[begin:end], by_v[begin:end] = gy.T, gw.transpose(2, 1, 0)
