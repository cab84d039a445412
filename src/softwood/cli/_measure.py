"""Scores and certificates on the rows of a table that holds the target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from softwood.core import InputError

if TYPE_CHECKING:
    import pandas as pd

    from softwood.artifacts import HardEnsemble
    from softwood.lifecycle import Certificate, Estimate

_LEVEL = 0.95
_CLIP = 1e-15  # as in certify


def known_rows(classes: Sequence[Any] | None, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows have a target, bool ``[n]``, and their targets ``[m]``.

    Args:
        classes: labels of the model, None for a regression.
        values: the target column ``[n]``.

    Raises:
        InputError: a label is none of the classes, a value is no number, or fewer than two rows have a target.
    """
    from softwood.artifacts import Column, encode_table

    name = str(values.name)
    if classes is None or not isinstance(classes[0], str):
        kind = "boolean" if classes is not None and isinstance(classes[0], bool) else "number"
        numbers = encode_table([Column(name, kind)], {name: values})[:, 0]
        known = ~np.isnan(numbers)
        codes = numbers[known]
        labels = codes if classes is None else np.asarray(classes, dtype=float)
    else:
        texts = _texts(values)
        known = np.array([text is not None for text in texts])
        codes, labels = texts[known], np.array(classes, dtype=object)
    if known.sum() < 2:
        raise InputError(
            f"too few rows have a target {name!r}", got=f"{known.sum()} of {len(values)} rows", allowed="two or more",
            fix="pass a table whose target column is filled",
        )  # fmt: skip
    if classes is None:
        return known, codes
    place = {label: index for index, label in enumerate(labels.tolist())}
    unknown = [label for label in dict.fromkeys(codes.tolist()) if label not in place]
    if unknown:
        raise InputError(
            f"the target {name!r} holds labels that the model does not know", got=", ".join(map(repr, unknown[:5])),
            allowed=", ".join(map(repr, classes)), fix="score rows of these classes, or fit again with all of them",
        )  # fmt: skip
    return known, np.asarray(classes)[[place[label] for label in codes.tolist()]]


def _texts(values: pd.Series) -> np.ndarray:
    """Return the labels as text, None where missing; the same reading as in training."""
    from softwood.artifacts._values import canonical_text, is_missing_text

    texts = canonical_text(values)
    present = np.array([text is not None for text in texts], dtype=bool)
    blank = is_missing_text(texts[present])
    texts[np.flatnonzero(present)[blank]] = None
    return texts


def certificate_on(
    model: HardEnsemble, soft: Any, frame: pd.DataFrame, y: np.ndarray, weight: np.ndarray | None = None, *, rows: str,
    ships: str | None = None, loss: Any = None, constraints: Mapping[str, Any] | None = None,
    not_covered: Sequence[str] = (),
) -> Certificate:  # fmt: skip
    """Certify a model on rows whose targets are known.

    Args:
        model: what ships.
        soft: the model before hardening, or None.
        frame: raw columns, m rows.
        y: targets ``[m]``.
        weight: ``[m]``, or None.
        rows: which rows these are, in words.
        ships: what ships, in words.
        loss: as ``lifecycle.certify`` takes it; None for the task's usual one.
        constraints: what ``verified_constraints`` is asked to verify, or None.
        not_covered: further limits.
    """
    from softwood.artifacts import verified_constraints
    from softwood.lifecycle import certify

    found = certify(
        model, soft, (frame, y), loss=loss or usual_loss(model),
        rounded=None if soft is None else soft.rounded, classes=model.classes,
        sample_weight=weight, rows=rows, ships=ships or describe_model(model), not_covered=not_covered, level=_LEVEL,
    )  # fmt: skip
    return replace(found, verified=tuple(verified_constraints(model, **constraints)) if constraints else ())


def usual_loss(model: HardEnsemble) -> str:
    """Return the loss that is measured where no other one was asked for."""
    return "log_loss" if model.classes is not None else "poisson" if model.link == "exp" else "squared"


def describe_model(model: HardEnsemble) -> str:
    """Return what ships in a few words."""
    trees = "one tree" if model.n_trees == 1 else f"{model.n_trees} trees"
    return f"{trees} of {model.n_leaves} leaves, depth {model.depth}"


def scores_on(
    model: HardEnsemble, frame: pd.DataFrame, y: np.ndarray, weight: np.ndarray | None = None
) -> dict[str, Estimate]:
    """Return scores with 95 % intervals: accuracy and log-loss, or R2 (the mean of the targets'), RMSE and MAE.

    The accuracy's interval is exact, that of R2 by the delta method, those of means by the normal distribution.
    Weights count in all but the accuracy, which is a share of rows.

    Args:
        model: what ships.
        frame: raw columns, m rows.
        y: targets ``[m]``.
        weight: ``[m]``, or None.
    """
    main = certificate_on(model, None, frame, y, weight, rows="rows that are scored")
    found = {} if main.score is None or main.score_name is None else {main.score_name: main.score}
    answers = model(frame)
    if model.classes is None:
        error = np.abs(answers - y)
        several = model.n_outputs > 1
        for name, part in zip(model.outputs, error.reshape(len(y), -1).T, strict=True):
            of = f" of {name}" if several else ""
            found[f"RMSE{of}"] = _estimate(*(math.sqrt(bound) for bound in _mean(part**2, weight)))
            found[f"MAE{of}"] = _estimate(*_mean(part, weight))
    else:
        column = {label: index for index, label in enumerate(model.classes)}
        right = answers[np.arange(len(y)), [column[label] for label in y.tolist()]]
        found["log-loss"] = _estimate(*_mean(-np.log(np.clip(right, _CLIP, 1.0)), weight))
    return found


def _mean(values: np.ndarray, weight: np.ndarray | None) -> tuple[float, float, float]:
    """Return a mean with its interval; weighted rows count as (sum w)^2 / sum w^2."""
    weight = np.ones(len(values)) if weight is None else weight
    rows = weight.sum() ** 2 / (weight**2).sum()
    mean = float(np.average(values, weights=weight))
    variance = float(np.average((values - mean) ** 2, weights=weight))
    reach = NormalDist().inv_cdf((1 + _LEVEL) / 2) * math.sqrt(variance / max(rows - 1, 1))
    return mean, max(mean - reach, 0.0), mean + reach  # a loss is never below 0


def _estimate(value: float, low: float, high: float) -> Estimate:
    from softwood.lifecycle import Estimate

    return Estimate(value, low, high)
