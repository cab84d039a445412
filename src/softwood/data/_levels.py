"""Levels of a category in an order in which cutting them makes sense: their own, or that of the targets."""

from __future__ import annotations

import numpy as np

from softwood.artifacts import Column
from softwood.data._feature import Feature, mid_ranks
from softwood.kernels import MISSING

_SMOOTHING = 10.0  # pseudo-rows at the overall mean, when the levels of a category are ordered
_MOST_ORDERS = 8  # orders of the levels of one category column, for many classes
_FEW = 20  # levels up to which each is seen often enough to be placed by all its rows
_PARTS = 5  # of the rows, each of which is placed by the others


def fifths(n: int, together: np.ndarray | None) -> np.ndarray:
    """Return a random fifth of each row, int ``[n]``, always the same one; one for each group where there are groups.

    Args:
        n: rows.
        together: int ``[n]``, number of each row's group, or None.
    """
    if together is None:
        return np.random.default_rng(0).permutation(n) % _PARTS
    number = np.unique(together, return_inverse=True)[1]
    of_group: np.ndarray = np.random.default_rng(0).permutation(number.max() + 1) % _PARTS
    return of_group[number]


def level_features(
    index: int, values: np.ndarray, column: Column, targets: np.ndarray, weight: np.ndarray, limit: int,
    fifth: np.ndarray | None,
) -> list[tuple[Feature, np.ndarray | None]]:  # fmt: skip
    """Return the features of one category column, each with the rows' own codes or None where those are the usual ones.

    Args:
        index: of the column.
        values: float64 ``[n]``, levels, NaN where missing.
        column: with L levels.
        targets: float64 ``[n, K]``.
        weight: float64 ``[n]``, > 0.
        limit: most bins.
        fifth: of ``fifths``, or None where no own codes are wanted.

    Cost: O(n K).
    """
    present, n_levels = ~np.isnan(values), len(column.levels)
    level = values[present].astype(np.int64)
    mass = np.bincount(level, weights=weight[present], minlength=n_levels)
    if (mass > 0).sum() < (1 if not present.all() else 2):
        return []
    if column.ordered:
        return [(_feature(index, np.arange(n_levels), mass, limit), None)]
    overall = np.average(targets, axis=0, weights=weight)
    found: list[tuple[Feature, np.ndarray | None]] = []
    places: list[np.ndarray] = []  # of each level, equal means in one place: an order and its reverse cut alike
    # rarest classes last: their orders are the least certain ones
    for k in np.argsort(-overall, kind="stable")[: _MOST_ORDERS if targets.shape[1] > 1 else 1]:
        target = weight[present] * targets[present, k]
        sums = np.bincount(level, weights=target, minlength=n_levels)
        means = _shrunk(sums, mass, overall[k])
        place = np.unique(means.round(12), return_inverse=True)[1]
        if not any(np.array_equal(place, seen) or np.array_equal(place.max() - place, seen) for seen in places):
            places.append(place)
            order = np.argsort(means, kind="stable")
            feature = _feature(index, order, mass, limit)
            codes = None
            if fifth is not None and n_levels > _FEW:
                part = level * _PARTS + fifth[present]
                sums_of, mass_of = (
                    whole[:, None] - np.bincount(part, weights=each, minlength=n_levels * _PARTS).reshape(-1, _PARTS)
                    for whole, each in ((sums, target), (mass, weight[present]))
                )
                others = _shrunk(sums_of, mass_of, overall[k])  # [L, parts], without the rows of the part
                ladder = means[order]
                nearest = np.searchsorted((ladder[1:] + ladder[:-1]) / 2, others)
                codes = np.full(len(values), MISSING, np.uint8)
                codes[present] = feature.level_bin[order][nearest].ravel()[part]
            found.append((feature, codes))
        if (mass > 0).sum() <= 2:
            break  # two levels have one order
    return found


def _shrunk(sums: np.ndarray, mass: np.ndarray, overall: float) -> np.ndarray:
    means: np.ndarray = (sums + _SMOOTHING * overall) / (mass + _SMOOTHING)
    return means


def _feature(index: int, order: np.ndarray, mass: np.ndarray, limit: int) -> Feature:
    """Bins of levels in ``order``: one for each level, or groups of neighbours where there are too many."""
    place = np.arange(len(order)) * min(limit, len(order)) // len(order)
    level_bin = np.empty(len(order), np.int64)
    level_bin[order] = place
    return Feature(index, np.zeros(0), level_bin, mid_ranks(np.bincount(place, weights=mass[order])))
