"""What the tree learners share: parameters, tables in, certificates, answers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from softwood.artifacts import Column, HardEnsemble, encode_table, verified_constraints
from softwood.core import InputError, SoftwoodWarning, check_number
from softwood.data import describe, read_table
from softwood.lifecycle import Certificate, certify
from softwood.trees._brought import Brought, bring, untouched
from softwood.trees._constraints import asked_constraints, read_directions, read_forbidden
from softwood.trees._crossfit import crossfit
from softwood.trees._explained import Explained, training_facts
from softwood.trees._folds import held_out
from softwood.trees._labels import plain_labels
from softwood.trees._loss import Loss
from softwood.trees._rows import Rows
from softwood.trees._soft_forest_model import SoftForestModel
from softwood.trees._soft_model import SoftModel
from softwood.trees._stability import split_weights
from softwood.trees._streamed import Streamed
from softwood.trees._training import Training

_LEAST_TO_HOLD_OUT, _LEAST_UNASKED, _MOST_HELD_OUT = 100, 300, 5_000  # rows
_USUAL_SHARE = 0.1
_FEWEST_FOR_FOLDS = 20  # rows


class TableLearner(Streamed, Explained, BaseEstimator):
    """From a table to a certified ``HardEnsemble``: tables in, certificates, answers."""

    artifact_: HardEnsemble
    certificate_: Certificate
    soft_: SoftModel | SoftForestModel | None
    record_: dict[str, Any]
    feature_importances_: np.ndarray
    holdout: float | None
    time_limit: float | None
    init: Any
    monotonic_cst: Any
    forbidden: Any
    loss_: Loss
    _lesson: Any = None  # of ``distill``, while it fits

    def _table(self, x: Any, y: Any, **checks: Any) -> Training:
        """Check table and target; find the columns, and encode them."""
        if _is_plain(x):
            checked, y = validate_data(self, x, y, dtype=np.float64, ensure_all_finite="allow-nan", **checks)
            names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(checked.shape[1])])
            columns = tuple(Column(str(name), "number") for name in names)
            return Training(checked, columns, checked, y)
        y = validate_data(self, X="no_validation", y=y, **checks)
        frame = read_table(x).frame
        validate_data(self, frame, skip_check_array=True)  # after the target, whose check forgets the columns' names
        found = describe(frame)
        for name, reason in found.dropped:
            warnings.warn(f"column {name!r} is left out: {reason}", SoftwoodWarning, stacklevel=4)
        if len(frame) != len(y):
            raise InputError(
                "table and target differ in length", got=f"{len(frame)} and {len(y)} rows", allowed="one target a row",
                fix="pass the target of the same rows",
            )  # fmt: skip
        return Training(frame, found.columns, encode_table(found.columns, frame), y)

    def _aside(self, rows: Rows, seed: int) -> np.ndarray:
        """Return which rows are set aside for the certificate."""
        if self.holdout is None:
            share, least = _USUAL_SHARE, _LEAST_TO_HOLD_OUT if self._cannot_crossfit(rows) else _LEAST_UNASKED
        else:
            share, least = check_number("holdout", self.holdout, low=0, high=0.5), _LEAST_TO_HOLD_OUT
        share = share if rows.n >= least else 0.0
        return held_out(rows, share, _MOST_HELD_OUT, np.random.default_rng(seed))

    def _cannot_crossfit(self, rows: Rows) -> bool:
        """Say whether other models, fitted without some rows, would say nothing of the one that ships."""
        alone = self.init is not None or self._lesson is not None
        return alone or rows.time is not None or rows.n < _FEWEST_FOR_FOLDS

    def _will_crossfit(self, rows: Rows, aside: np.ndarray) -> bool:
        return self.holdout is None and not aside.any() and not self._cannot_crossfit(rows)

    def _conclude(self, data: Training, rows: Rows, seed: int) -> None:
        """Do what is done once, for the model that ships: compare it with peers on the rows set aside; or, where none
        are because rows are few, certify by models of the folds.

        Args:
            data: all rows as they came.
            rows: the same rows.
            seed: of the folds.
        """
        aside = self._aside(rows, seed)
        if aside.any() and self.loss_.certified() in ("log_loss", "squared"):
            held = self._as_read(data).take(aside)
            weight = np.ones(len(held.y)) if held.given_weight is None else held.given_weight
            self.record_["peers"] = self._compare((held.x, held.y, weight))
        found = crossfit(self, data, rows, seed) if self._will_crossfit(rows, aside) else None
        if found is None:
            return
        told = f"all {rows.n} rows, each answered by one of {found.folds} models fitted in the same way without it"
        told += "" if rows.together is None else " and its whole group"
        limits = ["the very model that ships: it has learned from all of these rows"]
        limits += data.describe_split(np.zeros(rows.n, bool))[2]
        limits += [] if found.soft else ["hardening: not all of the models have a soft parent"] if self.soft_ else []
        self.certificate_ = self._certificate(
            data.table, data.y, data.given_weight, told, limits, (found.shipped, found.soft, found.rounded)
        )
        self.record_["crossfitted_rows"] = rows.n

    def _constrained(self, rows: Rows) -> Rows:
        """Return the rows with the directions and the forbidden columns that the parameters mean."""
        outputs = 1 if rows.is_classification and rows.targets.shape[1] == 2 else rows.targets.shape[1]
        direction = read_directions(self.monotonic_cst, rows.columns, outputs)
        forbidden = read_forbidden(self.forbidden, rows.columns)
        if self.init is not None and (direction.any() or forbidden.any()):
            raise InputError(
                "a model that was brought takes no constraints", got="init with monotonic_cst or forbidden",
                allowed="one of them", fix="leave init out; check_monotone says whether the brought model is monotone",
            )  # fmt: skip
        return replace(rows, direction=direction, forbidden=forbidden)

    def _learned(self, rows: Rows, aside: np.ndarray) -> Rows:
        """Return the rows that are not set aside; their weights have mean 1, whatever those aside weigh."""
        kept = rows.take(~aside)
        kept = replace(kept, weight=kept.weight / kept.weight.mean())
        if self._lesson is None:
            return kept
        return self._lesson.rows(kept, ~aside, getattr(self, "classes_", None))

    def _bring(self, init: Any, data: Training, rows: Rows, classes: np.ndarray | None) -> Brought:
        """Read the model that was brought, and the rows for it; columns that have names are found by them."""
        return bring(init, self._named(data.table), classes, rows)

    def _named(self, table: Any) -> Any:
        names = getattr(self, "feature_names_in_", None)
        return table if names is None or isinstance(table, pd.DataFrame) else pd.DataFrame(table, columns=names)

    def _ship_untouched(self, brought: Brought, data: Training, rows: Rows, aside: np.ndarray) -> None:
        """Ship a model as it was brought."""
        self._can_refit(None)
        self.artifact_, self.soft_ = brought.model, None
        self._certify(untouched(brought, rows), split_weights(brought.model), data, aside, rows.loss)

    def _certify(
        self, record: dict[str, Any], importance: np.ndarray, data: Training, aside: np.ndarray, loss: Loss
    ) -> None:
        """Certify on the rows set aside; where there are none, on the training rows, and say so."""
        data = self._as_read(data)
        kept = data.take(~aside)
        facts = training_facts(self.artifact_, kept.x, kept.y, kept.given_weight)
        split, rows, limits = data.describe_split(aside)
        self.record_ = {**record, "held_out_rows": int(aside.sum()), "split": split, **facts}
        self._stream = None
        self.feature_importances_ = importance
        self.loss_ = loss
        limits = [*limits, *record.get("not_covered", ())]
        self.record_["constraints"] = asked_constraints(self.monotonic_cst, self.forbidden, self.artifact_.columns)
        measured = data.take(aside if aside.any() else ~aside)
        if not aside.any():
            rows = f"the {len(measured.y)} training rows"
            limits += ["rows that training has not seen: too few came, or holdout=0, so every number is optimistic"]
        self.certificate_ = self._certificate(measured.table, measured.y, measured.given_weight, rows, limits)
        self._learned_rows = (kept.x, kept.y, kept.weight)

    def _as_read(self, data: Training) -> Training:
        """Return the rows with the columns of what ships, which a model that was brought has of its own."""
        if self.artifact_.columns == data.columns:
            return data
        table = self._named(data.table)
        return replace(data, table=table, columns=self.artifact_.columns, x=self.artifact_.encode(table))

    def _certificate(
        self, table: Any, y: Any, weight: Any, rows: str, limits: list[str], answering: Sequence[Any] | None = None
    ) -> Certificate:
        """Certify what ships; or say it of what answers in its place: shipped, soft and plainly rounded models."""
        model, soft = self.artifact_, self.soft_
        trees = "one tree" if model.n_trees == 1 else f"{model.n_trees} trees"
        found_by, batches = self.record_["shipped"]["search"], self._batches
        found_by += f", then trained on {batches} batch{'es' * (batches > 1)}" if batches else ""
        shipped, parent, rounded = answering or (model, soft, None if soft is None else soft.rounded)
        found = certify(
            shipped, parent, (table, y), loss=self.loss_.certified(), rounded=rounded, classes=model.classes,
            sample_weight=weight, rows=rows,
            ships=f"{trees} of {model.n_leaves} leaves, depth {model.depth}, found by {found_by}",
            not_covered=limits,
        )  # fmt: skip
        return replace(found, verified=tuple(verified_constraints(model, **self.record_["constraints"])))

    def certify(self, X: Any, y: Any, sample_weight: Any = None, *, rows: str = "rows given to certify") -> Certificate:
        """Certify the fitted model on further rows.

        Args:
            X: table as in ``fit``.
            y: target ``[n]``.
            sample_weight: ``[n]`` or None.
            rows: which rows these are, in words.
        """
        return self._certificate(self._frame(X), np.asarray(y), sample_weight, rows, [])

    def _frame(self, x: Any) -> Any:
        """Return a table that ``artifact_`` reads, after scikit-learn's checks of names and widths."""
        check_is_fitted(self)
        if _is_plain(x):
            x = validate_data(self, x, reset=False, dtype=np.float64, ensure_all_finite="allow-nan")
            names = getattr(self, "feature_names_in_", None)
            return x if names is None else pd.DataFrame(x, columns=names)
        frame = read_table(x).frame
        validate_data(self, frame, reset=False, skip_check_array=True)
        return frame

    def predict(self, X: Any) -> np.ndarray:
        """Return the label or value of each row, ``[n]``.

        Args:
            X: table as in ``fit``.
        """
        table = self._frame(X)
        return self.artifact_.predict(table)

    def apply(self, X: Any) -> np.ndarray:
        """Return the leaf that each row reaches, int32 ``[n]``, of a forest ``[n, T]``, as ``artifact_`` numbers them.

        Args:
            X: table as in ``fit``.
        """
        table = self._frame(X)
        leaves = self.artifact_.apply(table)
        return leaves if hasattr(self, "budget") else leaves[:, 0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class ClassLearner(TableLearner):
    """What the classifiers add: labels to rows, and probabilities."""

    classes_: np.ndarray

    def _table(self, x: Any, y: Any, **checks: Any) -> Training:
        """Check table and labels; see ``TableLearner``."""
        return super()._table(x, plain_labels(y), **checks)

    def _class_rows(self, data: Training) -> Rows:
        """Set ``classes_`` and return the rows with the number and the indicators of each one's class."""
        self.classes_, labels = np.unique(data.y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                "there is only one class", got=f"{len(labels)} rows of {self.classes_.tolist()[0]!r}",
                allowed="two classes or more", fix="choose another target, or add rows of another class",
            )  # fmt: skip
        indicators = np.eye(len(self.classes_))[labels]
        return Rows(data.columns, data.x, labels.astype(np.int32), indicators, data.weight, data.together, data.time)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities, ``[n, classes]``.

        Args:
            X: table as in ``fit``.
        """
        table = self._frame(X)
        return self.artifact_.predict_proba(table)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of ``predict_proba``.

        Args:
            X: table as in ``fit``.
        """
        with np.errstate(divide="ignore"):
            logs: np.ndarray = np.log(self.predict_proba(X))
        return logs


def _is_plain(x: Any) -> bool:
    """Is this an array, a list, or a frame of numbers only? Anything else goes through ``describe``."""
    if isinstance(x, pd.DataFrame):
        return x.shape[1] > 0 and all(pd.api.types.is_numeric_dtype(kind) for kind in x.dtypes)
    return issparse(x) or not (hasattr(x, "columns") or isinstance(x, dict))  # some sparse matrices are dicts


def silent(stage: str, done: float) -> None:
    """Tell nobody."""
