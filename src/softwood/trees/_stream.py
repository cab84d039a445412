"""Models that go on learning: a soft copy of what ships, trained batch by batch, and rounded after each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softwood.artifacts import HardEnsemble
from softwood.data import QuantileCodec
from softwood.trees._brought import Brought, group_like, take_apart
from softwood.trees._coded_tree import leaf_logits, soft_parameters, to_dense
from softwood.trees._convert import forest_to_ensemble, to_ensemble
from softwood.trees._dense_tree import DenseTree
from softwood.trees._forest import Forest
from softwood.trees._gradient import one_thread
from softwood.trees._loss import Loss
from softwood.trees._loss_torch import batched_losses
from softwood.trees._ragged import RaggedTrees
from softwood.trees._restarts import SoftTreeBatch, row_losses
from softwood.trees._rows import Group, Rows
from softwood.trees._soft_forest_model import SoftForestModel
from softwood.trees._soft_model import SoftModel
from softwood.trees._soft_tree import straight_through
from softwood.trees._tune import rounded_forests, soft_copies

_BATCH = 256
_STEPS = 30  # of Adam, on each batch; more where that is less than two passes
_TREE_RATES = (0.1, 0.02, 0.02, 0.1)  # of feature logits, thresholds, missing directions, leaves
_SHIPPED = 0.01  # temperature of the soft parent of a tree: narrow bands, in ranks
_FOREST = 0.02  # and of a forest
_WIDE = 0.1  # temperature of the gates while they are trained
_TIES = 0.1
_CHOSEN = 4.0  # log-odds that a fresh copy's feature stands above the others
_LEAST_SHARE = 1e-3  # of a class in a leaf that goes on learning: a share of 0 could never be unlearned


class _ChoosingTrees(RaggedTrees):
    """``RaggedTrees`` whose tests choose their features too: hard forward, soft backward, as in ``SoftTree``."""

    def choose_among(self, width: int, generator: torch.Generator) -> None:
        """Let each test choose among all features, the one that it has standing above the others.

        Args:
            width: F.
            generator: breaks ties among the others.
        """
        choice = torch.randn(len(self.threshold), width, generator=generator) * _TIES
        for level in self.levels:
            choice[level.node, level.feature] = _CHOSEN
        self.choice = torch.nn.Parameter(choice)

    def paths(self, u: Tensor) -> Tensor:
        """Return the probability of each leaf, ``[F, n] -> [L, n]``."""
        known, lost = torch.nan_to_num(u, nan=0.5), torch.isnan(u)
        reached = torch.ones(self.n_trees, u.shape[1])
        ends = []
        for level in self.levels:
            ends.append(reached[level.ends])
            share = torch.softmax(self.choice[level.node], -1)
            best = share.argmax(-1)
            chosen = torch.zeros_like(share).scatter_(-1, best.unsqueeze(-1), 1.0)
            margin = straight_through(chosen, share) @ known - self.threshold[level.node].unsqueeze(-1)
            right = straight_through((margin > 0).float(), torch.sigmoid(margin / _WIDE))
            right = torch.where(lost[best], level.missing_side, right)
            parent = reached[level.inner]
            to_right = parent * right
            reached = torch.stack([parent - to_right, to_right], 1).flatten(0, 1)
        return torch.cat(ends)[self.order]


class Stream:
    """What trains and what ships, for one tree or a forest.

    Args:
        model: what ships so far.
        x: the first batch, float64 ``[n, C]``, encoded; it gives the bins that thresholds may move to.
        targets: class indicators, or values ``[n, K]``; they order the levels of categories.
        loss: what is minimised.
        depth: of one tree; None for a forest.
        grows: may nodes that test nothing come to life?
        forbidden: names of columns that no test may read.
        seed: of the batches' order, and of fresh tests.
    """

    net: Any

    def __init__(
        self, model: HardEnsemble, x: np.ndarray, targets: np.ndarray, loss: Loss, *, depth: int | None, grows: bool,
        forbidden: Collection[str],
        seed: int,
    ) -> None:  # fmt: skip
        self.model, self.loss, self.seed, self.batches = model, loss, seed, 0
        self.is_classes = model.classes is not None
        weight = np.ones(len(x))
        self.mean, self.deviation = np.zeros(model.n_outputs), np.ones(model.n_outputs)
        if not self.is_classes:
            spread = targets.std(0)
            self.mean, self.deviation = targets.mean(0), np.where(spread > 0, spread, 1.0)
        self.codec, self.forest = take_apart(Brought(model, x, "what ships"), weight, model.n_outputs)
        self.dead = np.zeros(0, bool)
        tested = {feature.column for feature in self.codec.features}
        others = QuantileCodec.fit(x, model.columns, targets, weight).features
        more = [f for f in others if f.column not in tested or model.columns[f.column].kind == "category"]
        more = [f for f in more if model.columns[f.column].name not in forbidden]
        self.codec = QuantileCodec(model.columns, (*self.codec.features, *more))
        if depth is None:
            self._start_forest(x)
        else:
            self._start_tree(max(depth, model.depth), grows)

    def _start_forest(self, x: np.ndarray) -> None:
        lost = self.model.raw_encoded(x[:1])[0] - self.forest.raw(self.codec.transform(x[:1]))[0]
        self.forest = replace(self.forest, base=self.forest.base + lost)  # constant trees are left out
        self.net = soft_copies([_group(self.codec, x[:1])], [self.forest], _FOREST, _ChoosingTrees)
        self.net.choose_among(max(self.codec.n_features, 1), torch.Generator().manual_seed(self.seed))
        leaf_rate = _TREE_RATES[3] * float(self.deviation.mean())
        parts = ((self.net.choice, _TREE_RATES[0]), (self.net.threshold, _TREE_RATES[1]), (self.net.leaf, leaf_rate),
                 (self.net.base, leaf_rate))  # fmt: skip
        self.optimizer = torch.optim.Adam([{"params": [part], "lr": rate} for part, rate in parts])

    def _start_tree(self, depth: int, grows: bool) -> None:
        values = self.model.values + self.model.base
        if self.is_classes:
            values = leaf_logits(np.maximum(self.model.probabilities(values), _LEAST_SHARE), True)
        else:
            values = (values - self.mean) / self.deviation
        tree, leaf = _complete(self.forest, values, depth)
        width = max(self.codec.n_features, 1)
        generator = torch.Generator().manual_seed(self.seed)
        self.net = SoftTreeBatch(1, 1, width, leaf.shape[1], depth, generator=generator)
        first = soft_parameters(tree, self.codec, width)
        first["feature_logits"] = (first["feature_logits"] > 0).float() * _CHOSEN
        self.dead = tree.feature < 0
        with torch.no_grad():
            if grows and self.codec.n_features:
                leaf = _revived(first, self.dead, leaf, generator)
                self.dead = np.zeros_like(self.dead)
            for name, value in first.items():
                getattr(self.net, name)[0, 0] = value
            self.net.leaf[0, 0] = torch.from_numpy(leaf).float()
        parts = (self.net.feature_logits, self.net.threshold, self.net.missing_logit, self.net.leaf)
        self.optimizer = torch.optim.Adam(
            [{"params": [part], "lr": rate} for part, rate in zip(parts, _TREE_RATES, strict=True)]
        )

    @property
    def is_tree(self) -> bool:
        """Is it one tree, and not a forest?"""
        return isinstance(self.net, SoftTreeBatch)

    def learn(self, x: np.ndarray, targets: np.ndarray, weight: np.ndarray, effort: float) -> None:
        """Train on a batch, and round.

        Args:
            x: float64 ``[n, C]``, encoded.
            targets: class indicators, or values ``[n, K]``.
            weight: float64 ``[n]``, mean 1.
            effort: multiplies the steps.

        Cost: O(steps nodes) of at most 256 rows each.
        """
        ranks = torch.from_numpy(self.codec.ranks(self.codec.transform(x)))
        if not self.codec.n_features:
            ranks = torch.zeros(len(x), 1)
        wanted = torch.from_numpy(targets.argmax(1)) if self.is_classes else torch.from_numpy(
            (targets - self.mean) / self.deviation).float()  # fmt: skip
        weights, n = torch.from_numpy(weight).float(), len(x)
        generator = torch.Generator().manual_seed(self.seed + self.batches)
        steps = max(round(effort * max(_STEPS, 2 * n // _BATCH)), 1)
        with one_thread():
            for _ in range(steps):
                rows = torch.randperm(n, generator=generator)[:_BATCH]
                loss = (self._losses(ranks[rows], wanted[rows]) * weights[rows]).mean()
                self.optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                self._step()
        self.batches += 1
        self._round(x, weight)

    def _step(self) -> None:
        if not self.dead.any():
            self.optimizer.step()
            return
        kept = [(part, part.detach()[0, 0, self.dead].clone()) for part in (self.net.feature_logits,
                self.net.threshold, self.net.missing_logit)]  # fmt: skip
        self.optimizer.step()
        with torch.no_grad():
            for part, before in kept:
                part[0, 0, self.dead] = before

    def _losses(self, ranks: Tensor, wanted: Tensor) -> Tensor:
        """Return the loss of each row."""
        if self.is_tree:
            answer = self.net(ranks.unsqueeze(0))[0, 0]
        else:
            raw = self.net(ranks.mT.contiguous())[0]
            if self.is_classes:
                answer = torch.cat([torch.zeros_like(raw), raw]) if len(raw) == 1 else raw
            else:
                mean, deviation = (torch.from_numpy(part).float()[:, None] for part in (self.mean, self.deviation))
                answer = (raw - mean) / deviation
        return batched_losses(self.loss, row_losses)(answer, wanted)

    def _round(self, x: np.ndarray, weight: np.ndarray) -> None:
        """Set ``model`` and ``soft``."""
        names = {"outputs": self.model.outputs, "link": self.model.link, "classes": self.model.classes}
        if not self.is_tree:
            group = _group(self.codec, x, weight)
            tuned = rounded_forests(self.net, [group], [self._chosen()])[0]
            self.model = forest_to_ensemble(tuned.forest, group, **names)  # type: ignore[arg-type]
            feature = np.concatenate([np.zeros(0, int), *(tree.feature for tree in tuned.forest.trees)])
            threshold = np.concatenate([np.zeros(0), *tuned.threshold])
            self.soft: SoftModel | SoftForestModel | None = (
                SoftForestModel.of(self.model, self.codec, feature, threshold, tuned.temperature)
                if self.codec.n_features else None
            )  # fmt: skip
            return
        feature, threshold, missing_left = (part[0, 0].numpy() for part in self.net.tests())
        leaf = self.net.leaf.detach()[0, 0].double().numpy()
        tree = to_dense(feature, threshold, missing_left, self.codec)
        self.soft = None
        if self.codec.n_features:
            codec = QuantileCodec(self.codec.columns, tuple(self.codec.features[int(f)] for f in feature))
            scale = (None, None) if self.is_classes else (self.mean, self.deviation)
            self.soft = SoftModel(
                codec, threshold.astype(np.float64), missing_left.copy(), leaf, _SHIPPED, "smooth_step", *scale
            )
        counts = np.bincount(tree.leaf_of(self.codec.transform(x)), weight, len(leaf))
        self.model = to_ensemble(tree, self.codec, self._answers(leaf), counts, drop_unreached=False, **names)  # type: ignore[arg-type]

    def _chosen(self) -> Forest:
        """Return the forest with the features that its tests have chosen."""
        best, first, trees = self.net.choice.argmax(-1).numpy().astype(np.int32), 0, []
        for tree in self.forest.trees:
            own = best[first : first + len(tree.feature)]
            trees.append(replace(tree, feature=np.where(tree.feature >= 0, own, -1).astype(np.int32)))
            first += len(own)
        return replace(self.forest, trees=tuple(trees))

    def _answers(self, leaf: np.ndarray) -> np.ndarray:
        if not self.is_classes:
            return np.asarray(leaf * self.deviation + self.mean)
        shares = np.exp(leaf - leaf.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        return np.asarray(shares[:, 1:] if shares.shape[1] == 2 else shares)


def _group(codec: QuantileCodec, x: np.ndarray, weight: np.ndarray | None = None) -> Group:
    """Return rows on a codec that is there already."""
    weight = np.ones(len(x)) if weight is None else weight
    rows = Rows(codec.columns, x, np.zeros(0, np.int32), np.zeros((len(x), 1)), weight)
    return group_like(Group(rows, np.ones(len(x), bool)), rows, codec, codec.transform(x))


def _complete(forest: Forest, values: np.ndarray, depth: int) -> tuple[DenseTree, np.ndarray]:
    """Return the only tree of a forest as a complete one, with the value of each leaf ``[2^D, K]``."""
    (grown,), (of_node,) = forest.trees, forest.leaf_of_node
    inner = 2**depth - 1
    tree = DenseTree(np.full(inner, -1, np.int32), np.zeros(inner, np.int32), np.ones(inner, bool))
    leaf = np.zeros((inner + 1, values.shape[1]))
    places = [(0, 0)]  # node here, node there
    while places:
        node, target = places.pop()
        if grown.feature[node] >= 0:
            tree.feature[target], tree.cut[target] = grown.feature[node], grown.cut[node]
            tree.missing_left[target] = grown.missing_left[node]
            places += [(grown.left[node], 2 * target + 1), (grown.left[node] + 1, 2 * target + 2)]
            continue
        first = last = target
        while first < inner:
            first, last = 2 * first + 1, 2 * last + 2
        leaf[first - inner : last - inner + 1] = values[of_node[node]]
    return tree, leaf


def _revived(parts: dict[str, Tensor], dead: np.ndarray, leaf: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """Give nodes that test nothing a random test. Below them all leaves are equal, so that no answer changes."""
    count, width = int(dead.sum()), parts["feature_logits"].shape[1]
    parts["feature_logits"][dead] = torch.randn(count, width, generator=generator)
    parts["threshold"][dead] = torch.rand(count, width, generator=generator)
    parts["missing_logit"][dead] = 0.0
    return leaf
