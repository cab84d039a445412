"""A loss that the user gives as a differentiable function of torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from softwood.core import InputError
from softwood.trees._loss import LogLoss, Loss, Parts, Poisson, Quantile, Squared, TaughtLogLoss

if TYPE_CHECKING:
    from softwood.trees._rows import Rows

TorchFunction = Callable[[Tensor, Tensor], Tensor]
_LEAST_CURVATURE = 1e-3  # of that of the usual loss; a loss need not be convex everywhere
_HALVINGS = 8


@dataclass(frozen=True, eq=False)
class TorchLoss(Loss):
    """``function(prediction, y) -> [n]``, in float64.

    For values, ``prediction`` is ``[n, K]`` in the target's units and ``y`` ``[n, K]`` as it came. For classes,
    ``prediction`` holds logits ``[n, classes]`` (of two classes, the first logit is 0) and ``y`` their numbers.
    The loss is divided by ``size``, so that its curvature at the start is that of the usual loss: then the same
    settings suit it, whatever its units.

    Args:
        function: see above.
        mean: what the raw score 0 predicts, ``[K]``; None for classes.
        deviation: what a raw score of 1 adds to it, ``[K]``; None for classes.
        size: see above.
    """

    function: TorchFunction
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None
    size: float = 1.0

    @property
    def name(self) -> str:
        function = self.function
        return f"{function.__module__}:{getattr(function, '__qualname__', type(function).__name__)}"

    def tensor(self, raw: Tensor, rows: Rows) -> Tensor:
        """Return the loss of each row ``[n]`` for raw scores ``[n, K]``, differentiable."""
        if rows.is_classification:
            prediction = torch.cat([torch.zeros_like(raw), raw], 1) if raw.shape[1] == 1 else raw
            y = torch.from_numpy(rows.labels).long()
        else:
            prediction, y = self._predicted(raw), torch.from_numpy(rows.given)
        return self._call(prediction, y) / self.size

    def _predicted(self, raw: Tensor) -> Tensor:
        if self.mean is None or self.deviation is None:
            return raw
        return raw * torch.from_numpy(self.deviation) + torch.from_numpy(self.mean)

    def _call(self, prediction: Tensor, y: Tensor) -> Tensor:
        losses = self.function(prediction, y)
        if not isinstance(losses, Tensor) or losses.shape != (len(prediction),) or not bool(losses.isfinite().all()):
            raise InputError(
                "the loss did not give one finite number a row",
                got=f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__,
                allowed=f"a tensor of shape ({len(prediction)},), finite",
                fix="let loss(prediction [n, K], y) return [n], such as ((prediction - y) ** 2).sum(1)",
            )
        return losses

    def batched(self, answer: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row of many trees, ``[..., K, n]`` -> ``[..., n]``; one call for all of them."""
        flat = answer.movedim(-2, -1)
        y = target.expand(flat.shape[:-1] if target.ndim == 1 else flat.shape)
        prediction = flat.reshape(-1, flat.shape[-1]).double()
        wanted = y.reshape(-1) if target.ndim == 1 else y.reshape(-1, y.shape[-1]).double()
        losses = self._call(self._predicted(prediction), wanted) / self.size
        return losses.reshape(flat.shape[:-1]).to(answer.dtype)

    def parts(self, raw: np.ndarray, rows: Rows) -> Parts:
        with torch.enable_grad():
            scores = torch.from_numpy(np.ascontiguousarray(raw)).clone().requires_grad_()
            losses = self.tensor(scores, rows)
            if not losses.requires_grad:
                raise InputError(
                    "the loss has no gradient", got=self.name, allowed="torch operations on the prediction",
                    fix="do not leave torch, detach, or round within the loss",
                )  # fmt: skip
            (slope,) = torch.autograd.grad(losses.sum(), scores, create_graph=True)
            curvature = torch.zeros_like(scores)
            if slope.requires_grad:
                for k in range(scores.shape[1]):
                    (row,) = torch.autograd.grad(slope[:, k].sum(), scores, retain_graph=True, allow_unused=True)
                    curvature[:, k] = 0.0 if row is None else row[:, k]
        loss, gradient, bend = (part.detach().numpy() for part in (losses, slope, curvature))
        if not (np.isfinite(gradient).all() and np.isfinite(bend).all()):
            raise InputError(
                "the gradient of the loss is not finite", got=self.name, allowed="finite gradients",
                fix="mind roots and logarithms at 0",
            )  # fmt: skip
        flat = not (np.abs(bend) > 1e-12).any()  # pieces of straight lines: steps along the gradient
        return loss, gradient, np.ones_like(bend) if flat else np.maximum(bend, _LEAST_CURVATURE)

    def by_row(self, raw: np.ndarray, rows: Rows) -> np.ndarray:
        with torch.no_grad():
            return self.tensor(torch.from_numpy(np.ascontiguousarray(raw)), rows).numpy()

    def start(self, rows: Rows, weight: np.ndarray, prior: np.ndarray) -> np.ndarray:
        first = self._first(rows, prior)
        live = rows.take(weight > 0)
        shares = weight[weight > 0] / weight.sum()

        def objective(constant: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient, _ = self.parts(np.tile(constant, (live.n, 1)), live)
            return float(shares @ loss), shares @ gradient

        found = minimize(objective, first, jac=True, method="L-BFGS-B")
        return np.asarray(found.x)

    def _first(self, rows: Rows, prior: np.ndarray) -> np.ndarray:
        usual = LogLoss() if rows.is_classification else Squared()
        return usual.start(rows, rows.weight, prior)

    def answers(self, raw: np.ndarray) -> np.ndarray:
        return raw if self.mean is not None else LogLoss().answers(raw)

    def raw_of(self, answers: np.ndarray) -> np.ndarray:
        return answers if self.mean is not None else LogLoss().raw_of(answers)

    def of_answers(self, answers: np.ndarray, rows: Rows) -> np.ndarray:
        return self.by_row(self.raw_of(answers), rows)

    def leaf_steps(
        self, raw: np.ndarray, rows: Rows, weight: np.ndarray, leaf: np.ndarray, proposed: np.ndarray
    ) -> np.ndarray:
        """Return the Newton steps, halved in each leaf until they lower its loss."""
        inside, steps = leaf >= 0, proposed.copy()
        few, scores, place = rows.take(inside), raw[inside], leaf[inside]

        def by_leaf(added: np.ndarray) -> np.ndarray:
            losses = self.by_row(scores + added[place], few)
            return np.bincount(place, losses * weight[inside], len(steps))

        before = by_leaf(np.zeros_like(steps))
        for halving in range(_HALVINGS + 1):
            worse = by_leaf(steps) > before + 1e-9 * np.abs(before)
            if not worse.any():
                break
            steps[worse] = steps[worse] / 2 if halving < _HALVINGS else 0.0
        return steps

    def scale(self, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return Squared().scale(values, weight)

    def prepared(self, rows: Rows, mean: np.ndarray | None = None, deviation: np.ndarray | None = None) -> Loss:
        """Return the loss with its ``size``, measured at the start; a loss of straight pieces by its gradient."""
        fresh: TorchLoss = replace(self, mean=mean, deviation=deviation, size=1.0)
        half = 0.5 if rows.is_classification else 0.0
        prior = rows.weight @ rows.targets + half
        raw = np.tile(self._first(rows, prior / (rows.weight.sum() + half * len(prior))), (rows.n, 1))
        _, gradient, curvature = fresh.parts(raw, rows)
        usual: Loss = LogLoss() if rows.is_classification else Squared()
        flat = bool((curvature == 1.0).all())
        size = np.abs(gradient).mean() if flat else curvature.mean() / usual.parts(raw, rows)[2].mean()
        return replace(fresh, size=float(size)) if size > 0 else fresh

    def certified(self) -> str | Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return the loss in the user's units as a function of answers and targets, both arrays."""

        def by_row(answers: np.ndarray, y: np.ndarray) -> np.ndarray:
            if self.mean is None:
                logs = torch.from_numpy(np.log(np.maximum(answers, 1e-15)))
                logits = logs - logs[:, :1] if logs.shape[1] == 2 else logs
                return self._call(logits, torch.from_numpy(np.asarray(y)).long()).numpy()
            wanted = torch.from_numpy(np.asarray(y, float).reshape(len(y), -1))
            return self._call(torch.from_numpy(answers), wanted).numpy()

        by_row.__name__ = self.name
        return by_row


def batched_losses(loss: Loss, usual: TorchFunction) -> TorchFunction:
    """Return the loss of each row of many soft trees at once, ``[..., K, n]`` and a target to ``[..., n]``.

    Args:
        loss: which.
        usual: the same of the usual losses.
    """
    if isinstance(loss, Quantile):
        level, factor = loss.level, loss.factor

        def pinball(answer: Tensor, target: Tensor) -> Tensor:
            residual = target.mT - answer
            return factor * torch.maximum(level * residual, (level - 1) * residual).sum(-2)

        return pinball
    if isinstance(loss, TaughtLogLoss):
        return lambda answer, target: answer.logsumexp(-2) - (target.mT * answer).sum(-2)
    if isinstance(loss, Poisson):
        return lambda answer, target: (answer.exp() - target.mT * answer).sum(-2)
    if isinstance(loss, TorchLoss):
        return loss.batched
    return usual
