"""Sorting of many rows."""

from __future__ import annotations

import numpy as np
from numba import njit

_SHORT = 40  # entries up to which rows are sorted by insertion


@njit(nogil=True, cache=True)
def sort_rows(bits: np.ndarray, descending: bool, found: np.ndarray, order: np.ndarray) -> None:
    """Sort each row of floats, stably: equal entries keep their order. NaN counts as the largest, as in torch.

    Short rows by insertion, others by radix: the bits of a float, with the sign turned round, sort as whole numbers do.

    Args:
        bits: float ``[rows, n]`` seen as uint32 or uint64.
        descending: largest first.
        found: of the same type, is written: the sorted entries.
        order: int64 ``[rows, n]``, is written: which entry stands at each place.

    Example:
        >>> x, order = np.array([[2.0, np.nan, -1.0]]), np.zeros((1, 3), np.int64)
        >>> found = np.zeros_like(x)
        >>> sort_rows(x.view(np.uint64), False, found.view(np.uint64), order)
        >>> found, order
        (array([[-1.,  2., nan]]), array([[2, 0, 1]]))

    Cost: O(n) time for each row (a pass over 8 or 11 bits each), O(n) memory.
    """
    n = bits.shape[1]
    width = 8 * bits.itemsize
    one = np.uint64(1)
    top = one << np.uint64(width - 1)
    every = top | (top - one)
    infinity = np.uint64(0x7F800000) if width == 32 else np.uint64(0x7FF0000000000000)
    digit = 8 if n < 4096 else 11
    passes = (width + digit - 1) // digit
    buckets = 1 << digit
    low = np.uint64(buckets - 1)
    counts = np.zeros((passes, buckets), np.int32)
    keys, items = np.empty((2, n), bits.dtype), np.empty((2, n), np.int32)
    for row in range(bits.shape[0]):
        for place in range(n):
            key = np.uint64(bits[row, place])
            if key == top:
                key = np.uint64(0)  # -0.0 and 0.0 are equal
            if (key & (top - one)) > infinity:
                key = every
            elif key & top:
                key = every ^ key
            else:
                key |= top
            if descending:
                key = every ^ key
            keys[0, place] = key
            items[0, place] = place
        here = 0
        if n <= _SHORT:
            for place in range(1, n):
                small, item, to = keys[0, place], items[0, place], place
                while to > 0 and keys[0, to - 1] > small:
                    keys[0, to], items[0, to] = keys[0, to - 1], items[0, to - 1]
                    to -= 1
                keys[0, to], items[0, to] = small, item
        else:
            counts[:] = 0
            for place in range(n):
                key = np.uint64(keys[0, place])
                for turn in range(passes):
                    counts[turn, np.int64((key >> np.uint64(turn * digit)) & low)] += 1
            for turn in range(passes):
                shift = np.uint64(turn * digit)
                count = counts[turn]
                if count[np.int64((np.uint64(keys[here, 0]) >> shift) & low)] == n:
                    continue  # all have the same digit
                total = 0
                for bucket in range(buckets):
                    count[bucket], total = total, total + count[bucket]
                there = 1 - here
                for place in range(n):
                    slot = np.int64((np.uint64(keys[here, place]) >> shift) & low)
                    to = count[slot]
                    count[slot] = to + 1
                    keys[there, to], items[there, to] = keys[here, place], items[here, place]
                here = there
        for place in range(n):
            key = np.uint64(keys[here, place])
            if descending:
                key = every ^ key
            found[row, place] = key ^ top if key & top else every ^ key
            order[row, place] = items[here, place]
