"""Tables as they come: a file of any common kind, or a frame, becomes a pandas frame and notes on what was found."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._columns import Column
from softwood.artifacts._tables import pick_columns
from softwood.core import InputError, check_choice, require
from softwood.data._bytes import ALLOWED, read_bytes, to_utf8
from softwood.data._clean import NumberText, has_thousands, number_text, tidy_text, to_numbers, without
from softwood.data._delimited import DELIMITER_NAMES, find_delimiter, parse


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Args:
        frame: n rows; numbers are float64 or int64, text is object with None where missing.
        notes: short sentences on what was detected, for printing.
        delimiter: of delimited text, else None.
        encoding: of delimited text, else None.
        decimal: the decimal sign of numbers that were text, None where no number needed one. Pass it on
            to ``read_table`` for later files of the same make: a few rows may not show it.

    Example:
        >>> read_table({"a": [1, 2]}).frame.shape
        (2, 1)
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    delimiter: str | None = None
    encoding: str | None = None
    decimal: str | None = None


def read_table(
    source: Any,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    columns: Sequence[Column] = (),
    missing: Sequence[str] = (),
) -> Table:
    r"""Read a table, and say what was detected.

    Detected in text: delimiter (comma, semicolon, tab, bar), encoding (see ``to_utf8``), decimal sign, thousands
    separators, currency signs, percent (12% is read as 12) and missing markers: "", NA, N/A, NaN, null and ? in
    every column, None, - and . in columns of numbers. A number such as 1,234 that may be written either way
    follows the other columns of the file, else it has a thousands separator. Whole numbers with leading zeros
    ("00501") stay text.

    Args:
        source: path of a CSV, TSV, Parquet or Feather file, packed (.gz .bz2 .xz .zip .zst) or not; ``"-"`` for
            text on standard input; or a pandas, polars or Arrow table, a dict of columns, a 2-D array (columns
            x0, x1, ...), which pass through with their values as they are.
        delimiter: one character, or None to detect it.
        encoding: Python's name for it, or None to detect it.
        decimal: ``"."`` or ``","`` where a number can be read both ways, or None to detect it.
        columns: columns of the model that the table is for; its categories are then read as text, so that
            "1.0" stays the level that it was in training.
        missing: what else means "missing": ``"-999"`` in every column, ``"COL=-999"`` in one; compared as a number
            in columns of numbers, else as text, whatever its case.

    Returns:
        The table; its frame has at least one row and one column.

    Raises:
        InputError: no such file, a directory, an unknown or damaged file, bytes that are no text, no rows,
            repeated column names, rows of different lengths.
        MissingExtraError: Parquet or Feather without pyarrow.

    Cost: O(cells); a few seconds for 200,000 rows of 50 columns.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "t.csv"
        >>> _ = path.write_text("city;price\nOslo;1,5\nRome;-\n")
        >>> table = read_table(path)
        >>> table.frame.to_dict("list"), table.decimal
        ({'city': ['Oslo', 'Rome'], 'price': [1.5, nan]}, ',')
    """
    if decimal is not None:
        check_choice("decimal", decimal, [".", ","])
    if not isinstance(source, (str, Path)):
        return Table(_checked(without(_pass_through(source), missing)[0], "the table"))
    name = "standard input" if str(source) == "-" else str(source)
    content = read_bytes(source)
    if content.startswith((b"PAR1", b"ARROW1", b"FEA1")):
        frame, notes = _read_binary(content, name)
        frame, emptied = without(frame, missing)
        frame, clean_notes, sign = _clean(frame, decimal, [])
        return Table(_checked(frame, name), (*notes, *emptied, *clean_notes), decimal=sign)
    return _read_text(content, name, delimiter, encoding, decimal, columns, missing)


def _read_text(
    content: bytes,
    name: str,
    delimiter: str | None,
    encoding: str | None,
    decimal: str | None,
    columns: Sequence[Column],
    missing: Sequence[str],
) -> Table:
    content, encoding = to_utf8(content, name, encoding)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii()):
        raise InputError("delimiter is not usable", got=repr(delimiter), allowed="one character", fix="leave it out")
    delimiter = delimiter or find_delimiter(content)
    as_text = {column.name for column in columns if column.kind == "category"}
    frame, notes = parse(content, name, delimiter, as_text=as_text)
    frame, emptied = without(frame, missing)
    cleaned, clean_notes, sign = _clean(frame, decimal, as_text)
    floats = [column for column in frame.columns if frame[column].dtype.kind == "f"]
    if sign == "," and floats:
        # 1.234 was read as a bit more than one, but elsewhere the file writes decimal commas
        reread, _ = parse(content, name, delimiter, as_text=as_text.union(floats))
        cleaned, clean_notes, sign = _clean(without(reread, missing)[0], ",", as_text)
        lost = [column for column in floats if cleaned[column].dtype == object]  # such as "inf"
        cleaned = cleaned.assign(**{column: frame[column] for column in lost})
    found = f"{len(cleaned)} rows x {cleaned.shape[1]} columns, {DELIMITER_NAMES.get(delimiter, repr(delimiter))}"
    notes = [f"{found}-delimited, encoding {encoding}", *notes, *emptied, *clean_notes]
    return Table(cleaned, tuple(notes), delimiter, encoding, sign)


def _clean(
    frame: pd.DataFrame, decimal: str | None, as_text: Sequence[str] | set[str]
) -> tuple[pd.DataFrame, list[str], str | None]:
    """Turn text columns that are numbers into numbers; tidy the rest."""
    text = [column for column in frame.columns if _is_text(frame[column])]
    found = {column: number_text(frame[column]) for column in text if column not in as_text}
    numbers = {column: read for column, read in found.items() if read is not None and read.decimals}
    votes = Counter(read.decimals[0] for read in numbers.values() if len(read.decimals) == 1)
    sign = decimal or ("," if votes[","] > votes["."] else ".")
    notes = [
        f"{column} is kept as text: nearly all cells are numbers, but not {read.stranger!r}"
        for column, read in found.items()
        if read is not None and read.stranger is not None
    ]
    columns = {}
    for column in frame.columns:
        read = numbers.get(column)
        if read is not None:
            own = sign if sign in read.decimals else read.decimals[0]
            columns[column] = pd.Series(to_numbers(read, own), index=frame.index)
            notes += _number_notes(column, read, own)
        else:
            columns[column] = tidy_text(frame[column]) if column in text else frame[column]
    return pd.DataFrame(columns, index=frame.index), notes, sign if votes or decimal else None


def _number_notes(column: str, read: NumberText, decimal: str) -> list[str]:
    facts = [f"{', '.join(map(repr, read.markers))} read as missing"] if read.markers else []
    if decimal == "," and read.bare.str.contains(",", regex=False).any():
        facts.append("decimal comma")
    if has_thousands(read, decimal):
        facts.append("thousands separators")
    if read.currency:
        facts.append(f"currency {read.currency}")
    if read.percent:
        facts.append("percent (12% is read as 12)")
    return [f"{column}: {', '.join(facts)}"] if facts else []


def _is_text(values: pd.Series) -> bool:
    if values.dtype == object:
        return pd.api.types.infer_dtype(values, skipna=True) == "string"
    return bool(pd.api.types.is_string_dtype(values.dtype)) and not isinstance(values.dtype, pd.CategoricalDtype)


def _read_binary(content: bytes, name: str) -> tuple[pd.DataFrame, list[str]]:
    arrow = require("pyarrow", "parquet")
    kind = "Parquet" if content.startswith(b"PAR1") else "Feather"
    reader = require("pyarrow.parquet" if kind == "Parquet" else "pyarrow.feather", "parquet")
    try:
        table = reader.read_table(arrow.BufferReader(content))
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"the {kind} file is damaged",
            got=f"{name} ({str(error).splitlines()[0]})",
            allowed=ALLOWED,
            fix="copy or download it again",
        ) from None
    _check_names(table.schema.names, name)
    frame = table.to_pandas(ignore_metadata=True, date_as_object=False)
    for column in frame.columns:
        if frame[column].dtype == object and pd.api.types.infer_dtype(frame[column], skipna=True) == "decimal":
            frame[column] = frame[column].astype(np.float64)
    return frame, [f"{len(frame)} rows x {frame.shape[1]} columns, {kind}"]


def _pass_through(source: Any) -> pd.DataFrame:
    if isinstance(source, pd.DataFrame):
        return source.set_axis([str(label) for label in source.columns], axis=1).reset_index(drop=True)
    if isinstance(source, Mapping):
        names = list(source)
    elif "polars" in sys.modules and isinstance(source, sys.modules["polars"].DataFrame):
        names = source.columns
    elif "pyarrow" in sys.modules and isinstance(source, (sys.modules["pyarrow"].Table,)):
        names = source.schema.names
    else:
        width = np.shape(source)[1] if np.ndim(source) == 2 else 1
        names = [f"x{position}" for position in range(width)]
    _check_names(names, "the table")
    return pick_columns(names, source).infer_objects()


def _check_names(names: Sequence[str], name: str) -> None:
    repeated = [str(column) for column, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(
            "column names are repeated",
            got=f"{', '.join(repeated[:10])} in {name}",
            allowed="each column name once",
            fix="rename or drop the repeated columns",
        )


def _checked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    _check_names(list(frame.columns), name)
    if frame.shape[1] == 0 or len(frame) == 0:
        raise InputError(
            "the table has no rows" if frame.shape[1] else "the table has no columns",
            got=f"{name} of shape {frame.shape}",
            allowed="at least one row and one column",
            fix="check what made it",
        )
    return frame
