"""A checked table with its target, weights and roles: what a learner is fitted to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight

from softwood.artifacts import Column
from softwood.core import InputError
from softwood.data import row_groups, row_times


@dataclass(frozen=True, eq=False)
class Training:
    """A checked table with its target.

    Args:
        table: a pandas frame as it came, or an array of numbers.
        columns: the C columns in use.
        x: float64 ``[n, C]``, encoded.
        y: ``[n]`` or ``[n, K]``.
        weight: float64 ``[n]``, mean 1.
        given_weight: ``[n]``, or None if the user gave none.
        together: int ``[n]``, number of each row's group, or None.
        time: int ``[n]``, rank of each row in time, or None.
    """

    table: Any
    columns: tuple[Column, ...]
    x: np.ndarray
    y: np.ndarray
    weight: Any = None
    given_weight: Any = None
    together: Any = None
    time: Any = None

    def take(self, keep: np.ndarray) -> Training:
        """Return the rows where the mask ``keep`` is True."""
        table = self.table[keep]
        parts = (self.weight, self.given_weight, self.together, self.time)
        taken = (None if part is None else part[keep] for part in parts)
        return Training(table, self.columns, self.x[keep], self.y[keep], *taken)

    def divided(self, groups: Any, time: Any) -> Training:
        """Return the same with what says how rows may be divided: by whole groups, or by time, or neither."""
        if groups is not None and time is not None:
            raise InputError(
                "rows are divided by groups or by time", got="both groups and time", allowed="one of them",
                fix="leave one out; with time, rows of one group may lie on both sides",
            )  # fmt: skip
        n = len(self.y)
        together = None if groups is None else row_groups(groups, n)
        return replace(self, together=together, time=None if time is None else row_times(time, n))

    def describe_split(self, aside: np.ndarray) -> tuple[str, str, list[str]]:
        """Say how rows were divided: for the record, which rows are set aside, and what that leaves uncovered.

        Args:
            aside: rows that are set aside, bool ``[n]``.
        """
        count = int(aside.sum())
        if self.together is not None:
            inside = len(np.unique(self.together[aside]))
            told = f"by group: {len(np.unique(self.together))} groups, each whole in one fold or set aside"
            limits = ["how much groups differ: the intervals take rows as independent, and are too narrow for groups"]
            return told, f"{count} rows, {inside} whole groups, held out from training and selection", limits
        if self.time is not None:
            times = len(np.unique(self.time))
            told = f"by time: {times} times; what is judged is later than what was learned from"
            return told, f"the latest {count} rows, held out from training and selection", []
        return "at random", f"{count} rows held out from training and selection", []

    def weighted(self, sample_weight: Any) -> Training:
        """Return the rows of positive weight, with weights of mean 1."""
        weight = _check_sample_weight(sample_weight, self.x, dtype=np.float64, ensure_non_negative=True)
        if not (weight > 0).any():
            raise InputError(
                "no row has weight", got="sample weights that are all zero", allowed="at least one > 0",
                fix="check sample_weight",
            )  # fmt: skip
        given = None if sample_weight is None else weight
        return replace(self, weight=weight / weight[weight > 0].mean(), given_weight=given).take(weight > 0)


def class_weighted(data: Training, class_weight: Any) -> Training:
    """Return the rows with weights multiplied by those of their classes, mean 1. The certificate keeps the rows' own.

    Args:
        data: rows with labels.
        class_weight: ``"balanced"``, a dict from label to weight, or None.

    Raises:
        InputError: neither of these, or a label that is not there.
    """
    if class_weight is None:
        return data
    try:
        factor = compute_sample_weight(class_weight, data.y)
    except ValueError as error:
        raise InputError(
            "class_weight is not usable", got=repr(class_weight),
            allowed='"balanced", a dict from label to weight, or None',
            fix=str(error),
        ) from error  # fmt: skip
    weight = data.weight * factor
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise InputError(
            "class_weight is not usable", got=repr(class_weight), allowed="weights > 0", fix="leave rows out instead",
        )  # fmt: skip
    return replace(data, weight=weight / weight.mean())


def output_names(y: Any, width: int) -> list[str]:
    """Return the names of a regression's outputs: those of a frame's columns where it predicts several.

    Args:
        y: targets as they came.
        width: K.
    """
    if width == 1:
        return ["value"]
    return [str(name) for name in y.columns] if hasattr(y, "columns") else [f"value {k}" for k in range(width)]
