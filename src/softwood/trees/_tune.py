"""Fine-tune forests: a soft copy on ranks, trained jointly by gradient, annealed, and rounded to cuts again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softwood.kernels import MISSING
from softwood.lifecycle import Annealer, TrainState, train
from softwood.trees._forest import Forest
from softwood.trees._gradient import one_thread
from softwood.trees._ragged import FlatTrees, RaggedTrees
from softwood.trees._rows import Group

_BATCH = 512
_GAP_ROWS = 2048
_ANNEALED = 0.75  # of the steps: leaves have the rest to settle under tests that are nearly hard


@dataclass(frozen=True)
class TuneSetting:
    r"""How a forest is tuned.

    Args:
        pull: :math:`\lambda`, with which leaves are held to those that came, as in ``refit_leaves``.
        steps: of Adam.
        temperature: at the start, in ranks.
        threshold_rate: peak learning rate of thresholds, in ranks.
        leaf_rate: peak learning rate of leaves, in raw scores.
    """

    pull: float
    steps: int = 300
    temperature: float = 0.1
    threshold_rate: float = 0.003
    leaf_rate: float = 0.003


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned forest of one group, soft and rounded.

    Args:
        forest: the plain rounding: nearest cuts, the soft forest's own leaves.
        threshold: for each tree, the rank that each node compares with, float64 ``[N]``.
        temperature: of the gates, in ranks.
    """

    forest: Forest
    threshold: tuple[np.ndarray, ...]
    temperature: float


def tune_forests(
    groups: Sequence[Group],
    forests: Sequence[Forest],
    setting: TuneSetting,
    *,
    seed: int,
    time_limit: float | None = None,
    checkpoint: Path | None = None,
    progress: Any = None,
) -> list[Tuned]:
    """Tune one forest of each group on the group's rows, all groups as one batch.

    Thresholds, leaves and base are trained by Adam on the rows' loss; gates begin soft and are cooled to a fiftieth,
    so that what is left of the training sees nearly hard tests; then temperatures fall until soft and hard agree.

    Args:
        groups: G groups of the same rows.
        forests: G forests on the groups' codes.
        setting: how.
        seed: of the row order.
        time_limit: seconds, or None.
        checkpoint: directory for training checkpoints, or None.
        progress: as in ``lifecycle.train``.

    Cost: O(steps nodes batch) time.
    """
    model = soft_copies(groups, forests, setting.temperature)
    learner = _TuneLearner(model, groups, setting)
    with one_thread():
        result = train(
            learner, steps=setting.steps, random_state=seed, time_limit=time_limit, checkpoint=checkpoint,
            progress=progress,
        )  # fmt: skip
        if result.stopped == "interrupted":
            raise KeyboardInterrupt
        cooler = Annealer(model, target_gap=1e-4, rate=0.5, floor=1e-3)
        while not cooler.step(learner.gap()):
            pass  # temperatures fall to a floor, so this ends
    return rounded_forests(model, groups, forests)


def flat_trees(forests: Sequence[Forest], width: int) -> FlatTrees:
    """Return the trees of G forests on codes one behind the other; those of group g read rows g F .. (g + 1) F - 1.

    Args:
        forests: G forests.
        width: F.
    """
    feature, missing_left, left, leaf, roots = [], [], [], [], []
    nodes = leaves = 0
    for group, forest in enumerate(forests):
        for tree, of_node in zip(forest.trees, forest.leaf_of_node, strict=True):
            inner = tree.feature >= 0
            feature.append(np.where(inner, tree.feature + group * width, -1))
            missing_left.append(tree.missing_left)
            left.append(np.where(inner, tree.left + nodes, 0))
            leaf.append(np.where(inner, -1, of_node + leaves))
            roots.append(nodes)
            nodes += len(inner)
        leaves += len(forest.values)
    lefts = np.concatenate(left)
    return FlatTrees(
        np.concatenate(feature), np.concatenate(missing_left), lefts, lefts + 1, np.concatenate(leaf), np.array(roots)
    )


def soft_copies(
    groups: Sequence[Group], forests: Sequence[Forest], temperature: float, kind: type[RaggedTrees] = RaggedTrees
) -> RaggedTrees:
    width = max(group.codec.n_features for group in groups)
    threshold = [
        group.codec.rank_of(int(f), int(c)) if f >= 0 else 0.0
        for group, forest in zip(groups, forests, strict=True)
        for tree in forest.trees
        for f, c in zip(tree.feature, tree.cut, strict=True)
    ]
    return kind(
        flat_trees(forests, width), np.array(threshold), np.concatenate([forest.values for forest in forests]),
        np.repeat(np.arange(len(forests)), [len(forest.values) for forest in forests]),
        np.stack([forest.base for forest in forests]), mask=np.concatenate([forest.mask for forest in forests]),
        temperature=temperature,
    )  # fmt: skip


def rounded_forests(model: RaggedTrees, groups: Sequence[Group], forests: Sequence[Forest]) -> list[Tuned]:
    """Round each threshold to the cut between whose neighbouring bins it lies."""
    flat = model.threshold.detach().double().numpy()
    values = (model.leaf * model.mask).detach().double().numpy()
    bases = model.base.detach().double().numpy()
    node = leaf = 0
    found = []
    for group, forest, base in zip(groups, forests, bases, strict=True):
        trees, ranks = [], []
        for tree in forest.trees:
            rank = flat[node : node + len(tree.feature)]
            cut = [
                group.codec.cut_of(int(f), float(r)) if f >= 0 else 0 for f, r in zip(tree.feature, rank, strict=True)
            ]
            trees.append(replace(tree, cut=np.array(cut, np.int32)))
            ranks.append(rank)
            node += len(rank)
        own = values[leaf : leaf + len(forest.values)]
        leaf += len(own)
        rounded = replace(forest, trees=tuple(trees), values=own, base=base)
        found.append(Tuned(rounded, tuple(ranks), float(model.temperature)))
    return found


class _TuneLearner:
    """Trains the forests of all groups: what ``lifecycle.train`` asks for a step.

    Args:
        model: the soft copies.
        groups: their rows.
        setting: rates and steps.
    """

    def __init__(self, model: RaggedTrees, groups: Sequence[Group], setting: TuneSetting) -> None:
        self.model, self.groups, self.setting = model, groups, setting
        self.rows = replace(groups[0].rows, x=groups[0].rows.x[:, :0])  # losses do not look at x
        weight = np.stack([group.rows.weight * group.active for group in groups])
        self.weight = weight / weight.mean(1, keepdims=True)
        self.width = max(group.codec.n_features for group in groups)
        self.ranks = [_rank_table(group) for group in groups]
        self.batch = min(_BATCH, self.rows.n)
        self.start = model.leaf.detach().clone()
        self.pull = setting.pull * (model.owner @ torch.from_numpy(1 / weight.sum(1)).float()).unsqueeze(-1)
        parts = ((model.threshold, setting.threshold_rate), (model.leaf, setting.leaf_rate),
                 (model.base, setting.leaf_rate))  # fmt: skip
        self.optimizer = torch.optim.Adam([{"params": [part], "lr": rate} for part, rate in parts])
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, [rate for _, rate in parts], total_steps=max(setting.steps, 10), pct_start=0.2,
            div_factor=5.0,
        )  # fmt: skip
        self.annealer = Annealer.geometric(model, 1.0, 0.02, max(int(_ANNEALED * setting.steps), 2))
        self.gap_rows = np.arange(0, self.rows.n, max(self.rows.n // _GAP_ROWS, 1))

    def inputs(self, take: np.ndarray) -> Tensor:
        """Return the ranks of some rows in all groups, ``[G F, rows]``."""
        u = np.zeros((len(self.groups) * self.width, len(take)), np.float32)
        for index, (group, table) in enumerate(zip(self.groups, self.ranks, strict=True)):
            features = np.arange(len(table))[:, None]
            u[index * self.width : index * self.width + len(table)] = table[features, group.codes[:, take]]
        return torch.from_numpy(u)

    def step(self, state: TrainState) -> float:
        """Do one step; return the mean loss of the batch."""
        take = torch.randint(self.rows.n, (self.batch,), generator=state.generator).numpy()
        raw = self.model(self.inputs(take))
        loss, slope = self.losses(raw.detach(), take)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(raw, torch.from_numpy(slope / self.batch).float())
        leaf = self.model.leaf
        if leaf.grad is not None:
            leaf.grad.add_(self.pull * (leaf.detach() - self.start))
        self.optimizer.step()
        if state.step + 1 < state.total:
            self.schedule.step()
        self.annealer.step()
        return loss

    def losses(self, raw: Tensor, take: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the weighted mean loss over rows and groups, and the slopes ``[G, K, rows]``."""
        rows = self.rows.take(take)
        slopes, total = [], 0.0
        for scores, weight in zip(raw.double().numpy(), self.weight[:, take], strict=True):
            loss, slope = rows.loss.smooth_parts(scores.T, rows)
            total += float((loss * weight).mean())
            slopes.append((slope * weight[:, None]).T)
        return total / len(slopes), np.stack(slopes)

    def gap(self) -> float:
        """Return the soft loss minus the hard loss on some of the rows."""
        with torch.no_grad():
            u = self.inputs(self.gap_rows)
            soft, hard = (self.losses(model(u), self.gap_rows)[0] for model in (self.model, self.model.harden()))
        return soft - hard

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "annealer": self.annealer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where ``state_dict`` was written."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = int(state["schedule"]["last_epoch"])
        self.annealer.load_state_dict(state["annealer"])


def _rank_table(group: Group) -> np.ndarray:
    """Return the rank of each code of each feature, float32 ``[F, 256]``, NaN where missing."""
    table = np.full((group.codec.n_features, MISSING + 1), np.nan, np.float32)
    for index, feature in enumerate(group.codec.features):
        table[index, : feature.n_bins] = feature.ranks
    return table
