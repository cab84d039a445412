"""Differences of a black box: one coordinate at a time, all at once, or all at once but output by output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.gradients._noise import called, instance_axes, sum_over, widened
from softwood.gradients._protocol import FunctionEstimator, with_gradient

Fn = Callable[[Tensor], Tensor]
Contributors = Tensor | Callable[[Tensor], Tensor]


@capability("estimator", cost="2n + 1 calls for n numbers, and that many answers in memory")
@dataclass(frozen=True)
class FiniteDifferences(FunctionEstimator):
    r"""Central differences, one number of the argument at a time: the reference for small smooth functions.

    .. math:: \frac{\partial f}{\partial x_i} \approx \frac{f(x + h e_i) - f(x - h e_i)}{2h}

    The error is :math:`O(h^2)` where f is smooth, and rounding over h.

    Args:
        step: h > 0, in units of the argument.
        dims: axes of one instance; the leading ones are batch.

    Raises:
        InputError: a number out of range.

    Example:
        >>> x = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
        >>> y = FiniteDifferences(1e-4).wrap(lambda x: x.detach().square().sum(-1))(x)
        >>> round(torch.autograd.grad(y, x)[0].item(), 6)
        6.0

    Limit: :math:`h \to 0` is the derivative, until rounding takes over.

    Cost: 2n + 1 calls.

    Source: Nocedal and Wright, "Numerical Optimization", 2006, chapter 8.
    """

    step: float = 1e-3
    dims: int = 1

    def __post_init__(self) -> None:
        check_number("step", self.step, low=1e-300)
        check_number("dims", self.dims, low=0, integer=True)

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the function with a gradient; see ``FunctionEstimator.wrap``. ``generator`` is not used."""

        def differentiable(x: Tensor) -> Tensor:
            instance_axes(x, self.dims)
            lead, instance = x.shape[: x.ndim - self.dims], x.shape[x.ndim - self.dims :]
            value = called(fn, x.detach(), lead)
            if not (torch.is_grad_enabled() and x.requires_grad):
                return value
            with torch.no_grad():
                n = instance.numel()
                moves = self.step * torch.eye(n, dtype=x.dtype, device=x.device)
                moves = moves.reshape(n, *[1] * len(lead), *instance)
                both = called(fn, torch.cat([x + moves, x - moves]), torch.Size([2 * n, *lead]))
                slope = (both[:n] - both[n:]) / (2 * self.step)
            along = (x - x.detach()).reshape(*lead, n).movedim(-1, 0)
            return with_gradient(value, (slope * widened(along, slope.ndim)).sum(0))

        return differentiable


@capability("estimator", papers=("stochastic-rasterizer",), cost="2 n_samples + 1 calls")
@dataclass(frozen=True)
class SPSA(FunctionEstimator):
    r"""Simultaneous perturbation: two calls for a gradient in any number of dimensions.

    .. math:: \frac{f(x + c \odot e) - f(x - c \odot e)}{2}\, \frac{1}{c \odot e}, \qquad e_i = \pm 1

    The mean over ``n_samples`` sign vectors. The error is :math:`O(c^2)`; the variance grows with the dimension.

    Args:
        step: c > 0: a number, or a tensor that broadcasts with one instance, as parameters of different kinds have
            different units.
        n_samples: how many sign vectors.
        dims: axes of one instance; the leading ones are batch.

    Raises:
        InputError: a number out of range.

    Example:
        >>> x = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
        >>> y = SPSA(1e-3).wrap(lambda x: x.detach().square().sum(-1))(x)
        >>> round(torch.autograd.grad(y, x)[0].item(), 6)
        6.0

    Limit: :math:`c \to 0` is unbiased for a smooth f.

    Cost: 2 S + 1 calls.

    Source: Spall, "Multivariate Stochastic Approximation Using a Simultaneous Perturbation Gradient Approximation",
    1992.
    """

    step: float | Tensor = 1e-2
    n_samples: int = 1
    dims: int = 1

    def __post_init__(self) -> None:
        check_step(self.step)
        check_number("n_samples", self.n_samples, low=1, integer=True)
        check_number("dims", self.dims, low=0, integer=True)

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the function with a gradient; see ``FunctionEstimator.wrap``."""

        def differentiable(x: Tensor) -> Tensor:
            axes = instance_axes(x, self.dims)
            lead = x.shape[: x.ndim - self.dims]
            value = called(fn, x.detach(), lead)
            if not (torch.is_grad_enabled() and x.requires_grad):
                return value
            moves, high, low = asked_on_both_sides(fn, x, self.step, self.n_samples, lead, generator)
            along = sum_over((x - x.detach()) / moves, axes) / (2 * self.n_samples)
            difference = high - low
            return with_gradient(value, (difference * widened(along, difference.ndim).to(difference.dtype)).sum(0))

        return differentiable


@capability(
    "estimator", papers=("stochastic-rasterizer",), cost="2 n_samples + 1 calls; outputs x parameters in memory"
)
@dataclass(frozen=True)
class LocalSPSA(FunctionEstimator):
    r"""SPSA for each output by itself, over the few parameters that contribute to it.

    .. math:: \frac{\partial f_o}{\partial x_p} \approx
              M_{op}\, \frac{f_o(x + c \odot e) - f_o(x - c \odot e)}{2 c_p e_p}

    M says which parameters touch which outputs: the variance then grows with the contributors of an output, not with
    all parameters. For one instance without batch axes, with outputs such as pixels; the loss comes after it.

    Args:
        contributors: M, ``[outputs, parameters]`` of 0 and 1, dense or sparse, or a function of x that gives it. The
            function is asked at x and at both sides, and every contributor counts: edges that move are seen.
        step: c > 0, a number or a tensor that broadcasts with x.
        n_samples: how many sign vectors.

    Raises:
        InputError: M has another shape; a number out of range.

    Example:
        >>> x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
        >>> y = LocalSPSA(torch.eye(2)).wrap(lambda x: x.detach() ** 2)(x)
        >>> [round(g, 6) for g in torch.autograd.grad(y.sum(), x)[0].tolist()]
        [2.0, 4.0]

    Limit: :math:`c \to 0` is unbiased for a smooth f, if M leaves no contributor out.

    Cost: 2 S + 1 calls; memory of M.

    Source: Deliot, Heitz and Belcour, "Transforming a Non-Differentiable Rasterizer into a Differentiable One with
    Stochastic Gradient Estimation", 2024.
    """

    contributors: Contributors
    step: float | Tensor = 1e-2
    n_samples: int = 1

    def __post_init__(self) -> None:
        check_step(self.step)
        check_number("n_samples", self.n_samples, low=1, integer=True)

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the function with a gradient; it takes one instance, and ``fn`` a leading axis of samples."""

        def differentiable(x: Tensor) -> Tensor:
            instance_axes(x, 0)
            value = called(fn, x.detach().unsqueeze(0), torch.Size([1])).squeeze(0)
            if not (torch.is_grad_enabled() and x.requires_grad):
                return value
            moves, high, low = asked_on_both_sides(fn, x, self.step, self.n_samples, torch.Size(), generator)
            along = ((x - x.detach()) / moves).flatten(1)
            half = (high - low).flatten(1) / (2 * self.n_samples)
            terms = [
                difference * (self._support(x.detach(), move, difference) @ a)
                for move, difference, a in zip(moves, half, along, strict=True)
            ]
            return with_gradient(value, torch.stack(terms).sum(0).reshape(value.shape))

        return differentiable

    def _support(self, x: Tensor, move: Tensor, difference: Tensor) -> Tensor:
        if isinstance(self.contributors, Tensor):
            found = self.contributors
        else:
            parts = [self.contributors(at) for at in (x, x + move, x - move)]
            found = (parts[0].to(x.dtype) + parts[1].to(x.dtype) + parts[2].to(x.dtype)).sign()
        if found.shape != (difference.numel(), x.numel()):
            raise InputError(
                "contributors do not match", got=str(tuple(found.shape)),
                allowed=f"({difference.numel()}, {x.numel()}): outputs, parameters",
                fix="flatten outputs and parameters",
            )  # fmt: skip
        return found.to(x.dtype)


def check_step(step: float | Tensor) -> None:
    """Refuse steps that are not above 0."""
    if isinstance(step, Tensor):
        if not bool((step > 0).all()):
            raise InputError("step is not usable", got="a tensor with entries <= 0", allowed="entries above 0",
                             fix="give each parameter a step in its own units")  # fmt: skip
    else:
        check_number("step", step, low=1e-300)


@torch.no_grad()
def asked_on_both_sides(
    fn: Fn, x: Tensor, step: float | Tensor, n_samples: int, lead: torch.Size, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the moves ``[S, *x.shape]``, and the answers after and before them."""
    signs = torch.randint(0, 2, (n_samples, *x.shape), generator=generator, device=x.device).to(x.dtype) * 2 - 1
    moves = signs * (step.to(x) if isinstance(step, Tensor) else step)
    both = called(fn, torch.cat([x + moves, x - moves]), torch.Size([2 * n_samples, *lead]))
    return moves, both[:n_samples], both[n_samples:]
