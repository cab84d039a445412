"""Between complete trees on codes and soft trees on ranks: the two forms in which a learner holds a tree."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from softwood.core import Budget
from softwood.data import QuantileCodec
from softwood.kernels import Problem
from softwood.trees._dense_tree import DenseTree, hardening_steps
from softwood.trees._soft_tree import HardTree, SoftTree

_CHOSEN = 0.98  # softmax weight of a node's feature in a fresh soft copy; the rest is shared, so others can still win
_ALL_LEFT = 2.0  # a rank beyond all ranks


def to_dense(feature: np.ndarray, rank: np.ndarray, missing_left: np.ndarray, codec: QuantileCodec) -> DenseTree:
    """Round thresholds on ranks to cuts between bins. A threshold beyond a feature's ranks tests nothing, and so
    does a feature that the codec does not have (groups of a batch are padded to one width).

    Args:
        feature: integer ``[I]``.
        rank: ``[I]``.
        missing_left: bool ``[I]``.
        codec: meaning of features and ranks.
    """
    dead = (feature >= codec.n_features) | (rank >= _ALL_LEFT)
    cut = [0 if off else codec.cut_of(int(f), float(r)) for f, r, off in zip(feature, rank, dead, strict=True)]
    return DenseTree(np.where(dead, -1, feature).astype(np.int32), np.array(cut, np.int32), missing_left.copy())


def to_hard(tree: DenseTree, codec: QuantileCodec, leaf: np.ndarray) -> HardTree:
    """Return the torch module on ranks that does what a complete tree does on codes."""
    dead = tree.feature < 0
    rank = [
        _ALL_LEFT if off else codec.rank_of(int(f), int(c))
        for f, c, off in zip(tree.feature, tree.cut, dead, strict=True)
    ]
    return HardTree(
        torch.from_numpy(np.where(dead, 0, tree.feature).astype(np.int64)),
        torch.tensor(rank, dtype=torch.float32),
        torch.from_numpy(tree.missing_left | dead),
        torch.from_numpy(leaf).float(),
    )


def soft_parameters(tree: DenseTree, codec: QuantileCodec, width: int) -> dict[str, Tensor]:
    """Return feature logits, thresholds and missing logits of the soft copy of a complete tree.

    Args:
        tree: what is copied.
        codec: meaning of its features.
        width: F, at least the codec's features.
    """
    hard = to_hard(tree, codec, np.zeros((len(tree.feature) + 1, 1)))
    strength = math.log(_CHOSEN * max(width - 1, 1) / (1 - _CHOSEN))
    logits = nn.functional.one_hot(hard.feature, width).float() * strength
    return {
        "feature_logits": logits,
        "threshold": hard.threshold[:, None].expand(-1, width).clone(),
        "missing_logit": torch.where(hard.missing_left, 3.0, -3.0),
    }


def leaf_logits(values: np.ndarray, is_classification: bool) -> np.ndarray:
    """Return leaf values as a soft tree holds them: log-probabilities, or the values themselves."""
    result: np.ndarray = np.log(np.maximum(values, 1e-9)) if is_classification else values
    return result


@dataclass(frozen=True, eq=False)
class Hardening:
    """What a soft tree on ranks is hardened with. Copies of a model share it, since nothing changes it.

    Args:
        codec: meaning of features and ranks.
        problem: rows, weights, charges.
        is_classification: are leaves logits?
    """

    codec: QuantileCodec
    problem: Problem
    is_classification: bool

    def __deepcopy__(self, memo: dict[int, Any]) -> Hardening:
        return self


class CodedTree(SoftTree):
    """A ``SoftTree`` on ranks that ``sw.harden`` can round to cuts, polish and re-fit on the rows it was made for.

    Args:
        hardening: codec and rows.
        size: keyword arguments of ``SoftTree``.
    """

    def __init__(self, hardening: Hardening, **size: Any) -> None:
        super().__init__(**size)
        self.hardening = hardening

    def dense(self) -> DenseTree:
        """Return the plain rounding as a complete tree on codes."""
        plain = super().harden()
        missing_left = plain.missing_left.numpy()
        return to_dense(plain.feature.numpy(), plain.threshold.numpy(), missing_left, self.hardening.codec)

    def leaf_answers(self) -> np.ndarray:
        """Return the soft tree's own leaves as answers: probabilities, or values; float64 ``[2^D, K]``."""
        leaf = self.leaf.detach().double()
        answers: np.ndarray = (leaf.softmax(-1) if self.hardening.is_classification else leaf).numpy()
        return answers

    def harden(self) -> HardTree:
        """Return the plain rounding: likeliest feature, nearest cut between two bins, the soft tree's own leaves."""
        return to_hard(self.dense(), self.hardening.codec, self.leaf.detach().numpy())

    def roundings(self, x: Any, y: Any, budget: Budget | None) -> Iterator[tuple[str, nn.Module]]:
        """Yield the candidates of ``hardening_steps``; the rows are those of ``hardening``."""
        means = self.hardening
        for name, tree, values in hardening_steps(self.dense(), means.problem, budget):
            yield name, to_hard(tree, means.codec, leaf_logits(values, means.is_classification))
