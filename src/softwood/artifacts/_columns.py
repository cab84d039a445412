"""The raw columns of a model, and how a table becomes the numbers that its splits test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._tables import pick_columns
from softwood.artifacts._values import MISSING_AMONG_NUMBERS, canonical_text, distinct_values
from softwood.core import InputError, check_choice

KINDS = ("number", "boolean", "category")

MISSING_RULE = (
    "A missing value (None, NaN, NaT, NA, an empty cell or a missing marker) and a category level that was not seen "
    "in training are both encoded as NaN, and take the missing direction of each node that tests them."
)

TRUE_TEXTS = frozenset({"true", "t", "yes", "y", "1", "1.0"})
FALSE_TEXTS = frozenset({"false", "f", "no", "n", "0", "0.0"})


@dataclass(frozen=True)
class Column:
    """One raw input column of a model.

    Args:
        name: as in the user's table. A part of a date is named ``"<column>.<part>"``, such as ``"sold.year"``.
        kind: ``"number"``, ``"boolean"`` or ``"category"``.
        levels: texts of the known levels, in order; for a category only.
        ordered: the order of the levels means something: splits part the first k levels from the others.

    Raises:
        InputError: no name, an unknown kind, levels that are missing, repeated or no text, an order without levels.

    Example:
        >>> Column("color", "category", ("blue", "red")).levels
        ('blue', 'red')
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    ordered: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError("a column needs a name", got=repr(self.name), allowed="text", fix="name the column")
        check_choice("kind", self.kind, KINDS)
        object.__setattr__(self, "levels", tuple(self.levels))
        fits = bool(self.levels) if self.kind == "category" else not (self.levels or self.ordered)
        if not fits or not all(isinstance(level, str) for level in self.levels):
            raise InputError(
                f"the levels of column {self.name!r} are not usable",
                got=repr(self.levels),
                allowed="at least one text for a category, none otherwise",
                fix="pass levels=('a', 'b')",
            )
        if len(set(self.levels)) < len(self.levels):
            raise InputError(
                f"column {self.name!r} repeats a level",
                got=repr(self.levels),
                allowed="each level once",
                fix="drop the repeated ones",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content; ``from_dict`` reads it."""
        content = {"name": self.name, "kind": self.kind, "levels": list(self.levels)}
        return {**content, "ordered": True} if self.ordered else content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Column:
        """Build a column from ``to_dict``'s content.

        Raises:
            InputError: a field is absent, or not usable.
        """
        try:
            return cls(content["name"], content["kind"], tuple(content["levels"]), bool(content.get("ordered", False)))
        except (KeyError, TypeError) as error:
            raise InputError(
                "this is no column", got=repr(content), allowed="name, kind and levels", fix="use to_dict's content"
            ) from error


def encode_table(columns: Sequence[Column], table: Any) -> np.ndarray:
    """Turn a table into the numbers that the splits of a model test.

    number: the value. boolean: 0 or 1. category: the index of the level, compared by ``canonical_text``.
    ``MISSING_RULE`` says what missing values and unseen levels become: NaN.

    Args:
        columns: the C raw columns of the model.
        table: a pandas or polars data frame, an Arrow table or a dict of columns (found by name, in any order,
            others are ignored), or a 2-D array or list of n rows (found by position).

    Returns:
        float64 [n, C].

    Raises:
        InputError: a column is absent or there twice, the width differs, a number column holds text or infinity,
            a boolean column holds anything but true and false, or a column holds lists.

    Cost: O(nC) time and memory; Python is run per distinct text only.

    Example:
        >>> encode_table([Column("a", "number"), Column("b", "category", ("x", "y"))],
        ...              {"a": ["1.5", None], "b": ["y", "z"]}).tolist()
        [[1.5, 1.0], [nan, nan]]
    """
    if all(column.kind == "number" for column in columns):
        values = _plain_numbers([column.name for column in columns], table)
        if values is not None and not np.isinf(values).any():
            return values
    raw = pick_columns([column.name for column in columns], table)
    encoded = np.empty((len(raw), len(columns)), dtype=np.float64)
    for position, column in enumerate(columns):
        series = raw.iloc[:, position]
        if column.kind == "category":
            encoded[:, position] = _encode_category(column, series)
        else:
            encoded[:, position] = _encode_number(column, series)
    return encoded


def _plain_numbers(names: list[str], table: Any) -> np.ndarray | None:
    """Return the values of a table that is all numbers, at once; None where columns have to be read one by one."""
    if isinstance(table, pd.DataFrame) and table.columns.is_unique and table.columns.inferred_type == "string":
        place = table.columns.get_indexer(pd.Index(names))
        if (place < 0).any() or len(set(names)) < len(names):
            return None
        table = table.iloc[:, place]
        if not all(isinstance(dtype, np.dtype) and dtype.kind in "fiu" for dtype in table.dtypes):
            return None
        table = table.to_numpy()
    if isinstance(table, np.ndarray) and table.ndim == 2 and table.dtype.kind in "fiu" and table.shape[1] == len(names):
        return table.astype(np.float64)
    return None


# ------------------------------------------------------------------ columns of one kind
def _encode_category(column: Column, series: pd.Series) -> np.ndarray:
    codes, distinct = distinct_values(pd.Series(canonical_text(series), dtype=object, name=column.name))
    index = pd.Index(column.levels, dtype=object).get_indexer(pd.Index(distinct, dtype=object)).astype(np.float64)
    index[index < 0] = np.nan
    return np.append(index, np.nan)[codes]


def _encode_number(column: Column, series: pd.Series) -> np.ndarray:
    """Numbers, and booleans as 0 and 1: plain types at once, anything else by its distinct values."""
    if pd.api.types.is_complex_dtype(series.dtype) or pd.api.types.is_datetime64_any_dtype(series.dtype):
        _refuse(column, series, series.notna().to_numpy())
        return np.full(len(series), np.nan)
    if pd.api.types.is_numeric_dtype(series.dtype):  # bool included
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        codes, distinct = distinct_values(series)
        values = np.append(_distinct_numbers(column, distinct), np.nan)[codes]  # code -1, missing, takes the last
    if column.kind == "boolean":
        _refuse(column, series, ~(np.isnan(values) | (values == 0) | (values == 1)))
    _refuse(column, series, np.isinf(values))
    return values


# What is no number is treated as infinity is: refused, with its row
_NO_NUMBER = math.inf


def _distinct_numbers(column: Column, distinct: np.ndarray) -> np.ndarray:
    if column.kind == "number" and all(type(value) is str for value in distinct):
        joined = "".join(distinct)
        if joined.isascii() and "_" not in joined:
            try:
                return distinct.astype(np.float64)  # the same as below, without Python's loop
            except ValueError:  # a marker of missing values, or text
                pass
    return np.array([_number(value, column.kind == "boolean") for value in distinct], dtype=np.float64)


def _number(value: Any, boolean: bool) -> float:
    if isinstance(value, str):
        text = value.strip().lower()
        if text in MISSING_AMONG_NUMBERS:
            return math.nan
        if boolean and text in TRUE_TEXTS | FALSE_TEXTS:
            return float(text in TRUE_TEXTS)
        if "_" in text or not text.isascii():
            return _NO_NUMBER  # float() takes "1_000" and Arabic digits; SQL, C and ONNX do not
    try:
        return float(value)
    except (TypeError, ValueError):
        return _NO_NUMBER


def _refuse(column: Column, series: pd.Series, bad: np.ndarray) -> None:
    if not bad.any():
        return
    row = int(np.argmax(bad))
    value = series.iloc[row]
    value = value.item() if isinstance(value, np.number) else value  # prints as 1.5, not as np.float64(1.5)
    fix = "convert the column, or leave the cell empty where the value is unknown"
    if isinstance(value, float) and np.isinf(value):
        fix = "replace infinity by a large number, or leave the cell empty"
    allowed = "finite numbers" if column.kind == "number" else "true/false, yes/no, t/f, y/n, 1/0"
    raise InputError(
        f"column {column.name!r} holds what is no {column.kind}",
        got=f"{value!r} in row {row} (rows count from 0; {int(bad.sum())} in all)",
        allowed=f"{allowed}, or a missing value",
        fix=fix,
    )
