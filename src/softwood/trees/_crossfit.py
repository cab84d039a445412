"""Answers of a small table's rows by models that have not seen them: one for each fold, fitted in the same way."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from softwood.core import SoftwoodWarning
from softwood.trees._folds import folds_that_fit, make_groups
from softwood.trees._rows import Rows

if TYPE_CHECKING:
    from softwood.trees._base import TableLearner
    from softwood.trees._training import Training

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Stitched:
    """What several models answered, each on the rows that it had not seen; stands for a model on exactly these rows.

    Args:
        answers: ``[n]`` or ``[n, K]``.
        banded: rows inside the soft band, bool ``[n]``; of hard models, all False.
    """

    answers: np.ndarray
    banded: np.ndarray

    def __call__(self, table: Any) -> np.ndarray:
        """Return the answers."""
        return self.answers

    def in_band(self, table: Any) -> np.ndarray:
        """Return which rows lie in the soft band of the model that answered them."""
        return self.banded


@dataclass(frozen=True, eq=False)
class Crossfitted:
    """The three models of a certificate, stitched.

    Args:
        shipped: what would have shipped.
        soft: the soft parents; None if one of the models has none.
        rounded: their plain roundings; None likewise.
        folds: how many models.
    """

    shipped: Stitched
    soft: Stitched | None
    rounded: Stitched | None
    folds: int


def crossfit(learner: TableLearner, data: Training, rows: Rows, seed: int) -> Crossfitted | None:
    """Fit the learner once for each fold, without its rows, and let it answer them.

    Args:
        learner: whose parameters are taken.
        data: all rows as they came.
        rows: the same rows, which say what may be divided.
        seed: of the folds.

    Returns:
        None where the rows cannot be divided, or a fold would leave fewer than two classes.

    Cost: that of ``FOLDS`` fits.
    """
    folds, _ = folds_that_fit(rows, FOLDS, 1)
    groups = make_groups(rows, folds, 1, np.random.default_rng(seed))[1:] if folds > 1 else []
    if not groups or (rows.is_classification and any(len(set(rows.labels[g.active])) < 2 for g in groups)):
        return None
    quiet: dict[str, Any] = {"holdout": 0.0, "progress": None, "improved": None, "checkpoint": None}
    known = learner.get_params()
    if learner.time_limit is not None:
        quiet["time_limit"] = learner.time_limit / (FOLDS + 1)
    parts: dict[str, list[np.ndarray]] = {"shipped": [], "soft": [], "rounded": [], "banded": []}
    for group in groups:
        model = clone(learner).set_params(**{name: value for name, value in quiet.items() if name in known})
        seen, held = data.take(group.active), data.take(group.judged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SoftwoodWarning)  # columns left out: said for the whole table
            model.fit(seen.table, seen.y, seen.given_weight, groups=seen.together)
        model_answers = model.predict if model.artifact_.classes is None else model.predict_proba
        parts["shipped"].append(_of_all_classes(model_answers(held.table), model, learner))
        if model.soft_ is not None:
            parts["soft"].append(_of_all_classes(model.soft_(held.table), model, learner))
            parts["rounded"].append(_of_all_classes(model.soft_.rounded(held.table), model, learner))
            parts["banded"].append(model.soft_.in_band(held.table))
    order = np.argsort(np.concatenate([np.flatnonzero(group.judged) for group in groups]), kind="stable")
    whole = {name: np.concatenate(part)[order] for name, part in parts.items() if len(part) == len(groups)}
    hard = np.zeros(rows.n, bool)
    return Crossfitted(
        Stitched(whole["shipped"], hard),
        Stitched(whole["soft"], whole["banded"]) if "soft" in whole else None,
        Stitched(whole["rounded"], hard) if "rounded" in whole else None,
        len(groups),
    )


def _of_all_classes(answers: np.ndarray, model: Any, learner: Any) -> np.ndarray:
    """Return probabilities ``[n, K]`` of the classes of ``learner``, 0 for those unknown to ``model``; values as is."""
    if model.artifact_.classes is None:
        return answers
    found = np.zeros((len(answers), len(learner.classes_)))
    found[:, np.searchsorted(learner.classes_, model.classes_)] = answers
    return found
