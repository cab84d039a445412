"""CatBoost's JSON format."""

from __future__ import annotations

from typing import Any

import numpy as np

from softwood.artifacts._columns import Column
from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._import_trees import ForeignTree, as_ensemble, largest_below_float32
from softwood.core import InputError, UnsupportedError

_IDENTITY = ("RMSE", "MAE", "Quantile", "MultiQuantile", "MultiRMSE", "Huber", "Expectile", "Lq", "LogCosh", "MAPE",
             "PairLogit", "PairLogitPairwise", "YetiRank", "YetiRankPairwise", "QueryRMSE")  # fmt: skip
_SIGMOID, _SOFTMAX = ("Logloss", "CrossEntropy"), ("MultiClass",)


def from_catboost(content: dict[str, Any], classes: Any = None) -> HardEnsemble:
    """Turn the JSON content of a CatBoost model into a ``HardEnsemble``.

    Args:
        content: what ``save_model("model.json", format="json")`` writes.
        classes: labels; without them those in the file.

    Raises:
        InputError: the content is no CatBoost model.
        UnsupportedError: splits on categories (the file holds hashes of them, not their names), or a loss whose
            answer is neither the sum nor a logit.
    """
    if "scale_and_bias" not in content or not ("oblivious_trees" in content or "trees" in content):
        raise InputError(
            "this is no CatBoost model",
            got=repr(content)[:60],
            allowed="oblivious_trees or trees, and scale_and_bias",
            fix='save it again with save_model("model.json", format="json")',
        )
    scale, bias = content["scale_and_bias"]
    bias = np.atleast_1d(np.asarray(bias, float))
    info = content.get("model_info", {})
    loss = info.get("params", {}).get("loss_function", {}).get("type", "")
    if loss not in _IDENTITY + _SIGMOID + _SOFTMAX:
        raise UnsupportedError(
            f"CatBoost's loss {loss!r} cannot be imported; these can: {', '.join(_IDENTITY + _SIGMOID + _SOFTMAX)}"
        )
    columns, places, missing_right = _columns(content["features_info"])
    width = len(bias)
    stored = content.get("oblivious_trees") or content.get("trees")
    if not stored:
        raise UnsupportedError("the CatBoost model has no trees; train at least one round")
    read = _oblivious if "oblivious_trees" in content else _nested
    trees = [read(tree, width, float(scale), places, missing_right) for tree in stored]
    if loss in _IDENTITY:
        outputs = ["y"] if width == 1 else [f"y{k}" for k in range(width)]
        return as_ensemble(trees, columns=columns, outputs=outputs, link="identity", classes=None, base=bias)
    if classes is None:
        classes = _labels(info, max(width, 2))
    outputs = [str(label) for label in classes][-width:]
    link = "sigmoid" if loss in _SIGMOID else "softmax"
    return as_ensemble(trees, columns=columns, outputs=outputs, link=link, classes=classes, base=bias)


def _labels(info: dict[str, Any], count: int) -> list[Any]:
    params = info.get("class_params", {})
    found = params.get("class_names") or params.get("class_to_label") or list(range(count))
    kind = params.get("class_label_type")
    return [int(label) for label in found] if kind == "Integer" else list(found)


def _columns(info: dict[str, Any]) -> tuple[list[Column], np.ndarray, np.ndarray]:
    """Return all columns, the place of each number among them, and where its missing values go."""
    numbers = info.get("float_features", [])
    others = [entry for kind, group in info.items() if kind != "float_features" for entry in group
              if isinstance(entry, dict) and "flat_feature_index" in entry]  # fmt: skip
    if any(entry.get("values") for entry in others):
        raise UnsupportedError(_NO_CATEGORIES)
    entries = sorted(numbers + others, key=lambda entry: entry["flat_feature_index"])
    columns = [Column(e.get("feature_id") or f"f{e['flat_feature_index']}", "number") for e in entries]
    found = {entry["flat_feature_index"]: place for place, entry in enumerate(entries)}
    by_index = sorted(numbers, key=lambda entry: entry["feature_index"])
    places = np.array([found[entry["flat_feature_index"]] for entry in by_index], dtype=np.int64)
    return columns, places, np.array([entry["nan_value_treatment"] == "AsTrue" for entry in by_index], bool)


_NO_CATEGORIES = (
    "the CatBoost model splits on categories, of which it keeps hashes and target statistics but no names; "
    "train it on numbers, or encode the categories before"
)


def _oblivious(tree: dict[str, Any], width: int, scale: float, places: np.ndarray,
               missing_right: np.ndarray) -> ForeignTree:  # fmt: skip
    """Write one test a level as a complete tree; split i decides bit i of the leaf's number."""
    splits = tree["splits"][::-1]  # the last split is the highest bit: it stands at the root
    number, border = _tests(splits)
    levels = len(splits)
    inner, leaves = 2**levels - 1, 2**levels
    level = np.repeat(np.arange(levels), 2 ** np.arange(levels))  # of each inner node
    size = inner + leaves
    feature, threshold = np.full(size, -1), np.full(size, np.nan)
    feature[:inner] = places[number][level] if levels else 0
    threshold[:inner] = largest_below_float32(border, strict=False)[level]
    missing_left = np.zeros(size, bool)
    missing_left[:inner] = ~missing_right[number][level] if levels else False
    values, counts = np.zeros((size, width)), np.zeros(size)
    values[inner:] = scale * np.array(tree["leaf_values"], float).reshape(leaves, width)
    if len(tree.get("leaf_weights", [])) == leaves:
        counts[inner:] = tree["leaf_weights"]
    here = np.arange(size)
    return ForeignTree(feature, threshold, missing_left, 2 * here + 1, 2 * here + 2, values, counts)


def _nested(tree: dict[str, Any], width: int, scale: float, places: np.ndarray,
            missing_right: np.ndarray) -> ForeignTree:  # fmt: skip
    """Read a tree of any shape, which the file nests."""
    nodes, left, right = [tree], [], []
    for node in nodes:  # grows while it is read
        inner = "split" in node
        left.append(len(nodes) if inner else 0)
        right.append(len(nodes) + 1 if inner else 0)
        nodes += [node["left"], node["right"]] if inner else []
    is_inner = np.array(left) > 0
    size = len(nodes)
    feature, threshold, missing_left = np.full(size, -1), np.full(size, np.nan), np.zeros(size, bool)
    number, border = _tests([node["split"] for node in nodes if "split" in node])
    feature[is_inner], missing_left[is_inner] = places[number], ~missing_right[number]
    threshold[is_inner] = largest_below_float32(border, strict=False)
    values, counts = np.zeros((size, width)), np.zeros(size)
    for place in np.flatnonzero(~is_inner):
        values[place] = scale * np.asarray(nodes[place]["value"], float)
        counts[place] = nodes[place].get("weight", 0)
    return ForeignTree(feature, threshold, missing_left, np.array(left), np.array(right), values, counts)


def _tests(splits: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the number and the border of each split; a row goes right if its float32 value is above the border."""
    if any(split.get("split_type", "FloatFeature") != "FloatFeature" for split in splits):
        raise UnsupportedError(_NO_CATEGORIES)
    number = np.array([split["float_feature_index"] for split in splits], dtype=np.int64)
    return number, np.array([split["border"] for split in splits], dtype=np.float64)
