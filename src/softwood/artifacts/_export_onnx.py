"""The ONNX format: raw columns in, label and score out, the same to the last threshold.

Every comparison is one ``TreeEnsemble`` (ai.onnx.ml 5) in double. It answers the *number of the leaf* that each
tree reaches, because that operator has one target a leaf and leaves hold K values; a ``Gather`` then reads them.
The trees are added one after another, in the model's order, so that sums that tie here tie there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._export_onnx_trees import TreeArrays
from softwood.artifacts._verify import Answers, refuse_empty_level
from softwood.core import UnsupportedError, require

_OPSET, _ML_OPSET, _IR = 17, 5, 9


def write_onnx(model: HardEnsemble) -> bytes:
    """Return the model as ONNX bytes, accepted by ``onnx.checker``.

    Inputs: one ``[N, 1]`` tensor for each raw column, by its name: double for numbers and booleans (0 and 1; NaN is
    missing), text for categories ("" is missing). Outputs: ``label`` ``[N]`` and ``probabilities`` ``[N, classes]``,
    or ``value`` ``[N, K]`` for a regression; all scores are double. An output whose name is a column's gets ``_``
    appended.

    Args:
        model: the ensemble.

    Raises:
        MissingExtraError: onnx is not installed.
        UnsupportedError: a level is the empty text, or the model has no columns.

    Cost: O(nodes + levels of tested columns times the sets that are tested on them).
    """
    onnx = require("onnx", "export")
    refuse_empty_level(model, "onnx")
    if not model.columns:
        raise UnsupportedError("a model without columns has no ONNX inputs; add the columns of the table it is for")
    return _Graph(onnx, model).to_bytes()


class _Graph:
    """Collects nodes and constants; each step returns the name of what it made."""

    def __init__(self, onnx: Any, model: HardEnsemble) -> None:
        self.onnx, self.model = onnx, model
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.taken = {column.name for column in model.columns}

    def to_bytes(self) -> bytes:
        helper, model = self.onnx.helper, self.model
        outputs = self._outputs(self._sum(self._leaves()))
        graph = helper.make_graph(self.nodes, "softwood", self._inputs(), outputs, self.constants)
        proto = helper.make_model(
            graph,
            producer_name="softwood",
            doc_string=f"{model!r}. Missing: NaN in a number or boolean, the empty text in a category; "
            "an unseen level counts as missing.",
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)],
            ir_version=_IR,
        )
        helper.set_model_props(proto, {"softwood.fingerprint": model.fingerprint, "softwood.link": model.link})
        self.onnx.checker.check_model(proto, full_check=True)
        content: bytes = proto.SerializeToString(deterministic=True)
        return content

    # -------------------------------------------------------------- small parts
    def _name(self, wanted: str) -> str:
        while wanted in self.taken:
            wanted += "_"
        self.taken.add(wanted)
        return wanted

    def _constant(self, name: str, array: Any) -> str:
        name = self._name(f"softwood.{name}")
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def _step(self, operator: str, inputs: list[str], out: str | None = None, **attributes: Any) -> str:
        out = out or self._name(f"softwood.{operator}{len(self.nodes)}")
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [out], **attributes))
        return out

    def _inputs(self) -> list[Any]:
        types = {"category": self.onnx.TensorProto.STRING}
        return [
            self.onnx.helper.make_tensor_value_info(c.name, types.get(c.kind, self.onnx.TensorProto.DOUBLE), ["N", 1])
            for c in self.model.columns
        ]

    # -------------------------------------------------------------- raw columns -> number of the leaf in each tree
    def _leaves(self) -> list[str]:
        """Return, for each tree, the row of ``values`` that it reaches, int64 ``[N]``."""
        trees = TreeArrays.of(self.model)
        features = [self._feature(column, sets) for column, sets in trees.tested]
        x = features[0] if len(features) == 1 else self._step("Concat", features, axis=1)
        tensor = self.onnx.numpy_helper.from_array
        reached = self._step(
            "TreeEnsemble",
            [x],
            domain="ai.onnx.ml",
            n_targets=self.model.n_trees,
            aggregate_function=1,  # sum: each tree writes to its own target
            post_transform=0,
            tree_roots=trees.roots,
            nodes_featureids=trees.feature,
            nodes_modes=tensor(np.zeros(len(trees.feature), np.uint8), "modes"),  # all are x <= split
            nodes_splits=tensor(np.array(trees.split, np.float64), "splits"),
            nodes_missing_value_tracks_true=trees.missing_left,
            nodes_truenodeids=trees.children[0],
            nodes_falsenodeids=trees.children[1],
            nodes_trueleafs=trees.child_is_leaf[0],
            nodes_falseleafs=trees.child_is_leaf[1],
            leaf_targetids=trees.leaf_tree,
            leaf_weights=tensor(np.array(trees.leaf_row, np.float64), "leaves"),
        )
        rows = self._step("Cast", [reached], to=self.onnx.TensorProto.INT64)
        if self.model.n_trees == 1:
            return [self._step("Reshape", [rows, self._constant("flat", np.array([-1]))])]
        numbers = [self._constant(f"tree{t}", np.array(t)) for t in range(self.model.n_trees)]
        return [self._step("Gather", [rows, number], axis=1) for number in numbers]

    def _feature(self, position: int, sets: list[int]) -> str:
        """Return a column as double ``[N, 1]``; a category as ``[N, sets]``: 0 where its level is in the set."""
        column = self.model.columns[position]
        if column.kind != "category":
            return column.name
        levels = self._step(
            "LabelEncoder", [column.name], domain="ai.onnx.ml", keys_strings=list(column.levels),
            values_int64s=list(range(len(column.levels))), default_int64=len(column.levels),
        )  # fmt: skip
        flat = self._step("Reshape", [levels, self._constant("flat", np.array([-1]))])
        goes_right = np.full((len(column.levels) + 1, max(len(sets), 1)), np.nan)  # last: missing or unseen
        for place, row in enumerate(sets):
            goes_right[:-1, place] = ~self.model.levels_left[row, : len(column.levels)]
        return self._step("Gather", [self._constant("sets", goes_right), flat], axis=0)

    # -------------------------------------------------------------- leaves -> sum -> answer
    def _sum(self, leaves: list[str]) -> str:
        """Return the sum before the link, double ``[N, K]``."""
        first = self._constant("first_values", self.model.base + self.model.values)
        total = self._step("Gather", [first, leaves[0]], axis=0)
        values = self._constant("values", self.model.values) if len(leaves) > 1 else ""
        for leaf in leaves[1:]:
            total = self._step("Add", [total, self._step("Gather", [values, leaf], axis=0)])
        return total

    def _outputs(self, total: str) -> list[Any]:
        model, types, info = self.model, self.onnx.TensorProto, self.onnx.helper.make_tensor_value_info
        if model.classes is None:
            value = self._step("Exp" if model.link == "exp" else "Identity", [total], self._name("value"))
            return [info(value, types.DOUBLE, ["N", model.n_outputs])]
        classes = np.array(model.classes)
        if classes.dtype.kind == "U":
            classes = classes.astype(object)
        best = self._best_class(total)
        label = self._step("Gather", [self._constant("classes", classes), best], self._name("label"), axis=0)
        scores = self._probabilities(total)
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(classes.dtype)
        return [info(label, kind, ["N"]), info(scores, types.DOUBLE, ["N", len(model.classes)])]

    def _best_class(self, total: str) -> str:
        if self.model.n_outputs > 1:
            return self._step("ArgMax", [total], axis=1, keepdims=0)
        even = 0.5 if self.model.link == "probability" else 0.0
        above = self._step("Greater", [total, self._constant("even", np.array(even))])
        flat = self._step("Reshape", [above, self._constant("flat", np.array([-1]))])
        return self._step("Cast", [flat], to=self.onnx.TensorProto.INT64)

    def _probabilities(self, total: str) -> str:
        name = self._name("probabilities")
        if self.model.link == "softmax":
            return self._step("Softmax", [total], name, axis=1)
        if self.model.n_outputs > 1:
            return self._step("Identity", [total], name)
        share = self._step("Sigmoid", [total]) if self.model.link == "sigmoid" else total
        other = self._step("Sub", [self._constant("one", np.array(1.0)), share])
        return self._step("Concat", [other, share], name, axis=1)


# ------------------------------------------------------------------ checking
def run_onnx(path: Path, model: HardEnsemble, cells: pd.DataFrame) -> Answers:
    """Answer from the file, by onnxruntime.

    Args:
        path: the file.
        model: the ensemble that it was made from; only its columns and outputs are looked at.
        cells: n rows, as ``cells`` makes them.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    runtime = require("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    fed = {}
    for column in model.columns:
        values = cells[column.name].to_numpy()
        if column.kind == "category":
            values = np.array(["" if value is None else value for value in values], dtype=object)
        fed[column.name] = values.reshape(-1, 1)
    outputs = session.run(None, fed)
    if model.classes is None:
        return Answers(None, outputs[0])
    return Answers(np.array([*outputs[0].tolist(), None], dtype=object)[:-1], outputs[1])


def onnx_verifier() -> str:
    """Name the runtime and its version."""
    return f"onnxruntime {require('onnxruntime', 'export').__version__}"
