"""Delimited text: which delimiter, which header, are all rows equally long; then pandas reads it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._values import ALWAYS_MISSING
from softwood.core import InputError

DELIMITERS = (",", ";", "\t", "|")
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE = 1 << 18  # bytes from which the delimiter is told
_BLOCK = 1 << 22  # bytes looked at together when fields are counted
_NA_VALUES = sorted(
    {form(text) for text in ALWAYS_MISSING for form in (str, str.upper, str.title, str.capitalize)}
    | {"NaN", "Nan", "N/a"}
)


# "0.1" has to be the number that Python, SQL and C read; pandas 3.1 does that, and warns when it is asked to
_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
_EXACT: dict[str, Any] = {} if _PANDAS >= (3, 1) else {"float_precision": "round_trip"}


def find_delimiter(content: bytes) -> str:
    r"""Tell the delimiter: the one that cuts the most lines into as many fields (two or more) as the first.

    Args:
        content: UTF-8 text.

    Returns:
        ``","``, ``";"``, tab or ``"|"``; for a single column one that does not occur.

    Example:
        >>> find_delimiter(b"a;b\n1,5;2,5\n")
        ';'
    """
    sample = content[:_SAMPLE]
    if len(content) > _SAMPLE:
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    scores = {}
    for delimiter in DELIMITERS:
        fields, _ = _count_fields(sample, delimiter)
        if len(fields) and fields[0] > 1:
            scores[delimiter] = (float(np.mean(np.abs(fields - fields[0]) == 0)), int(fields[0]))
    if scores:
        return max(scores, key=lambda delimiter: scores[delimiter])
    return next((delimiter for delimiter in DELIMITERS if delimiter.encode() not in sample), ",")


def parse(
    content: bytes, name: str, delimiter: str, *, as_text: Collection[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    r"""Read UTF-8 text as a table whose first line names the columns.

    Numbers, True/False and missing markers are recognised; all else stays text, so do columns of whole numbers
    that are written with leading zeros ("00501").

    Args:
        content: the text.
        name: of the file, for the messages.
        delimiter: one character.
        as_text: columns that stay text whatever they hold.

    Returns:
        The frame, and notes on what was found.

    Raises:
        InputError: no rows, repeated column names, or rows of different lengths.

    Cost: O(bytes).

    Example:
        >>> parse(b"a,b\n1,x\n", "t.csv", ",")[0].to_dict("list")
        {'a': [1], 'b': ['x']}
    """
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")  # line ends of old spreadsheets
    names, notes = _header(content, name, delimiter)
    surplus = _check_lengths(content, name, delimiter, len(names))
    read_names = list(names)
    if surplus == "row names":
        read_names.insert(0, "row_names")
        notes.append("the header is one name short: the first column is taken as row names")
    elif surplus == "trailing":
        read_names.append("")
        notes.append("each row ends in a delimiter, which is ignored")
    frame = _read(content, name, delimiter, read_names, as_text)
    if surplus == "trailing":
        frame = frame.iloc[:, :-1]
    if len(frame) == 0:
        raise InputError(
            "the table has no rows",
            got=f"{name} with only a header",
            allowed="at least one row",
            fix="check what wrote the file",
        )
    kept = _zero_padded(content, name, delimiter, read_names, frame)
    if kept:
        frame = frame.assign(**{column: kept[column] for column in kept})
        notes.append(f"kept as text because of leading zeros: {', '.join(kept)}")
    notes += _markers_found(content, delimiter)
    return frame, notes


def _read(
    content: bytes, name: str, delimiter: str, names: list[str], as_text: Collection[str], only: list[str] | None = None
) -> pd.DataFrame:
    text_columns = set(as_text) & set(names)
    try:
        return pd.read_csv(
            io.BytesIO(content),
            sep=delimiter,
            names=names,
            header=0,
            index_col=False,
            usecols=only,
            dtype=dict.fromkeys(text_columns, str),
            na_values=_NA_VALUES,
            keep_default_na=False,
            skipinitialspace=True,
            low_memory=False,
            encoding="utf-8",
            **_EXACT,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, OverflowError) as error:
        raise InputError(
            "the text is no table",
            got=f"{name} ({str(error).strip()})",
            allowed="rows of equally many fields",
            fix="look for a quotation mark that is never closed",
        ) from None


def _header(content: bytes, name: str, delimiter: str) -> tuple[list[str], list[str]]:
    text = content[: 1 << 24].decode("utf-8", "ignore").lstrip("\r\n")
    names = [cell.strip() for cell in next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))]
    notes = []
    unnamed = [position for position, cell in enumerate(names) if not cell]
    for position in unnamed:
        names[position] = f"column_{position + 1}"
    if unnamed:
        notes.append(f"columns without a name are called {', '.join(names[position] for position in unnamed[:5])}")
    repeated = [cell for cell, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(
            "column names are repeated",
            got=f"{', '.join(repeated[:10])} in {name}",
            allowed="each column name once",
            fix="rename or drop the repeated columns",
        )
    if len(names) > 1 and all(re.fullmatch(r"-?\d+\.\d+", cell) for cell in names):
        notes.append("the first line was taken as column names, but holds only numbers: is the header missing?")
    return names, notes


def _count_fields(content: bytes, delimiter: str) -> tuple[np.ndarray, np.ndarray]:
    """Count the fields of each line that is not empty; give its line number, from 1.

    A delimiter or line end counts where the number of quotation marks before it is even.
    """
    characters = np.frombuffer(content if content.endswith(b"\n") else content + b"\n", dtype=np.uint8)
    ends, cuts_before = [np.array([-1])], [np.array([0])]
    inside, cuts = 0, 0
    quoted = b'"' in content
    for start in range(0, len(characters), _BLOCK):
        block = characters[start : start + _BLOCK]
        is_cut, is_end = block == ord(delimiter), block == ord("\n")
        if quoted:
            # uint8 wraps at 256, which is even: the parity survives
            outside = ((np.cumsum(block == ord('"'), dtype=np.uint8) + np.uint8(inside)) & 1) == 0
            inside = 0 if outside[-1] else 1
            is_cut, is_end = is_cut & outside, is_end & outside
        end = np.flatnonzero(is_end)
        ends.append(end + start)
        cuts_before.append(cuts + np.searchsorted(np.flatnonzero(is_cut), end))
        cuts += int(is_cut.sum())
    end, cut = np.concatenate(ends), np.concatenate(cuts_before)
    length = np.diff(end) - 1 - (characters[np.maximum(end[1:] - 1, 0)] == ord("\r"))
    lines = np.flatnonzero(length > 0)
    return np.diff(cut)[lines] + 1, lines + 1


def _check_lengths(content: bytes, name: str, delimiter: str, width: int) -> str:
    """Say what one surplus field in every row is ("row names", "trailing"), or "" where rows fit the header."""
    fields, _ = _count_fields(content, delimiter)
    if len(fields) > 1 and (fields[1:] == width).all():
        return ""
    # the quick count is fooled by a quotation mark inside a field: look closely before refusing
    reader = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, len(row), not row[-1].strip()) for row in reader if row][1:]
    except csv.Error as error:
        raise InputError(
            "the text is no table",
            got=f"{name} ({error})",
            allowed="rows of equally many fields",
            fix="look for a quotation mark that is never closed",
        ) from None
    if rows and all(length == width + 1 for _, length, _ in rows):
        return "trailing" if all(empty for _, _, empty in rows) else "row names"
    wrong = [(line, length) for line, length, _ in rows if length != width]
    if wrong:
        line, length = wrong[0]
        raise InputError(
            "rows have different numbers of fields",
            got=f"{length} fields in line {line} of {name} ({len(wrong)} such rows)",
            allowed=f"{width} fields, as in the header",
            fix="quote text that holds the delimiter, or pass delimiter= if another one was meant",
        )
    return ""


def _zero_padded(
    content: bytes, name: str, delimiter: str, names: list[str], frame: pd.DataFrame
) -> dict[str, pd.Series]:
    """Read whole-number columns again as text where some cell begins with a padding zero."""
    whole = [column for column in frame.columns if frame[column].dtype.kind in "iuf"]
    cell = re.escape(delimiter.encode())
    if not whole or re.search(rb"[\n\"" + cell + rb"] *0\d+(?=[\r\n\"" + cell + rb"]|\Z)", content) is None:
        return {}
    texts = _read(content, name, delimiter, names, whole, whole)
    return {column: texts[column] for column in whole if texts[column].str.fullmatch(r"0\d+").any()}


def _markers_found(content: bytes, delimiter: str) -> list[str]:
    words = "|".join(re.escape(text) for text in sorted(ALWAYS_MISSING) if text)
    cell = re.escape(delimiter)
    pattern = rf'(?<=["\n{cell}])(?:{words})(?=["\r\n{cell}])'.encode()
    found = sorted({match.decode() for match in re.findall(pattern, content[:_BLOCK], flags=re.IGNORECASE)})
    return [f"read as missing: empty cells, {', '.join(found)}"] if found else []
