"""What a teacher's answers mean: probabilities, logits, labels or values, and which column is which class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from softwood.core import InputError, check_choice

_LEAST_SHARE = 1e-4  # of a class in a logit: a forest says 0, and means few
_SUM = 1e-3  # probabilities may miss 1 by so much
_OURS = "probability of "  # how ``softwood predict --proba`` names its columns


@dataclass(frozen=True, eq=False)
class Reading:
    """How answers are read.

    Args:
        form: ``"probabilities"``, ``"logits"`` ([n, K]); ``"chance"``, ``"logit"`` (of the second of two classes,
            [n]); ``"labels"`` ([n]); ``"values"`` ([n] or [n, K]).
        classes: labels in the order of the columns; None for values.
        detected: what was found, in words.
    """

    form: str
    classes: tuple[Any, ...] | None
    detected: str

    def shares(self, raw: np.ndarray) -> np.ndarray:
        """Return probabilities ``[n, K]``."""
        if self.form == "labels":
            return self._indicators(raw)
        if self.form == "probabilities":
            clipped = np.clip(raw, 0.0, None)
            return np.asarray(clipped / clipped.sum(1, keepdims=True))
        if self.form == "chance":
            return np.column_stack([1 - raw, raw])
        wide = np.column_stack([np.zeros(len(raw)), raw]) if self.form == "logit" else raw
        shifted = np.exp(wide - wide.max(1, keepdims=True))
        return np.asarray(shifted / shifted.sum(1, keepdims=True))

    def logits(self, raw: np.ndarray) -> np.ndarray:
        """Return logits ``[n, K]`` whose mean over the classes is 0."""
        if self.form == "logits":
            logs = np.asarray(raw, np.float64)
        elif self.form == "logit":
            logs = np.column_stack([np.zeros(len(raw)), raw])
        else:
            logs = np.log(np.maximum(self.shares(raw), _LEAST_SHARE))
        return np.asarray(logs - logs.mean(1, keepdims=True))

    def _indicators(self, raw: np.ndarray) -> np.ndarray:
        place = {label: k for k, label in enumerate(self.classes or ())}
        unknown = [label for label in pd.unique(np.asarray(raw, object)) if label not in place]
        if unknown:
            raise InputError(
                "the teacher answers with labels that are not known", got=", ".join(map(repr, unknown[:5])),
                allowed=", ".join(map(repr, place)), fix="pass a teacher of the same classes",
            )  # fmt: skip
        return np.eye(len(place))[[place[label] for label in raw.tolist()]]


def plain_answers(answers: Any, n: int, source: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return answers as an array ``[n]`` or ``[n, K]``, and the names of its columns if there are any.

    Args:
        answers: array, tensor, frame or series, as a teacher gave them.
        n: rows that were asked for.
        source: who answered, in words.

    Raises:
        InputError: another number of rows, more than two axes, a missing or infinite answer.
    """
    names = None
    if hasattr(answers, "detach"):
        answers = answers.detach().cpu().numpy()
    if isinstance(answers, pd.DataFrame):
        ours = [name for name in answers.columns if str(name).startswith(_OURS)]
        answers = answers[ours] if ours else answers
        names = tuple(str(name).removeprefix(_OURS) for name in answers.columns)
        answers = answers.to_numpy()
    found = np.asarray(answers)
    if found.ndim == 2 and found.shape[1] == 1:
        found, names = found[:, 0], None
    if found.ndim not in (1, 2) or len(found) != n:
        raise InputError(
            f"{source} did not answer once for each row", got=f"shape {found.shape} for {n} rows",
            allowed=f"[{n}] or [{n}, K]", fix="one row of answers for each row of the table, in its order",
        )  # fmt: skip
    if found.dtype.kind in "iuf":
        found = found.astype(np.float64)
        lost = ~np.isfinite(found).reshape(n, -1).all(1)
    else:
        lost = pd.isna(found).reshape(n, -1).any(1)
    if lost.any() or (found.ndim == 2 and found.dtype.kind != "f"):
        raise InputError(
            f"{source} gave answers that cannot be used",
            got=f"{int(lost.sum())} rows without a finite answer, the first is row {int(lost.argmax())}"
            if lost.any() else "several columns that are not all numbers",
            allowed="finite numbers, or one label a row", fix="look at these rows, or leave them out of the table",
        )  # fmt: skip
    return found, names


def read_answers(
    raw: np.ndarray, names: Sequence[str] | None, labels: Sequence[Any] | None, y: np.ndarray | None, task: str | None
) -> Reading:
    """Find out what a teacher's answers mean.

    Several columns are classes: probabilities where no number is negative and each row sums to 1, else logits. One
    column of text or booleans holds labels. One column of numbers holds, if the target has two classes, the second
    one's probability (all in [0, 1]) or logit; else values.

    Args:
        raw: ``[n]`` or ``[n, K]``.
        names: of the columns, or None.
        labels: what the teacher itself says its columns are, or None.
        y: the target ``[n]``, or ``[n, K]`` for K values, or None.
        task: ``"classification"``, ``"regression"``, or None to find out.

    Raises:
        InputError: the columns do not fit the target's classes.
    """
    if task is not None:
        check_choice("task", task, ["classification", "regression"])
    several_values = y is not None and y.ndim == 2
    if task == "regression" or several_values:
        return _values(raw, y)
    known = None if y is None else tuple(np.unique(y).tolist())
    if raw.ndim == 2:
        classes = _classes(raw.shape[1], names, labels, known)
        shares = bool((raw >= 0).all() and (np.abs(raw.sum(1) - 1) < _SUM).all())
        form = "probabilities" if shares else "logits"
        return Reading(form, classes, f"{form} of {len(classes)} classes: {', '.join(map(str, classes))}")
    if raw.dtype.kind != "f" or labels is not None:
        return _labels(raw, labels, known)
    two = known if known is not None and len(known) == 2 else (0, 1) if task == "classification" else None
    if two is not None:
        form = "chance" if ((raw >= 0) & (raw <= 1)).all() else "logit"
        told = "the probability" if form == "chance" else "the logit"
        return Reading(form, two, f"{told} of class {two[1]} (the other one is {two[0]})")
    is_text = y is not None and y.dtype.kind not in "iuf"
    if is_text or task == "classification":
        return _labels(raw, labels, known)
    return _values(raw, y)


def _values(raw: np.ndarray, y: np.ndarray | None) -> Reading:
    width = 1 if raw.ndim == 1 else raw.shape[1]
    wanted = width if y is None else 1 if y.ndim == 1 else y.shape[1]
    if raw.dtype.kind != "f" or width != wanted:
        raise InputError(
            "the teacher's answers are not the target's values", got=f"{width} columns of kind {raw.dtype.kind!r}",
            allowed=f"{wanted} column{'s' * (wanted > 1)} of numbers", fix="check the teacher's output, and the task",
        )  # fmt: skip
    return Reading("values", None, "one numeric value" if width == 1 else f"{width} numeric values")


def _labels(raw: np.ndarray, labels: Sequence[Any] | None, known: tuple[Any, ...] | None) -> Reading:
    classes = tuple(labels if labels is not None else np.unique(raw).tolist())
    if known is not None:
        strange = [label for label in classes if label not in known] if labels is None else []
        if strange:
            raise InputError(
                "the teacher answers with labels that the target does not have",
                got=", ".join(map(repr, strange[:5])), allowed=", ".join(map(repr, known)),
                fix="pass a teacher of the same classes",
            )  # fmt: skip
        classes = (*classes, *(label for label in known if label not in classes))
    return Reading("labels", classes, f"labels of {len(classes)} classes: {', '.join(map(str, classes))}")


def _classes(
    width: int, names: Sequence[str] | None, labels: Sequence[Any] | None, known: tuple[Any, ...] | None
) -> tuple[Any, ...]:
    """Return which class each column is: as the teacher says, by the columns' names, or in sorted order."""
    if labels is not None and len(labels) == width:
        found = tuple(labels)
    elif known is None:
        found = tuple(names) if names is not None else tuple(range(width))
    else:
        by_name = {str(label): label for label in known}
        if names is not None and set(by_name) <= set(names):
            found = tuple(by_name.get(name, name) for name in names)
        elif len(known) == width:
            found = known
        else:
            raise InputError(
                "the teacher's columns are not the target's classes",
                got=f"{width} columns" + ("" if names is None else f": {', '.join(names[:8])}"),
                allowed=f"{len(known)} classes: {', '.join(map(str, known[:8]))}",
                fix="one column a class, named by its label or in sorted order",
            )
    strange = [] if known is None else [label for label in known if label not in found]
    if strange:
        raise InputError(
            "the target holds classes that the teacher does not know", got=", ".join(map(repr, strange[:5])),
            allowed=", ".join(map(repr, found)), fix="pass a teacher of the same classes, or leave these rows out",
        )  # fmt: skip
    return found
