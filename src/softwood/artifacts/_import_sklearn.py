"""Trees, forests and boosters of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._columns import Column
from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._import_trees import ForeignTree, as_ensemble, largest_below_float32
from softwood.artifacts._values import canonical_text
from softwood.core import InputError, UnsupportedError

_STEP = 2.0**-50  # shares in forests are whole multiples of this: sums of them are exact, whatever the order

TREES = ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")
FORESTS = ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")
BOOSTERS = ("GradientBoostingClassifier", "GradientBoostingRegressor")
HISTOGRAM = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")


def from_sklearn(model: Any) -> HardEnsemble:
    """Turn a fitted estimator of scikit-learn into a ``HardEnsemble``.

    Args:
        model: one of ``TREES``, ``FORESTS``, ``BOOSTERS``, ``HISTOGRAM``, or of a subclass.

    Raises:
        InputError: it is not fitted.
        UnsupportedError: another estimator, several targets of classes, or a link other than identity and logit.
    """
    names = {kind.__name__ for kind in type(model).__mro__}
    if not hasattr(model, "n_features_in_"):
        raise InputError("the estimator is not fitted", got=type(model).__name__, allowed="a fitted one", fix="fit it")
    if names.intersection(TREES):
        return _averaged(model, [model])
    if names.intersection(FORESTS):
        return _averaged(model, model.estimators_)
    if names.intersection(BOOSTERS):
        return _boosted(model)
    if names.intersection(HISTOGRAM):
        return _histogram(model)
    raise UnsupportedError(
        f"{type(model).__name__} cannot be imported; of scikit-learn these can: "
        + ", ".join(TREES + FORESTS + BOOSTERS + HISTOGRAM)
    )


def _names(model: Any) -> list[str]:
    found = getattr(model, "feature_names_in_", None)
    return [f"x{i}" for i in range(model.n_features_in_)] if found is None else [str(name) for name in found]


def _numbers(model: Any) -> list[Column]:
    return [Column(name, "number") for name in _names(model)]


def _tree(estimator: Any, values: np.ndarray) -> ForeignTree:
    """Read the arrays of one ``tree_``; it compares float32 values with float64 thresholds."""
    tree = estimator.tree_
    inner = tree.children_left >= 0
    return ForeignTree(
        feature=np.where(inner, tree.feature, -1),
        threshold=largest_below_float32(tree.threshold, strict=False),
        missing_left=np.asarray(tree.missing_go_to_left).astype(bool) & inner,
        left=tree.children_left, right=tree.children_right, values=values, counts=tree.weighted_n_node_samples,
    )  # fmt: skip


# ------------------------------------------------------------------ trees and forests: the mean over trees
def _averaged(model: Any, estimators: list[Any]) -> HardEnsemble:
    values = [estimator.tree_.value for estimator in estimators]
    count = len(estimators)
    if not hasattr(model, "classes_"):
        trees = [_tree(e, v[:, :, 0] / count) for e, v in zip(estimators, values, strict=True)]
        outputs = ["y"] if model.n_outputs_ == 1 else [f"y{k}" for k in range(model.n_outputs_)]
        return _finish(model, trees, outputs, "identity", None, np.zeros(len(outputs)))
    if model.n_outputs_ > 1:
        raise UnsupportedError(f"{type(model).__name__} predicts several targets of classes; fit one model for each")
    classes = np.atleast_1d(model.classes_)
    if len(classes) == 1:
        raise UnsupportedError(f"{type(model).__name__} has seen one class only, {classes[0]!r}: there is no decision")
    shares = [v[:, 0, :] / v[:, 0, :].sum(axis=1, keepdims=True) if abs(v[0].sum() - 1) > 1e-6 else v[:, 0, :]
              for v in values]  # fmt: skip
    # with two classes one share says all, unless rounding made the other one differ
    if len(classes) == 2 and (count > 1 or (np.argmax(shares[0], axis=1) == (shares[0][:, 1] > 0.5)).all()):
        shares = [share[:, 1:] for share in shares]
    if count > 1:
        # rounded down, so that an exact tie stays one, and the first class wins it as in scikit-learn
        shares = [np.floor(share / count / _STEP) * _STEP for share in shares]
    trees = [_tree(e, share) for e, share in zip(estimators, shares, strict=True)]
    outputs = _class_outputs(classes)[-shares[0].shape[1] :]
    return _finish(model, trees, outputs, "probability", classes, np.zeros(len(outputs)))


def _class_outputs(classes: np.ndarray) -> list[str]:
    return [str(label) for label in classes]


def _finish(model: Any, trees: list[ForeignTree], outputs: list[str], link: str, classes: Any, base: Any,
            columns: list[Column] | None = None) -> HardEnsemble:  # fmt: skip
    columns = _numbers(model) if columns is None else columns
    return as_ensemble(trees, columns=columns, outputs=outputs, link=link, classes=classes, base=base)


# ------------------------------------------------------------------ boosters: a sum of logits
def _boosted(model: Any) -> HardEnsemble:
    classes = getattr(model, "classes_", None)
    if classes is not None and model.loss == "exponential":
        raise UnsupportedError("GradientBoostingClassifier(loss='exponential') has its own link; use loss='log_loss'")
    if model.init_ != "zero" and type(model.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise UnsupportedError(
            f"the booster starts from a {type(model.init_).__name__}, which is no part of the trees; fit with init=None"
        )
    width = model.estimators_.shape[1]
    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))[0]  # the same for every row
    base = np.where(start == 0, np.nextafter(0.0, 1.0), start) if width == 1 and classes is not None else start
    trees = []
    for stage in model.estimators_:
        for output, estimator in enumerate(stage):
            values = np.zeros((estimator.tree_.node_count, width))
            values[:, output] = model.learning_rate * estimator.tree_.value[:, 0, 0]
            trees.append(_tree(estimator, values))
    return _finish(model, trees, *_logits(classes, width), base)


def _logits(classes: Any, width: int) -> tuple[list[str], str, Any]:
    if classes is None:
        return ["y"], "identity", None
    if width == 1:
        return [str(classes[1])], "sigmoid", classes
    return _class_outputs(classes), "softmax", classes


def _histogram(model: Any) -> HardEnsemble:
    classes = getattr(model, "classes_", None)
    columns, position = _histogram_columns(model)
    base = model._baseline_prediction.ravel()
    trees = []
    for stage in model._predictors:
        for output, predictor in enumerate(stage):
            trees.append(_histogram_tree(predictor, output, len(base), columns, position))
    outputs, link, classes = _logits(classes, len(base))
    link = "exp" if model.loss in ("poisson", "gamma") else link
    return _finish(model, trees, outputs, link, classes, base, columns)


def _histogram_columns(model: Any) -> tuple[list[Column], np.ndarray]:
    """Return the columns as the user gives them, and for each column inside the model where that is."""
    columns = _numbers(model)
    categorical = model.is_categorical_
    if categorical is None:
        return columns, np.arange(len(columns))
    # inside, the categories come first, coded by their rank
    position = np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])
    encoder = model._preprocessor.named_transformers_["encoder"]
    for place, known in zip(position, encoder.categories_, strict=False):
        texts = canonical_text(pd.Series(known, dtype=object if known.dtype == object else known.dtype))
        levels = [text for text in texts if text is not None]
        columns[place] = Column(columns[place].name, "category", tuple(levels) or ("(none)",))
    return columns, position


def _histogram_tree(
    predictor: Any, output: int, width: int, columns: list[Column], position: np.ndarray
) -> ForeignTree:
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    values = np.zeros((len(nodes), width))
    values[:, output] = nodes["value"]
    feature = np.where(inner, position[nodes["feature_idx"]], -1)
    sets = {}
    for node in np.flatnonzero(inner & (nodes["is_categorical"] == 1)):
        words = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]].astype("<u4")
        bits = np.unpackbits(words.view(np.uint8), bitorder="little").astype(bool)
        sets[int(node)] = bits[: len(columns[feature[node]].levels)]
    return ForeignTree(
        feature=feature, threshold=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"] == 1, left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64), values=values, counts=nodes["count"].astype(np.float64), sets=sets,
    )  # fmt: skip
