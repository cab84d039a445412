"""Implicit differentiation: the gradient of a solution, from the equation that it satisfies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from softwood.core import InputError, capability
from softwood.gradients._linear import ConjugateGradient, LinearSolver, Neumann
from softwood.gradients._protocol import FunctionEstimator

Fn = Callable[[Tensor], Tensor]
Tensors = Tensor | Sequence[Tensor]


@capability("estimator", papers=("ift-hyper",), cost="the solver once, then one Hessian-vector product a step")
@dataclass(frozen=True)
class ImplicitMinimum(FunctionEstimator):
    r"""The gradient of a minimiser by what the objective depends on, however the minimiser was found.

    .. math:: w^*(h) = \arg\min_w L(w, h), \qquad
              \frac{\partial w^*}{\partial h} = -\Bigl(\frac{\partial^2 L}{\partial w^2}\Bigr)^{-1}
              \frac{\partial^2 L}{\partial w\, \partial h}

    Right only where the gradient of L by w is 0; what the solver leaves of it is error.

    Args:
        objective: L, from w and h to one number (a sum over instances), twice differentiable by torch.
        linear: how the Hessian is inverted.

    Example:
        >>> h = torch.tensor([3.0], requires_grad=True)
        >>> w = ImplicitMinimum(lambda w, h: (w - 2 * h).square().sum()).wrap(lambda h: 2 * h.detach())(h)
        >>> torch.autograd.grad(w, h)[0].tolist()
        [2.0]

    Limit: exact as the linear solver converges.

    Cost: one solver call; backward one Hessian-vector product a step. First derivatives only.

    Source: Lorraine, Vicol and Duvenaud, 2020; Blondel et al., "Efficient and Modular Implicit Differentiation", 2022.
    """

    objective: Callable[[Tensor, Tensor], Tensor]
    linear: LinearSolver = field(default_factory=ConjugateGradient)

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the solver with a gradient; ``fn`` takes h and gives w of any shape. ``generator`` is not used."""

        def solution(h: Tensor) -> Tensor:
            w = fn(h).detach()
            if not (torch.is_grad_enabled() and h.requires_grad):
                return w
            leaf = w.clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.objective(leaf, h), leaf, create_graph=True)

            def solve(upstream: Tensor) -> Tensor:
                def product(v: Tensor) -> Tensor:
                    return torch.autograd.grad(slope, leaf, v.reshape(slope.shape), retain_graph=True)[0].flatten()

                return self.linear.solve(product, upstream.flatten()).reshape(upstream.shape)

            return _with_solved_gradient(w, -slope, solve)

        return solution


@capability("estimator", papers=("ift-hyper",), cost="the solver once, then one vector-Jacobian product a step")
@dataclass(frozen=True)
class ImplicitFixedPoint(FunctionEstimator):
    r"""The gradient of a fixed point by what the map depends on, however the fixed point was found.

    .. math:: w^* = F(w^*, h), \qquad
              \frac{\partial w^*}{\partial h} = \Bigl(I - \frac{\partial F}{\partial w}\Bigr)^{-1}
              \frac{\partial F}{\partial h}

    Args:
        step_map: F, from w and h to the next w.
        linear: how :math:`I - \partial F / \partial w` is inverted. ``Neumann`` needs a contraction;
            ``ConjugateGradient`` works on the normal equations, at two products a step.

    Example:
        >>> h = torch.tensor([1.0], requires_grad=True)
        >>> w = ImplicitFixedPoint(lambda w, h: w / 2 + h).wrap(lambda h: 2 * h.detach())(h)
        >>> round(torch.autograd.grad(w, h)[0].item(), 3)
        2.0

    Limit: exact as the linear solver converges.

    Cost: one solver call, one call of F; backward one vector-Jacobian product a step. First derivatives only.

    Source: Bai, Kolter and Koltun, "Deep Equilibrium Models", 2019; Blondel et al., 2022.
    """

    step_map: Callable[[Tensor, Tensor], Tensor]
    linear: LinearSolver = field(default_factory=lambda: Neumann(steps=50, step_size=1.0))

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the solver with a gradient; ``fn`` takes h and gives w of any shape. ``generator`` is not used."""

        def solution(h: Tensor) -> Tensor:
            w = fn(h).detach()
            if not (torch.is_grad_enabled() and h.requires_grad):
                return w
            leaf = w.clone().requires_grad_()
            image = self.step_map(leaf, h.detach())

            def transposed(v: Tensor) -> Tensor:
                pulled = torch.autograd.grad(image, leaf, v.reshape(image.shape), retain_graph=True)[0]
                return v - pulled.flatten()

            def plain(v: Tensor) -> Tensor:
                # a product with the Jacobian itself: the derivative of a product with its transpose
                dummy = torch.zeros_like(image, requires_grad=True)
                (pulled,) = torch.autograd.grad(image, leaf, dummy, create_graph=True)
                return v - torch.autograd.grad(pulled, dummy, v.reshape(w.shape))[0].flatten()

            def solve(upstream: Tensor) -> Tensor:
                b = upstream.flatten()
                if isinstance(self.linear, ConjugateGradient):
                    found = self.linear.solve(lambda v: plain(transposed(v)), plain(b))
                else:
                    found = self.linear.solve(transposed, b)
                return found.reshape(upstream.shape)

            return _with_solved_gradient(w, self.step_map(w, h), solve)

        return solution


def _with_solved_gradient(value: Tensor, carrier: Tensor, solve: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``value``; its gradient goes through ``solve`` and then to ``carrier``."""
    change = carrier - carrier.detach()
    change.register_hook(solve)  # type: ignore[no-untyped-call]
    return value + change


@dataclass(frozen=True)
class HyperGradient:
    """What ``hypergradient`` found.

    Args:
        gradients: one for each tensor of the hyperparameters.
        residual: of the linear system, as a share of its right side; far from 0, take more steps.
        stationarity: norm of the training gradient over that of the validation gradient, by the weights; the formula
            holds at 0.

    Example:
        >>> HyperGradient((), 0.0, 0.0).residual
        0.0
    """

    gradients: tuple[Tensor, ...]
    residual: float
    stationarity: float


@capability("estimator", papers=("ift-hyper",), cost="one Hessian-vector product a step; O(weights) memory")
def hypergradient(
    validation_loss: Callable[..., Tensor], training_loss: Callable[..., Tensor], weights: Tensors, hyper: Tensors, *,
    linear: LinearSolver | None = None,
) -> HyperGradient:  # fmt: skip
    r"""Return the gradient of the validation loss by hyperparameters, through the weights that training would find.

    .. math:: \frac{dL_v}{dh} = \frac{\partial L_v}{\partial h} - \frac{\partial L_v}{\partial w}
              \Bigl(\frac{\partial^2 L_t}{\partial w^2}\Bigr)^{-1} \frac{\partial^2 L_t}{\partial w\, \partial h}

    As many hyperparameters as there are weights cost no more than one. Those that do not enter the training loss (an
    optimizer's step size) have no such gradient. What is tuned on validation rows is no longer measured by them.

    Args:
        validation_loss: :math:`L_v(w, h)`, one number; it is called with ``weights`` and ``hyper`` as they were given.
        training_loss: :math:`L_t(w, h)`, one number, near its minimum in w.
        weights: w, a tensor or several.
        hyper: h, a tensor or several.
        linear: how the Hessian is inverted; None is ``ConjugateGradient()``.

    Raises:
        InputError: neither loss depends on h.

    Example:
        >>> w, h = torch.tensor([0.5]), torch.tensor([1.0])  # w minimises (w - 1)^2 + h w^2
        >>> found = hypergradient(
        ...     lambda w, h: (w - 0.8).square().sum(), lambda w, h: (w - 1).square().sum() + (h * w**2).sum(), w, h
        ... )
        >>> round(found.gradients[0].item(), 4)
        0.15

    Limit: exact as the linear solver converges and the training gradient vanishes.

    Cost: two losses, one Hessian-vector product a step, one mixed product.

    Source: Lorraine, Vicol and Duvenaud, "Optimizing Millions of Hyperparameters by Implicit Differentiation", 2020.
    """
    w, h = _leaves(weights), _leaves(hyper)
    given = (w[0] if isinstance(weights, Tensor) else w, h[0] if isinstance(hyper, Tensor) else h)
    outer = torch.autograd.grad(validation_loss(*given), [*w, *h], allow_unused=True, materialize_grads=True)
    direct, b = outer[len(w) :], _flat(outer[: len(w)])
    slope = torch.autograd.grad(training_loss(*given), w, create_graph=True)
    flat_slope = _flat(slope)

    def product(v: Tensor) -> Tensor:
        return _flat(torch.autograd.grad(flat_slope, w, v, retain_graph=True, materialize_grads=True))

    x = (ConjugateGradient() if linear is None else linear).solve(product, b)
    mixed = torch.autograd.grad(flat_slope, h, -x, retain_graph=True, allow_unused=True)
    if all(part is None for part in mixed) and not any(bool(part.any()) for part in direct):
        raise InputError("no hyperparameter enters a loss", got="no gradient", allowed="losses that depend on hyper",
                         fix="use hyper in training_loss; an optimizer's settings have no such gradient")  # fmt: skip
    total = tuple(d if m is None else d + m for d, m in zip(direct, mixed, strict=True))
    size = float(b.norm())
    residual = float((product(x) - b).norm()) / size if size else 0.0
    return HyperGradient(total, residual, float(flat_slope.detach().norm()) / size if size else 0.0)


def _leaves(tensors: Tensors) -> list[Tensor]:
    found = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    return [tensor.detach().clone().requires_grad_() for tensor in found]


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
