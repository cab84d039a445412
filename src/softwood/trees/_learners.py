"""``TreeClassifier`` and ``TreeRegressor``: one small tree from a table, hardened and certified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets

from softwood.core import capability, check_choice, check_number
from softwood.trees._base import ClassLearner, TableLearner, silent
from softwood.trees._brought_tree import check_one_tree
from softwood.trees._convert import to_ensemble
from softwood.trees._crossfit import FOLDS
from softwood.trees._engine import Found, Options, search
from softwood.trees._loss_names import class_loss, regression_loss, value_rows
from softwood.trees._plan import check_plan
from softwood.trees._rows import Rows
from softwood.trees._soft_model import SoftModel
from softwood.trees._soft_tree import MAX_DEPTH
from softwood.trees._stability import TreeRefit
from softwood.trees._threads import threads
from softwood.trees._training import Training, class_weighted, output_names


class TreeLearner(TableLearner):
    """What the learners of one tree share; see ``TreeClassifier``."""

    def __init__(
        self,
        max_depth: int = 4,
        *,
        max_leaf_nodes: int | None = None,
        min_samples_leaf: float = 1,
        metric: str | None = None,
        holdout: float | None = None,
        effort: float = 1.0,
        time_limit: float | None = None,
        n_jobs: int | None = -1,
        random_state: Any = 0,
        checkpoint: str | Path | None = None,
        init: Any = None,
        tune: bool | None = None,
        plan: Mapping[str, float] | None = None,
        progress: Callable[[str, float], None] | None = None,
        improved: Callable[[Any], None] | None = None,
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
        self.init = init
        self.tune = tune
        self.plan = plan
        self.progress = progress
        self.improved = improved

    def _options(self, metrics: tuple[str, ...], usual: str) -> Options:
        leaves = self.max_leaf_nodes
        return Options(
            max_depth=check_number("max_depth", self.max_depth, low=1, high=MAX_DEPTH, integer=True),
            max_leaf_nodes=None if leaves is None else check_number("max_leaf_nodes", leaves, low=1, integer=True),
            min_samples_leaf=check_number("min_samples_leaf", self.min_samples_leaf, low=0),
            metric=usual if self.metric is None else check_choice("metric", self.metric, metrics),
            effort=check_number("effort", self.effort, low=0.01, high=100),
            time_limit=None if self.time_limit is None else check_number("time_limit", self.time_limit, low=0.1),
            jobs=threads(self.n_jobs),
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
            checkpoint=None if self.checkpoint is None else Path(self.checkpoint),
            plan=check_plan(self.plan),
        )

    def _search(
        self, data: Training, rows: Rows, options: Options, classes: np.ndarray | None,
        ship: Callable[[Found, np.ndarray], None],
    ) -> None:  # fmt: skip
        """Set certificate rows aside, search on the others, and ``ship`` what is found, in between too where a long
        search goes on; or ship a brought model as it is.
        """
        rows = self._constrained(rows)
        aside = self._aside(rows, options.seed)
        if options.time_limit is not None and self._will_crossfit(rows, aside):
            options = replace(options, time_limit=options.time_limit / (FOLDS + 1))
        brought = None if self.init is None else self._bring(self.init, data, rows, classes)
        if brought is not None:
            check_one_tree(brought)
            if self.tune is False:
                self._ship_untouched(brought, data, rows, aside)
                return
            brought = brought.take(~aside)

        def on_the_way(found: Found) -> None:
            ship(found, aside)
            self.improved(self)  # type: ignore[misc]

        found = search(
            self._learned(rows, aside), options, self.progress or silent, brought,
            None if self.improved is None else on_the_way,
        )  # fmt: skip
        shipped = found.choice.candidate.setting
        refit = TreeRefit(
            found.rows, shipped.criterion, shipped.min_leaf, options.max_depth, shipped.search != "cart",
            options.seed, options.jobs,
        )  # fmt: skip
        self._can_refit(None if shipped.search.startswith("brought") else refit)
        ship(found, aside)


@capability(
    "learner",
    papers=("gradtree",),
    hardens_to="HardEnsemble",
    exports=("c", "json", "lightgbm", "onnx", "python", "sklearn", "sql"),
    cost="fit: O(effort folds D n F) time, O(folds n F) memory; predict: O(n D)",
    example=lambda: TreeClassifier(max_depth=2, effort=0.1),
)
class TreeClassifier(ClassifierMixin, ClassLearner, TreeLearner):
    """One decision tree, found by optimisation instead of greedily, and not shipped unless it beats CART.

    Candidates: CART; CART with exact node polish and random kicks; the same on more rows, made from neighbours and
    answered by a random forest, which helps small tables; straight-through gradient restarts, trained as one batched
    tensor with all folds, hardened, polished, softened again and annealed as the gap between soft and hard allows.
    Every candidate is fitted again on each fold; what ships is the best one out of fold, and CART unless that is better
    by more than one standard error of the paired difference. The certificate is measured on rows that neither training
    nor selection has seen.

    Args:
        max_depth: 1 to 10.
        max_leaf_nodes: largest number of leaves.
        min_samples_leaf: least weight in a leaf.
        loss: ``"log_loss"``, or a function of torch tensors: logits ``[n, classes]`` (of two classes, the first is 0)
            and labels' numbers ``[n]`` to losses ``[n]``, differentiable.
        metric: what selection compares: ``"accuracy"`` or ``"log_loss"``; None for accuracy, or a loss of your own.
        class_weight: ``"balanced"``, or a dict from label to weight; multiplies the rows' weights in training and
            selection.
        monotonic_cst: dict from column to 1 (the answer never falls with it), -1 (never rises) or 0, or an array over
            the columns; of two classes, the answer is the probability of the second. Verified on what ships.
        forbidden: names of columns that no node tests; they stay in the table's form. Verified on what ships.
        holdout: share of the rows set aside for the certificate (at most 5,000; none of fewer than 100 rows). None: a
            tenth; of fewer than 300 rows none, and each is answered by one of five models fitted without it.
        effort: multiplies kicks, restarts and epochs.
        time_limit: seconds; searches that do not fit are cut, and ``record_`` says which.
        n_jobs: threads; -1 for all cores.
        random_state: seed.
        checkpoint: directory from which a fit that was killed goes on.
        init: a model of one tree to start from: a ``HardEnsemble``, or what ``artifacts.import_model`` takes. Its
            tests, cut to ``max_depth``, are candidates as they are and polished; leaves are fitted again on each fold.
        tune: False ships a model that was brought untouched, whatever its size. Our own are always tuned.
        plan: efforts by search, ``record_["plan"]`` of a fit that a time limit cut: gives its artefact again.
        progress: called with the stage's name and its share done.
        improved: called with the learner when it holds a better model, while a long search goes on.

    Attributes:
        artifact_: the ``HardEnsemble`` that ships.
        certificate_: its ``Certificate``.
        soft_: the model before hardening, a function from table to probabilities; None where what ships has no
            soft parent.
        loss_: what was minimised.
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
    (Carreira-Perpinan and Tavallali, 2018) for node polish; TREPAN (Craven and Shavlik, 1996) for the teacher.
    """

    classes_: np.ndarray

    def __init__(
        self,
        max_depth: int = 4,
        *,
        max_leaf_nodes: int | None = None,
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
        plan: Mapping[str, float] | None = None,
        progress: Callable[[str, float], None] | None = None,
        improved: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__(
            max_depth, max_leaf_nodes=max_leaf_nodes, min_samples_leaf=min_samples_leaf, metric=metric, holdout=holdout,
            effort=effort, time_limit=time_limit, n_jobs=n_jobs, random_state=random_state, checkpoint=checkpoint,
            init=init, tune=tune, plan=plan, progress=progress, improved=improved,
        )  # fmt: skip
        self.loss = loss
        self.class_weight = class_weight
        self.monotonic_cst = monotonic_cst
        self.forbidden = forbidden

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None, time: Any = None) -> TreeClassifier:
        """Find, harden and certify the tree.

        Args:
            X: ``[n, C]`` array of numbers, NaN where missing, or a data frame with numbers, categories, booleans.
            y: ``[n]`` labels.
            sample_weight: ``[n]``, >= 0; rows of weight 0 are left out.
            groups: ``[n]``, the group of each row, such as a patient: none is on both sides of a fold or the hold-out.
            time: ``[n]``, numbers, dates or their texts: later rows are judged by what earlier ones taught.
        """
        loss = class_loss(self.loss)
        options = self._options(("accuracy", "log_loss"), "accuracy" if loss.name == "log_loss" else loss.name)
        data = self._table(X, y)
        check_classification_targets(data.y)
        data = class_weighted(data.divided(groups, time).weighted(sample_weight), self.class_weight)
        rows = self._class_rows(data)
        rows = replace(rows, asked=loss.prepared(rows))
        count = len(self.classes_)
        names = [f"P({label})" for label in (self.classes_[1:] if count == 2 else self.classes_)]

        def ship(found: Found, aside: np.ndarray) -> None:
            self.artifact_ = to_ensemble(
                found.choice.tree, found.codec, found.values[:, 1:] if count == 2 else found.values, found.counts,
                outputs=names, link="probability", classes=self.classes_.tolist(),
                drop_unreached=found.choice.leaf is None and not found.rows.direction.any(),
            )  # fmt: skip
            parents = found.choice.candidate.soft
            self.soft_ = SoftModel.of(parents[0], None) if parents else None
            self._certify(found.record, found.importance, data, aside, found.rows.loss)

        self._search(data, rows, options, self.classes_, ship)
        self._conclude(data, rows, options.seed)
        return self


@capability(
    "learner",
    papers=("gradtree",),
    hardens_to="HardEnsemble",
    exports=("c", "json", "lightgbm", "onnx", "python", "sklearn", "sql"),
    cost="fit: O(effort folds D n F) time, O(folds n F) memory; predict: O(n D)",
    example=lambda: TreeRegressor(max_depth=2, effort=0.1),
)
class TreeRegressor(RegressorMixin, TreeLearner):
    """One regression tree, found by optimisation instead of greedily; see ``TreeClassifier``.

    Args:
        max_depth: 1 to 10.
        max_leaf_nodes: largest number of leaves.
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
        effort: multiplies kicks, restarts and epochs.
        time_limit: seconds; searches that do not fit are cut, and ``record_`` says which.
        n_jobs: threads; -1 for all cores.
        random_state: seed.
        checkpoint: directory from which a fit that was killed goes on.
        init: a model of one tree to start from: a ``HardEnsemble``, or what ``artifacts.import_model`` takes. Its
            tests, cut to ``max_depth``, are candidates as they are and polished; leaves are fitted again on each fold.
        tune: False ships a model that was brought untouched, whatever its size. Our own are always tuned.
        plan: efforts by search, ``record_["plan"]`` of a fit that a time limit cut: gives its artefact again.
        progress: called with the stage's name and its share done.
        improved: called with the learner when it holds a better model, while a long search goes on.

    Attributes:
        artifact_: the ``HardEnsemble`` that ships.
        certificate_: its ``Certificate``.
        soft_: the model before hardening, or None.
        loss_: what was minimised.
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
        plan: Mapping[str, float] | None = None,
        progress: Callable[[str, float], None] | None = None,
        improved: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__(
            max_depth, max_leaf_nodes=max_leaf_nodes, min_samples_leaf=min_samples_leaf, metric=metric, holdout=holdout,
            effort=effort, time_limit=time_limit, n_jobs=n_jobs, random_state=random_state, checkpoint=checkpoint,
            init=init, tune=tune, plan=plan, progress=progress, improved=improved,
        )  # fmt: skip
        self.loss = loss
        self.quantile = quantile
        self.monotonic_cst = monotonic_cst
        self.forbidden = forbidden

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None, time: Any = None) -> TreeRegressor:
        """Find, harden and certify the tree.

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
        outputs = output_names(y, wide.shape[1])
        data = replace(data, y=wide[:, 0] if wide.shape[1] == 1 else wide)

        def ship(found: Found, aside: np.ndarray) -> None:
            self.artifact_ = to_ensemble(
                found.choice.tree, found.codec, found.values * deviation + mean, found.counts, outputs=outputs,
                link="identity", classes=None,
                drop_unreached=found.choice.leaf is None and not found.rows.direction.any(),
            )  # fmt: skip
            parents = found.choice.candidate.soft
            self.soft_ = SoftModel.of(parents[0], (mean, deviation)) if parents else None
            self._certify(found.record, found.importance, data, aside, found.rows.loss)

        self._search(data, rows, options, None, ship)
        self._conclude(data, rows, options.seed)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
