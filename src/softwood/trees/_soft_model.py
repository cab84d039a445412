"""The model before hardening, from raw table to answer: what a certificate compares with what ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from softwood.artifacts import Column, encode_table
from softwood.data import Feature, QuantileCodec
from softwood.trees._coded_tree import CodedTree, to_dense, to_hard
from softwood.trees._soft_tree import gate, path_probabilities


@dataclass(frozen=True, eq=False)
class SoftModel:
    """A soft tree with the codec in front of it and the scale of the answer behind it.

    Every node keeps only the feature that it tests, since the others do not enter the answer.

    Args:
        codec: one feature for each node.
        threshold: float64 ``[I]``, ranks.
        missing_left: bool ``[I]``.
        leaf: float64 ``[I + 1, K]``, logits or scaled values.
        temperature: of the gates, in ranks.
        gate: see ``SoftTree``.
        mean: float64 ``[K]``, of regression targets; None for classification.
        deviation: float64 ``[K]``, of regression targets; None for classification.

    Example:
        See ``TreeClassifier.soft_``.
    """

    codec: QuantileCodec
    threshold: np.ndarray
    missing_left: np.ndarray
    leaf: np.ndarray
    temperature: float
    gate: str
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None

    @classmethod
    def of(cls, tree: CodedTree, scale: tuple[np.ndarray, np.ndarray] | None) -> SoftModel:
        """Cut what answers out of a soft tree.

        Args:
            tree: annealed.
            scale: mean and deviation of regression targets, or None.
        """
        codec = tree.hardening.codec
        chosen = tree.feature_logits.argmax(-1)
        threshold = tree.threshold.detach().gather(-1, chosen[:, None])[:, 0].double().numpy()
        features = tuple(codec.features[int(f)] for f in chosen)
        return cls(
            QuantileCodec(codec.columns, features), threshold, (tree.missing_logit >= 0).numpy(),
            tree.leaf.detach().double().numpy(), float(tree.temperature), tree.gate, *(scale or (None, None)),
        )  # fmt: skip

    def _right(self, table: Any) -> torch.Tensor:
        """Return the probability of going right at each node, ``[n, I]``."""
        x = encode_table(self.codec.columns, table)
        ranks = torch.from_numpy(self.codec.ranks(self.codec.transform(x))).double()
        right = gate((ranks - torch.from_numpy(self.threshold)) / self.temperature, self.gate)
        return torch.where(torch.isnan(ranks), (~torch.from_numpy(self.missing_left)).double(), right)

    def _answer(self, raw: np.ndarray) -> np.ndarray:
        if self.mean is not None and self.deviation is not None:
            values: np.ndarray = raw * self.deviation + self.mean
            return values[:, 0] if values.shape[1] == 1 else values
        shifted = np.exp(raw - raw.max(1, keepdims=True))
        shares: np.ndarray = shifted / shifted.sum(1, keepdims=True)
        return shares

    def __call__(self, table: Any) -> np.ndarray:
        """Return probabilities ``[n, classes]``, or values ``[n]`` or ``[n, K]``."""
        return self._answer((path_probabilities(self._right(table)) @ torch.from_numpy(self.leaf)).numpy())

    def in_band(self, table: Any) -> np.ndarray:
        """Return which rows lie in the soft band of a node on their way, bool ``[n]``."""
        likeliest: np.ndarray = path_probabilities(self._right(table)).amax(-1).numpy()
        return likeliest < 1.0

    def rounded(self, table: Any) -> np.ndarray:
        """Return the answers of the plain rounding: nearest cuts, the soft tree's own leaves."""
        nodes = np.arange(len(self.threshold))
        tree = to_dense(nodes, self.threshold, self.missing_left, self.codec)
        x = encode_table(self.codec.columns, table)
        ranks = torch.from_numpy(self.codec.ranks(self.codec.transform(x)))
        leaf = to_hard(tree, self.codec, self.leaf).leaf_of(ranks).numpy()
        return self._answer(self.leaf[leaf])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content."""
        return {
            "columns": [column.to_dict() for column in self.codec.columns],
            "features": [
                {
                    "column": f.column,
                    "cuts": f.cuts.tolist(),
                    "level_bin": f.level_bin.tolist(),
                    "ranks": f.ranks.tolist(),
                }
                for f in self.codec.features
            ],
            "threshold": self.threshold.tolist(),
            "missing_left": self.missing_left.tolist(),
            "leaf": self.leaf.tolist(),
            "temperature": self.temperature,
            "gate": self.gate,
            "mean": None if self.mean is None else self.mean.tolist(),
            "deviation": None if self.deviation is None else self.deviation.tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SoftModel:
        """Build the model that ``to_dict`` described."""
        features = tuple(Feature.from_dict(feature) for feature in content["features"])
        scale = [None if content[name] is None else np.array(content[name], float) for name in ("mean", "deviation")]
        return cls(
            QuantileCodec(tuple(Column.from_dict(c) for c in content["columns"]), features),
            np.array(content["threshold"], float), np.array(content["missing_left"], bool),
            np.array(content["leaf"], float), float(content["temperature"]), str(content["gate"]), *scale,
        )  # fmt: skip
