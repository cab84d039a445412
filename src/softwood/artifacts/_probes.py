"""Rows that make every split of a model decide both ways, exactly on its threshold and one float beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._ensemble import HardEnsemble
from softwood.core import check_number

_MOST_LEVELS = 64  # levels tried at one node; a node that tests more gets an even sample from each side of its set


def probes(model: HardEnsemble, *, limit: int = 20_000) -> pd.DataFrame:
    """Return raw rows on which an export that is almost right gives a wrong answer.

    For each inner node: a row that reaches it (where its path can be met at all), with the tested value on the
    threshold, at the next float64 below and above, at the threshold's float32 rounding and its float32 neighbours,
    and missing; for a category each level, an unseen level, and missing. First come a row of missing values and,
    where there are categories, a row of unseen levels.

    Args:
        model: the ensemble, with N nodes over C columns.
        limit: most rows, >= 2. A model that would need more gets an even sample of its nodes.

    Returns:
        Frame [at most limit, C]: numbers as float64, booleans and texts as objects with None for missing.

    Raises:
        InputError: ``limit`` is no whole number >= 2.

    Cost: O(limit (depth + C)) time, O(limit C) memory.

    Example:
        >>> from softwood.artifacts import Column, HardEnsemble
        >>> probes(HardEnsemble.single_leaf((Column("x", "number"),), np.array([0.5]), outputs=("y",)))
            x
        0 NaN
    """
    check_number("limit", limit, low=2, integer=True)
    inner = np.flatnonzero(model.feature >= 0)
    sizes = np.array([len(_tests(model, int(node))) for node in inner], dtype=np.int64)
    kinds = [column.kind for column in model.columns]
    blocks = [np.full((1, len(kinds)), np.nan)]
    if "category" in kinds:  # an unseen level is written as the index one past the last level
        blocks.append(np.array([[len(c.levels) if c.kind == "category" else np.nan for c in model.columns]]))
    parents = _parents(model)
    for node in _even_sample(inner, sizes, limit - len(blocks)):
        tests = _tests(model, int(node))[: limit - len(blocks)]  # a limit below one node's need still holds
        block = np.tile(_row_that_reaches(model, int(node), parents), (len(tests), 1))
        block[:, model.feature[node]] = tests
        blocks.append(block)
    coded = np.concatenate(blocks)
    return pd.DataFrame({c.name: _raw(model, i, coded[:, i]) for i, c in enumerate(model.columns)})


def _even_sample(inner: np.ndarray, sizes: np.ndarray, room: int) -> np.ndarray:
    """Keep nodes at even distances, as many as fit into ``room`` rows."""
    kept = np.arange(len(inner))
    while len(kept) > 1 and sizes[kept].sum() > room:
        fewer = min(len(kept) - 1, int(len(kept) * room / sizes[kept].sum()))
        kept = np.linspace(0, len(inner) - 1, max(fewer, 1)).astype(np.int64)
    return inner[kept]


def _tests(model: HardEnsemble, node: int) -> np.ndarray:
    """Return the coded values to try at a node; NaN is missing, one past the last level is an unseen one."""
    column = model.columns[model.feature[node]]
    if column.kind == "category":
        return np.append(_some_levels(model, node), [len(column.levels), np.nan])
    if column.kind == "boolean":
        return np.array([0.0, 1.0, np.nan])
    return np.append(around(float(model.threshold[node])), np.nan)


def around(threshold: float) -> np.ndarray:
    """Return the threshold, its float64 neighbours, its float32 rounding and that one's float32 neighbours.

    Args:
        threshold: a finite number.

    Returns:
        The distinct finite ones, the threshold first.

    Example:
        >>> len(around(0.1)), len(around(0.5))
        (6, 5)
    """
    with np.errstate(over="ignore", under="ignore"):
        single = np.float32(threshold)
        close = [np.nextafter(threshold, -np.inf), np.nextafter(threshold, np.inf)]
        coarse = [single, np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf))]
    values = dict.fromkeys(float(value) for value in (threshold, *close, *coarse))
    return np.array([value for value in values if np.isfinite(value)])


def _some_levels(model: HardEnsemble, node: int) -> np.ndarray:
    levels = len(model.columns[model.feature[node]].levels)
    if levels <= _MOST_LEVELS:
        return np.arange(levels, dtype=np.float64)
    goes_left = model.levels_left[model.level_set[node], :levels]
    sides = [np.flatnonzero(goes_left), np.flatnonzero(~goes_left)]
    picked = [side[np.linspace(0, len(side) - 1, min(len(side), _MOST_LEVELS // 2)).astype(int)] for side in sides]
    return np.concatenate(picked).astype(np.float64)


# ------------------------------------------------------------------ a row that reaches a node
def _parents(model: HardEnsemble) -> np.ndarray:
    """Return the parent of each node, -1 at a root."""
    parents = np.full(len(model.feature), -1)
    inner = np.flatnonzero(model.feature >= 0)
    parents[model.left[inner]] = parents[model.right[inner]] = inner
    return parents


def _row_that_reaches(model: HardEnsemble, node: int, parents: np.ndarray) -> np.ndarray:
    """Return coded values that meet every test above ``node``; where none can, the nearest to it."""
    row = np.zeros(len(model.columns))
    tested: dict[int, list[tuple[int, bool]]] = {}
    child = node
    while parents[child] >= 0:
        parent = int(parents[child])
        tested.setdefault(int(model.feature[parent]), []).append((parent, int(model.left[parent]) == child))
        child = parent
    for feature, path in tested.items():
        row[feature] = _meeting(model, feature, path)
    return row


def _meeting(model: HardEnsemble, feature: int, path: list[tuple[int, bool]]) -> float:
    """Return a coded value of one column that takes each (node, goes left) of the path."""
    column = model.columns[feature]
    if column.kind == "category":
        fits = np.ones(len(column.levels), dtype=bool)
        for node, goes_left in path:
            fits &= model.levels_left[model.level_set[node], : len(fits)] == goes_left
        found = np.flatnonzero(fits)
        return float(found[0]) if len(found) else np.nan
    low = max((model.threshold[node] for node, goes_left in path if not goes_left), default=-np.inf)
    high = min((model.threshold[node] for node, goes_left in path if goes_left), default=np.inf)
    if column.kind == "boolean":
        return next((value for value in (0.0, 1.0) if low < value <= high), np.nan)
    if not low < high or low == np.finfo(np.float64).max:  # no number is above the largest
        return np.nan
    return float(high) if np.isfinite(high) else float(np.nextafter(low, np.inf))


# ------------------------------------------------------------------ coded values -> raw values
def _raw(model: HardEnsemble, position: int, coded: np.ndarray) -> Any:
    column = model.columns[position]
    if column.kind == "number":
        return coded
    if column.kind == "boolean":
        return pd.Series([None if np.isnan(value) else bool(value) for value in coded], dtype=object)
    texts = (*column.levels, _unseen(column.levels))
    return pd.Series([None if np.isnan(value) else texts[int(value)] for value in coded], dtype=object)


def _unseen(levels: tuple[str, ...]) -> str:
    text = "unseen level"
    while text in levels:
        text += "?"
    return text
