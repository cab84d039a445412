"""Projection onto the permutahedron: isotonic regression of sorted rows, and sums over its blocks."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _finite_part(x: np.ndarray, given: np.ndarray) -> tuple[int, int, int]:
    """Return where the finite entries of a sorted row begin and end, and how many entries it has; -1 for a NaN."""
    n = x.shape[0]
    if n == 0:
        return 0, 0, 0
    if math.isnan(x[0]) or math.isnan(x[n - 1]):
        return -1, -1, n
    present = n
    while present > 0 and math.isnan(given[present - 1]):
        present -= 1
    first, last = 0, present
    while first < last and math.isinf(x[first]):
        first += 1
    while last > first and math.isinf(x[last - 1]):
        last -= 1
    return first, last, present


@njit(nogil=True, cache=True)
def _log_add(a: float, b: float) -> float:
    low, high = min(a, b), max(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


@njit(nogil=True, cache=True)
def _write(
    first: int, last: int, present: int, z: np.ndarray, w: np.ndarray, order: np.ndarray, unsort: bool, kl: bool,
    base: np.ndarray, off: np.ndarray, level: np.ndarray, starts: np.ndarray, blocks: int, out: np.ndarray,
    start: np.ndarray,
) -> None:  # fmt: skip
    """Write z - base - off + level of each block at the finite places of a row, and what belongs to the others."""
    starts[blocks] = last
    for block in range(blocks):
        shift = level[block] - off[block]
        for place in range(starts[block], starts[block + 1]):
            start[place] = starts[block]
            out[order[place] if unsort else place] = (z[place] - base[block]) + shift
    for begin, end in ((0, first), (last, present)):
        mean = -math.inf if kl else 0.0
        for place in range(begin, end):
            mean = _log_add(mean, w[place] - math.log(end - begin)) if kl else mean + w[place] / (end - begin)
        for place in range(begin, end):
            start[place] = place
            # infinite and equal: the mean of their places
            out[order[place] if unsort else place] = mean if unsort else w[place]
    for place in range(present, len(z)):
        start[place] = place
        out[order[place] if unsort else place] = 0.0


@njit(nogil=True, cache=True)
def _fill_nan(row: int, out: np.ndarray, start: np.ndarray) -> None:
    for place in range(out.shape[1]):
        out[row, place] = math.nan
        start[row, place] = place


@njit(nogil=True, cache=True)
def permutahedron_l2(
    z: np.ndarray, w: np.ndarray, order: np.ndarray, unsort: bool, sign: float, out: np.ndarray, start: np.ndarray
) -> None:
    r"""Project each row of z onto the permutahedron of w: the nearest point of all convex mixtures of w's orders.

    With both sorted downward it is :math:`z - v`, where v is the isotonic regression
    :math:`\min_{v_1 \ge \dots \ge v_n} \sum_i (v_i - (z_i - w_i))^2`, found by pooling adjacent violators.

    One of z and w is data, the other is given. Data may hold infinities, which stand at the ends and pool with nobody.
    A NaN in the data makes the row NaN. NaN at the last places of what is given: nobody is there, and the answer is 0.

    Args:
        z: ``[rows, n]``, sorted.
        w: ``[rows, n]``, sorted in the same direction.
        order: int64 ``[rows, n]``, the item at each place of the data.
        unsort: z is the data, and answers go to its items; else w is, and answers stay at their places.
        sign: 1.0 where both are sorted downward, -1.0 upward.
        out: ``[rows, n]``, is written.
        start: int32 ``[rows, n]``, is written: at each place, the first place of its block.

    Example:
        >>> out, start = np.zeros((1, 3)), np.zeros((1, 3), np.int32)
        >>> permutahedron_l2(np.array([[9.0, 4.0, 3.8]]), np.array([[3.0, 2.0, 1.0]]), np.array([[0, 1, 2]]), True, 1.0,
        ...                  out, start)
        >>> out, start
        (array([[3. , 1.6, 1.4]]), array([[0, 1, 1]], dtype=int32))

    Cost: O(n) time and memory for each row.
    """
    n = z.shape[1]
    # sums of z are kept as differences from the first of the block: large and equal entries then share evenly
    base, off, level, dual, starts = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n + 1, np.int32)
    for row in range(z.shape[0]):
        points, targets = z[row], w[row]
        first, last, present = _finite_part(points, targets) if unsort else _finite_part(targets, points)
        if first < 0:
            _fill_nan(row, out, start)
            continue
        blocks = 0
        for place in range(first, last):
            from_, up, down, begin = np.float64(points[place]), 0.0, np.float64(targets[place]), place
            here = sign * (from_ - down)
            while blocks > 0 and dual[blocks - 1] <= here:
                blocks -= 1
                size, more = begin - starts[blocks], place + 1 - begin
                share = more / (size + more)
                up = (1.0 - share) * off[blocks] + share * (up + (from_ - base[blocks]))
                down = level[blocks] + share * (down - level[blocks])
                from_, begin = base[blocks], starts[blocks]
                here = sign * (from_ + up - down)
            base[blocks], off[blocks], level[blocks], dual[blocks], starts[blocks] = from_, up, down, here, begin
            blocks += 1
        _write(
            first, last, present, points, targets, order[row], unsort, False, base, off, level, starts, blocks,
            out[row], start[row],
        )  # fmt: skip


@njit(nogil=True, cache=True)
def permutahedron_kl(
    z: np.ndarray, w: np.ndarray, order: np.ndarray, unsort: bool, out: np.ndarray, start: np.ndarray
) -> None:
    r"""Project each row of exp(z) onto the permutahedron of exp(w) by Kullback-Leibler divergence; the log of it.

    With both sorted downward it is :math:`z - v`, v the minimiser of :math:`\sum_i e^{z_i - v_i} + e^{w_i} v_i` under
    :math:`v_1 \ge \dots \ge v_n`; on a block it is the difference of the two log-sum-exp.

    Args:
        z: ``[rows, n]``, sorted downward.
        w: ``[rows, n]``, sorted downward.
        order: as in ``permutahedron_l2``, and so are the next three.
        unsort: z is the data.
        out: is written.
        start: is written.

    Example:
        >>> out, start = np.zeros((1, 2)), np.zeros((1, 2), np.int32)
        >>> permutahedron_kl(np.zeros((1, 2)), np.log([[3.0, 1.0]]), np.array([[0, 1]]), True, out, start)
        >>> np.exp(out).round(6)
        array([[2., 2.]])

    Cost: O(n) time and memory for each row.
    """
    n = z.shape[1]
    nothing, log_z, log_w, starts = np.zeros(n), np.empty(n), np.empty(n), np.empty(n + 1, np.int32)
    for row in range(z.shape[0]):
        points, targets = z[row], w[row]
        first, last, present = _finite_part(points, targets) if unsort else _finite_part(targets, points)
        if first < 0:
            _fill_nan(row, out, start)
            continue
        blocks = 0
        for place in range(first, last):
            up, down, begin = float(points[place]), float(targets[place]), place
            while blocks > 0 and log_z[blocks - 1] - log_w[blocks - 1] <= up - down:
                blocks -= 1
                up, down = _log_add(up, log_z[blocks]), _log_add(down, log_w[blocks])
                begin = starts[blocks]
            log_z[blocks], log_w[blocks], starts[blocks] = up, down, begin
            blocks += 1
        _write(
            first, last, present, points, targets, order[row], unsort, True, log_z, nothing, log_w, starts, blocks,
            out[row], start[row],
        )  # fmt: skip


@njit(nogil=True, cache=True)
def block_sums(
    values: np.ndarray, order: np.ndarray, start: np.ndarray, of_items: bool, to_items: bool, mean: bool,
    out: np.ndarray,
) -> None:  # fmt: skip
    """Write the sum or the mean of the values of each block to all of its members.

    Args:
        values: ``[rows, n]``.
        order: int64 ``[rows, n]``, the item at each place.
        start: int32 ``[rows, n]``, the first place of the block of each place.
        of_items: values are given for items, else for places.
        to_items: sums go to items, else to places.
        mean: the mean instead of the sum.
        out: ``[rows, n]``, is written.

    Example:
        >>> out = np.zeros((1, 3))
        >>> block_sums(np.array([[5.0, 1.0, 7.0]]), np.array([[1, 2, 0]]), np.array([[0, 1, 1]], np.int32), True, False,
        ...            True, out)
        >>> out
        array([[1., 6., 6.]])

    Cost: O(n) time for each row.
    """
    n = values.shape[1]
    for row in range(values.shape[0]):
        begin = 0
        while begin < n:
            sum_, end = 0.0, begin
            while end < n and start[row, end] == begin:
                sum_ += values[row, order[row, end]] if of_items else values[row, end]
                end += 1
            answer = sum_ / (end - begin) if mean else sum_
            for place in range(begin, end):
                if to_items:
                    out[row, order[row, place]] = answer
                else:
                    out[row, place] = answer
            begin = end
