"""The kind of one column: number, boolean, category, date; or why no tree can use it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from softwood.artifacts._columns import Column, encode_table
from softwood.artifacts._dates import DATE_PARTS, split_dates, stamp_parts
from softwood.artifacts._values import (
    ALWAYS_MISSING,
    MISSING_AMONG_NUMBERS,
    canonical_text,
    distinct_values,
    is_missing_text,
)
from softwood.core import InputError
from softwood.data._clean import number_text
from softwood.data._ladders import find_order

FEW_LEVELS = 20
MOST_LEVELS = 1000
ROWS_PER_LEVEL = 5  # needed beyond FEW_LEVELS
_MARKED_ROWS = 3
UNIQUE_SHARE = 0.9  # share of distinct values from which more than ten texts are an identifier
_TEXT_LENGTH = 25  # mean length from which texts with blanks are called free text

_BOOLEAN_PAIRS = ({"true", "false"}, {"t", "f"}, {"yes", "no"}, {"y", "n"}, {"1", "0"}, {"1.0", "0.0"})
_UUID = r"\{?[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?"
_ID_NAME = re.compile(
    r"(?:^|[_\W])(?:id|uuid|guid|nr|key|rownum|row_names)$|^(?:index|idx|no|row|column_1|unnamed.*)$", re.IGNORECASE
)
_SLASHED = r"\s*\d{1,2}/\d{1,2}/\d{2,4}.*"
_WITH_UNIT = r"[^\w]*[\d.,]+\s*[^\d\s.,]{1,5}"
_EXACT = 2**53  # whole numbers beyond are not told apart by a float
_MARKERS = frozenset({-9.0, -99.0, -999.0, -9999.0, -99999.0, 99.0, 999.0, 9999.0, 99999.0})
_ID_CAMEL = re.compile(r"[a-z]I[dD]$")


@dataclass(frozen=True)
class Finding:
    """What one column of a table gives: model columns, or the reason why none; ``identifier`` ranks its rows."""

    columns: tuple[Column, ...] = ()
    reason: str = ""
    note: str = ""
    identifier: np.ndarray | None = None


def find_kind(name: str, values: pd.Series) -> Finding:
    """Find out what one column is.

    The rules and thresholds are those that ``describe`` states.

    Args:
        name: of the column.
        values: [n], as in the table.

    Returns:
        The model columns it becomes (several for a date), or the reason why it is left out.

    Cost: O(n), Python per distinct text.

    Example:
        >>> find_kind("paid", pd.Series(["yes", "no", None])).columns[0].kind
        'boolean'
    """
    try:
        codes, distinct = distinct_values(values)
    except InputError:
        return Finding(reason="holds lists or other containers; spread them into plain columns to use them")
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        missing = bool((codes < 0).any())
        return _empty_or_constant(distinct, missing) or _of_numbers(name, values, codes, distinct)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _empty_or_constant(distinct, bool((codes < 0).any())) or _of_date(name, stamp_parts(values))
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        return Finding(reason="durations; convert them to numbers, such as hours, to use them")
    return _of_texts(name, values)


def _empty_or_constant(distinct: np.ndarray, missing: bool) -> Finding | None:
    if len(distinct) == 0:
        return Finding(reason="all its values are missing")
    if len(distinct) == 1 and not missing:
        return Finding(reason=f"constant: always {str(distinct[0])[:40]!r}")
    return None


def _of_numbers(name: str, values: pd.Series, codes: np.ndarray, distinct: np.ndarray) -> Finding:
    if pd.api.types.is_complex_dtype(values.dtype):
        return Finding(reason="holds complex numbers; split them into two columns to use them")
    numbers = distinct.astype(np.float64)
    if np.isin(numbers, (0.0, 1.0)).all():
        return Finding((Column(name, "boolean"),))
    whole = np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()
    if values.dtype.kind in "iu" and np.abs(numbers).max() > _EXACT:
        return Finding(
            reason="identifier: whole numbers beyond 2^53, which are not told apart", identifier=numbers[codes]
        )
    if whole and len(distinct) == len(values) >= FEW_LEVELS:
        # from 0 or 1 only: the years 1990 to 2020 are no counter
        if numbers.min() in (0, 1) and numbers.max() - numbers.min() == len(numbers) - 1:
            return Finding(reason="identifier: a row counter", identifier=numbers)
        if _ID_NAME.search(name) or _ID_CAMEL.search(name):
            return Finding(
                reason="identifier: every row has its own whole number, and so it is named", identifier=numbers
            )
    return Finding((Column(name, "number"),), note=_marker_note(name, numbers, codes))


def _marker_note(name: str, numbers: np.ndarray, codes: np.ndarray) -> str:
    """Say that -999 or the like may mean "missing": it lies far from all other values, in some rows."""
    ends = np.sort(numbers)
    if len(ends) < 3:
        return ""
    low, high = ends[0], ends[-1]
    for value, nearest, others in ((low, ends[1], high - ends[1]), (high, ends[-2], ends[-2] - low)):
        count = int((codes == np.flatnonzero(numbers == value)[0]).sum())
        if value in _MARKERS and count >= _MARKED_ROWS and abs(value - nearest) > 2 * others:
            return f"{name} is {value:g} in {count} rows, far from all else: empty these cells if it means missing"
    return ""


def _of_date(name: str, parts: pd.DataFrame) -> Finding:
    used = [part for part in DATE_PARTS if parts[part].nunique() > 1]
    if not used:
        return Finding(reason="a date that never varies")
    columns = tuple(Column(f"{name}.{part}", "number") for part in used)
    return Finding(columns, note=f"{name} is a date, used as {', '.join(column.name for column in columns)}")


def _of_texts(name: str, values: pd.Series) -> Finding:
    try:
        codes, distinct = distinct_values(pd.Series(canonical_text(values), dtype=object))
    except InputError:
        return Finding(reason="holds lists or other containers; spread them into plain columns to use them")
    gone = is_missing_text(distinct, ALWAYS_MISSING)
    levels = distinct[~gone]
    rows = np.bincount(codes[codes >= 0], minlength=len(distinct))[~gone]
    finding = _empty_or_constant(levels, int(rows.sum()) < len(values))
    if finding is not None:
        return finding
    if isinstance(values.dtype, pd.CategoricalDtype):
        declared = canonical_text(pd.Series(values.cat.categories, dtype=object))
        present = set(levels)
        levels = np.array([level for level in declared if level in present], dtype=object)
        return _of_levels(name, levels, rows, codes, distinct, ordered=bool(values.cat.ordered))
    lowered = {level.strip().lower() for level in levels}
    if lowered in _BOOLEAN_PAIRS:
        return Finding((Column(name, "boolean"),))
    if _are_numbers(levels):
        return Finding((Column(name, "number"),))
    dates = split_dates(pd.Series(levels, dtype=object))
    if (dates["year"].notna().to_numpy() | is_missing_text(levels, MISSING_AMONG_NUMBERS)).all():
        return _of_date(name, dates)
    ladder = find_order(levels)
    levels = np.sort(levels) if ladder is None else np.array(ladder, dtype=object)
    return _of_levels(name, levels, rows, codes, distinct, ordered=ladder is not None)


def _are_numbers(levels: np.ndarray) -> bool:
    """Text that ``encode_table`` reads as numbers, and that is no code such as "00501"."""
    words = [level.strip() for level in levels]
    if (
        any(re.fullmatch(r"0\d+|[+-]?\d{17,}", word) for word in words)
        or is_missing_text(words, MISSING_AMONG_NUMBERS).all()
    ):
        return False
    try:
        encode_table([Column("x", "number")], {"x": levels})
    except InputError:
        return False
    return True


def _of_levels(
    name: str, levels: np.ndarray, rows: np.ndarray, codes: np.ndarray, distinct: np.ndarray, *, ordered: bool
) -> Finding:
    count, n = len(levels), int(rows.sum())
    texts = pd.Series(levels, dtype=object)
    identifier = np.append(np.argsort(np.argsort(distinct)).astype(np.float64), np.nan)[codes]
    if count > 1 and texts.str.fullmatch(_UUID).astype(bool).all():
        return Finding(reason=f"identifier: {count} UUIDs", identifier=identifier)
    unique = count > 10 and count > UNIQUE_SHARE * n
    if not unique and (count <= FEW_LEVELS or (count <= MOST_LEVELS and count * ROWS_PER_LEVEL <= n)):
        note = f"{name} is ordered: {' < '.join(levels[:6])}{' ...' if count > 6 else ''}" if ordered else ""
        return Finding((Column(name, "category", tuple(map(str, levels)), ordered),), note=note)
    read = number_text(texts)
    if read is not None and read.decimals:
        return Finding(reason=f"numbers written as text, such as {levels[0]!r}; convert them, or read the file itself")
    if read is not None:
        return Finding(reason=f"numbers mixed with text, such as {read.stranger!r}; correct these cells to use it")
    if texts.str.fullmatch(_SLASHED).all():
        return Finding(reason=f"dates such as {levels[0]!r}: day and month are not told apart; write 2024-03-05")
    if texts.str.fullmatch(_WITH_UNIT).all():
        return Finding(reason=f"numbers with a unit, such as {levels[0]!r}; leave the unit out to use it")
    if texts.str.len().mean() >= _TEXT_LENGTH and texts.str.contains(" ", regex=False).mean() > 0.5:
        return Finding(reason=f"free text: {count} different texts in {n} rows")
    if unique:
        return Finding(reason=f"identifier: {count} different values in {n} rows", identifier=identifier)
    allowed = f"at most {MOST_LEVELS}, of {ROWS_PER_LEVEL} rows each on average"
    return Finding(reason=f"too many levels: {count} in {n} rows ({allowed})")
