"""The gradient candidates: straight-through restarts, and soft copies that are tuned and annealed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softwood.lifecycle import Annealer, TrainState, train
from softwood.lifecycle import harden as harden_module
from softwood.trees._coded_tree import CodedTree, Hardening, leaf_logits, soft_parameters, to_dense
from softwood.trees._dense_tree import DenseTree
from softwood.trees._loss_torch import TorchFunction, TorchLoss, batched_losses
from softwood.trees._restarts import BatchLearner, SoftTreeBatch, row_losses
from softwood.trees._rows import Group

BATCH = 512
_MOST_CELLS = 150_000_000  # floats in the ranks of all groups; beyond it the gradient sees a sample of the rows
_LOOKS = 40  # at the gap, during one annealing
_GAP_ROWS = 4096
_TUNING_RATE = 0.1  # of the restarts' learning rates: a copy starts near where it should end


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: small steps gain little from more, lose much on a busy machine, and sums keep their
    order, so that the artefact does not depend on the number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of all groups as tensors.

    Args:
        x: float32 ``[G, n, F]`` ranks, F padded with zeros to the widest group.
        target: long ``[n]`` or float32 ``[n, K]``.
        weight: float32 ``[G, n]``, mean 1 over the group's rows, 0 elsewhere.
        outputs: K.
        losses: as ``row_losses``, of the loss that was asked for.
    """

    x: Tensor
    target: Tensor
    weight: Tensor
    outputs: int
    losses: TorchFunction = row_losses

    @property
    def missing(self) -> bool:
        """Is any value missing?"""
        return bool(torch.isnan(self.x).any())


def make_batch(groups: Sequence[Group], seed: np.random.Generator) -> Batch:
    """Return the groups' rows as one batch, at most ``_MOST_CELLS`` ranks of them."""
    rows, width = groups[0].rows, max(max(group.codec.n_features for group in groups), 1)
    most = max(_MOST_CELLS // (len(groups) * width), BATCH)
    keep = np.sort(seed.choice(rows.n, most, replace=False)) if rows.n > most else np.arange(rows.n)
    x = np.zeros((len(groups), len(keep), width), np.float32)
    weight = np.empty((len(groups), len(keep)), np.float32)
    for index, group in enumerate(groups):
        x[index, :, : group.codec.n_features] = group.codec.ranks(group.codes[:, keep])
        inside = (rows.weight * group.active)[keep]
        weight[index] = inside * len(keep) / max(inside.sum(), 1e-12)
    labelled = rows.is_classification and not rows.is_taught
    target = torch.from_numpy(rows.labels[keep]).long() if labelled else None
    exact = isinstance(rows.loss, TorchLoss) and target is None  # a loss of the user's gets the values as they came
    values = torch.from_numpy((rows.given if exact else rows.targets)[keep])
    wanted = values if exact else values.float()
    return Batch(
        torch.from_numpy(x), wanted if target is None else target, torch.from_numpy(weight), rows.targets.shape[1],
        batched_losses(rows.loss, row_losses),
    )  # fmt: skip


def train_restarts(
    groups: Sequence[Group],
    batch: Batch,
    *,
    depth: int,
    restarts: int,
    steps: int,
    seed: int,
    checkpoint: Path | None = None,
    progress: Any = None,
) -> list[list[DenseTree]]:
    """Train ``restarts`` straight-through trees in every group at once; return their plain roundings by group.

    Args:
        groups: G groups.
        batch: their rows.
        depth: D.
        restarts: R.
        steps: of Adam.
        seed: of initial tests and row order.
        checkpoint: directory, or None.
        progress: as in ``lifecycle.train``.
    """
    generator = torch.Generator().manual_seed(seed)
    model = SoftTreeBatch(
        len(groups), restarts, batch.x.shape[2], batch.outputs, depth, missing=batch.missing, generator=generator
    )
    learner = BatchLearner(model, batch.x, batch.target, batch.weight, steps, BATCH, 1.0, batch.losses)
    run_or_interrupt(learner, steps=steps, random_state=seed, checkpoint=checkpoint, progress=progress)
    feature, threshold, missing_left = (part.numpy() for part in model.tests())
    return [
        [to_dense(feature[g, r], threshold[g, r], missing_left[g, r], group.codec) for r in range(restarts)]
        for g, group in enumerate(groups)
    ]


def run_or_interrupt(learner: BatchLearner, **options: Any) -> None:
    """Do ``lifecycle.train``, and hand on a Ctrl-C that it has taken, so that the search stops and not only this part.

    Args:
        learner: what is trained.
        options: of ``lifecycle.train``.
    """
    if train(learner, **options).stopped == "interrupted":
        raise KeyboardInterrupt


class _AnnealLearner(BatchLearner):
    """``BatchLearner`` that cools its trees as the gap between soft and hard loss allows.

    Args:
        annealer: of ``model``.
        everything: positional arguments of ``BatchLearner``.
    """

    def __init__(self, annealer: Annealer, *everything: Any) -> None:
        super().__init__(*everything)
        self.annealer = annealer
        self.gap_rows = torch.arange(0, self.x.shape[1], max(self.x.shape[1] // _GAP_ROWS, 1))

    def step(self, state: TrainState) -> float:
        """Do one step, and now and then let the annealer look at the widest gap of all trees."""
        loss = super().step(state)
        if state.step % max(state.total // _LOOKS, 1) == 0:
            self.annealer.step(self.gap())
        return loss

    def gap(self) -> float:
        """Return the soft loss minus the hard loss of the tree where they differ most."""
        x, target, weight = self.x[:, self.gap_rows], self.target[self.gap_rows], self.weight[:, None, self.gap_rows]
        with torch.no_grad():
            soft, hard = (
                (row_losses(model(x), target) * weight).mean(-1).ravel() for model in (self.model, self.model.harden())
            )
        gaps = soft - hard
        return float(gaps[gaps.abs().argmax()])

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {**super().state_dict(), "annealer": self.annealer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where ``state_dict`` was written."""
        super().load_state_dict(state)
        self.annealer.load_state_dict(state["annealer"])


def anneal_copies(
    groups: Sequence[Group],
    trees: Sequence[Sequence[DenseTree]],
    hardenings: Sequence[Sequence[Hardening]],
    batch: Batch,
    *,
    steps: int,
    seed: int,
    checkpoint: Path | None = None,
    progress: Any = None,
) -> list[list[CodedTree]]:
    """Make soft copies of S trees of each group, tune all by gradient, and cool them as the widest gap allows.

    Gates are smooth steps, so a cooled copy answers exactly as its rounding for every row outside the bands.

    Args:
        groups: G groups.
        trees: ``[S][G]``.
        hardenings: ``[S][G]``, what each copy will be hardened with.
        batch: the rows.
        steps: of Adam.
        seed: of the row order.
        checkpoint: directory, or None.
        progress: as in ``lifecycle.train``.
    """
    width, depth = batch.x.shape[2], trees[0][0].depth
    model = SoftTreeBatch(
        len(groups), len(trees), width, batch.outputs, depth, gate="smooth_step", straight_through=False,
        temperature=0.1, missing=batch.missing, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    with torch.no_grad():
        for s, g in np.ndindex(len(trees), len(groups)):
            tree, means = trees[s][g], hardenings[s][g]
            for name, value in soft_parameters(tree, means.codec, width).items():
                getattr(model, name)[g, s] = value
            values = tree.values(means.problem, means.problem.smoothing)
            model.leaf[g, s] = torch.from_numpy(leaf_logits(values, means.is_classification)).float()
    annealer = Annealer(model, target_gap=0.001, rate=0.7, floor=0.01, patience=2)
    learner = _AnnealLearner(annealer, model, batch.x, batch.target, batch.weight, steps, BATCH, _TUNING_RATE)
    run_or_interrupt(learner, steps=steps, random_state=seed, checkpoint=checkpoint, progress=progress)
    while not annealer.step(learner.gap()):
        pass  # what training had no time to cool: temperatures fall to a floor, so this ends
    return [[_one_tree(model, g, s, means) for g, means in enumerate(row)] for s, row in enumerate(hardenings)]


def _one_tree(model: SoftTreeBatch, group: int, place: int, hardening: Hardening) -> CodedTree:
    """Cut one tree out of the batch, without the padding."""
    width = max(hardening.codec.n_features, 1)
    depth = int(model.leaf.shape[2]).bit_length() - 1
    tree = CodedTree(
        hardening, in_features=width, out_features=model.leaf.shape[3], depth=depth, gate=model.gate,
        temperature=float(model.temperature), missing=True,
    )  # fmt: skip
    with torch.no_grad():
        tree.feature_logits.copy_(model.feature_logits[group, place, :, :width])
        tree.threshold.copy_(model.threshold[group, place, :, :width])
        # a test on padding sends every row left; its stand-in is a threshold beyond all ranks
        padded = model.feature_logits[group, place].argmax(-1) >= width
        tree.threshold[padded] = 2.0
        tree.missing_logit.copy_(torch.where(padded, torch.tensor(1.0), model.missing_logit[group, place]))
        tree.leaf.copy_(model.leaf[group, place])
    return tree


def hardened(tree: CodedTree, batch: Batch, group: int) -> tuple[DenseTree, Any]:
    """Harden a soft copy through ``sw.harden`` on its group's rows; return the tree on codes and the record.

    Args:
        tree: an annealed copy.
        batch: the rows.
        group: which group's.
    """
    inside = batch.weight[group] > 0
    x = batch.x[group][inside][:, : tree.in_features]
    target, weight = batch.target[inside], batch.weight[group][inside]

    def loss(answer: Tensor, wanted: Tensor) -> Tensor:
        return (row_losses(answer.mT, wanted) * weight).mean()

    result = harden_module(tree, (x, target), loss)
    hard: Any = result.model
    codec = tree.hardening.codec
    dense = to_dense(hard.feature.numpy(), hard.threshold.numpy(), hard.missing_left.numpy(), codec)
    return dense, result
