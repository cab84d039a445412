"""Tables of every make (pandas, polars, Arrow, dict, array, list): the columns of a model are picked out of them."""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._dates import DATE_PARTS, split_dates, stamp_parts
from softwood.artifacts._values import MISSING_AMONG_NUMBERS, canonical_text, distinct_values, is_missing_text
from softwood.core import InputError


def pick_columns(names: Sequence[str], table: Any) -> pd.DataFrame:
    """Pick named columns out of a table of any make, in this order, values as they came.

    Parts of dates (``"sold.year"``) are made from the date column (``"sold"``) where the table holds only that.

    Args:
        names: C names, each once.
        table: a pandas or polars data frame, an Arrow table or a dict of columns (found by name, in any order,
            others are ignored), or a 2-D array or list of n rows of C values (found by position).

    Returns:
        Frame [n, C], numbered from 0.

    Raises:
        InputError: a column is absent or there twice, or the width differs.

    Cost: O(nC).

    Example:
        >>> pick_columns(["t.month"], {"t": ["2024-03-05"], "u": [1]})["t.month"].tolist()
        [3.0]
    """
    if not names:
        raise InputError("a model needs columns", got="none", allowed="at least one column", fix="name the columns")
    if len(set(names)) < len(names):
        raise _repeated(names, set(names))
    present, get = _reader(table, list(names))
    known = set(present)
    missing = [name for name in names if name not in known and _date_source(name, known) is None]
    if missing:
        raise _absent(missing, present)
    parts = cache(lambda source: _date_parts(source, get(source)))  # several parts of one date are read once

    def read(name: str) -> pd.Series:
        source, _, part = name.rpartition(".")
        return get(name) if name in known else parts(source)[part]

    return pd.DataFrame({name: read(name) for name in names})


def _reader(table: Any, names: list[str]) -> tuple[Sequence[Any], Callable[[str], pd.Series]]:
    """Return the column names of a table and a function that reads one column."""
    polars, pyarrow = sys.modules.get("polars"), sys.modules.get("pyarrow")
    if polars is not None and isinstance(table, polars.LazyFrame):
        raise InputError("the table is not computed yet", got="a polars LazyFrame", allowed="a table", fix="collect()")
    if polars is not None and isinstance(table, polars.DataFrame):
        return table.columns, lambda name: pd.Series(table[name].to_numpy(), name=name)
    if pyarrow is not None and isinstance(table, (pyarrow.Table, pyarrow.RecordBatch)):
        found = _only_once(table.schema.names, names)
        return found, lambda name: table.column(name).to_pandas().rename(name)
    if isinstance(table, Mapping):
        table = _frame_of(table)
    if isinstance(table, pd.DataFrame):
        found = _only_once([str(label) for label in table.columns], names)
        labels = dict(zip(found, table.columns, strict=True))  # pandas also names columns 0, 1, 2
        return found, lambda name: pd.Series(table[labels[name]]).reset_index(drop=True)
    return _by_position(table, names)


def _frame_of(table: Mapping[str, Any]) -> pd.DataFrame:
    try:
        return pd.DataFrame(dict(table))
    except ValueError as error:
        raise InputError(
            "the dict is no table",
            got=str(error),
            allowed="a list of n values for each column",
            fix="give all columns the same length; a single row is {'a': [1], 'b': [2]}",
        ) from None


def _by_position(table: Any, names: list[str]) -> tuple[Sequence[Any], Callable[[str], pd.Series]]:
    if isinstance(table, (list, tuple)):
        try:
            values = np.array(table, dtype=object)
        except ValueError:  # numpy refuses some ragged lists, and makes others one-dimensional
            values = np.empty(0, dtype=object)
    else:
        values = np.asarray(table)
    if values.ndim != 2:
        raise InputError(
            "this is no table",
            got=f"{type(table).__name__} of shape {values.shape}",
            allowed="a data frame, an Arrow table, a dict of columns, or a 2-D array or list of equally long rows",
            fix="wrap a single row as [row]; turn a sparse matrix into an array with .toarray()",
        )
    if values.shape[1] != len(names):
        raise InputError(
            "the table has the wrong number of columns",
            got=f"{values.shape[1]} columns",
            allowed=f"{len(names)}: {', '.join(names)}",
            fix="pass a data frame, whose columns are found by name",
        )
    positions = {name: position for position, name in enumerate(names)}
    return names, lambda name: pd.Series(values[:, positions[name]], name=name)


def _only_once(found: list[Any], wanted: list[str]) -> list[Any]:
    wanted_names = set(wanted) | {name.rpartition(".")[0] for name in wanted}
    if len(set(found)) < len(found) and any(found.count(name) > 1 for name in wanted_names):
        raise _repeated(found, wanted_names)
    return found


def _repeated(found: Sequence[Any], wanted: set[str]) -> InputError:
    counts = Counter(found)
    twice = sorted(str(name) for name in counts if name in wanted and counts[name] > 1)
    return InputError(
        "column names are repeated", got=", ".join(twice), allowed="each column name once", fix="rename or drop them"
    )


def _absent(missing: list[str], present: Sequence[Any]) -> InputError:
    known = [str(name) for name in present]
    lowered = {name.lower(): name for name in known}
    near = {name: difflib.get_close_matches(name.lower(), lowered, n=1) for name in missing[:10]}
    hints = [f"did you mean {lowered[match[0]]!r} for {name!r}?" for name, match in near.items() if match]
    return InputError(
        f"the table lacks {len(missing)} of the model's columns",
        got=f"no {', '.join(map(repr, missing[:10]))}" + (" ..." if len(missing) > 10 else ""),
        allowed=f"the columns of the model; this table has {', '.join(known[:20]) or 'none'}",
        fix=" ".join(hints) or "add them; where a value is unknown, leave the cell empty",
    )


def _date_source(name: str, present: set[Any]) -> str | None:
    source, _, part = name.rpartition(".")
    return source if part in DATE_PARTS and source in present else None


def _date_parts(source: str, series: pd.Series) -> pd.DataFrame:
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return stamp_parts(series)
    texts = pd.Series(canonical_text(series), dtype=object)
    codes, distinct = distinct_values(texts)
    parts = split_dates(pd.Series(distinct, dtype=object))
    blank = is_missing_text(distinct, MISSING_AMONG_NUMBERS)
    bad = np.append(parts["year"].isna().to_numpy() & ~blank, False)[codes]
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"column {source!r} holds what is no date",
            got=f"{texts[row]!r} in row {row} (rows count from 0)",
            allowed="2024-03-05, 2024/03/05, 05.03.2024 or 5 Mar 2024, with or without a time; 2024-03; nothing",
            fix="write the dates as year-month-day",
        )
    values = np.vstack([parts.to_numpy(), np.full(len(DATE_PARTS), np.nan)])[codes]  # code -1: missing
    return pd.DataFrame(values, columns=list(DATE_PARTS))
