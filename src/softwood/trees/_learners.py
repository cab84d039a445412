"""``TreeClassifier`` and ``TreeRegressor``: one small tree from a table, hardened and certified."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from softwood.artifacts import Column, HardEnsemble, encode_table
from softwood.core import InputError, SoftwoodWarning, capability, check_choice, check_number
from softwood.data import describe
from softwood.lifecycle import Certificate, certify
from softwood.trees._convert import to_ensemble
from softwood.trees._engine import Found, Options, search
from softwood.trees._rows import Rows, held_out, raw_columns, scaled
from softwood.trees._soft_model import SoftModel
from softwood.trees._soft_tree import MAX_DEPTH

_LEAST_TO_HOLD_OUT, _MOST_HELD_OUT = 100, 5_000  # rows


class _TreeLearner(BaseEstimator):
    """What both learners share; see ``TreeClassifier``."""

    artifact_: HardEnsemble
    certificate_: Certificate
    soft_: SoftModel | None
    record_: dict[str, Any]
    feature_importances_: np.ndarray

    def __init__(
        self,
        max_depth: int = 4,
        *,
        max_leaf_nodes: int | None = None,
        min_samples_leaf: float = 1,
        metric: str = "accuracy",
        holdout: float = 0.1,
        effort: float = 1.0,
        time_limit: float | None = None,
        n_jobs: int | None = -1,
        random_state: Any = 0,
        checkpoint: str | Path | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> None:
        self.max_depth = max_depth
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.metric = metric
        self.holdout = holdout
        self.effort = effort
        self.time_limit = time_limit
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.progress = progress

    def _options(self, metrics: tuple[str, ...]) -> Options:
        leaves = self.max_leaf_nodes
        return Options(
            max_depth=check_number("max_depth", self.max_depth, low=1, high=MAX_DEPTH, integer=True),
            max_leaf_nodes=None if leaves is None else check_number("max_leaf_nodes", leaves, low=1, integer=True),
            min_samples_leaf=check_number("min_samples_leaf", self.min_samples_leaf, low=0),
            metric=check_choice("metric", self.metric, metrics),
            effort=check_number("effort", self.effort, low=0.01, high=100),
            time_limit=None if self.time_limit is None else check_number("time_limit", self.time_limit, low=0.1),
            jobs=_threads(self.n_jobs),
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
            checkpoint=None if self.checkpoint is None else Path(self.checkpoint),
        )

    def _table(self, x: Any, y: Any, **checks: Any) -> tuple[tuple[Column, ...], np.ndarray, Any]:
        """Return columns, the encoded table, and the checked target."""
        if _is_plain(x):
            x, y = validate_data(self, x, y, dtype=np.float64, ensure_all_finite="allow-nan", **checks)
            names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(x.shape[1])])
            return raw_columns([str(name) for name in names]), x, y
        validate_data(self, x, skip_check_array=True)
        found = describe(x)
        for name, reason in found.dropped:
            warnings.warn(f"column {name!r} is left out: {reason}", SoftwoodWarning, stacklevel=4)
        y = validate_data(
            self, y=y, X="no_validation", **{k: v for k, v in checks.items() if k != "ensure_min_samples"}
        )
        encoded = encode_table(found.columns, x)
        if len(encoded) != len(y):
            raise InputError(
                "table and target differ in length", got=f"{len(encoded)} and {len(y)} rows", allowed="one target a row",
                fix="pass the target of the same rows",
            )  # fmt: skip
        return found.columns, encoded, y

    def _search(self, rows: Rows, options: Options) -> tuple[Found, np.ndarray]:
        """Set certificate rows aside and search on the others; return what was found and the rows set aside."""
        share = check_number("holdout", self.holdout, low=0, high=0.5)
        share = share if rows.n >= _LEAST_TO_HOLD_OUT else 0.0
        aside = held_out(rows, share, _MOST_HELD_OUT, np.random.default_rng(options.seed))
        return search(rows.take(~aside), options, self.progress or _silent), aside

    def _certify(self, found: Found, x: np.ndarray, y: Any, weight: np.ndarray, aside: np.ndarray) -> None:
        """Certify on the rows set aside; where there are none, on the training rows, and say so."""
        self.record_ = {**found.record, "held_out_rows": int(aside.sum())}
        self.feature_importances_ = found.importance
        measured = aside if aside.any() else ~aside
        rows = f"{measured.sum()} rows held out from training and selection"
        limits = []
        if not aside.any():
            rows = f"the {measured.sum()} training rows"
            limits = ["rows that training has not seen: too few came, or holdout=0, so every number is optimistic"]
        self.certificate_ = self._certificate(x[measured], y[measured], weight[measured], rows, limits)

    def _certificate(self, x: Any, y: Any, weight: Any, rows: str, limits: list[str]) -> Certificate:
        model, soft = self.artifact_, self.soft_
        shipped = self.record_["shipped"]
        return certify(
            model, soft, (x, y), loss="squared" if model.classes is None else "log_loss",
            rounded=None if soft is None else soft.rounded, classes=model.classes, sample_weight=weight, rows=rows,
            ships=f"one tree of {model.n_leaves} leaves, depth {model.depth}, found by {shipped['search']}",
            not_covered=limits,
        )  # fmt: skip

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
        validate_data(self, x, reset=False, skip_check_array=True)
        return x

    def predict(self, X: Any) -> np.ndarray:
        """Return the label or value of each row, ``[n]``.

        Args:
            X: table as in ``fit``.
        """
        table = self._frame(X)
        return self.artifact_.predict(table)

    def apply(self, X: Any) -> np.ndarray:
        """Return the leaf that each row reaches, int32 ``[n]``, as ``artifact_`` numbers them.

        Args:
            X: table as in ``fit``.
        """
        table = self._frame(X)
        return self.artifact_.apply(table)[:, 0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


@capability(
    "learner",
    papers=("gradtree",),
    hardens_to="HardEnsemble",
    exports=("json", "onnx", "python"),
    cost="fit: O(effort folds D n F) time, O(folds n F) memory; predict: O(n D)",
    example=lambda: TreeClassifier(max_depth=2, effort=0.1),
)
class TreeClassifier(ClassifierMixin, _TreeLearner):
    """One decision tree, found by optimisation instead of greedily, and not shipped unless it beats CART.

    Candidates: CART; CART with exact node polish and random kicks; straight-through gradient restarts, trained
    as one batched tensor with all folds, hardened, polished, softened again and annealed as the gap between soft
    and hard allows. Every candidate is fitted again on each fold; what ships is the best one out of fold, and CART
    unless that is better by more than one standard error of the paired difference. The certificate is measured on
    rows that neither training nor selection has seen.

    Args:
        max_depth: 1 to 10.
        max_leaf_nodes: largest number of leaves.
        min_samples_leaf: least weight in a leaf.
        metric: what selection compares: ``"accuracy"`` or ``"log_loss"``.
        holdout: share of the rows set aside for the certificate (at most 5,000; none of fewer than 100 rows).
        effort: multiplies kicks, restarts and epochs.
        time_limit: seconds; leaves out candidates, and ``record_`` says which.
        n_jobs: threads; -1 for all cores.
        random_state: seed.
        checkpoint: directory from which a stopped fit goes on.
        progress: called with the stage's name and its share done.

    Attributes:
        artifact_: the ``HardEnsemble`` that ships.
        certificate_: its ``Certificate``.
        soft_: the model before hardening, a function from table to probabilities; None where what ships has no
            soft parent.
        record_: JSON content: what was tried, out-of-fold losses, why this one ships, seconds.
        classes_: labels.
        feature_importances_: ``[C]``, share of each column of ``artifact_.columns`` in what the splits gain.
        n_features_in_: columns of the table.

    Raises:
        InputError: a parameter is out of range, or there is one class only.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> tree = TreeClassifier(max_depth=2, effort=0.1).fit(X, y)
        >>> tree.score(X, y) > 0.9, tree.artifact_.n_leaves <= 4
        (True, True)

    Source: GradTree (Marton et al., 2024) for the straight-through tree; tree alternating optimisation
    (Carreira-Perpinan and Tavallali, 2018) for node polish.
    """

    classes_: np.ndarray

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TreeClassifier:
        """Find, harden and certify the tree.

        Args:
            X: ``[n, C]`` array of numbers, NaN where missing, or a data frame with numbers, categories, booleans.
            y: ``[n]`` labels.
            sample_weight: ``[n]``, >= 0; rows of weight 0 are left out.
        """
        options = self._options(("accuracy", "log_loss"))
        columns, x, y = self._table(X, y)
        check_classification_targets(y)
        x, y, weight = _weighted(x, y, sample_weight)
        self.classes_, labels = np.unique(y, return_inverse=True)
        count = len(self.classes_)
        if count < 2:
            raise InputError(
                "there is only one class", got=f"{len(y)} rows of class {self.classes_[0]!r}", allowed="two classes or more",
                fix="choose another target, or add rows of another class",
            )  # fmt: skip
        rows = Rows(columns, x, labels.astype(np.int32), np.eye(count)[labels], weight)
        found, aside = self._search(rows, options)
        values = found.values[:, 1:] if count == 2 else found.values
        names = [f"P({label})" for label in (self.classes_[1:] if count == 2 else self.classes_)]
        self.artifact_ = to_ensemble(
            found.choice.tree, found.codec, values, found.counts, outputs=names, link="probability",
            classes=self.classes_.tolist(),
        )  # fmt: skip
        parent = found.choice.candidate.soft
        self.soft_ = None if parent is None else SoftModel.of(parent, None)
        self._certify(found, x, y, weight, aside)
        return self

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


@capability(
    "learner",
    papers=("gradtree",),
    hardens_to="HardEnsemble",
    exports=("json", "onnx", "python"),
    cost="fit: O(effort folds D n F) time, O(folds n F) memory; predict: O(n D)",
    example=lambda: TreeRegressor(max_depth=2, effort=0.1),
)
class TreeRegressor(RegressorMixin, _TreeLearner):
    """One regression tree, found by optimisation instead of greedily; see ``TreeClassifier``.

    Args:
        max_depth: 1 to 10.
        max_leaf_nodes: largest number of leaves.
        min_samples_leaf: least weight in a leaf.
        metric: what selection compares: ``"squared"`` or ``"absolute"`` error, on targets of variance 1.
        holdout: share of the rows set aside for the certificate (at most 5,000; none of fewer than 100 rows).
        effort: multiplies kicks, restarts and epochs.
        time_limit: seconds; leaves out candidates, and ``record_`` says which.
        n_jobs: threads; -1 for all cores.
        random_state: seed.
        checkpoint: directory from which a stopped fit goes on.
        progress: called with the stage's name and its share done.

    Attributes:
        artifact_: the ``HardEnsemble`` that ships.
        certificate_: its ``Certificate``.
        soft_: the model before hardening, or None.
        record_: JSON content.
        feature_importances_: ``[C]``.
        n_features_in_: columns of the table.

    Raises:
        InputError: a parameter is out of range.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> TreeRegressor(max_depth=2, effort=0.1).fit(X, y).score(X, y) > 0.3
        True

    Source: see ``TreeClassifier``.
    """

    def __init__(
        self,
        max_depth: int = 4,
        *,
        max_leaf_nodes: int | None = None,
        min_samples_leaf: float = 1,
        metric: str = "squared",
        holdout: float = 0.1,
        effort: float = 1.0,
        time_limit: float | None = None,
        n_jobs: int | None = -1,
        random_state: Any = 0,
        checkpoint: str | Path | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> None:
        super().__init__(
            max_depth, max_leaf_nodes=max_leaf_nodes, min_samples_leaf=min_samples_leaf, metric=metric, holdout=holdout,
            effort=effort, time_limit=time_limit, n_jobs=n_jobs, random_state=random_state, checkpoint=checkpoint,
            progress=progress,
        )  # fmt: skip

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TreeRegressor:
        """Find, harden and certify the tree.

        Args:
            X: ``[n, C]`` array of numbers, NaN where missing, or a data frame with numbers, categories, booleans.
            y: ``[n]`` values, or ``[n, K]`` for K targets.
            sample_weight: ``[n]``, >= 0; rows of weight 0 are left out.
        """
        options = self._options(("squared", "absolute"))
        columns, x, y = self._table(X, y, multi_output=True, y_numeric=True)
        y = np.asarray(y, np.float64)
        x, y, weight = _weighted(x, y, sample_weight)
        wide = y.reshape(len(y), -1)
        targets, mean, deviation = scaled(wide, weight)
        found, aside = self._search(Rows(columns, x, np.zeros(0, np.int32), targets, weight), options)
        outputs = ["value"] if wide.shape[1] == 1 else [f"value {k}" for k in range(wide.shape[1])]
        self.artifact_ = to_ensemble(
            found.choice.tree, found.codec, found.values * deviation + mean, found.counts, outputs=outputs,
            link="identity", classes=None,
        )  # fmt: skip
        parent = found.choice.candidate.soft
        self.soft_ = None if parent is None else SoftModel.of(parent, (mean, deviation))
        self._certify(found, x, y if y.ndim == 1 or y.shape[1] > 1 else y[:, 0], weight, aside)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _is_plain(x: Any) -> bool:
    """Is this an array, a list, or a frame of numbers only? Anything else goes through ``describe``."""
    if not hasattr(x, "columns"):
        return True
    dtypes = getattr(x, "dtypes", None)
    return isinstance(x, pd.DataFrame) and all(pd.api.types.is_numeric_dtype(kind) for kind in dtypes or ())


def _weighted(x: np.ndarray, y: np.ndarray, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of positive weight, with weights of mean 1."""
    weight = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
    keep = weight > 0
    if not keep.any():
        raise InputError(
            "no row has weight",
            got="all sample weights are zero",
            allowed="at least one > 0",
            fix="check sample_weight",
        )
    return x[keep], y[keep], weight[keep] / weight[keep].mean()


def _threads(n_jobs: int | None) -> int:
    count = 1 if n_jobs is None else check_number("n_jobs", n_jobs, low=-1, integer=True)
    return max(count, 1) if count >= 0 else (os.cpu_count() or 1)


def _silent(stage: str, done: float) -> None:
    """Tell nobody."""
