"""``partial_fit`` of the learners: certify on a batch, learn from it, ship what comes out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight

from softwood.artifacts import HardEnsemble, verified_constraints
from softwood.core import Budget, InputError, check_number
from softwood.trees._constraints import asked_constraints
from softwood.trees._convert import forest_to_ensemble, to_ensemble
from softwood.trees._dense_tree import grown, node_costs, pruned_to
from softwood.trees._explained import training_facts
from softwood.trees._forest import BoostSetting, boost
from softwood.trees._labels import class_codes, plain_labels
from softwood.trees._loss_names import class_loss, regression_loss
from softwood.trees._rows import Group, Rows
from softwood.trees._stability import split_weights
from softwood.trees._stream import Stream
from softwood.trees._training import output_names

_LEAST_LEAF = 5.0
_LOSSES = ("log_loss", "squared", "absolute", "quantile")
_LIMIT = "what ships now: it has learned from these rows since; these numbers are of the model that stood before"


class Streamed:
    """What lets a learner go on learning, batch by batch."""

    artifact_: HardEnsemble
    _stream: Stream | None = None

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Go on learning from a further batch of rows by gradient, and ship the rounding of what comes out.

        What ships is softened, trained on the batch, and rounded again: ``artifact_`` and ``soft_`` are new.
        ``certificate_`` is measured on the batch before it is learned from (prequential), so it is about the model that
        stood before. A learner that is not fitted starts with CART, or a booster, of the first batch. The first batch
        also gives the bins that thresholds may move to. One tree may change all its tests, a forest its thresholds and
        leaves; neither grows beyond the depth, the leaves and the budget that were asked for.

        Args:
            X: table as in ``fit``, n rows.
            y: target as in ``fit``.
            classes: all labels there will be, where the first batch starts the model and may lack some.
            sample_weight: ``[n]``, >= 0.

        Raises:
            InputError: a label is new, a loss or a constraint that gradients on batches do not keep, or another table.

        Cost: O(steps nodes F); 30 steps of 256 rows, or two passes where that is more, times ``effort``.

        Example:
            >>> from sklearn.datasets import load_iris
            >>> from softwood.trees import TreeClassifier
            >>> X, y = load_iris(return_X_y=True)
            >>> tree = TreeClassifier(max_depth=2)
            >>> for part in range(3):
            ...     tree = tree.partial_fit(X[part::3], y[part::3], classes=[0, 1, 2])
            >>> tree.certificate_.n, tree.record_["stream"]["rows"]
            (50, 150)
        """
        self._check_streamable()
        learner: Any = self
        is_new = not hasattr(self, "artifact_")
        table, x, target, given, weight = self._begin(X, y, classes, sample_weight) if is_new else self._next(
            X, y, classes, sample_weight)  # fmt: skip
        known = self.artifact_.classes
        targets = (
            np.asarray(target, np.float64).reshape(len(target), -1)
            if known is None else np.eye(len(known))[class_codes(known, target)]
        )  # fmt: skip
        if not is_new:
            rows = f"the {len(x)} rows of batch {self._batches + 1}, before they were learned from (prequential)"
            learner.certificate_ = learner._certificate(table, target, given, rows, [_LIMIT, *self._not_covered])
        if self._stream is None:
            is_tree = not hasattr(self, "budget")
            grows = is_tree and learner.max_leaf_nodes is None and learner.min_samples_leaf <= 1
            self._stream = Stream(
                self.artifact_, x, targets, learner.loss_, depth=learner.max_depth if is_tree else None, grows=grows,
                forbidden=[*(learner.forbidden or ())],
                seed=int(check_random_state(learner.random_state).randint(2**31 - 1)),
            )  # fmt: skip
            learner._can_refit(None)
        self._stream.learn(x, targets, weight, check_number("effort", learner.effort, low=0.01, high=100))
        self.artifact_, learner.soft_ = self._stream.model, self._stream.soft
        learner.feature_importances_ = split_weights(self.artifact_)
        before = learner.record_.get("stream", {"batches": 0, "rows": 0})
        learner.record_ = {
            **learner.record_, **training_facts(self.artifact_, x, target, given),
            "stream": {"batches": before["batches"] + 1, "rows": before["rows"] + len(x)},
        }  # fmt: skip
        if is_new:
            told = f"the {len(x)} rows of the first batch, which it has learned from"
            limits = ["rows that training has not seen: no model stood before this batch, so numbers are optimistic"]
            learner.certificate_ = learner._certificate(table, target, given, told, limits)
        return self

    @property
    def _batches(self) -> int:
        learner: Any = self
        return int(learner.record_.get("stream", {"batches": 0})["batches"])

    @property
    def _not_covered(self) -> list[str]:
        learner: Any = self
        return list(learner.record_.get("not_covered", ()))

    def _check_streamable(self) -> None:
        learner: Any = self
        if learner.loss not in _LOSSES:
            raise InputError(
                "partial_fit does not take this loss", got=repr(learner.loss), allowed=", ".join(_LOSSES),
                fix="fit to all rows at once",
            )  # fmt: skip
        if learner.monotonic_cst is not None:
            raise InputError(
                "partial_fit keeps to no directions", got="monotonic_cst", allowed="None",
                fix="fit to all rows at once, or leave it out",
            )  # fmt: skip

    def _next(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> tuple[Any, ...]:
        """Check a further batch; return table, encoded rows, target, weights as given, and weights of mean 1."""
        learner: Any = self
        table = learner._frame(X)
        known = self.artifact_.classes
        if known is None:
            target = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
            target = target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target
        else:
            target = np.asarray(plain_labels(y)).ravel()
            asked = target if classes is None else np.concatenate([target, np.asarray(classes).ravel()])
            strange = [label for label in np.unique(asked).tolist() if label not in known]
            if strange:
                raise InputError(
                    "the batch holds labels that the model does not know", got=", ".join(map(repr, strange[:5])),
                    allowed=", ".join(map(repr, known)), fix="name all labels in the first call, with classes=",
                )  # fmt: skip
        check_consistent_length(table, target)
        x = self.artifact_.encode(table)
        weight = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        keep = weight > 0
        if not keep.any():
            raise InputError("no row has weight", got="weights that are all 0", allowed="one > 0", fix="check them")
        given = None if sample_weight is None else weight[keep]
        return table[keep], x[keep], target[keep], given, weight[keep] / weight[keep].mean()

    def _begin(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> tuple[Any, ...]:
        """Set up a learner that is not fitted, with CART or a booster of the batch."""
        learner: Any = self
        is_classes = hasattr(self, "predict_proba")
        checks = {} if is_classes else {"multi_output": True, "y_numeric": True}
        data = learner._table(X, y, **checks).weighted(sample_weight)
        if is_classes:
            known = np.unique(data.y if classes is None else plain_labels(classes))
            strange = np.setdiff1d(data.y, known)
            if len(known) < 2 or len(strange):
                raise InputError(
                    "classes do not fit the labels",
                    got=f"{known.tolist()[:8]} for labels {np.unique(data.y).tolist()[:8]}",
                    allowed="two or more, all labels among them", fix="pass classes= with all labels there will be",
                )  # fmt: skip
            learner.classes_ = known
            labels = class_codes(known.tolist(), data.y).astype(np.int32)
            rows = Rows(data.columns, data.x, labels, np.eye(len(known))[labels], data.weight)
            learner.loss_ = class_loss(learner.loss)
        else:
            wide = data.y.astype(np.float64).reshape(len(data.y), -1)
            data = replace(data, y=wide[:, 0] if wide.shape[1] == 1 else wide)
            rows = Rows(data.columns, data.x, np.zeros(0, np.int32), wide, data.weight)
            learner.loss_ = regression_loss(learner.loss, learner.quantile)
        rows = learner._constrained(rows)
        self.artifact_ = _first_model(learner, replace(rows, asked=None), y)
        learner.record_ = {
            "shipped": {"search": "gradient, batch by batch"}, "loss": learner.loss_.name, "held_out_rows": 0,
            "constraints": asked_constraints(None, learner.forbidden, self.artifact_.columns),
        }  # fmt: skip
        verified_constraints(self.artifact_, **learner.record_["constraints"])
        return data.table, data.x, data.y, data.given_weight, data.weight


def _first_model(learner: Any, rows: Rows, y: Any) -> HardEnsemble:
    """Return a greedily grown tree, or a booster, of the first batch."""
    group = Group(rows, np.ones(rows.n, bool))
    classes = learner.classes_.tolist() if rows.is_classification else None
    names = None if classes is None else classes[1:] if len(classes) == 2 else classes
    depth = check_number("max_depth", learner.max_depth, low=1, integer=True)
    if hasattr(learner, "budget"):
        budget = Budget(learner.budget, "leaf values").limit
        forest = boost(group, BoostSetting(8, 0.3, _LEAST_LEAF, max_depth=depth), budget)
        outputs = output_names(y, rows.targets.shape[1]) if names is None else [f"logit({label})" for label in names]
        link = "identity" if classes is None else "sigmoid" if len(classes) == 2 else "softmax"
        return forest_to_ensemble(forest, group, outputs=outputs, link=link, classes=classes)
    data = group.problem("squared" if classes is None else "gini", max(_LEAST_LEAF, learner.min_samples_leaf), 0.0)
    tree = grown(data, depth)
    if learner.max_leaf_nodes is not None:
        tree = pruned_to(tree, node_costs(tree, data), learner.max_leaf_nodes)
    values = group.values(tree, "squared" if classes is None else "gini", 0.0 if classes is None else 1.0)
    return to_ensemble(
        tree, group.codec, values[:, 1:] if classes is not None and len(classes) == 2 else values,
        tree.statistics(data)[:, 0], classes=classes,
        outputs=output_names(y, rows.targets.shape[1]) if names is None else [f"P({label})" for label in names],
        link="identity" if classes is None else "probability",
    )  # fmt: skip
