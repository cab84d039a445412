"""Columns that know the target: a copy of it, a column that alone predicts it, an identifier that orders it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from softwood.data._target import Target

FEWEST_ROWS = 20  # fewer rows are told apart by chance
_ROWS_PER_VALUE = 5  # a column of more values on fewer rows predicts any target


def find_leak(values: np.ndarray, target: Target, *, ordered: bool) -> str | None:
    """Say how a column gives the target away, if it does.

    Args:
        values: float64 [m], NaN where missing; indices of levels where ``ordered`` is False.
        target: m rows.
        ordered: numbers and identifiers, whose order means something; else categories.

    Returns:
        The reason, or None. A copy: the same partition of the rows as the classes, or a straight line of the
        numbers. Predicts alone: every level (of five rows or more on average) has one class or value, or the
        column cuts into as many intervals as there are classes, or rises or falls with the numbers in every
        row. Fewer than 20 rows with a value are never judged.

    Cost: O(m log m).

    Example:
        >>> y = Target("regression", np.arange(30.0))
        >>> find_leak(np.arange(30.0) * 2 + 1, y, ordered=True)
        'is a copy of the target'
    """
    known = ~np.isnan(values)
    values, y = values[known], target.values[known]
    if len(values) < FEWEST_ROWS:
        return None
    codes, distinct = pd.factorize(values)
    answers, y_distinct = pd.factorize(y)
    if len(distinct) < 2 or len(y_distinct) < 2:
        return None
    pairs = len(np.unique(codes.astype(np.int64) * len(y_distinct) + answers))
    determines = pairs == len(distinct)
    if determines and known.all() and _is_copy(values, y, target.kind, pairs == len(y_distinct)):
        return "is a copy of the target"
    if determines and len(values) >= _ROWS_PER_VALUE * len(distinct):
        return "alone predicts the target in every row"
    if ordered and determines and _orders(values, y, target.kind, len(y_distinct)):
        return "alone predicts the target in every row"
    return None


def orders_target(identifier: np.ndarray, target: Target) -> bool:
    """Say whether rows sorted by an identifier are sorted by the target too: the file, or its numbering, knows it.

    Args:
        identifier: float64 or int [m], the rank of each row's identifier.
        target: m rows.

    Example:
        >>> orders_target(np.arange(40), Target("classification", np.repeat([1, 0], 20), (0, 1)))
        True
    """
    if len(identifier) < FEWEST_ROWS:
        return False
    return _orders(identifier, target.values, target.kind, len(np.unique(target.values)))


def _is_copy(values: np.ndarray, y: np.ndarray, kind: str, one_to_one: bool) -> bool:
    if kind == "classification":
        return one_to_one
    if not one_to_one or len(np.unique(y)) < 3:
        return one_to_one
    straight = np.corrcoef(values, y)[0, 1] if np.isfinite(values).all() else 0.0
    return bool(abs(straight) > 1 - 1e-12)


def _orders(values: np.ndarray, y: np.ndarray, kind: str, answers: int) -> bool:
    sequence = y[np.argsort(values, kind="stable")]
    steps = np.diff(sequence)
    if kind == "classification":
        return int((steps != 0).sum()) + 1 == answers
    return bool((steps >= 0).all() or (steps <= 0).all())
