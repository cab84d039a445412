"""LightGBM's text format: a file that ``lightgbm.Booster(model_file=...)`` loads, and that predicts the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._verify import Answers, ExportMismatchError, NotRunError
from softwood.core import UnsupportedError

# what LightGBM's decision_type packs: bit 0 category, bit 1 default left, bits 2 and 3 what counts as missing (2: NaN)
_CATEGORY, _DEFAULT_LEFT, _NAN_IS_MISSING = 1, 2, 8
_ZERO = float(np.float32(1e-35))  # LightGBM takes numbers up to here, on either side, for zero
_OBJECTIVES = {"exp": "poisson", "sigmoid": "binary sigmoid:1", "softmax": "multiclass num_class:{}"}


def write_lightgbm(model: HardEnsemble) -> str:
    """Return the model as the text of a LightGBM model.

    A leaf of LightGBM holds one number: K outputs become K trees for each of ours. The base goes into the first tree.
    Links ``exp``, ``sigmoid`` and ``softmax`` are the objectives ``poisson``, ``binary`` and ``multiclass``; for
    ``identity`` and ``probability`` there is no objective and ``predict`` gives values or probabilities as they are
    (for K = 1 that of the second class). Categories are pandas category columns, in the model's order of columns.
    LightGBM keeps no labels: they stand in the line ``softwood_classes``, which it skips.

    Args:
        model: the ensemble.

    Raises:
        UnsupportedError: a threshold between -1e-35 and 1e-35, or the link ``exp`` with several outputs.

    Cost: O(K nodes + levels of the tested sets).
    """
    _refuse_thresholds_near_zero(model)
    if model.link == "exp" and model.n_outputs > 1:
        raise UnsupportedError("LightGBM predicts one count at a time; export to onnx, c or python")
    roots = model.roots.tolist()
    blocks = [_tree(model, root, k, first=t == 0) for t, root in enumerate(roots) for k in range(model.n_outputs)]
    if not roots:
        blocks = [f"num_leaves=1\nnum_cat=0\nleaf_value={value!r}\nshrinkage=1\n" for value in model.base.tolist()]
    head = {
        "version": "v4",
        "num_class": model.n_outputs,
        "num_tree_per_iteration": model.n_outputs,
        "label_index": 0,
        "max_feature_idx": len(model.columns) - 1,
        "softwood_fingerprint": model.fingerprint,
        # an equals sign would split the line
        "softwood_classes": json.dumps(list(model.classes or ())).replace("=", "\\u003d"),
        "feature_names": " ".join(feature_names(model)),
        "feature_infos": " ".join(_info(len(column.levels)) for column in model.columns),
    }
    if model.link in _OBJECTIVES:
        head["objective"] = _OBJECTIVES[model.link].format(model.n_outputs)
    lines = ["tree", *(f"{key}={value}" for key, value in head.items()), ""]
    for number, block in enumerate(blocks):
        lines += [f"Tree={number}", block, ""]
    categories = [list(column.levels) for column in model.columns if column.kind == "category"]
    lines += ["end of trees", "", "feature_importances:", "", "parameters:", "end of parameters", ""]
    return "\n".join([*lines, f"pandas_categorical:{json.dumps(categories)}", ""])


def feature_names(model: HardEnsemble) -> list[str]:
    """Return names for the columns that LightGBM accepts: without blanks and JSON's own characters, each once."""
    found: dict[str, None] = {}
    for column in model.columns:
        wanted = name = re.sub(r'[\s\x00-\x1f",:\[\]{}=\\]+', "_", column.name) or "_"
        number = 2
        while name in found:
            name, number = f"{wanted}_{number}", number + 1
        found[name] = None
    return list(found)


def _refuse_thresholds_near_zero(model: HardEnsemble) -> None:
    near = np.flatnonzero((np.abs(model.threshold) < _ZERO) & (model.feature >= 0))
    if len(near):
        column = model.columns[model.feature[near[0]]].name
        raise UnsupportedError(
            f"column {column!r} is split at {float(model.threshold[near[0]])!r}, and LightGBM takes all numbers from "
            "-1e-35 to 1e-35 for zero, so that some of them would go the other way; export to onnx, c or python"
        )


def _info(levels: int) -> str:
    # an infinity would be no JSON in Booster.dump_model
    return ":".join(map(str, range(levels))) if levels else "[-1e+308:1e+308]"


@dataclass
class _Block:
    """The arrays of one tree; inner nodes and leaves are numbered apart, leaf i is written ``~i`` as a child."""

    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    decision: list[int] = field(default_factory=list)
    children: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    leaves: list[int] = field(default_factory=list)
    boundaries: list[int] = field(default_factory=lambda: [0])
    words: list[int] = field(default_factory=list)


def _tree(model: HardEnsemble, root: int, output: int, *, first: bool) -> str:
    block, order = _Block(), _inner_nodes(model, root)
    numbers = {node: number for number, node in enumerate(order)}

    def child(node: int) -> int:
        if node in numbers:
            return numbers[node]
        block.leaves.append(int(model.leaf[node]))
        return ~(len(block.leaves) - 1)

    for node in order:
        left, right = child(int(model.left[node])), child(int(model.right[node]))
        swap = _add_test(model, node, block)
        for side, number in zip(block.children, (right, left) if swap else (left, right), strict=True):
            side.append(number)
    if not order:
        block.leaves.append(int(model.leaf[root]))
    values = model.values[block.leaves, output] + (model.base[output] if first else 0.0)
    counts = np.rint(model.counts[block.leaves]).astype(np.int64)
    rows: dict[str, Iterable[Any]] = {"leaf_value": values.tolist(), "leaf_weight": counts, "leaf_count": counts}
    if order:
        rows = {
            "split_feature": block.feature, "split_gain": [0] * len(order), "threshold": block.threshold,
            "decision_type": block.decision, "left_child": block.children[0], "right_child": block.children[1], **rows,
            "internal_value": [0] * len(order), "internal_weight": [0] * len(order),
            "internal_count": _inner_counts(block, counts),
        }  # fmt: skip
    if block.words:
        rows |= {"cat_boundaries": block.boundaries, "cat_threshold": block.words}
    lines = [f"num_leaves={len(block.leaves)}", f"num_cat={len(block.boundaries) - 1}"]
    lines += [f"{name}={' '.join(map(str, items))}" for name, items in rows.items()]
    return "\n".join([*lines, "is_linear=0", "shrinkage=1", ""])


def _inner_nodes(model: HardEnsemble, root: int) -> list[int]:
    """Return the inner nodes of a tree, parents before children."""
    found, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        if model.feature[node] >= 0:
            found.append(node)
            waiting += [int(model.right[node]), int(model.left[node])]
    return found


def _add_test(model: HardEnsemble, node: int, block: _Block) -> bool:
    """Add the test of a node; return whether its children change places.

    In LightGBM, a missing or unknown category always goes right: where ours goes left, the other levels are listed.
    """
    missing_left = bool(model.missing_left[node])
    block.feature.append(int(model.feature[node]))
    if model.level_set[node] < 0:
        block.threshold.append(float(model.threshold[node]))
        block.decision.append(_NAN_IS_MISSING + _DEFAULT_LEFT * missing_left)
        return False
    left = model.levels_left[model.level_set[node], : len(model.columns[model.feature[node]].levels)]
    bits = np.packbits(left != missing_left, bitorder="little")
    words = np.frombuffer(np.pad(bits, (0, -len(bits) % 4)).tobytes(), "<u4").tolist()
    block.threshold.append(float(len(block.boundaries) - 1))  # which set
    block.decision.append(_CATEGORY + _NAN_IS_MISSING)
    block.words += words
    block.boundaries.append(len(block.words))
    return missing_left


def _inner_counts(block: _Block, counts: np.ndarray) -> list[int]:
    found = [0] * len(block.feature)
    for node in reversed(range(len(found))):
        for side in block.children:
            child = side[node]
            found[node] += found[child] if child >= 0 else int(counts[~child])
    return found


# ------------------------------------------------------------------ checking
def run_lightgbm(path: Path, model: HardEnsemble, cells: pd.DataFrame) -> Answers:
    """Answer from the file, by LightGBM.

    Args:
        path: the file.
        model: the ensemble that it was made from; its columns, and the rule that makes labels out of sums.
        cells: n rows, as ``cells`` makes them.

    Raises:
        NotRunError: lightgbm is not installed.
        ExportMismatchError: the file names other classes.
    """
    booster = _lightgbm().Booster(model_str=path.read_bytes().decode())
    names = feature_names(model)
    fed = pd.DataFrame({
        # pandas wants unknown categories taken out by hand
        name: pd.Categorical(cells[c.name].where(cells[c.name].isin(c.levels)), categories=list(c.levels))
        if c.kind == "category" else cells[c.name]
        for name, c in zip(names, model.columns, strict=True)
    })  # fmt: skip
    raw = booster.predict(fed, raw_score=True).reshape(len(cells), -1)
    if model.classes is None:
        return Answers(None, booster.predict(fed).reshape(len(cells), -1) if model.link == "exp" else raw)
    found = re.search(r"^softwood_classes=(.*)$", path.read_bytes().decode(), flags=re.MULTILINE)
    classes = json.loads(found[1]) if found else None
    if [(type(c), c) for c in classes or ()] != [(type(c), c) for c in model.classes]:
        raise ExportMismatchError("lightgbm", f"its classes are {classes}")
    scores = booster.predict(fed).reshape(len(cells), -1)
    scores = np.column_stack([1.0 - scores[:, 0], scores[:, 0]]) if model.n_outputs == 1 else scores
    return Answers(np.array([*model.labels(raw).tolist(), None], dtype=object)[:-1], scores)


def _lightgbm() -> Any:
    try:
        return import_module("lightgbm")
    except (ImportError, OSError):  # OSError: installed, and its OpenMP library is not
        raise NotRunError("lightgbm is not installed; to fix: pip install lightgbm") from None


def lightgbm_verifier() -> str:
    """Name the library and its version."""
    return f"LightGBM {_lightgbm().__version__}"
