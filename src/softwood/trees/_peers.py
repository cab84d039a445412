"""Two models that anyone would try, on the rows of the certificate: CART of the same size, and full-size boosting."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from softwood.artifacts import HardEnsemble
from softwood.lifecycle import paired_error
from softwood.trees._labels import class_codes

_MOST_ROWS = 20_000  # that peers learn from
_TREES, _MOST_LEVELS = 100, 255
_CART_LEAF = 5  # least rows in a leaf of CART
_CLIP = 1e-15  # as in certify


def peers(
    model: HardEnsemble,
    learned: tuple[np.ndarray, Any, np.ndarray],
    judged: tuple[np.ndarray, Any, np.ndarray],
    *,
    effort: float,
    seed: int,
) -> list[dict[str, Any]]:
    """Fit peers on the rows that the model was learned from, and judge all of them on other rows.

    CART has at most as many leaves as the model has leaf values, 5 rows in each, and its shares are pulled to those
    of all rows by the weight of one row. The booster is scikit-learn's histogram booster with its own settings, 100
    trees of 31 leaves, fewer for an effort below 1. Both learn from at most 20,000 rows.

    Args:
        model: what ships.
        learned: encoded rows ``[n, C]``, labels or values, weights.
        judged: the same of the rows that they are judged on.
        effort: of the fit.
        seed: of the draw of rows, and of the peers.

    Returns:
        JSON content of each, what ships first: ``name``, ``leaf_values``, ``loss`` (mean log-loss or squared error),
        ``error`` (share of wrong labels, or root of the mean squared error), and ``versus``, the loss of what ships
        minus this one's with its standard error.
    """
    x, y, weight = learned
    if len(x) > _MOST_ROWS:
        rows = np.random.default_rng(seed).choice(len(x), _MOST_ROWS, replace=False)
        x, y, weight = x[rows], y[rows], weight[rows]
    is_class = model.classes is not None
    target = class_codes(model.classes, y) if model.classes is not None else np.asarray(y, float)
    answers = [("what ships", model.n_leaf_values, _own(model, judged[0]))]
    if is_class and len(np.unique(target)) < 2:
        return _judged(model, judged, answers)  # the other classes came later: there is nothing to fit a peer to
    leaves = max(model.n_leaf_values // (model.n_outputs if is_class else 1), 2)
    cart = (DecisionTreeClassifier if is_class else DecisionTreeRegressor)(
        max_leaf_nodes=leaves, min_samples_leaf=_CART_LEAF, random_state=seed
    ).fit(x, target, weight)
    width = 1 if not is_class or len(cart.classes_) == 2 else len(cart.classes_)
    shares = _widened(_smoothed(cart, judged[0]), cart, model) if is_class else cart.predict(judged[0])
    answers.append(("CART of the same size", cart.get_n_leaves() * width, shares))
    kinds = [c.kind == "category" and len(c.levels) < _MOST_LEVELS for c in model.columns]
    booster = (HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor)(
        max_iter=max(round(_TREES * min(effort, 1.0)), 1), early_stopping=False, random_state=seed,
        categorical_features=kinds if any(kinds) else None,
    )  # fmt: skip
    # its threads wait for each other after every node: on a busy machine one is many times faster than two
    with warnings.catch_warnings(), threadpool_limits(1, user_api="openmp"):
        warnings.simplefilter("ignore")  # about columns in which all values are missing
        booster.fit(x, target, weight)
    size = sum(tree.get_n_leaf_nodes() for trees in booster._predictors for tree in trees)
    found = _widened(booster.predict_proba(judged[0]), booster, model) if is_class else booster.predict(judged[0])
    answers.append((f"histogram boosting, {booster.n_iter_} rounds", size, found))
    return _judged(model, judged, answers)


def _own(model: HardEnsemble, x: np.ndarray) -> np.ndarray:
    raw = model.raw_encoded(x)
    return model.probabilities(raw) if model.classes is not None else model.numbers(raw)[:, 0]


def _smoothed(cart: DecisionTreeClassifier, x: np.ndarray) -> np.ndarray:
    """Return class shares of CART's leaves, pulled to those of all rows by the weight of one row."""
    leaf = cart.apply(x)
    inside, weight = cart.tree_.value[:, 0], cart.tree_.weighted_n_node_samples[:, None]
    shares: np.ndarray = ((inside * weight + inside[0]) / (weight + 1))[leaf]
    return shares


def _widened(shares: np.ndarray, peer: Any, model: HardEnsemble) -> np.ndarray:
    """Return class shares with a column for each class, 0 for those that came later than what was learned from."""
    wide = np.zeros((len(shares), len(model.classes or ())))
    wide[:, peer.classes_] = shares
    return wide


def _judged(
    model: HardEnsemble, judged: tuple[np.ndarray, Any, np.ndarray], answers: list[tuple[str, int, np.ndarray]]
) -> list[dict[str, Any]]:
    _, y, weight = judged
    weight = weight / weight.sum()
    losses, made = [], []
    for name, size, found in answers:
        if model.classes is None:
            loss = (found - np.asarray(y, float)) ** 2
            error = float(np.sqrt(weight @ loss))
        else:
            codes = class_codes(model.classes, y)
            loss = -np.log(np.clip(found[np.arange(len(codes)), codes], _CLIP, 1.0))
            error = float(weight @ (found.argmax(axis=1) != codes))
        losses.append(loss)
        apart = losses[0] - loss
        made.append({
            "name": name, "leaf_values": int(size), "loss": float(weight @ loss), "error": error,
            "versus": {"difference": float(weight @ apart), "error": paired_error(apart, weight)},
        })  # fmt: skip
    return made
