"""Comparing the answers of an exported file with those of the model it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from softwood.artifacts._columns import encode_table
from softwood.artifacts._tables import pick_columns
from softwood.artifacts._values import canonical_text
from softwood.core import SoftwoodError, UnsupportedError

if TYPE_CHECKING:
    from softwood.artifacts._ensemble import HardEnsemble


class ExportMismatchError(SoftwoodError):
    """An exported file did not give the model's answers, so it was not handed over.

    Args:
        format: name of the format.
        reason: what differed, and on which row.

    Example:
        >>> print(ExportMismatchError("onnx", "row 3: the label is 'a', the model says 'b'"))
        the onnx export differs from the model, no file was written: row 3: the label is 'a', the model says 'b'; ...
    """

    def __init__(self, format: str, reason: str) -> None:
        self.format, self.reason = format, reason
        super().__init__(
            f"the {format} export differs from the model, no file was written: {reason}; "
            "to fix: report it, with the model, as a fault of Softwood; meanwhile use another format"
        )


class NotRunError(SoftwoodError):
    """Nothing here can run an exported file: it is handed over, and its report says UNVERIFIED and why.

    Example:
        >>> print(NotRunError("there is no C compiler here"))
        there is no C compiler here
    """


@dataclass(frozen=True)
class Answers:
    """What a model or an exported file says about n rows.

    Args:
        labels: object [n] of class labels, or None for a regression.
        scores: float64 [n, K]: class probabilities, or values.

    Example:
        >>> Answers(None, np.zeros((3, 1))).scores.shape
        (3, 1)
    """

    labels: np.ndarray | None
    scores: np.ndarray


def cells(model: HardEnsemble, table: Any) -> pd.DataFrame:
    """Return the raw columns of a model in the plainest types, as an exported file takes them.

    Args:
        model: the ensemble, with C columns.
        table: as in ``encode_table``.

    Returns:
        Frame [n, C]: numbers and booleans as float64 (NaN is missing), categories as text or None.

    Example:
        >>> from softwood.artifacts import Column, HardEnsemble
        >>> model = HardEnsemble.single_leaf([Column("a", "boolean")], np.zeros(1), outputs=["y"])
        >>> cells(model, {"a": ["yes", "NA"]})["a"].tolist()
        [1.0, nan]
    """
    raw = pick_columns([column.name for column in model.columns], table)
    encoded = encode_table(model.columns, raw)
    plain = {
        column.name: pd.Series(canonical_text(raw.iloc[:, i]), dtype=object)
        if column.kind == "category" else encoded[:, i]
        for i, column in enumerate(model.columns)
    }  # fmt: skip
    return pd.DataFrame(plain)


def answers(model: HardEnsemble, table: Any) -> Answers:
    """Return the model's own answers.

    Args:
        model: the ensemble.
        table: n rows.
    """
    raw = model.raw(table)
    if model.classes is None:
        return Answers(None, model.numbers(raw))
    return Answers(np.array(model.predict(table).tolist(), dtype=object), model.probabilities(raw))


def compare(format: str, expected: Answers, found: Answers, tolerance: float) -> float:
    """Return the largest difference between scores.

    Args:
        format: name of the format, for the message.
        expected: the model's answers.
        found: the file's answers.
        tolerance: largest allowed ``|found - expected| / max(1, |expected|)``.

    Raises:
        ExportMismatchError: a label differs, a score differs by more, or is not there.

    Example:
        >>> compare("json", Answers(None, np.zeros((1, 1))), Answers(None, np.full((1, 1), 1e-12)), 1e-9)
        1e-12
    """
    if found.scores.shape != expected.scores.shape:
        raise ExportMismatchError(format, f"{found.scores.shape} scores instead of {expected.scores.shape}")
    if (found.labels is None) != (expected.labels is None):
        raise ExportMismatchError(format, "labels are there on one side only")
    if found.labels is not None and expected.labels is not None:
        wrong = np.flatnonzero(np.array([not _same(a, b) for a, b in zip(found.labels, expected.labels, strict=True)]))
        if len(wrong):
            row = wrong[0]
            raise ExportMismatchError(
                format, f"{len(wrong)} labels, first in row {row}: {found.labels[row]!r}, "
                f"and the model says {expected.labels[row]!r}",
            )  # fmt: skip
    difference = np.abs(found.scores - expected.scores)
    allowed = tolerance * np.maximum(1.0, np.abs(expected.scores))
    wrong_rows = np.flatnonzero(~(difference <= allowed).all(axis=1))  # ~(<=): NaN counts as wrong
    if len(wrong_rows):
        row = wrong_rows[0]
        raise ExportMismatchError(
            format, f"the scores of {len(wrong_rows)} rows, first row {row}: {found.scores[row].tolist()}, "
            f"and the model says {expected.scores[row].tolist()}",
        )  # fmt: skip
    return float(difference.max(initial=0.0))


def _same(found: Any, expected: Any) -> bool:
    return type(found) is type(expected) and found == expected


def refuse_empty_level(model: HardEnsemble, format: str) -> None:
    """Refuse a model whose level is the empty text, in a format where an empty cell means "missing".

    Raises:
        UnsupportedError: there is such a level.
    """
    for column in model.columns:
        if "" in column.levels:
            raise UnsupportedError(
                f"column {column.name!r} has the empty text as a level, and in {format} an empty cell is a missing "
                "value; give that level a name before fit, or export to json"
            )
