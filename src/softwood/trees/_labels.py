"""Class labels of every make, as one plain type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from softwood.core import InputError


def plain_labels(y: Any) -> Any:
    """Return labels without pandas' own types and without a mixture of types; anything else stays as it came.

    Whole numbers and booleans that pandas holds with a missing marker stay whole numbers and booleans.

    Args:
        y: labels ``[n]``.

    Raises:
        InputError: a label is missing, or labels are of several types, such as text and numbers, that have no order.

    Cost: O(n).

    Example:
        >>> plain_labels(pd.Series([1, 0, 1], dtype="Int64"))
        array([1, 0, 1])
    """
    if isinstance(y, (pd.Series, pd.Index)) and pd.api.types.is_extension_array_dtype(y.dtype):
        _refuse_missing(np.asarray(pd.isna(y)))
        kind = "bool" if pd.api.types.is_bool_dtype(y.dtype) else "int64"
        if kind == "bool" or pd.api.types.is_integer_dtype(y.dtype):
            return y.to_numpy(dtype=kind)
        if pd.api.types.is_float_dtype(y.dtype):
            return y.to_numpy(dtype="float64")
        y = np.asarray(y, dtype=object)
    if isinstance(y, (list, tuple)):
        if any(isinstance(label, (list, tuple, np.ndarray)) for label in y):
            return y  # of several columns: the learner's own check says so
        values = np.empty(len(y), dtype=object)
        values[:] = list(y)
    elif isinstance(y, (np.ndarray, pd.Series, pd.Index)) and y.dtype.kind == "O" and y.ndim == 1:
        values = np.asarray(y, dtype=object)
    else:
        return y
    _refuse_missing(np.asarray(pd.isna(values)))
    kinds = {_kind(label) for label in values.tolist()}
    if len(kinds) > 1:
        raise InputError(
            "the labels are of several types", got=", ".join(sorted(kinds)), allowed="all text, or all numbers",
            fix="convert the target with astype(str)",
        )  # fmt: skip
    return np.asarray(values.tolist()) if kinds <= {"number", "boolean"} else y


def class_codes(classes: Sequence[Any], y: np.ndarray) -> np.ndarray:
    """Return the place of each label among the classes, int ``[n]``."""
    found, inverse = np.unique(y, return_inverse=True)
    places = {label: place for place, label in enumerate(classes)}
    return np.array([places[label] for label in found.tolist()], np.int64)[inverse.reshape(-1)]


def _kind(label: Any) -> str:
    if isinstance(label, (bool, np.bool_)):
        return "boolean"
    return "number" if isinstance(label, (int, float, np.number)) else type(label).__name__


def _refuse_missing(missing: np.ndarray) -> None:
    if missing.any():
        raise InputError(
            "a label is missing", got=f"{int(missing.sum())} of {len(missing)} rows, first row {int(missing.argmax())}",
            allowed="a label in each row", fix="leave these rows out",
        )  # fmt: skip
