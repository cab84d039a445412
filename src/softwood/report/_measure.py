"""What the report measures on rows that are passed to it: calibration, confusion, and the rows of each leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from softwood.artifacts import HardEnsemble
from softwood.core import InputError
from softwood.lifecycle import Estimate, mean_of, share_of

_BINS = 10


@dataclass(frozen=True, eq=False)
class Measured:
    """A model's answers on n rows, beside the truth.

    Args:
        model: what ships.
        leaves: int ``[n, T]``, the leaf of each row in each tree.
        answers: probabilities ``[n, classes]``, or values ``[n, K]``.
        truth: codes of the classes ``[n]``, or values ``[n, K]``.
        guessed: codes of the labels that the model gives ``[n]``; empty for a regression.
        weight: float64 ``[n]``, mean 1.
        weighted: weights were given.
    """

    model: HardEnsemble
    leaves: np.ndarray
    answers: np.ndarray
    truth: np.ndarray
    guessed: np.ndarray
    weight: np.ndarray
    weighted: bool

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.weight)


@dataclass(frozen=True)
class Bin:
    """Rows with about the same answer.

    Args:
        predicted: mean of the answers.
        observed: mean of the truth, with its interval.
        n: rows.
    """

    predicted: float
    observed: Estimate
    n: int


def measure(model: HardEnsemble, table: Any, y: Any, weight: Any = None) -> Measured:
    """Let a model answer for rows whose truth is known.

    Args:
        model: what ships.
        table: raw columns, n rows.
        y: labels or values, ``[n]`` or ``[n, K]``.
        weight: ``[n]``, >= 0, or None.

    Raises:
        InputError: no rows, another number of targets or weights, a label that the model does not know, a target
            that is no finite number.

    Cost: one prediction, and O(n).
    """
    x = model.encode(table)
    truth = np.asarray(y)
    if len(x) == 0 or len(truth) != len(x):
        raise InputError(
            "table and y do not fit", got=f"{len(x)} rows and {len(truth)} targets",
            allowed="one target a row, at least one row", fix="pass the targets of these rows, or neither",
        )  # fmt: skip
    weights = np.ones(len(x)) if weight is None else np.asarray(weight, float)
    if weights.shape != (len(x),) or not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise InputError(
            "the weights cannot be used", got=f"shape {weights.shape}",
            allowed=f"{len(x)} finite numbers >= 0, one of them > 0", fix="pass one weight a row, or none",
        )  # fmt: skip
    leaves = model.apply_encoded(x)
    raw = model.raw_encoded(x)
    if model.classes is None:
        values = truth.astype(float).reshape(len(x), -1)
        if values.shape[1] != model.n_outputs or not np.isfinite(values).all():
            raise InputError(
                "the targets cannot be compared with the model's answers", got=f"{values.shape[1]} a row, or no number",
                allowed=f"{model.n_outputs} finite numbers a row", fix="leave out rows without a target",
            )  # fmt: skip
        return Measured(
            model, leaves, model.numbers(raw), values, np.zeros(0, int), weights / weights.mean(), weight is not None
        )
    codes = {label: code for code, label in enumerate(model.classes)}
    unknown = [label for label in dict.fromkeys(truth.tolist()) if label not in codes]
    if unknown:
        raise InputError(
            "y holds labels that the model does not know", got=", ".join(map(repr, unknown[:5])),
            allowed=", ".join(map(repr, model.classes)), fix="leave these rows out",
        )  # fmt: skip
    known = np.array([codes[label] for label in truth.tolist()])
    guessed = np.array([codes[label] for label in model.labels(raw).tolist()])
    chances = model.probabilities(raw)
    return Measured(model, leaves, chances, known, guessed, weights / weights.mean(), weight is not None)


def reliability(found: Measured) -> list[Bin]:
    """Return the calibration of a classifier: of P(second class) for two classes, else of the label's probability."""
    if found.answers.shape[1] == 2:
        chance, hit = found.answers[:, 1], found.truth == 1
    else:
        chance = found.answers[np.arange(found.n), found.guessed]
        hit = found.guessed == found.truth
    return [
        Bin(
            float(np.average(chance[rows], weights=_some(found.weight[rows]))),
            share_of(hit[rows], found.weight[rows] if found.weighted else None),
            len(rows),
        )
        for rows in _alike(chance)
    ]


def predicted_bins(found: Measured, output: int) -> list[Bin]:
    """Return means of the truth over rows with about the same prediction, for one output of a regression."""
    bins = []
    for rows in _alike(found.answers[:, output]):
        observed = mean_of(found.truth[rows, output], found.weight[rows])
        if observed is not None:
            predicted = float(np.average(found.answers[rows, output], weights=found.weight[rows]))
            bins.append(Bin(predicted, observed, len(rows)))
    return bins


def confusion(found: Measured) -> np.ndarray:
    """Return how many rows of each class (line) got each label (column), int ``[classes, classes]``."""
    count = found.answers.shape[1]
    return np.bincount(found.truth * count + found.guessed, minlength=count**2).reshape(count, count)


def _alike(values: np.ndarray) -> list[np.ndarray]:
    """Return groups of rows: one for each value where there are few, else about ten of the same size."""
    distinct, place = np.unique(values, return_inverse=True)
    if len(distinct) > _BINS:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
        place = np.searchsorted(edges, values)
    return [rows for rows in (np.flatnonzero(place == at) for at in range(place.max() + 1)) if len(rows)]


def _some(weight: np.ndarray) -> np.ndarray:
    return weight if weight.any() else np.ones(len(weight))
