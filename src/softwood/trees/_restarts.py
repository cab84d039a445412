"""Many soft trees as one batched tensor: restarts, and folds, trained side by side for about the cost of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from softwood.layers import SoftModule
from softwood.lifecycle import TrainState
from softwood.trees._soft_tree import node_margins, path_probabilities, right_probability

_LEAST_CYCLE = 10  # steps; torch divides by zero where the warm-up of a cycle is exactly one step


class SoftTreeBatch(SoftModule):
    """G groups of R independent soft trees; every group has its own rows. Only the learners use it.

    Args:
        groups: G.
        restarts: R.
        in_features: F.
        out_features: K.
        depth: D.
        gate: as in ``SoftTree``.
        straight_through: as in ``SoftTree``.
        temperature: as in ``SoftTree``.
        missing: as in ``SoftTree``.
        generator: source of the initial features and thresholds.

    Shapes: x ``[G, n, F]`` -> ``[G, R, K, n]``; rows last, so that every step runs over contiguous memory.
    """

    def __init__(
        self,
        groups: int,
        restarts: int,
        in_features: int,
        out_features: int,
        depth: int,
        *,
        gate: str = "sigmoid",
        straight_through: bool = True,
        temperature: float = 0.1,
        missing: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(temperature)
        self.gate, self.straight_through, self.missing = gate, straight_through, missing
        shape = (groups, restarts, 2**depth - 1)
        self.feature_logits = nn.Parameter(torch.randn(*shape, in_features, generator=generator))
        self.threshold = nn.Parameter(torch.rand(*shape, in_features, generator=generator))
        self.missing_logit = nn.Parameter(torch.zeros(shape))
        self.leaf = nn.Parameter(0.1 * torch.randn(groups, restarts, 2**depth, out_features, generator=generator))

    def _margins(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return margins and missing shares, ``[G, R, 2^D - 1, n]``."""
        groups, restarts, nodes, features = self.feature_logits.shape
        # restarts stand side by side in one wide product, so x is read once
        flat = [p.reshape(groups, restarts * nodes, features) for p in (self.feature_logits, self.threshold)]
        margin, missing = node_margins(x, flat[0], flat[1], self.missing)
        shape = (groups, restarts, nodes, x.shape[1])
        return margin.mT.reshape(shape), None if missing is None else missing.mT.reshape(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return each tree's answer, ``[G, n, F] -> [G, R, K, n]``."""
        margin, missing = self._margins(x)
        right = right_probability(
            margin, missing, self.missing_logit.unsqueeze(-1), self.temperature, self.gate, self.straight_through
        )
        return self.leaf.mT @ path_probabilities(right, dim=2)

    def margins(self, *inputs: Tensor) -> Tensor:
        """Return ``[G, R, 2^D - 1, n]``."""
        return self._margins(inputs[0])[0]

    def harden(self) -> nn.Module:
        """Return the same trees with hard gates: the limit of temperature zero."""
        hard = SoftTreeBatch.__new__(SoftTreeBatch)
        nn.Module.__init__(hard)
        hard.gate, hard.straight_through, hard.missing = self.gate, True, self.missing
        hard.register_buffer("temperature", self.temperature.clone())
        for name, parameter in self.named_parameters(recurse=False):
            hard.register_parameter(name, nn.Parameter(parameter.detach().clone()))
        return hard

    def tests(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return chosen feature (long), its threshold, and whether missing goes left, each ``[G, R, 2^D - 1]``."""
        feature = self.feature_logits.argmax(-1)
        threshold = self.threshold.detach().gather(-1, feature.unsqueeze(-1)).squeeze(-1)
        return feature, threshold, self.missing_logit.detach() >= 0


def row_losses(answer: Tensor, target: Tensor) -> Tensor:
    """Return the loss of each row, ``[..., K, n] -> [..., n]``.

    Args:
        answer: logits, or values.
        target: long ``[n]`` (cross-entropy), or float ``[n, K]`` (mean squared error over K).
    """
    if target.dtype == torch.long:
        chosen = target.expand(*answer.shape[:-2], 1, -1)
        return answer.logsumexp(-2) - answer.gather(-2, chosen).squeeze(-2)
    return ((answer - target.mT) ** 2).mean(-2)


class BatchLearner:
    """Trains a ``SoftTreeBatch``: what ``lifecycle.train`` asks for a step.

    Every tree has its own loss, the weighted mean over the rows of its group; their sum is minimised by Adam
    with one learning rate each for features, thresholds and leaves, on a one-cycle schedule.

    Args:
        model: the trees.
        x: float32 ``[G, n, F]``, ranks.
        target: as in ``row_losses``.
        weight: float32 ``[G, n]``, 0 for rows outside the group; mean 1 over those inside.
        steps: total steps, for the schedule.
        batch_size: rows a step, the same for all groups.
        rate: scales the learning rates .03, .01, .01, .05 of features, thresholds, missing directions, leaves.
        losses: as ``row_losses``.
    """

    def __init__(
        self, model: SoftTreeBatch, x: Tensor, target: Tensor, weight: Tensor, steps: int, batch_size: int, rate: float,
        losses: Callable[[Tensor, Tensor], Tensor] = row_losses,
    ) -> None:  # fmt: skip
        self.model, self.x, self.target, self.weight, self.losses = model, x, target, weight, losses
        self.batch_size = min(batch_size, x.shape[1])
        parts = ((model.feature_logits, 0.03), (model.threshold, 0.01), (model.missing_logit, 0.01), (model.leaf, 0.05))
        groups = [{"params": [parameter], "lr": rate * each} for parameter, each in parts]
        self.optimizer = torch.optim.Adam(groups)
        peaks = [rate * each for _, each in parts]
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, peaks, total_steps=max(steps, _LEAST_CYCLE), pct_start=0.2, div_factor=5.0
        )

    def step(self, state: TrainState) -> float:
        """Do one step; return the mean loss of the batch."""
        rows = torch.randint(self.x.shape[1], (self.batch_size,), generator=state.generator)
        if self.batch_size == self.x.shape[1]:
            rows = torch.arange(self.batch_size)
        losses = self.losses(self.model(self.x[:, rows]), self.target[rows])
        per_tree = (losses * self.weight[:, None, rows]).mean(-1)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(per_tree.sum())
        self.optimizer.step()
        if state.step + 1 < state.total:
            self.schedule.step()
        return float(per_tree.detach().mean())

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where ``state_dict`` was written."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = int(state["schedule"]["last_epoch"])
