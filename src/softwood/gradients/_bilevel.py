"""Training weights and hyperparameters in turns, and whether the weights are far enough for that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from softwood.core import InputError, capability, check_number
from softwood.gradients._implicit import Tensors, hypergradient
from softwood.gradients._linear import ConjugateGradient, LinearSolver

Loss = Callable[..., Tensor]
MakeOptimizer = Callable[[Sequence[Tensor]], Optimizer]


@dataclass(frozen=True)
class Stationarity:
    """How far weights are from where training would end; see ``stationarity``.

    Args:
        gradient: norm of the training gradient.
        distance: estimated distance to the minimum, over the norm of the weights.
        gap: estimated training loss above the minimum.

    Example:
        >>> Stationarity(0.0, 0.0, 0.0).distance
        0.0
    """

    gradient: float
    distance: float
    gap: float


@capability("verb", papers=("ift-hyper",), cost="one Hessian-vector product a step")
def stationarity(
    training_loss: Loss, weights: Tensors, hyper: Tensors, *, linear: LinearSolver | None = None
) -> Stationarity:
    r"""Estimate how far weights are from a minimum of the training loss, in units that mean something.

    .. math:: \delta = H^{-1} \nabla L_t, \qquad \frac{\lVert \delta \rVert}{\lVert w \rVert}, \qquad
              \tfrac12 \nabla L_t \cdot \delta

    ``hypergradient`` holds at a minimum. A small gradient alone does not say that one is near, since in flat
    directions it is small far away.

    Args:
        training_loss: :math:`L_t(w, h)`, one number.
        weights: w, a tensor or several, as the loss takes them.
        hyper: h, a tensor or several, as the loss takes them.
        linear: how the Hessian is inverted; None is ``ConjugateGradient()``.

    Example:
        >>> w, h = torch.tensor([1.5]), torch.tensor([0.0])
        >>> found = stationarity(lambda w, h: (w - 1).square().sum() + (h * w**2).sum(), w, h)
        >>> found.distance, found.gap
        (0.333..., 0.25)

    Limit: exact for a quadratic loss as the solver converges.

    Source: Boyd and Vandenberghe, "Convex Optimization", 2004, section 9.5 (the Newton decrement).
    """
    w = [tensor.detach().clone().requires_grad_() for tensor in _several(weights)]
    given = w[0] if isinstance(weights, Tensor) else w
    slope = _flat(torch.autograd.grad(training_loss(given, hyper), w, create_graph=True))

    def product(v: Tensor) -> Tensor:
        return _flat(torch.autograd.grad(slope, w, v, retain_graph=True, materialize_grads=True))

    g = slope.detach()
    step = (ConjugateGradient() if linear is None else linear).solve(product, g)
    size = float(_flat(w).detach().norm())
    return Stationarity(float(g.norm()), float(step.norm()) / size if size else 0.0, float(g @ step) / 2)


@dataclass(frozen=True)
class BilevelRound:
    """One round of ``BilevelTrainer``.

    Args:
        training: loss after the inner steps.
        validation: loss there, before the hyperparameters move.
        residual: of the linear system, as a share of its right side.
        stationarity: as in ``HyperGradient``: above a few hundredths, take more inner steps.

    Example:
        >>> BilevelRound(0.1, 0.2, 0.0, 0.01).validation
        0.2
    """

    training: float
    validation: float
    residual: float
    stationarity: float


@capability("verb", papers=("ift-hyper",), cost="inner_steps training steps and one hypergradient a round")
class BilevelTrainer:
    r"""Tune hyperparameters by the validation loss while the weights train: some inner steps, one hyper step, again.

    The weights go on from where they are, so that few steps bring them back to a minimum. Hyperparameters are any
    tensors that enter the training loss: a decay for each weight (as its logarithm), weights of rows, an augmentation,
    temperatures. As many as there are weights fit a validation set perfectly: what was tuned on it is measured on rows
    that neither loss has seen.

    Args:
        training_loss: :math:`L_t(w, h)`, one number; it takes ``weights`` and ``hyper`` as they are given here.
        validation_loss: :math:`L_v(w, h)`, one number.
        weights: w, a tensor or several; they are changed in place.
        hyper: h, a tensor or several; they are changed in place.
        weight_optimizer: makes the optimizer of the weights from their list; None is L-BFGS, for losses without noise.
        hyper_optimizer: makes that of the hyperparameters; None is Adam with step 0.1.
        inner_steps: training steps a round.
        linear: how the Hessian is inverted; None is ``ConjugateGradient()``.

    Raises:
        InputError: a tensor is no leaf, or inner_steps is below 1.

    Example:
        >>> w, h = torch.zeros(1), torch.zeros(1)  # w minimises (w - 1)^2 + exp(h) w^2: 0.5 at first, 0.8 is wanted
        >>> trainer = BilevelTrainer(
        ...     lambda w, h: ((w - 1) ** 2 + h.exp() * w**2).sum(), lambda w, h: ((w - 0.8) ** 2).sum(), w, h
        ... )
        >>> round(trainer.run(100)[-1].validation, 4), round(w.item(), 2)
        (0.0, 0.8)

    Limit: with inner steps to the minimum each hyper step is an exact gradient step.

    Source: Lorraine, Vicol and Duvenaud, "Optimizing Millions of Hyperparameters by Implicit Differentiation", 2020.
    """

    def __init__(
        self, training_loss: Loss, validation_loss: Loss, weights: Tensors, hyper: Tensors, *,
        weight_optimizer: MakeOptimizer | None = None, hyper_optimizer: MakeOptimizer | None = None,
        inner_steps: int = 5, linear: LinearSolver | None = None,
    ) -> None:  # fmt: skip
        self.training_loss, self.validation_loss, self.linear = training_loss, validation_loss, linear
        self.weights, self.hyper = weights, hyper
        self.inner_steps = check_number("inner_steps", inner_steps, low=1, integer=True)
        self._w, self._h = _several(weights), _several(hyper)
        for tensor in (*self._w, *self._h):
            if not tensor.is_leaf:
                raise InputError("a tensor cannot be changed in place", got="the result of a computation",
                                 allowed="leaves", fix="pass tensor.detach()")  # fmt: skip
            tensor.requires_grad_()
        self.weight_optimizer = (weight_optimizer or _lbfgs)(self._w)
        self.hyper_optimizer = (hyper_optimizer or _adam)(self._h)

    def round(self) -> BilevelRound:
        """Take the inner steps and one step of the hyperparameters."""
        for _ in range(self.inner_steps):
            self.weight_optimizer.step(self._closure)
        found = hypergradient(self.validation_loss, self.training_loss, self.weights, self.hyper, linear=self.linear)
        with torch.no_grad():
            training = float(self.training_loss(self.weights, self.hyper))
            validation = float(self.validation_loss(self.weights, self.hyper))
        for tensor, slope in zip(self._h, found.gradients, strict=True):
            tensor.grad = slope.detach().clone()
        self.hyper_optimizer.step()
        return BilevelRound(training, validation, found.residual, found.stationarity)

    def run(self, rounds: int) -> list[BilevelRound]:
        """Return what each of several rounds found; after them the weights are trained for the last hyperparameters."""
        found = [self.round() for _ in range(check_number("rounds", rounds, low=1, integer=True))]
        for _ in range(self.inner_steps):
            self.weight_optimizer.step(self._closure)
        return found

    def _closure(self) -> Any:
        with torch.enable_grad():
            loss = self.training_loss(self.weights, self.hyper)
            slopes = torch.autograd.grad(loss, self._w, allow_unused=True, materialize_grads=True)
        for tensor, slope in zip(self._w, slopes, strict=True):
            tensor.grad = slope
        return loss


def _lbfgs(tensors: Sequence[Tensor]) -> Optimizer:
    return torch.optim.LBFGS(tensors, max_iter=20, line_search_fn="strong_wolfe")


def _adam(tensors: Sequence[Tensor]) -> Optimizer:
    return torch.optim.Adam(tensors, lr=0.1)


def _several(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
