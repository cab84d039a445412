"""``ForestClassifier`` and ``ForestRegressor``: a forest of a given size from a table, certified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets

from softwood.core import capability
from softwood.trees._base import ClassLearner
from softwood.trees._brought import Brought
from softwood.trees._forest_base import ForestLearner
from softwood.trees._forest_engine import FoundForest
from softwood.trees._loss_names import class_loss, regression_loss, value_rows
from softwood.trees._rows import Rows
from softwood.trees._training import class_weighted, output_names


@capability(
    "learner",
    hardens_to="HardEnsemble",
    exports=("c", "json", "lightgbm", "onnx", "python", "sklearn", "sql"),
    cost="fit: O(settings folds T n F) time, O(folds n F) memory; predict: O(n T depth)",
    example=lambda: ForestClassifier(budget=24, max_depth=2, effort=0.1),
)
class ForestClassifier(ClassifierMixin, ClassLearner, ForestLearner):
    """A forest of at most ``budget`` leaf values, with a certificate.

    A Newton booster on histograms with vector leaves (or one tree a class in turn) spends the budget; its settings
    are screened on one fold and compared on all; the leaves of the finalists are re-fitted jointly, which is convex.
    Trees that are each grown on a sample of rows and columns, and the re-fit, ship only if they are better out of fold
    by more than one standard error of the paired difference.

    Args:
        budget: leaf values in all; a leaf with K outputs counts K, two classes are one output.
        max_depth: of each tree, 1 to 30.
        min_samples_leaf: least weight in a leaf.
        loss: ``"log_loss"``, or a function of torch tensors: logits ``[n, classes]`` (of two classes, the first is 0)
            and labels' numbers ``[n]`` to losses ``[n]``, differentiable.
        metric: what selection compares: ``"log_loss"`` or ``"accuracy"``; None for log-loss, or a loss of your own.
        class_weight: ``"balanced"``, or a dict from label to weight; multiplies the rows' weights in training and
            selection.
        monotonic_cst: dict from column to 1 (the answer never falls with it), -1 (never rises) or 0, or an array over
            the columns; of two classes, the answer is the probability of the second. Verified on what ships.
        forbidden: names of columns that no node tests; they stay in the table's form. Verified on what ships.
        holdout: share of the rows set aside for the certificate (at most 5,000; none of fewer than 100 rows). None: a
            tenth; of fewer than 300 rows none, and each is answered by one of five models fitted without it.
        effort: share of the settings that are screened.
        time_limit: seconds; leaves out settings, and ``record_`` says so.
        n_jobs: threads; -1 for all cores.
        random_state: seed.
        checkpoint: directory from which a fit that was killed goes on.
        init: a model to start from: a ``HardEnsemble``, or what ``artifacts.import_model`` takes. Its tests are a
            candidate beside our own, cut to the budget, with leaves fitted again on each fold.
        tune: fine-tune by gradient what leads, and ship it if it is better out of fold; None: only a model that was
            brought; False: ship a model that was brought untouched, whatever its size.
        plan: how many settings each stage looks at, ``record_["plan"]`` of a fit that a time limit cut: gives its
            artefact again.
        progress: called with the stage's name and its share done.
        improved: called with the learner when it holds a better model, while a long search goes on.

    Attributes:
        artifact_: the ``HardEnsemble`` that ships.
        certificate_: its ``Certificate``.
        soft_: the forest before hardening, where a tuned one ships; else None, since a booster has no soft parent.
        loss_: what was minimised.
        record_: JSON content: what was tried, out-of-fold losses, why this one ships, seconds.
        classes_: labels.
        feature_importances_: ``[C]``, share of each column of ``artifact_.columns`` in the splits' leaf weights.
        n_features_in_: columns of the table.

    Raises:
        InputError: a parameter is out of range, the budget is too small for a split, or there is one class only.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> forest = ForestClassifier(budget=60, effort=0.1).fit(X, y)
        >>> forest.score(X, y) > 0.9, forest.artifact_.n_leaf_values <= 60
        (True, True)

    Source: Newton boosting (Friedman, 2001; Chen and Guestrin, 2016); joint leaf re-fit (Ren et al., 2015).
    """

    classes_: np.ndarray

    def __init__(
        self,
        budget: int = 480,
        *,
        max_depth: int = 6,
        min_samples_leaf: float = 1,
        loss: Any = "log_loss",
        metric: str | None = None,
        class_weight: Any = None,
        monotonic_cst: Any = None,
        forbidden: Any = None,
        holdout: float | None = None,
        effort: float = 1.0,
        time_limit: float | None = None,
        n_jobs: int | None = -1,
        random_state: Any = 0,
        checkpoint: str | Path | None = None,
        init: Any = None,
        tune: bool | None = None,
        plan: Mapping[str, int] | None = None,
        progress: Callable[[str, float], None] | None = None,
        improved: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__(
            budget, max_depth=max_depth, min_samples_leaf=min_samples_leaf, metric=metric, holdout=holdout,
            effort=effort, time_limit=time_limit, n_jobs=n_jobs, random_state=random_state, checkpoint=checkpoint,
            init=init, tune=tune, plan=plan, progress=progress, improved=improved,
        )  # fmt: skip
        self.loss = loss
        self.class_weight = class_weight
        self.monotonic_cst = monotonic_cst
        self.forbidden = forbidden

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None, time: Any = None
    ) -> ForestClassifier:
        """Find and certify the forest.

        Args:
            X: ``[n, C]`` array of numbers, NaN where missing, or a data frame with numbers, categories, booleans.
            y: ``[n]`` labels.
            sample_weight: ``[n]``, >= 0; rows of weight 0 are left out.
            groups: ``[n]``, the group of each row, such as a patient: none is on both sides of a fold or the hold-out.
            time: ``[n]``, numbers, dates or their texts: later rows are judged by what earlier ones taught.
        """
        loss = class_loss(self.loss)
        options = self._options(("log_loss", "accuracy"), loss.name)
        data = self._table(X, y)
        check_classification_targets(data.y)
        data = class_weighted(data.divided(groups, time).weighted(sample_weight), self.class_weight)
        rows = self._class_rows(data)
        rows = replace(rows, asked=loss.prepared(rows))
        count = len(self.classes_)
        kept = self.classes_[1:] if count == 2 else self.classes_

        def ship(found: FoundForest | Brought, aside: np.ndarray) -> None:
            self._ship(
                found, data, rows, aside, outputs=[f"logit({label})" for label in kept],
                link="sigmoid" if count == 2 else "softmax", classes=self.classes_.tolist(),
            )  # fmt: skip

        self._search(data, rows, options, self.classes_, ship)
        self._conclude(data, rows, options.seed)
        return self


@capability(
    "learner",
    hardens_to="HardEnsemble",
    exports=("c", "json", "lightgbm", "onnx", "python", "sklearn", "sql"),
    cost="fit: O(settings folds T n F) time, O(folds n F) memory; predict: O(n T depth)",
    example=lambda: ForestRegressor(budget=24, max_depth=2, effort=0.1),
)
class ForestRegressor(RegressorMixin, ForestLearner):
    """A regression forest of at most ``budget`` leaf values, with a certificate; see ``ForestClassifier``.

    Args:
        budget: leaf values in all; a leaf with K targets counts K.
        max_depth: of each tree, 1 to 30.
        min_samples_leaf: least weight in a leaf.
        loss: ``"squared"``, ``"absolute"``, ``"quantile"``, ``"poisson"``, or a function of torch tensors: predictions
            ``[n, K]`` and targets ``[n, K]`` to losses ``[n]``, differentiable.
        quantile: which one ``"quantile"`` predicts, in (0, 1).
        metric: what selection compares: ``"squared"`` or ``"absolute"`` error, on targets of one scale; None for the
            loss.
        monotonic_cst: dict from column to 1 (the answer never falls with it), -1 (never rises) or 0, or an array over
            the columns; of two classes, the answer is the probability of the second. Verified on what ships.
        forbidden: names of columns that no node tests; they stay in the table's form. Verified on what ships.
        holdout: share of the rows set aside for the certificate (at most 5,000; none of fewer than 100 rows). None: a
            tenth; of fewer than 300 rows none, and each is answered by one of five models fitted without it.
        effort: share of the settings that are screened.
        time_limit: seconds; leaves out settings, and ``record_`` says so.
        n_jobs: threads; -1 for all cores.
        random_state: seed.
        checkpoint: directory from which a fit that was killed goes on.
        init: a model to start from: a ``HardEnsemble``, or what ``artifacts.import_model`` takes. Its tests are a
            candidate beside our own, cut to the budget, with leaves fitted again on each fold.
        tune: fine-tune by gradient what leads, and ship it if it is better out of fold; None: only a model that was
            brought; False: ship a model that was brought untouched, whatever its size.
        plan: how many settings each stage looks at, ``record_["plan"]`` of a fit that a time limit cut: gives its
            artefact again.
        progress: called with the stage's name and its share done.
        improved: called with the learner when it holds a better model, while a long search goes on.

    Attributes:
        artifact_: the ``HardEnsemble`` that ships.
        certificate_: its ``Certificate``.
        soft_: the forest before hardening, where a tuned one ships; else None, since a booster has no soft parent.
        loss_: what was minimised.
        record_: JSON content.
        feature_importances_: ``[C]``.
        n_features_in_: columns of the table.

    Raises:
        InputError: a parameter is out of range, or the budget is too small for a split.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> ForestRegressor(budget=40, effort=0.1).fit(X, y).score(X, y) > 0.4
        True

    Source: see ``ForestClassifier``.
    """

    def __init__(
        self,
        budget: int = 480,
        *,
        max_depth: int = 6,
        min_samples_leaf: float = 1,
        loss: Any = "squared",
        quantile: float = 0.5,
        metric: str | None = None,
        monotonic_cst: Any = None,
        forbidden: Any = None,
        holdout: float | None = None,
        effort: float = 1.0,
        time_limit: float | None = None,
        n_jobs: int | None = -1,
        random_state: Any = 0,
        checkpoint: str | Path | None = None,
        init: Any = None,
        tune: bool | None = None,
        plan: Mapping[str, int] | None = None,
        progress: Callable[[str, float], None] | None = None,
        improved: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__(
            budget, max_depth=max_depth, min_samples_leaf=min_samples_leaf, metric=metric, holdout=holdout,
            effort=effort, time_limit=time_limit, n_jobs=n_jobs, random_state=random_state, checkpoint=checkpoint,
            init=init, tune=tune, plan=plan, progress=progress, improved=improved,
        )  # fmt: skip
        self.loss = loss
        self.quantile = quantile
        self.monotonic_cst = monotonic_cst
        self.forbidden = forbidden

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None, time: Any = None
    ) -> ForestRegressor:
        """Find and certify the forest.

        Args:
            X: ``[n, C]`` array of numbers, NaN where missing, or a data frame with numbers, categories, booleans.
            y: ``[n]`` values, or ``[n, K]`` for K targets; the columns of a frame name the outputs.
            sample_weight: ``[n]``, >= 0; rows of weight 0 are left out.
            groups: ``[n]``, the group of each row, such as a patient: none is on both sides of a fold or the hold-out.
            time: ``[n]``, numbers, dates or their texts: later rows are judged by what earlier ones taught.
        """
        loss = regression_loss(self.loss, self.quantile)
        options = self._options(("squared", "absolute"), loss.name)
        data = self._table(X, y, multi_output=True, y_numeric=True).divided(groups, time).weighted(sample_weight)
        wide = data.y.astype(np.float64).reshape(len(data.y), -1)
        rows = Rows(data.columns, data.x, np.zeros(0, np.int32), wide, data.weight, data.together, data.time)
        # rows set aside have no part in the scale either
        rows, mean, deviation = value_rows(rows, loss, data.weight * ~self._aside(rows, options.seed))
        answered = replace(data, y=wide[:, 0] if wide.shape[1] == 1 else wide)

        def ship(found: FoundForest | Brought, aside: np.ndarray) -> None:
            if isinstance(found, FoundForest):
                forest = found.forest
                if loss.link == "exp":
                    forest = replace(forest, base=forest.base + np.log(deviation))
                else:
                    forest = replace(forest, values=forest.values * deviation, base=forest.base * deviation + mean)
                found = replace(found, forest=forest)
            names = output_names(y, wide.shape[1])
            self._ship(found, answered, rows, aside, outputs=names, link=loss.link, classes=None)

        self._search(data, rows, options, None, ship)
        self._conclude(answered, rows, options.seed)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
