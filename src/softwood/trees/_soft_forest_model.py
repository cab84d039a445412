"""The forest before hardening, from raw table to answer: what a certificate compares with what ships."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from softwood.artifacts import HardEnsemble
from softwood.data import Feature, QuantileCodec
from softwood.trees._ragged import FlatTrees, RaggedTrees
from softwood.trees._soft_model import SoftModel

_CHUNK = 4096  # rows whose paths are held at once
_STEEPEST = {"identity": 1.0, "sigmoid": 0.25, "softmax": 0.5}  # largest change of an answer for one of all raw scores


@dataclass(frozen=True, eq=False)
class SoftForestModel:
    """A tuned forest with soft tests. Trees, leaves and link are those of its plain rounding.

    Args:
        hard: the plain rounding, N nodes.
        codec: the features that are tested.
        feature: int ``[N]``, which of them each node tests, -1 at a leaf.
        threshold: float64 ``[N]``, in ranks.
        temperature: of the gates, in ranks.

    Example:
        See ``ForestClassifier.soft_``.
    """

    hard: HardEnsemble
    codec: QuantileCodec
    feature: np.ndarray
    threshold: np.ndarray
    temperature: float

    @classmethod
    def of(
        cls, hard: HardEnsemble, codec: QuantileCodec, feature: np.ndarray, threshold: np.ndarray, temperature: float
    ) -> SoftForestModel:
        """Keep of the codec only what the forest tests.

        Args:
            hard: see the class.
            codec: all features.
            feature: among all features.
            threshold: see the class.
            temperature: see the class.
        """
        used, place = np.unique(feature[feature >= 0], return_inverse=True)
        renumbered = np.full(len(feature), -1)
        renumbered[feature >= 0] = place
        kept = QuantileCodec(codec.columns, tuple(codec.features[int(f)] for f in used))
        return cls(hard, kept, renumbered, np.asarray(threshold, np.float64), temperature)

    @cached_property
    def _trees(self) -> RaggedTrees:
        hard = self.hard
        flat = FlatTrees(self.feature, hard.missing_left, hard.left, hard.right, hard.leaf, hard.roots)
        owner = np.zeros(len(hard.values), np.int64)
        base = hard.base[None].copy()
        return RaggedTrees(
            flat, self.threshold, hard.values.copy(), owner, base, temperature=self.temperature
        ).double()  # fmt: skip

    def _chunks(self, table: Any) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Yield encoded rows and the probabilities of their leaves, ``[L, rows]``."""
        x = self.hard.encode(table)
        for first in range(0, len(x), _CHUNK):
            part = x[first : first + _CHUNK]
            ranks = torch.from_numpy(self.codec.ranks(self.codec.transform(part))).double().mT.contiguous()
            with torch.no_grad():
                yield part, self._trees.paths(ranks)

    def __call__(self, table: Any) -> np.ndarray:
        """Return probabilities ``[n, classes]``, or values ``[n]`` or ``[n, K]``."""
        parts = [paths.mT.numpy() @ self.hard.values for _, paths in self._chunks(table)]
        raw = np.concatenate([np.zeros((0, self.hard.n_outputs)), *parts]) + self.hard.base
        if self.hard.classes is not None:
            return self.hard.probabilities(raw)
        raw = np.exp(raw) if self.hard.link == "exp" else raw
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def in_band(self, table: Any) -> np.ndarray:
        """Return which rows reach the soft band of a node of a tree, bool ``[n]``."""
        parts = [((paths > 0) & (paths < 1)).any(0).numpy() for _, paths in self._chunks(table)]
        return np.concatenate([np.zeros(0, bool), *parts])

    def bound(self, table: Any) -> np.ndarray:
        r"""Return the provable worst case of |soft - plain rounding| over the answers, for each row ``[n]``.

        :math:`s \max_k \sum_t (1 - p_t(\text{hard leaf})) (\max_l v_{lk} - \min_l v_{lk})` with s the steepest slope
        of the link: 1 (values), 1/4 (sigmoid), 1/2 (softmax).
        """
        parts = []
        for x, paths in self._chunks(table):
            leaf = self.hard.apply_encoded(x)
            on_path = paths.numpy()[leaf.T, np.arange(len(x))]
            raw = (1 - on_path).T @ self._spread
            if self.hard.link == "exp":
                parts.append((np.exp(self.hard.raw_encoded(x)) * np.expm1(raw)).max(1))
            else:
                parts.append(_STEEPEST[self.hard.link] * raw.max(1))
        return np.maximum(np.concatenate([np.zeros(0), *parts]), 0.0)

    @cached_property
    def _spread(self) -> np.ndarray:
        """Largest minus smallest value of each tree, ``[T, K]``."""
        owner = np.zeros(len(self.hard.feature), np.int64)
        owner[self.hard.roots] = np.arange(self.hard.n_trees)
        for node in np.flatnonzero(self.hard.feature >= 0):  # parents stand before children
            owner[self.hard.left[node]] = owner[self.hard.right[node]] = owner[node]
        ends = np.flatnonzero(self.hard.feature < 0)
        low = np.full((self.hard.n_trees, self.hard.n_outputs), np.inf)
        high = -low
        np.minimum.at(low, owner[ends], self.hard.values[self.hard.leaf[ends]])
        np.maximum.at(high, owner[ends], self.hard.values[self.hard.leaf[ends]])
        return high - low

    def rounded(self, table: Any) -> np.ndarray:
        """Return the answers of the plain rounding: nearest cuts, the soft forest's own leaves."""
        return self.hard(table)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content."""
        return {
            "hard": self.hard.to_dict(),
            "features": [feature.to_dict() for feature in self.codec.features],
            "feature": self.feature.tolist(),
            "threshold": self.threshold.tolist(),
            "temperature": self.temperature,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SoftForestModel:
        """Build the model that ``to_dict`` described."""
        hard = HardEnsemble.from_dict(content["hard"])
        codec = QuantileCodec(hard.columns, tuple(Feature.from_dict(feature) for feature in content["features"]))
        return cls(
            hard, codec, np.array(content["feature"], np.int64), np.array(content["threshold"], float),
            float(content["temperature"]),
        )  # fmt: skip


def read_soft(content: Mapping[str, Any]) -> SoftModel | SoftForestModel:
    """Build the soft model, of one tree or of a forest, whose ``to_dict`` gave this content.

    Args:
        content: JSON content.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from softwood.trees import ForestClassifier
        >>> forest = ForestClassifier(budget=60, effort=0.1).fit(*load_iris(return_X_y=True))
        >>> None if forest.soft_ is None else read_soft(forest.soft_.to_dict()).temperature
    """
    return SoftForestModel.from_dict(content) if "hard" in content else SoftModel.from_dict(content)
