"""Single values of a table: which text they are compared by, and which of them mean "missing"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from softwood.core import InputError

# Text that means "missing". The second group only where the column holds no text: "none", "-" or "." can be a
# category like any other, "NA" and "?" hardly ever are.
ALWAYS_MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "?"})
MISSING_AMONG_NUMBERS = ALWAYS_MISSING | {"none", "-", "--", "."}

_CONTAINERS = (list, tuple, dict, set, np.ndarray)


def canonical_text(values: pd.Series) -> np.ndarray:
    """Give the text by which a value is compared with the levels of a category.

    Text is taken as it is; whole numbers print as integers (1 and 1.0 are both ``"1"``), other numbers as
    Python's shortest exact form, booleans as ``"True"`` and ``"False"``, bytes as UTF-8, anything else by ``str``.

    Args:
        values: [n] of any type.

    Returns:
        object [n]: texts, None where the value is missing.

    Raises:
        InputError: the column holds lists or other containers.

    Cost: O(n), Python per distinct value (per row only where a column mixes types).

    Example:
        >>> canonical_text(pd.Series([1.0, 0.5, None])).tolist()
        ['1', '0.5', None]
    """
    kind = pd.api.types.infer_dtype(values, skipna=True) if values.dtype == object else ""
    if kind.startswith("mixed"):
        # True == 1 in Python: finding distinct values first would merge what prints differently
        if any(isinstance(value, _CONTAINERS) for value in values):
            raise _containers(values)
        return np.array([None if _is_missing(value) else _text(value) for value in values], dtype=object)
    codes, distinct = distinct_values(values)
    texts = np.array([*map(_text, distinct), None], dtype=object)  # code -1, missing, takes the last
    return texts[codes]


def is_missing_text(texts: Iterable[str], markers: frozenset[str] = ALWAYS_MISSING) -> np.ndarray:
    """Say which texts mean "missing", whatever their case and surrounding blanks.

    Args:
        texts: n strings.
        markers: ``ALWAYS_MISSING``, or ``MISSING_AMONG_NUMBERS`` in columns without text.

    Returns:
        bool [n].

    Example:
        >>> is_missing_text(["NA", "Nina"]).tolist()
        [True, False]
    """
    return np.array([text.strip().lower() in markers for text in texts], dtype=bool)


def distinct_values(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Find the distinct values of a column.

    Args:
        values: [n] of any type. ``True``, ``1`` and ``1.0`` are the same value here.

    Returns:
        codes: int64 [n], index into ``distinct``, -1 where missing.
        distinct: object [m], in order of appearance.

    Raises:
        InputError: the column holds lists or other containers.

    Cost: O(n).

    Example:
        >>> [part.tolist() for part in distinct_values(pd.Series(["b", None, "b"]))]
        [[0, -1, 0], ['b']]
    """
    try:
        codes, distinct = pd.factorize(values)
    except (TypeError, NotImplementedError):  # Python's lists; Arrow's
        raise _containers(values) from None
    return codes, np.asarray(distinct, dtype=object)


def _containers(values: pd.Series) -> InputError:
    first = next((value for value in values if isinstance(value, _CONTAINERS)), values.dtype)
    return InputError(
        f"column {values.name!r} holds lists or other containers",
        got=repr(first),
        allowed="numbers, text, booleans, dates",
        fix="spread it into plain columns, or leave it out",
    )


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        whole = number.is_integer() and abs(number) < 2**53  # beyond, a float no longer names one integer
        return str(int(number)) if whole else repr(number)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
