"""The column that is predicted: which task it sets, which classes it has, which rows can be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._columns import Column, encode_table
from softwood.artifacts._values import canonical_text, distinct_values, is_missing_text
from softwood.core import InputError, check_choice

MOST_INTEGER_CLASSES = 10  # whole numbers with more distinct values are a regression
MOST_CLASSES = 20  # beyond, a class needs two rows on average


@dataclass(frozen=True, eq=False)
class Target:
    """What is predicted.

    Args:
        kind: ``"classification"`` or ``"regression"``.
        values: m usable rows: int64 index into ``classes``, or float64.
        classes: the labels as they came (str, int, float or bool), sorted, ordered categories in their order;
            empty for a regression.
        rows: bool [n], the m rows of the table whose target is known.
        notes: short sentences for printing.

    Example:
        >>> read_target(pd.Series(["b", "a", None])).classes
        ('a', 'b')
    """

    kind: str
    values: np.ndarray
    classes: tuple[Any, ...] = ()
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    notes: tuple[str, ...] = ()


def read_target(series: Any, task: str | None = None) -> Target:
    """Read the target column.

    Without ``task``: text, booleans and categories are classes; so are whole numbers (also as floats) of at most
    10 distinct values, each with two rows on average; all other numbers are a regression, also where they are
    text of more than 10 distinct values. Rows without a target are left out, with a note.

    Args:
        series: n values: pandas, polars or Arrow column, array or list.
        task: ``"classification"``, ``"regression"`` or None to decide by the rule above.

    Returns:
        The target; ``rows`` says which rows of the table its values belong to.

    Raises:
        InputError: no rows, no known value, one class or one value only, dates or lists, infinity, text in a
            regression, or more than 20 classes of fewer than two rows on average.

    Cost: O(n).

    Example:
        >>> read_target(pd.Series([1.5, 2.5, None])).values.tolist()
        [1.5, 2.5]
    """
    if task is not None:
        check_choice("task", task, ["classification", "regression"])
    values = _as_series(series)
    name = f"the target {values.name!r}"
    known = ~_missing(values)
    if not known.any():
        raise InputError(
            f"{name} is missing in every row" if len(values) else f"{name} has no rows",
            got=f"{len(values)} rows",
            allowed="at least two rows with a known target",
            fix="choose another column",
        )
    notes = []
    if not known.all():
        notes.append(f"{int((~known).sum())} of {len(known)} rows are left out: their target is missing")
    present = values[known].reset_index(drop=True)
    if pd.api.types.is_datetime64_any_dtype(present.dtype):
        raise InputError(
            f"{name} holds dates",
            got=str(present.iloc[0]),
            allowed="classes or numbers",
            fix="predict a number, such as the days since a fixed date",
        )
    found = _kind(present)
    kind = task or found
    if kind == "regression":
        return _regression(present, name, known, notes)
    if task is None and pd.api.types.is_numeric_dtype(present.dtype) and present.dtype.kind != "b":
        notes.append(f"{name} has few distinct whole numbers: taken as classes; pass task='regression' if it counts")
    return _classification(present, name, known, notes, continuous=found == "regression")


def _as_series(series: Any) -> pd.Series:
    if isinstance(series, pd.Series):
        return series.reset_index(drop=True).rename(str(series.name) if series.name is not None else "target")
    if hasattr(series, "to_pandas"):  # Arrow
        return pd.Series(series.to_pandas()).rename("target")
    values = series.to_numpy() if hasattr(series, "to_numpy") else series
    if not isinstance(values, np.ndarray):
        values = np.fromiter(values, dtype=object, count=len(values))
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise InputError(
            "the target has to be one column", got=f"shape {values.shape}", allowed="shape (n,)", fix="pass one column"
        )
    return pd.Series(values, name=str(getattr(series, "name", "target"))).infer_objects()


def _missing(values: pd.Series) -> np.ndarray:
    codes, distinct = distinct_values(values)
    blank = [isinstance(value, str) and bool(is_missing_text([value])[0]) for value in distinct]
    return np.append(blank, True)[codes].astype(bool)


def _kind(present: pd.Series) -> str:
    if isinstance(present.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(present.dtype):
        return "classification"
    if not pd.api.types.is_numeric_dtype(present.dtype):
        _, distinct = distinct_values(present)
        few = len(distinct) <= MOST_INTEGER_CLASSES and any(isinstance(value, str) for value in distinct)
        if few or _are_booleans(distinct):
            return "classification"
        return "regression" if _are_numbers(present) else "classification"
    numbers = present.to_numpy(dtype=np.float64)
    count = len(np.unique(numbers))
    whole = bool(np.isfinite(numbers).all() and (numbers == np.round(numbers)).all())
    return "classification" if whole and count <= MOST_INTEGER_CLASSES and 2 * count <= len(numbers) else "regression"


def _are_booleans(distinct: np.ndarray) -> bool:
    return all(isinstance(value, (bool, np.bool_)) for value in distinct)


def _are_numbers(present: pd.Series) -> bool:
    try:
        encode_table([Column("target", "number")], {"target": present})
    except InputError:
        return False
    return True


def _regression(present: pd.Series, name: str, rows: np.ndarray, notes: list[str]) -> Target:
    column = str(present.name)
    values = encode_table([Column(column, "number")], {column: present})[:, 0]
    kept = ~np.isnan(values)  # "-" or "none" among numbers
    if not kept.all():
        notes.append(f"{int((~kept).sum())} rows are left out: their target is no number, such as '-'")
        rows = rows.copy()
        rows[rows] = kept
        values = values[kept]
    if len(np.unique(values)) < 2:
        raise InputError(
            f"{name} never varies",
            got=f"{len(values)} rows of one value",
            allowed="at least two values",
            fix="choose another column",
        )
    return Target("regression", values, (), rows, tuple(notes))


def _classification(present: pd.Series, name: str, rows: np.ndarray, notes: list[str], *, continuous: bool) -> Target:
    numeric = pd.api.types.is_numeric_dtype(present.dtype)
    if continuous and numeric and not (present == present.round()).all():
        raise InputError(
            f"{name} holds continuous numbers, which are no classes",
            got=f"{present.iloc[0]!r}, ...",
            allowed="text, booleans or whole numbers",
            fix="pass task='regression'",
        )
    if isinstance(present.dtype, pd.CategoricalDtype):
        present = present.cat.remove_unused_categories()
        labels = list(present.cat.categories)
        codes = present.cat.codes.to_numpy().astype(np.int64)
    else:
        codes, labels = _sorted_classes(present)
    if len(labels) < 2:
        raise InputError(
            f"{name} has one class only",
            got=repr(labels[0]),
            allowed="at least two classes",
            fix="add rows of another class, or choose another column",
        )
    if len(labels) > MOST_CLASSES and 2 * len(labels) > len(present):
        raise InputError(
            f"{name} has nearly as many classes as rows",
            got=f"{len(labels)} classes, {len(present)} rows",
            allowed="two rows a class on average",
            fix="choose another column; this looks like text",
        )
    counts = np.bincount(codes, minlength=len(labels))
    single = [str(label) for label, count in zip(labels, counts, strict=True) if count == 1]
    if single:
        notes.append(f"classes with a single row, which cannot be learned and tested: {', '.join(single[:5])}")
    return Target("classification", codes, tuple(labels), rows, tuple(notes))


def _sorted_classes(present: pd.Series) -> tuple[np.ndarray, list[Any]]:
    if pd.api.types.is_bool_dtype(present.dtype):
        labels, codes = np.unique(present.to_numpy(dtype=bool), return_inverse=True)
        return codes, labels.tolist()
    if pd.api.types.is_numeric_dtype(present.dtype):
        numbers, codes = np.unique(present.to_numpy(dtype=np.float64), return_inverse=True)
        return codes, [int(number) for number in numbers]
    _, distinct = distinct_values(present)
    if _are_booleans(distinct):
        labels, codes = np.unique(present.to_numpy(dtype=bool), return_inverse=True)
        return codes, labels.tolist()
    texts, codes = np.unique(canonical_text(present).astype(str), return_inverse=True)
    return codes, [str(text) for text in texts]
