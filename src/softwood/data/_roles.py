"""Columns that are no inputs but say how rows count: their weights, their groups, their order in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._columns import Column, encode_table
from softwood.artifacts._values import MISSING_AMONG_NUMBERS, canonical_text, distinct_values, is_missing_text
from softwood.core import InputError

_DAY_FIRST = r"\s*\d{1,2}\.\d{1,2}\.\d{4}.*"


def row_weights(values: Any, n: int | None = None) -> np.ndarray:
    """Return the weight of each row, float64 ``[n]``.

    Args:
        values: numbers, or text that is numbers.
        n: rows that there have to be.

    Raises:
        InputError: a weight is missing, negative, infinite or no number, or all are zero.

    Cost: O(n).

    Example:
        >>> row_weights(["1.5", 2]).tolist()
        [1.5, 2.0]
    """
    series = _series(values, "weight", n)
    weights = encode_table([Column(str(series.name), "number")], {str(series.name): series})[:, 0]
    _refuse(
        series, np.isnan(weights), "weight", "a number >= 0 in every row", "fill the cell, or give the row weight 0"
    )
    _refuse(series, weights < 0, "weight", "numbers >= 0", "a row that should not count has weight 0")
    if not weights.any():
        raise InputError(
            f"all weights in {series.name!r} are zero", got="0", allowed="some > 0", fix="check the column"
        )
    return weights


def row_groups(values: Any, n: int | None = None) -> np.ndarray:
    """Return the number of the group of each row, int64 ``[n]``.

    Args:
        values: what groups are named by, text or numbers; 1, 1.0 and "1" are one group.
        n: rows that there have to be.

    Raises:
        InputError: a row has no group, the length differs, or there is one group only.

    Cost: O(n).

    Example:
        >>> row_groups(["b", "a", "b"]).tolist()
        [0, 1, 0]
    """
    series = _series(values, "group", n)
    codes, names = distinct_values(pd.Series(canonical_text(series), dtype=object, name=series.name))
    missing = np.append(is_missing_text(names), True)[codes]
    _refuse(series, missing, "group", "a group in every row", "give rows that stand alone a name of their own each")
    if len(names) < 2:
        raise InputError(
            f"{series.name!r} names one group only", got=repr(names[0]) if len(names) else "no rows",
            allowed="two groups or more", fix="leave the groups out, or name another column",
        )  # fmt: skip
    return codes.astype(np.int64)


def row_times(values: Any, n: int | None = None) -> np.ndarray:
    """Return the rank of each row in time, int64 ``[n]``, equal times having one rank.

    Dates with an offset from UTC are compared as instants; those without one are taken as UTC.

    Args:
        values: numbers, dates, or texts of them: 2024-03-05, 2024-03, 05.03.2024, with or without a time.
        n: rows that there have to be.

    Raises:
        InputError: a time is missing or cannot be read, the length differs, or there is one time only.

    Cost: O(n log n).

    Example:
        >>> row_times(["2024-03-05", "2023-12-31 23:00", "2024-03-05"]).tolist()
        [1, 0, 1]
    """
    series = _series(values, "time", n)
    stamps = _stamps(series)
    missing = np.asarray(pd.isna(stamps))
    allowed = "numbers, or dates such as 2024-03-05 or 05.03.2024 14:30, in every row"
    _refuse(series, missing, "time", allowed, "write the dates as year-month-day; leave out rows without one")
    times, rank = np.unique(np.asarray(stamps), return_inverse=True)
    if len(times) < 2:
        raise InputError(
            f"{series.name!r} holds one time only", got=str(series.iloc[0]) if len(series) else "no rows",
            allowed="two times or more", fix="leave the time out, or name another column",
        )  # fmt: skip
    return rank.astype(np.int64)


def _stamps(series: pd.Series) -> Any:
    """Return what can be compared: numbers or instants, missing where a value is neither."""
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.start_time
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return pd.to_datetime(series, utc=True).to_numpy()
    if isinstance(series.dtype, pd.CategoricalDtype) and series.cat.ordered:
        return series.cat.codes.where(series.notna()).to_numpy(dtype=np.float64)
    if not pd.api.types.is_numeric_dtype(series.dtype):
        codes, texts = distinct_values(pd.Series(canonical_text(series), dtype=object, name=series.name))
        known = pd.Series(texts, dtype=object)
        known = known.mask(is_missing_text(texts, MISSING_AMONG_NUMBERS))
        numbers = pd.to_numeric(known, errors="coerce")
        if (numbers.notna() == known.notna()).all():
            return np.append(numbers.to_numpy(dtype=np.float64), np.nan)[codes]
        day_first = known.str.fullmatch(_DAY_FIRST).fillna(False).astype(bool)
        found = pd.to_datetime(known.mask(day_first), errors="coerce", utc=True, format="ISO8601")
        found = found.fillna(
            pd.to_datetime(known.where(day_first), errors="coerce", utc=True, dayfirst=True, format="mixed")
        )
        return np.append(found.to_numpy(), np.datetime64("NaT"))[codes]
    return encode_table([Column(str(series.name), "number")], {str(series.name): series})[:, 0]


def _series(values: Any, role: str, n: int | None) -> pd.Series:
    if isinstance(values, pd.Series):
        series = values.reset_index(drop=True)
    elif hasattr(values, "to_pandas"):  # Arrow; polars needs it, too, for what NumPy has no type for
        series = pd.Series(np.asarray(values, dtype=object)).infer_objects()
    else:
        array = values if isinstance(values, np.ndarray) else np.fromiter(values, dtype=object, count=len(values))
        series = pd.Series(array.reshape(-1)).infer_objects()
    if n is not None and len(series) != n:
        raise InputError(
            f"the table and the {role} differ in length", got=f"{n} and {len(series)} rows", allowed="one value a row",
            fix=f"pass the {role} of the same rows",
        )  # fmt: skip
    return series.rename(str(series.name) if series.name is not None else role)


def _refuse(series: pd.Series, bad: np.ndarray, role: str, allowed: str, fix: str) -> None:
    if not bad.any():
        return
    row = int(np.argmax(bad))
    value = series.iloc[row]
    value = value.item() if isinstance(value, np.generic) else value  # prints as 1.5, not as np.float64(1.5)
    shown = "a missing value" if pd.isna(value) else repr(value)
    raise InputError(
        f"the {role} {series.name!r} cannot be used",
        got=f"{shown} in row {row} (rows count from 0; {int(bad.sum())} in all)", allowed=allowed, fix=fix,
    )  # fmt: skip
