"""LightGBM's text format."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._columns import Column
from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._import_trees import ForeignTree, as_ensemble
from softwood.artifacts._values import canonical_text
from softwood.core import InputError, UnsupportedError

# what LightGBM's decision_type packs: bit 0 category, bit 1 default left, bits 2 and 3 what counts as missing
_CATEGORY, _DEFAULT_LEFT, _ZERO_IS_MISSING, _NAN_IS_MISSING = 1, 2, 1, 2
_ZERO = float(np.float32(1e-35))  # values up to here are zero to LightGBM
_MOST_NODES = 1_000_000
Codes = dict[int, np.ndarray]  # of a category column: the whole number by which LightGBM knows each level

_IDENTITY = ("regression", "regression_l2", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank",
             "rank_xendcg", "custom", "")  # fmt: skip
_EXPONENTIAL = ("poisson", "gamma", "tweedie")


def from_lightgbm(text: str, classes: Any = None) -> HardEnsemble:
    """Turn the text of a LightGBM model into a ``HardEnsemble``.

    Args:
        text: what ``Booster.model_to_string`` gives.
        classes: labels; without them 0, 1, ...

    Raises:
        InputError: the text is no whole LightGBM model.
        UnsupportedError: linear trees, or an objective whose answer is neither the sum nor a logit.
    """
    head, blocks = _split(text)
    if not blocks:
        raise UnsupportedError("the LightGBM model has no trees; train at least one round")
    columns, codes = _columns(head, text)
    width = int(head["num_tree_per_iteration"])
    link, scale = _link(head, width)
    classes = None if link in ("identity", "exp") else list(range(max(width, 2))) if classes is None else list(classes)
    if "average_output" in head:
        scale /= len(blocks) / width
    trees = [_tree(block, number % width, width, scale, codes) for number, block in enumerate(blocks)]
    outputs = [f"y{k}" for k in range(width)] if width > 1 else ["y"]
    if classes is not None:
        outputs = [str(label) for label in classes][-width:]
    return as_ensemble(trees, columns=columns, outputs=outputs, link=link, classes=classes, base=np.zeros(width))


def _split(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the head of the file and its trees, as key -> value."""
    body, end, _ = text.partition("\nend of trees")
    parts = re.split(r"^Tree=\d+\s*$", body, flags=re.MULTILINE)
    fields = [{line.partition("=")[0]: line.partition("=")[2].strip() for line in part.splitlines() if line}
              for part in parts]  # fmt: skip
    needed = {"feature_names", "num_tree_per_iteration", "feature_infos"}
    if not end or not needed <= set(fields[0]) or any("leaf_value" not in tree for tree in fields[1:]):
        raise InputError(
            "this is no whole LightGBM model",
            got=text[:60],
            allowed="the text that Booster.save_model writes",
            fix="save the model again",
        )
    return fields[0], fields[1:]


def _link(head: dict[str, str], width: int) -> tuple[str, float]:
    """Return the link, and what raw scores are multiplied by before it."""
    name, *options = head.get("objective", "").split() or [""]
    if name == "binary":
        return "sigmoid", float(next((o.partition(":")[2] for o in options if o.startswith("sigmoid:")), 1.0))
    if name == "multiclass":
        return "softmax", 1.0
    if name in _IDENTITY and "sqrt" not in options:
        return "identity", 1.0
    if name in _EXPONENTIAL:
        return "exp", 1.0
    raise UnsupportedError(
        f"LightGBM's objective {' '.join([name, *options])!r} cannot be imported; binary, multiclass and these can: "
        + ", ".join(filter(None, _IDENTITY + _EXPONENTIAL))
    )


def _columns(head: dict[str, str], text: str) -> tuple[list[Column], Codes]:
    names, infos = head["feature_names"].split(), head["feature_infos"].split()
    # numbers are written [low:high], categories 3:1:2, constant columns none
    categorical = [i for i, info in enumerate(infos) if info != "none" and not info.startswith("[")]
    found = re.search(r"^pandas_categorical:(.*)$", text, flags=re.MULTILINE)
    known = json.loads(found[1]) if found else None
    if known and len(known) != len(categorical):
        raise UnsupportedError(
            f"the model was trained on {len(known)} category columns, but splits {len(categorical)} as categories; "
            "which is which is not written in it: drop constant category columns, and pass ordered ones as numbers"
        )
    columns = [Column(name, "number") for name in names]
    codes = {}
    for number, place in enumerate(categorical):
        if known:
            texts = [str(text) for text in canonical_text(pd.Series(known[number], dtype=object))]
            codes[place] = np.arange(len(texts))
        else:  # whole numbers instead of names: those that were seen
            codes[place] = np.unique(np.array([code for code in map(int, infos[place].split(":")) if code >= 0]))
            texts = [str(code) for code in codes[place]]
        columns[place] = Column(names[place], "category", tuple(texts) or ("(none)",))
    return columns, codes


def _tree(block: dict[str, str], output: int, width: int, scale: float, codes: Codes) -> ForeignTree:
    if block.get("is_linear", "0") == "1":
        raise UnsupportedError("LightGBM's linear trees cannot be imported; train with linear_tree=False")

    def numbers(name: str, dtype: Any) -> np.ndarray:
        return np.array(block.get(name, "").split(), dtype=dtype)

    leaves = scale * numbers("leaf_value", np.float64)
    counts = numbers("leaf_count", np.float64) if "leaf_count" in block else np.zeros(len(leaves))
    inner = len(leaves) - 1
    size = inner + len(leaves)
    values, weight = np.zeros((size, width)), np.zeros(size)
    values[inner:, output] = leaves
    weight[inner:] = counts if len(counts) == len(leaves) else 0
    tree = ForeignTree(
        feature=np.full(size, -1), threshold=np.full(size, np.nan), missing_left=np.zeros(size, bool),
        left=np.zeros(size, np.int64), right=np.zeros(size, np.int64), values=values, counts=weight,
    )  # fmt: skip
    if inner == 0:
        return tree
    kind = numbers("decision_type", np.int64)
    missing, default_left = kind >> 2 & 3, (kind & _DEFAULT_LEFT) > 0
    tree.feature[:inner] = numbers("split_feature", np.int64)
    tree.threshold[:inner] = _beside_zero(numbers("threshold", np.float64))
    for side in ("left", "right"):
        child = numbers(f"{side}_child", np.int64)
        getattr(tree, side)[:inner] = np.where(child >= 0, child, inner + ~child)
    # where missing values are not set apart, they are compared as zero
    tree.missing_left[:inner] = np.where(missing == 0, tree.threshold[:inner] >= 0, default_left)
    _read_sets(tree, block, np.flatnonzero(kind & _CATEGORY), codes)
    zero = np.flatnonzero((missing == _ZERO_IS_MISSING) & (kind & _CATEGORY == 0))
    return _set_zero_apart(tree, zero) if len(zero) else tree


def _beside_zero(threshold: np.ndarray) -> np.ndarray:
    """Move thresholds that lie among the values which LightGBM reads as zero, to the end where zero is."""
    moved = np.where((threshold >= -_ZERO) & (threshold < 0), np.nextafter(-_ZERO, -np.inf), threshold)
    return np.where((moved >= 0) & (moved < _ZERO), _ZERO, moved)


def _read_sets(tree: ForeignTree, block: dict[str, str], nodes: np.ndarray, codes: Codes) -> None:
    """Read the bit sets of category nodes; what is not in them, missing included, goes right."""
    words = np.array(block.get("cat_threshold", "").split(), dtype="<u4")
    bounds = [int(part) for part in block.get("cat_boundaries", "").split()]
    for node in nodes:
        row = int(tree.threshold[node])
        bits = np.unpackbits(words[bounds[row] : bounds[row + 1]].view(np.uint8), bitorder="little").astype(bool)
        tree.sets[int(node)] = np.isin(codes[int(tree.feature[node])], np.flatnonzero(bits))
        tree.threshold[node], tree.missing_left[node] = np.nan, False


def _set_zero_apart(tree: ForeignTree, nodes: np.ndarray) -> ForeignTree:
    """Let zero go where the node sends missing values (``zero_as_missing``).

    Such a node cuts the line into at most four pieces, whose branches are copied; a piece that the path above has
    ruled out is left out.
    """
    apart = set(nodes.tolist())
    new: list[tuple[int, float, bool, int]] = []  # old node, threshold, missing left, first child (second follows)
    waiting: list[tuple[int, int, dict[int, tuple[float, float]]]] = []

    def put(old: int, within: dict[int, tuple[float, float]]) -> int:
        new.append((old, 0.0, False, 0))
        waiting.append((len(new) - 1, old, within))
        return len(new) - 1

    put(0, {})
    while waiting:
        if len(new) > _MOST_NODES:
            raise UnsupportedError("a tree trained with zero_as_missing needs too many copies of its branches")
        here, old, within = waiting.pop()
        feature, left, right = int(tree.feature[old]), int(tree.left[old]), int(tree.right[old])
        if feature < 0:
            continue
        if old not in apart:
            first = put(left, within)
            put(right, within)
            new[here] = (old, float(tree.threshold[old]), bool(tree.missing_left[old]), first)
            continue
        pieces = _pieces(float(tree.threshold[old]), bool(tree.missing_left[old]), within.get(feature, _EVERYTHING))
        for position, (low, high, goes_left, has_zero) in enumerate(pieces):
            branch, inside = (left if goes_left else right), {**within, feature: (low, high)}
            if position == len(pieces) - 1:  # what is left over: the branch itself stands here
                new[here] = (branch, 0.0, False, 0)
                waiting.append((here, branch, inside))
                continue
            first = put(branch, inside)
            new.append((old, 0.0, False, 0))
            new[here] = (old, high, has_zero, first)
            here = first + 1
    return _copied(tree, new)


_EVERYTHING = (-np.inf, np.inf)


def _pieces(threshold: float, zero_left: bool, within: tuple[float, float]) -> list[tuple[float, float, bool, bool]]:
    """Cut ``(low, high]`` where the side changes: low, high, whether it goes left, whether zero (and missing) is in."""
    below = float(np.nextafter(-_ZERO, -np.inf))
    cuts = sorted({within[0], *(cut for cut in (below, _ZERO, threshold) if within[0] < cut < within[1]), within[1]})
    pieces: list[tuple[float, float, bool, bool]] = []
    for low, high in itertools.pairwise(cuts):
        has_zero = low < 0 <= high
        goes_left = zero_left if below <= low and high <= _ZERO else high <= threshold
        if pieces and pieces[-1][2] == goes_left:
            low, has_zero = pieces[-1][0], has_zero or pieces[-1][3]
            pieces.pop()
        pieces.append((low, high, goes_left, has_zero))
    return pieces


def _copied(tree: ForeignTree, new: list[tuple[int, float, bool, int]]) -> ForeignTree:
    old = np.array([entry[0] for entry in new])
    first = np.array([entry[3] for entry in new])
    inner = first > 0
    copies = np.bincount(old, minlength=len(tree.feature))  # a leaf's rows are shared among its copies
    return ForeignTree(
        feature=np.where(inner, tree.feature[old], -1),
        threshold=np.array([entry[1] for entry in new]),
        missing_left=np.array([entry[2] for entry in new]),
        left=first,
        right=first + 1,
        values=tree.values[old],
        counts=tree.counts[old] / copies[old],
        sets={place: tree.sets[node] for place, node in enumerate(old.tolist()) if node in tree.sets},
    )
