"""Numbers that are written as text: decimal commas, thousands separators, currency signs, percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from softwood.artifacts._values import ALWAYS_MISSING, MISSING_AMONG_NUMBERS, distinct_values, is_missing_text
from softwood.core import InputError

_MONEY = r"(?:[$€£¥₹]|\b(?:USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK|BRL)\b)"
_DEBIT = r"^\(([^()-]+)\)$"  # (5.00) is a debit: -5
_SPACES = " '\u2019\u00a0\u202f"  # between thousands: blank, apostrophes, no-break and narrow no-break blank
_PLAIN = r"\d+(?:[eE][+-]?\d+)?"
# how a number may be written where the decimal sign is a dot, and where it is a comma
_WRITTEN = {
    ".": rf"{_PLAIN}|\d*\.\d+(?:[eE][+-]?\d+)?|\d+\.|\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?"
    rf"|\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?:\.\d+)?",
    ",": rf"{_PLAIN}|\d*,\d+(?:[eE][+-]?\d+)?|\d+,|\d{{1,3}}(?:\.\d{{3}})+(?:,\d+)?"
    rf"|\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?:,\d+)?",
}
_CODE = r"[+-]?(?:0\d+|\d{17,})"  # "00501" is a code, and more digits than a float tells apart are one too
_MOSTLY = 0.9  # share of number-like cells from which a text column's other cells are reported
_PROBE = 200  # distinct texts that are looked at before all are


@dataclass(frozen=True)
class NumberText:
    """The distinct texts of a column that is numbers, or nearly: what is left once signs are taken off.

    ``bare`` are the digits with their separators ("" for a missing marker), ``decimals`` the decimal signs under
    which all of them are numbers; none of them where the column is no number; ``markers`` say "missing" among numbers
    only.
    """

    codes: np.ndarray
    bare: pd.Series
    decimals: tuple[str, ...]
    percent: bool
    currency: str
    stranger: str | None = None
    markers: tuple[str, ...] = ()


def number_text(values: pd.Series) -> NumberText | None:
    """Say whether a text column is numbers, and how they are written.

    Args:
        values: text [n], None where missing.

    Returns:
        None for text; with ``stranger`` set where at least 90 % of the cells are numbers but that text is not.

    Cost: O(n), the patterns on distinct texts only.

    Example:
        >>> number_text(pd.Series(["1.200,5 €", "-"])).decimals
        (',',)
    """
    codes, distinct = distinct_values(values)
    texts = pd.Series(distinct, dtype=object).str.strip()
    if len(texts) > _PROBE and not _has_digits(texts.iloc[:_PROBE]).mean() > _MOSTLY / 2:
        return None
    missing = is_missing_text(texts, MISSING_AMONG_NUMBERS)
    if missing.all():
        return None
    present = texts[~missing]
    if not _has_digits(present).any():
        return None
    bare, percent, currency = _take_off_signs(texts)
    fits = {sign: bare.str.fullmatch(f"[+-]?(?:{form})").astype(bool) for sign, form in _WRITTEN.items()}
    code = bare.str.fullmatch(_CODE).astype(bool)
    good = {sign: (fit & ~code) | missing for sign, fit in fits.items()}
    decimals = tuple(sign for sign in good if good[sign].all())
    same_signs = len(set(percent[~missing])) == 1 and len(set(currency[~missing]) - {""}) <= 1
    weights = np.bincount(codes[codes >= 0], minlength=len(texts))
    if not decimals or not same_signs:
        share = {sign: float(weights[good[sign] & ~missing].sum() / weights[~missing].sum()) for sign in good}
        best = max(share, key=lambda sign: share[sign])
        if code.any() or share[best] < _MOSTLY:
            return None
        odd = texts[~good[best]]
        stranger = odd.iloc[0] if len(odd) else "different signs"
        return NumberText(codes, bare, (), False, "", stranger)
    signs = [sign for sign in set(currency[~missing]) if sign]
    markers = tuple(sorted(set(texts[missing & ~is_missing_text(texts)])))
    return NumberText(
        codes, bare.where(~missing, ""), decimals, bool(percent[~missing].all()), "".join(signs), markers=markers
    )


def to_numbers(found: NumberText, decimal: str) -> np.ndarray:
    """Turn a number column's texts into numbers; 12 % becomes 12.

    Args:
        found: of ``number_text``; ``decimal`` is one of its ``decimals``.
        decimal: ``"."`` or ``","``.

    Returns:
        float64 [n], NaN where missing.

    Example:
        >>> to_numbers(number_text(pd.Series(["1.200,5", None])), ",").tolist()
        [1200.5, nan]
    """
    thousands = "," if decimal == "." else "."
    plain = found.bare.str.replace(f"[{thousands}{_SPACES}]", "", regex=True).str.replace(decimal, ".", regex=False)
    numbers = plain.where(plain != "", "nan").to_numpy(dtype=object).astype(np.float64)
    return np.append(numbers, np.nan)[found.codes]


def has_thousands(found: NumberText, decimal: str) -> bool:
    """Say whether some number of the column has a thousands separator, the decimal sign being known."""
    return bool(found.bare.str.contains(f"[{',' if decimal == '.' else '.'}{_SPACES}]", regex=True).any())


def tidy_text(values: pd.Series) -> pd.Series:
    """Strip blanks around text and empty the cells that say "missing".

    Args:
        values: text [n].

    Returns:
        object [n], None where missing; float64 of NaN where nothing is left.

    Example:
        >>> tidy_text(pd.Series([" a ", "N/A"])).tolist()
        ['a', None]
    """
    codes, distinct = distinct_values(values)
    texts = [text.strip() if isinstance(text, str) else text for text in distinct]
    kept = [None if isinstance(text, str) and text.lower() in ALWAYS_MISSING else text for text in texts]
    if all(text is None for text in kept):
        return pd.Series(np.nan, index=values.index, name=values.name)
    tidied = np.array([*kept, None], dtype=object)[codes]
    return pd.Series(tidied, index=values.index, name=values.name, dtype=object)


def without(frame: pd.DataFrame, markers: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Empty the cells that hold one of the user's own markers of what is missing.

    Args:
        frame: n rows.
        markers: ``"-999"`` for every column, ``"COL=-999"`` for one.

    Returns:
        The table, and a sentence for each column in which cells were emptied.

    Raises:
        InputError: a marker is empty.

    Example:
        >>> without(pd.DataFrame({"a": [1.0, -999.0], "b": ["x", "-999"]}), ["a=-999"])[1]
        ['a: 1 cell holds -999 and is read as missing']
    """
    if not markers:
        return frame, []
    changed, notes = {}, []
    pairs = [_column_and_marker(marker, frame.columns) for marker in markers]
    for name in frame.columns:
        values = frame[name]
        for asked in dict.fromkeys(marker for column, marker in pairs if column in (None, name)):
            if pd.api.types.is_bool_dtype(values.dtype):
                continue
            if pd.api.types.is_numeric_dtype(values.dtype):
                number = pd.to_numeric(pd.Series([asked]), errors="coerce").iloc[0]
                hit = (values == number).fillna(False).to_numpy(bool)
            else:
                hit = (values.astype(str).str.strip().str.lower() == asked.lower()).to_numpy(bool)
            if hit.any():
                values = changed[name] = values.mask(hit)
                many = int(hit.sum())
                verb = "cell holds" if many == 1 else "cells hold"
                notes.append(f"{name}: {many} {verb} {asked} and {'is' if many == 1 else 'are'} read as missing")
    return frame.assign(**changed), notes


def _column_and_marker(text: str, columns: pd.Index) -> tuple[str | None, str]:
    fitting = [str(name) for name in columns if text.startswith(f"{name}=")]
    name = max(fitting, key=len, default=None)
    marker = (text if name is None else text[len(name) + 1 :]).strip()
    if not marker:
        raise InputError(
            "a marker of missing values is empty", got=repr(text), allowed="-999, or COL=-999",
            fix="empty cells are missing anyway",
        )  # fmt: skip
    return name, marker


def _has_digits(texts: pd.Series) -> pd.Series:
    return texts.str.contains(r"\d", regex=True).astype(bool)


def _take_off_signs(texts: pd.Series) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    """Split "-$ 5 %" into "-5", whether there is a percent sign, and the currency sign."""
    percent = texts.str.endswith("%").to_numpy(dtype=bool)
    bare = texts.str.removesuffix("%").str.replace(_DEBIT, r"-\1", regex=True)
    currency = bare.str.extract(f"({_MONEY})")[0].fillna("").to_numpy(dtype=object)
    bare = bare.str.replace(rf"^([+-]?)\s*{_MONEY}\s*([+-]?)", r"\1\2", regex=True)
    bare = bare.str.replace(rf"\s*{_MONEY}$", "", regex=True).str.strip().str.replace(_DEBIT, r"-\1", regex=True)
    return bare.str.replace("\u2212", "-", regex=False), percent, currency
