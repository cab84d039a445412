"""XGBoost's JSON format."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from softwood.artifacts._columns import Column
from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._import_trees import ForeignTree, as_ensemble, largest_below_float32
from softwood.core import InputError, UnsupportedError

_IDENTITY = ("reg:squarederror", "reg:linear", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror",
             "rank:pairwise", "rank:ndcg", "rank:map")  # fmt: skip
_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie")
_SPARE_CODES = 32


def from_xgboost(content: dict[str, Any], classes: Any = None) -> HardEnsemble:
    """Turn the JSON content of an XGBoost model into a ``HardEnsemble``.

    XGBoost stores no training weight of leaves; their sum of second derivatives ("cover") takes its place.
    Where categories are whole numbers without names, the file does not say which ones there were: those up to the
    largest in any split, and 32 more, are known; numbers beyond count as missing.

    Args:
        content: what ``Booster.save_model("model.json")`` writes.
        classes: labels; without them 0, 1, ...

    Raises:
        InputError: the content is no XGBoost model.
        UnsupportedError: a linear booster, or an objective whose answer is neither the sum nor a logit.
    """
    try:
        learner = content["learner"]
        booster, shape, objective = learner["gradient_booster"], learner["learner_model_param"], learner["objective"]
        kind = booster["name"]
    except (KeyError, TypeError):
        raise InputError(
            "this is no XGBoost model",
            got="other content",
            allowed="the JSON that Booster.save_model writes",
            fix="save the model again, with a name that ends in .json",
        ) from None
    if kind not in ("gbtree", "dart"):
        raise UnsupportedError(f"XGBoost's booster {kind!r} has no trees; gbtree and dart can be imported")
    forest = booster["model"] if kind == "gbtree" else booster["gbtree"]["model"]
    if not forest["trees"]:
        raise UnsupportedError("the XGBoost model has no trees; train at least one round")
    drops = booster.get("weight_drop", [1.0] * len(forest["trees"]))
    width = max(int(shape["num_class"]), int(shape.get("num_target", 1)), 1)
    link, base = _link(objective["name"], shape, width)
    columns, names_known = _columns(learner, forest, int(shape["num_feature"]))
    trees = []
    for tree, output, weight in zip(forest["trees"], forest["tree_info"], drops, strict=True):
        trees.append(_tree(tree, output, width, float(weight), columns, names_known))
    outputs = [f"y{k}" for k in range(width)] if width > 1 else ["y"]
    if link in ("sigmoid", "softmax"):
        classes = list(range(max(width, 2))) if classes is None else list(classes)
        outputs = [str(label) for label in classes][-width:]
    else:
        classes = None
    return as_ensemble(trees, columns=columns, outputs=outputs, link=link, classes=classes, base=base)


def _link(objective: str, shape: dict[str, Any], width: int) -> tuple[str, np.ndarray]:
    stored = str(shape["base_score"]).strip("[]").split(",")  # one number, or since version 3.1 one an output
    base = np.resize(np.array(stored, np.float32).astype(np.float64), width)
    if objective == "binary:logistic" and width == 1:
        return "sigmoid", np.log(base) - np.log1p(-base)  # stored as a probability
    if objective in ("multi:softprob", "multi:softmax"):
        return "softmax", base
    if objective in _IDENTITY:
        return "identity", base
    if objective in _EXPONENTIAL:
        return "exp", np.log(base)  # stored as a value
    raise UnsupportedError(
        f"XGBoost's objective {objective!r} with {width} outputs cannot be imported; binary:logistic, multi:softprob, "
        f"multi:softmax and these can: {', '.join(_IDENTITY + _EXPONENTIAL)}"
    )


def _columns(learner: dict[str, Any], forest: dict[str, Any], count: int) -> tuple[list[Column], bool]:
    """Return the columns, and whether the file names the levels of its categories."""
    names = learner.get("feature_names") or [f"f{i}" for i in range(count)]
    types = learner.get("feature_types") or ["float"] * count
    largest = np.full(count, -1)
    for tree in forest["trees"]:
        for node, codes in _right_codes(tree).items():
            feature = tree["split_indices"][node]
            largest[feature] = max(largest[feature], *codes, 0)
    stored = (forest.get("cats") or {}).get("enc") or []
    columns = []
    for place, (name, kind) in enumerate(zip(names, types, strict=True)):
        if kind != "c" and largest[place] < 0:
            columns.append(Column(name, "number"))
            continue
        levels = _level_names(stored[place]) if stored else list(map(str, range(largest[place] + 1 + _SPARE_CODES)))
        columns.append(Column(name, "category", tuple(levels)))
    return columns, bool(stored)


def _level_names(stored: dict[str, Any]) -> list[str]:
    """Read the names of one column: bytes one behind the other, or whole numbers."""
    if "offsets" not in stored:
        return [str(value) for value in stored["values"]]
    text, ends = bytes(value % 256 for value in stored["values"]), stored["offsets"]
    if not text.isascii():
        # XGBoost (seen in 3.2) counts characters where bytes are meant: the names are cut at wrong places
        raise UnsupportedError(
            "XGBoost stores category names with letters beyond ASCII cut at wrong places; rename them and train again"
        )
    return [text[start:end].decode() for start, end in itertools.pairwise(ends)]


def _right_codes(tree: dict[str, Any]) -> dict[int, list[int]]:
    """Return for each category node the codes that go right."""
    nodes, starts, sizes = tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"]
    return {
        node: tree["categories"][start : start + size] for node, start, size in zip(nodes, starts, sizes, strict=True)
    }


def _tree(tree: dict[str, Any], output: int, width: int, weight: float, columns: list[Column],
          names_known: bool) -> ForeignTree:  # fmt: skip
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    inner = left >= 0
    split = np.array(tree["split_conditions"], np.float32)
    default_left = np.array(tree["default_left"]).astype(bool)
    values = np.zeros((len(left), width))
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:  # a vector in each leaf, found through the right child
        vectors = np.array(tree["leaf_weights"], np.float32).reshape(-1, width)
        values[~inner] = weight * vectors[right[~inner]]
    else:
        values[:, output] = np.where(inner, 0.0, weight * split.astype(np.float64))
    feature = np.where(inner, np.array(tree["split_indices"]), -1)
    sets = {}
    for node, codes in _right_codes(tree).items():
        sets[node] = ~np.isin(np.arange(len(columns[feature[node]].levels)), codes)
    return ForeignTree(
        feature=feature, threshold=largest_below_float32(split, strict=True), missing_left=default_left,
        left=left, right=np.where(inner, right, -1), values=values, counts=np.array(tree["sum_hessian"], float),
        sets=sets,
    )  # fmt: skip
