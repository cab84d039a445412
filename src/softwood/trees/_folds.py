"""How rows are divided: the folds that candidates are judged on, and the rows set aside for the certificate.

Rows are drawn at random, in the classes' proportions; or by whole groups; or by time, later rows being judged by what
was learned from earlier ones.
"""

from __future__ import annotations

import numpy as np

from softwood.kernels import deal
from softwood.trees._rows import Group, Rows

_MOST_JUDGED = 50_000  # rows of a fold


def make_groups(rows: Rows, folds: int, repeats: int, seed: np.random.Generator) -> list[Group]:
    """Return the group of all rows, then one for each fold of each repeat.

    Fold k learns from all other folds; with time from the blocks before block k, and is judged on that block alone.

    Args:
        rows: what is divided.
        folds: of ``folds_that_fit``.
        repeats: of ``folds_that_fit``.
        seed: source of the order.
    """
    groups = [Group(rows, np.ones(rows.n, bool))]
    if len(rows.parents):
        own = rows.parents[:, 0] == np.arange(rows.n)
        for group in make_groups(rows.take(own), folds, repeats, seed)[1:]:
            groups.append(Group(rows, *_inherited(rows.parents, own, group)))
        return groups
    for _ in range(repeats):
        if rows.time is not None:
            block = _blocks(rows.time, folds + 1)
            groups += [Group(rows, block < index, block == index) for index in range(1, folds + 1)]
            continue
        fold = fold_of_rows(rows, folds, seed)
        groups += [Group(rows, fold != index, _some(fold == index, seed)) for index in range(folds)]
    return groups


def _some(held: np.ndarray, seed: np.random.Generator) -> np.ndarray:
    """Return at most ``_MOST_JUDGED`` of the rows: more would tell losses apart that are as good as equal."""
    place = np.flatnonzero(held)
    if len(place) <= _MOST_JUDGED:
        return held
    chosen = np.zeros(len(held), bool)
    chosen[seed.choice(place, _MOST_JUDGED, replace=False)] = True
    return chosen


def _inherited(parents: np.ndarray, own: np.ndarray, group: Group) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows are learned from and which judged, made ones with those of a group of real rows."""
    active, held = np.zeros((2, len(own)), bool)
    active[own], held[own] = group.active, group.judged
    return ((parents < 0) | active[parents]).all(1), held


def folds_that_fit(rows: Rows, folds: int, repeats: int) -> tuple[int, int]:
    """Return how many folds and repeats there can be: no more folds than groups, or than times after the first.

    Args:
        rows: what is divided.
        folds: wanted.
        repeats: wanted.
    """
    if rows.time is not None:
        folds = min(folds, len(np.unique(rows.time)) - 1)
        return folds, min(repeats, 1) if folds else 0  # folds by time are the same each time
    if rows.together is not None:
        count = len(np.unique(rows.together))
        folds = min(folds, count) if count > 1 else 0
        return folds, (min(repeats, 1) if folds == count else repeats) if folds else 0
    return folds, repeats


def fold_of_rows(rows: Rows, folds: int, seed: np.random.Generator) -> np.ndarray:
    """Return the fold of each row, int ``[n]``: equally large, with the same share of each class.

    Whole groups come as near to that as they can.

    Args:
        rows: what is divided.
        folds: how many.
        seed: source of the order.
    """
    if rows.together is not None:
        return _deal_groups(rows, rows.together, folds, seed)
    fold = np.empty(rows.n, np.int64)
    fold[_shuffled_by_class(rows, seed)] = np.arange(rows.n) % folds
    return fold


def held_out(rows: Rows, share: float, most: int, seed: np.random.Generator) -> np.ndarray:
    """Return the rows set aside for the certificate, bool ``[n]``.

    They are drawn in the classes' proportions; or are whole groups, or the latest rows, about as many as asked for.
    Fewer than three groups or times are not divided: two of them have to be left to learn from and select on.

    Args:
        rows: what is divided.
        share: of the rows.
        most: at most this many.
        seed: source of the choice.
    """
    count = min(int(share * rows.n), most)
    out = np.zeros(rows.n, bool)
    if not count:
        return out
    if rows.time is not None:
        return _latest(rows.time, count)
    if rows.together is not None:
        out = _whole_groups(rows, rows.together, count, seed)
    else:
        out[_shuffled_by_class(rows, seed)[(2 * np.arange(count) + 1) * rows.n // (2 * count)]] = True
    for label in np.unique(rows.labels[out]) if rows.is_classification else ():
        if (rows.labels[~out] == label).sum() == 0:  # a class is never only among the rows set aside
            back = rows.labels == label
            out &= ~(back if rows.together is None else np.isin(rows.together, rows.together[back]))
    return out


def _shuffled_by_class(rows: Rows, seed: np.random.Generator) -> np.ndarray:
    """Return the rows class by class, in random order within each: evenly spaced ones hold the classes' shares."""
    order = seed.permutation(rows.n)
    return order[np.argsort(rows.labels[order], kind="stable")] if rows.is_classification else order


def _deal_groups(rows: Rows, together: np.ndarray, folds: int, seed: np.random.Generator) -> np.ndarray:
    """Return the fold of each row, whole groups being dealt out, the largest ones first."""
    number = np.unique(together, return_inverse=True)[1]
    classes = rows.labels if rows.is_classification else np.zeros(rows.n, np.int64)
    width = int(classes.max()) + 1
    counts = np.bincount(number * width + classes, minlength=(number.max() + 1) * width).reshape(-1, width)
    order = seed.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(1), kind="stable")]
    fold: np.ndarray = deal(counts.astype(np.float64), order, folds)[number]
    return fold


def _whole_groups(rows: Rows, together: np.ndarray, count: int, seed: np.random.Generator) -> np.ndarray:
    """Return groups that hold about ``count`` rows: of as many parts as that gives, the one nearest to it."""
    groups = len(np.unique(together))
    if groups < 3:
        return np.zeros(rows.n, bool)
    part = _deal_groups(rows, together, min(max(round(rows.n / count), 2), groups), seed)
    chosen: np.ndarray = part == np.abs(np.bincount(part) - count).argmin()
    return chosen


def _latest(time: np.ndarray, count: int) -> np.ndarray:
    """Return the latest rows, about ``count``; rows of one time stay together, and two times or more come before."""
    times, rows_of = np.unique(time, return_counts=True)
    if len(times) < 3:
        return np.zeros(len(time), bool)
    later = rows_of[::-1].cumsum()[::-1][2:]  # rows from the third time on, from the fourth, ...
    late: np.ndarray = time >= times[2 + np.abs(later - count).argmin()]
    return late


def _blocks(time: np.ndarray, blocks: int) -> np.ndarray:
    """Return the block of each row, int ``[n]``: about equally large, in the order of time, ties in one block."""
    times, rows_of = np.unique(time, return_counts=True)
    passed = rows_of.cumsum()
    first = [0]  # the first time of each block
    for block in range(1, blocks):
        nearest = int(np.abs(passed - block * len(time) / blocks).argmin()) + 1
        first.append(min(max(nearest, first[-1] + 1), len(times) - (blocks - block)))
    found: np.ndarray = np.searchsorted(times[first], time, side="right") - 1
    return found
