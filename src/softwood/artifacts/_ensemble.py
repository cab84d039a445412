"""``HardEnsemble``: the one discrete artefact of trees and forests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from softwood.artifacts._columns import Column, encode_table
from softwood.artifacts._draw import draw_tree
from softwood.artifacts._explain import Explanation, explain_rows
from softwood.artifacts._paths import node_indicator
from softwood.artifacts._shap import expected_raw, shap_encoded
from softwood.artifacts._structure import check_structure, leaf_values, tree_depth
from softwood.core import InputError, UnsupportedError, capability, load_artifact, save_artifact
from softwood.kernels import Packed, leaf_indices, pack, raw_scores

KIND, VERSION = "hard-ensemble", 1
_DTYPES = {
    "feature": np.int32, "threshold": np.float64, "missing_left": np.bool_, "left": np.int32, "right": np.int32,
    "level_set": np.int32, "levels_left": np.bool_, "leaf": np.int32, "values": np.float64, "counts": np.float64,
    "roots": np.int32, "base": np.float64,
}  # fmt: skip


@capability(
    "artefact",
    exports=("c", "json", "lightgbm", "onnx", "python", "sklearn", "sql"),
    cost="predict: O(n T (depth + K)) time, O(n K) memory",
    example=lambda: HardEnsemble.single_leaf((Column("x", "number"),), np.array([0.5]), outputs=("y",)),
)
@dataclass(frozen=True, eq=False, repr=False)
class HardEnsemble:
    r"""A sum of hard decision trees over the raw columns of a table, with vector leaves.

    .. math:: F(x) = \text{base} + \sum_{t=1}^{T} \text{values}[\text{leaf}_t(x)], \qquad
              \text{answer} = \text{link}(F(x))

    All trees lie in one set of flat arrays; a child always has a larger index than its parent, so every walk
    ends. N nodes, L leaves, T trees, K outputs, C columns.

    Args:
        columns: the C raw columns, in the order in which ``feature`` counts them.
        outputs: K names, one for each number in a leaf.
        link: ``identity`` (regression), ``exp`` (regression; leaves hold logarithms), ``probability`` (leaves hold
            probabilities; K = 1 is P(classes[1])), ``sigmoid`` or ``softmax`` (leaves hold logits).
        classes: labels, or None for regression.
        feature: int32 ``[N]``, column tested, -1 at a leaf.
        threshold: float64 ``[N]``; a row goes left if ``x <= threshold``. NaN at leaves and category nodes.
        missing_left: bool ``[N]``, where a missing value or an unseen level goes.
        left: int32 ``[N]``.
        right: int32 ``[N]``.
        level_set: int32 ``[N]``, row of ``levels_left`` at a category node, else -1.
        levels_left: bool ``[M, max_levels]``, which levels go left.
        leaf: int32 ``[N]``, row of ``values`` at a leaf, else -1.
        values: float64 ``[L, K]``.
        counts: float64 ``[L]``, training weight that reached the leaf.
        roots: int32 ``[T]``.
        base: float64 ``[K]``.

    Raises:
        InputError: the arrays do not describe trees.

    Example:
        >>> model = HardEnsemble.single_leaf((Column("x", "number"),), np.array([0.5]), outputs=("y",))
        >>> model.predict(np.zeros((2, 1)))
        array([0.5, 0.5])
    """

    columns: tuple[Column, ...]
    outputs: tuple[str, ...]
    link: str
    classes: tuple[Any, ...] | None
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    level_set: np.ndarray
    levels_left: np.ndarray
    leaf: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    roots: np.ndarray
    base: np.ndarray

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            # a copy: the caller's array stays the caller's, and writable
            array: np.ndarray = np.array(getattr(self, name), dtype=dtype, order="C")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        for name in ("columns", "outputs", "classes"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(_plain(label) for label in self.classes))
        check_structure(self)

    @classmethod
    def single_leaf(
        cls,
        columns: Sequence[Column],
        value: np.ndarray,
        *,
        outputs: Sequence[str],
        link: str = "identity",
        classes: Sequence[Any] | None = None,
    ) -> HardEnsemble:
        """Return the model that answers the same for every row.

        Args:
            columns: raw columns.
            value: ``[K]``, the answer before the link.
            outputs: K names.
            link: see the class.
            classes: labels, or None.
        """
        one = np.zeros(1, np.int32)
        return cls(
            tuple(columns), tuple(outputs), link, None if classes is None else tuple(classes),
            one - 1, np.array([np.nan]), np.zeros(1, bool), one, one, one - 1, np.zeros((0, 0), bool), one,
            np.asarray(value, float).reshape(1, -1), np.zeros(1), one, np.zeros(len(outputs)),
        )  # fmt: skip

    @property
    def n_outputs(self) -> int:
        """Numbers in a leaf, K."""
        return len(self.outputs)

    @property
    def n_trees(self) -> int:
        """Trees, T."""
        return len(self.roots)

    @property
    def n_splits(self) -> int:
        """Inner nodes over all trees."""
        return int((self.feature >= 0).sum())

    @property
    def n_leaves(self) -> int:
        """Leaves over all trees, L."""
        return len(self.values)

    @property
    def n_leaf_values(self) -> int:
        """The size that ``budget`` counts: a leaf with K outputs counts K, and in a tree of one class of many 1."""
        return leaf_values(self)

    @property
    def depth(self) -> int:
        """Splits on the longest path."""
        return tree_depth(self)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that name this model; every export carries them."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def encode(self, table: Any) -> np.ndarray:
        """Return the model columns of a table as float64 ``[n, C]``; see ``encode_table``."""
        return encode_table(self.columns, table)

    def apply(self, table: Any) -> np.ndarray:
        """Return the leaf that each row reaches in each tree, int32 ``[n, T]``."""
        return self.apply_encoded(self.encode(table))

    def apply_encoded(self, x: np.ndarray) -> np.ndarray:
        """Do ``apply`` for a table that ``encode`` has already turned into float64 ``[n, C]``."""
        leaves: np.ndarray = leaf_indices(
            x, self.feature, self.threshold, self.missing_left, self.left, self.right, self.level_set,
            self.levels_left, self.leaf, self.roots,
        )  # fmt: skip
        return leaves

    def raw(self, table: Any) -> np.ndarray:
        """Return the sum before the link, float64 ``[n, K]``."""
        return self.raw_encoded(self.encode(table))

    def raw_encoded(self, x: np.ndarray) -> np.ndarray:
        """Do ``raw`` for an encoded table."""
        scores: np.ndarray = raw_scores(np.ascontiguousarray(x), self._packed)
        return scores

    @cached_property
    def _packed(self) -> Packed:
        """The trees as ``raw_scores`` wants them, laid out at the first prediction."""
        return pack(
            self.feature, self.threshold, self.missing_left, self.left, self.right, self.level_set, self.levels_left,
            self.leaf, self.values, self.roots, self.base,
        )  # fmt: skip

    def predict_proba(self, table: Any) -> np.ndarray:
        """Return class probabilities, float64 ``[n, number of classes]``.

        Raises:
            UnsupportedError: the model is a regression.
        """
        if self.classes is None:
            raise UnsupportedError("a regression model has no class probabilities; use predict")
        return self.probabilities(self.raw(table))

    def probabilities(self, raw: np.ndarray) -> np.ndarray:
        """Turn the sum before the link, ``[n, K]``, into class probabilities."""
        if self.link == "softmax":
            shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
            result: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
            return result
        if self.link == "sigmoid":
            power = np.exp(-np.abs(raw))  # never overflows
            raw = np.where(raw >= 0, 1.0, power) / (1.0 + power)
        return np.column_stack([1.0 - raw[:, 0], raw[:, 0]]) if self.n_outputs == 1 else raw

    def predict(self, table: Any) -> np.ndarray:
        """Return the label of each row, or the value ``[n]`` (``[n, K]`` for K > 1) for regression.

        Equal probabilities: the class that stands first.
        """
        raw = self.raw(table)
        if self.classes is None:
            numbers = self.numbers(raw)
            return numbers[:, 0] if self.n_outputs == 1 else numbers
        return self.labels(raw)

    def numbers(self, raw: np.ndarray) -> np.ndarray:
        """Turn the sum before the link, ``[n, K]``, into the values that a regression predicts."""
        result: np.ndarray = np.exp(raw) if self.link == "exp" else raw
        return result

    def labels(self, raw: np.ndarray) -> np.ndarray:
        """Turn the sum before the link, ``[n, K]``, into labels ``[n]``.

        The sums are compared, not the probabilities: ``exp`` differs in its last digit between languages, and
        would decide near-ties differently in an export.
        """
        even = 0.5 if self.link == "probability" else 0.0
        best = raw.argmax(axis=1) if self.n_outputs > 1 else (raw[:, 0] > even).astype(np.intp)
        labels: np.ndarray = np.asarray(self.classes)[best]
        return labels

    def shap_values(self, table: Any) -> np.ndarray:
        r"""Return what each column adds to the raw score of each row: exact Shapley values, float64 ``[n, C, K]``.

        .. math:: \text{raw}(x) = \text{expected\_value} + \sum_{c=1}^{C} \varphi_c(x)

        A column that is "unknown" lets a row go both ways at a node, in the shares of the training weight
        (path-dependent TreeSHAP).

        Args:
            table: n rows.

        Raises:
            UnsupportedError: ``counts`` holds no training weight for some tree.

        Cost: O(n L m (m + K)) time for L leaves with m distinct columns on the path, O(n C K) memory.

        Source: Lundberg et al., From local explanations to global understanding with explainable AI for trees, 2020.
        """
        return shap_encoded(self, self.encode(table))

    @property
    def expected_value(self) -> np.ndarray:
        """The raw score that ``shap_values`` start from: the mean over the training weight, float64 ``[K]``."""
        return expected_raw(self)

    def decision_path(self, table: Any) -> tuple[csr_matrix, np.ndarray]:
        """Return which nodes each row passes: CSR ``[n, N]`` of 1s, and where each tree's nodes begin, ``[T + 1]``.

        Args:
            table: n rows.
        """
        return node_indicator(self, self.encode(table))

    def explain(
        self, table: Any, *, keep: Collection[str] = (), wanted: Any = None, by: float | None = None,
        units: Mapping[str, float] | None = None, counterfactual: bool = True,
    ) -> list[Explanation]:  # fmt: skip
        """Explain the answer to each row: its paths, what each column adds, and the nearest row answered otherwise.

        Args:
            table: n rows.
            keep: names of columns that may not change.
            wanted: the label to reach, None for any other; of a regression the value to reach.
            by: of a regression, how much the value has to rise (> 0) or fall (< 0) at least.
            units: what counts as a change of 1 in each number column, by its name; see ``Counterfactual``.
            counterfactual: search for one; a regression needs ``wanted`` or ``by`` as well.

        Raises:
            InputError: a column to keep is unknown, or what is wanted does not fit the model.

        Cost: that of ``shap_values``, and for each row a search over all thresholds, about 0.1 s for a forest.

        Example:
            >>> model = HardEnsemble.single_leaf((Column("x", "number"),), np.array([0.5]), outputs=("y",))
            >>> model.explain({"x": [1.0]})[0].paths[0].says
            'y = 0.5'
        """
        return explain_rows(self, table, keep=keep, wanted=wanted, by=by, units=units, counterfactual=counterfactual)

    def draw(self, tree: int = 0, *, max_depth: int = 8) -> str:
        """Return one tree as an SVG picture: tests, yes and no, where missing values go, answers and their counts.

        Args:
            tree: which tree, 0 for the first.
            max_depth: deepest level that is drawn; what lies below is counted.

        Raises:
            InputError: there is no such tree.
        """
        return draw_tree(self, tree, max_depth=max_depth)

    def __call__(self, table: Any) -> np.ndarray:
        """Return ``predict_proba`` for a classifier, ``predict`` for a regression."""
        return self.predict(table) if self.classes is None else self.predict_proba(table)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole model as JSON content; NaN thresholds become None."""
        content: dict[str, Any] = {"columns": [column.to_dict() for column in self.columns]}
        for entry in fields(self)[1:]:
            value = getattr(self, entry.name)
            content[entry.name] = value.tolist() if isinstance(value, np.ndarray) else value
        content["threshold"] = [None if np.isnan(t) else t for t in self.threshold.tolist()]
        content["classes"] = None if self.classes is None else list(self.classes)
        content["outputs"] = list(self.outputs)
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> HardEnsemble:
        """Build the model that ``to_dict`` described."""
        filled = dict(content)
        filled["columns"] = tuple(Column.from_dict(column) for column in content["columns"])
        filled["threshold"] = [np.nan if t is None else t for t in content["threshold"]]
        width = max((len(row) for row in content["levels_left"]), default=0)
        filled["levels_left"] = np.array(content["levels_left"], bool).reshape(len(content["levels_left"]), width)
        filled["values"] = np.array(content["values"], float).reshape(-1, len(content["outputs"]))
        return cls(**filled)

    def save(self, path: str | Path, *, extras: Mapping[str, str] | None = None) -> Path:
        """Write the model to a directory, whole or not at all.

        Args:
            path: the directory.
            extras: further text files by name.
        """
        content = {
            "columns": [column.to_dict() for column in self.columns],
            "outputs": list(self.outputs),
            "link": self.link,
            "classes": None if self.classes is None else list(self.classes),
        }
        arrays = {name: getattr(self, name) for name in _DTYPES}
        return save_artifact(path, kind=KIND, version=VERSION, fields=content, arrays=arrays, extras=extras)

    @classmethod
    def load(cls, path: str | Path) -> HardEnsemble:
        """Read a model that ``save`` wrote.

        Raises:
            InputError: there is nothing at ``path``.
            DamagedFileError: it is not whole, of another kind, or newer than this version.
        """
        content, arrays = load_artifact(path, kind=KIND, version=VERSION)
        content["columns"] = tuple(Column.from_dict(column) for column in content["columns"])
        return cls(**{**content, **arrays})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HardEnsemble) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return (
            f"HardEnsemble({self.n_trees} tree{'s' * (self.n_trees != 1)}, {self.n_splits} splits, "
            f"{self.n_leaves} leaves, {self.n_leaf_values} leaf values, depth {self.depth}, {self.link})"
        )

    def __str__(self) -> str:
        from softwood.artifacts._rules import rules  # here: rules.py draws on this class

        return rules(self)


def _plain(label: Any) -> Any:
    """Turn a NumPy scalar into the Python value that JSON can hold."""
    label = label.item() if isinstance(label, np.generic) else label
    if not isinstance(label, (str, int, float, bool)):
        raise InputError(
            "a class label cannot be stored", got=repr(label), allowed="text, whole number, number or boolean",
            fix="convert the target with astype(str)",
        )  # fmt: skip
    return label
