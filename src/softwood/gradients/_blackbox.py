"""Solvers asked twice: blackbox differentiation, implicit MLE, identity with projection, and SPO+."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from softwood.core import InputError, capability, check_choice, check_number
from softwood.gradients._noise import SumOfGamma, called, draw_noise, instance_axes, sum_over
from softwood.gradients._protocol import FunctionEstimator, with_gradient
from softwood.gradients._straight_through import straight_through

Fn = Callable[[Tensor], Tensor]
StepRule = Callable[[Tensor, Tensor, tuple[int, ...]], Tensor]


class AdaptiveStep(nn.Module):
    r"""The step of implicit MLE, steered so that the gradient is neither always zero nor too coarse.

    .. math:: \lambda = \alpha \, \lVert\theta\rVert / \lVert\nabla_y L\rVert

    for each instance, where :math:`\alpha` grows while the mean number of non-zero entries of the gradient is below
    ``target`` and shrinks while it is above. Its state is two buffers.

    Args:
        target: non-zero entries of one instance's gradient that are aimed at.
        rate: relative change of :math:`\alpha` in one backward pass.
        decay: of the moving mean of what was counted.
        start: where :math:`\alpha` begins.

    Raises:
        InputError: a number out of range.

    Example:
        >>> round(AdaptiveStep(start=0.5).alpha.item(), 1)
        0.5
    """

    alpha: Tensor
    counted: Tensor

    def __init__(self, target: float = 1.0, rate: float = 0.02, decay: float = 0.9, start: float = 0.1) -> None:
        super().__init__()
        self.target = check_number("target", target, low=0)
        self.rate = check_number("rate", rate, low=0)
        self.decay = check_number("decay", decay, low=0, high=1)
        self.register_buffer("alpha", torch.tensor(check_number("start", start, low=1e-12), dtype=torch.float64))
        self.register_buffer("counted", torch.tensor(target, dtype=torch.float64))

    def forward(self, scores: Tensor, upstream: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Return the step of each instance, with the instance's axes kept at size 1."""
        size = torch.linalg.vector_norm(scores, dim=axes, keepdim=True)
        slope = torch.linalg.vector_norm(upstream, dim=axes, keepdim=True)
        tiny = torch.finfo(scores.dtype).tiny
        step = self.alpha.to(scores) * torch.where(size > 0, size, torch.ones_like(size)) / slope.clamp_min(tiny)
        return torch.where(slope > 0, step, torch.ones_like(step))

    @torch.no_grad()
    def update(self, gradient: Tensor, axes: tuple[int, ...]) -> None:
        """Take in the gradient of a backward pass."""
        found = (gradient != 0).double().sum(axes).mean()
        self.counted.mul_(self.decay).add_((1 - self.decay) * found)
        self.alpha.mul_(1 + self.rate if self.counted < self.target else 1 / (1 + self.rate))


class _AskedTwice(torch.autograd.Function):
    """Forward the mean answer to noisy scores; backward how the answers change where the loss pulls them to."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, noise: Tensor, solve: Fn, estimator: IMLE) -> Tensor:
        answers = solve(scores + noise)
        ctx.save_for_backward(scores, noise, answers)
        ctx.solve, ctx.estimator = solve, estimator
        return answers.mean(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scores, noise, answers = ctx.saved_tensors
        axes = tuple(range(-ctx.estimator.dims, 0))
        rule = ctx.estimator.step
        step = rule(scores, upstream, axes) if isinstance(rule, AdaptiveStep) else rule
        pulled = ctx.solve(scores + noise - step * upstream)
        if ctx.estimator.symmetric:
            gradient = ((ctx.solve(scores + noise + step * upstream) - pulled) / (2 * step)).mean(0)
        else:
            gradient = ((answers - pulled) / step).mean(0)
        if isinstance(rule, AdaptiveStep):
            rule.update(gradient, axes)
        return gradient, None, None, None


@capability("estimator", cost="2 n_samples solver calls, 3 n_samples with symmetric")
@dataclass(frozen=True)
class IMLE(FunctionEstimator):
    r"""Implicit maximum likelihood: how solutions change when the scores follow the loss by a finite step.

    .. math:: \frac{1}{S} \sum_s \frac{y(\theta + \epsilon_s) - y(\theta + \epsilon_s - \lambda\, \nabla_y L)}{\lambda}

    The noise stays the same on both sides. Biased; the value is the mean of S noisy solutions.

    Args:
        step: :math:`\lambda > 0`, in units of scores over loss; an ``AdaptiveStep`` finds it.
        n_samples: S.
        noise: ``"gumbel"``, ``"gaussian"``, ``"none"`` (then S is 1), or ``SumOfGamma(k)`` for k-subsets.
        scale: of the noise, in units of the scores.
        symmetric: central instead of one-sided differences, one more call a sample.
        dims: axes of one instance; the leading ones are batch.

    Raises:
        InputError: an unknown noise, a number out of range.

    Example:
        >>> largest = lambda s: torch.nn.functional.one_hot(s.argmax(-1), s.shape[-1]).to(s)
        >>> scores = torch.tensor([1.0, 0.0], requires_grad=True)
        >>> solution = IMLE(step=10.0, noise="none").wrap(largest)(scores)
        >>> torch.autograd.grad(solution[0], scores)[0].tolist()
        [0.1..., -0.1...]

    Limit: :math:`\lambda \to 0` gives zero almost everywhere.

    Cost: 2S solver calls.

    Source: Niepert, Minervini and Franceschi, "Implicit MLE: Backpropagating Through Discrete Exponential Family
    Distributions", 2021; Minervini, Franceschi and Niepert, "Adaptive Perturbation-Based Gradient Estimation for
    Discrete Latent Variable Models", 2023.
    """

    step: float | AdaptiveStep = 1.0
    n_samples: int = 1
    noise: str | SumOfGamma = "gumbel"
    scale: float = 1.0
    symmetric: bool = False
    dims: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.step, AdaptiveStep):
            check_number("step", self.step, low=1e-12)
        check_number("n_samples", self.n_samples, low=1, integer=True)
        check_number("scale", self.scale, low=0)
        check_number("dims", self.dims, low=1, integer=True)
        if not isinstance(self.noise, SumOfGamma):
            check_choice("noise", self.noise, ("gumbel", "gaussian", "none"))

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the solver with a gradient; see ``FunctionEstimator.wrap``."""

        def solve(scores: Tensor) -> Tensor:
            answers = called(fn, scores, scores.shape[: scores.ndim - self.dims])
            if answers.shape != scores.shape:
                raise InputError("the solver answers in another shape", got=str(tuple(answers.shape)),
                                 allowed=str(tuple(scores.shape)), fix="take Perturbed(), which allows it")  # fmt: skip
            return answers.to(scores.dtype)

        def solution(scores: Tensor) -> Tensor:
            instance_axes(scores, self.dims)
            answer: Tensor = _AskedTwice.apply(scores, self._noise(scores.detach(), generator), solve, self)  # type: ignore[no-untyped-call]
            return answer

        return solution

    def _noise(self, scores: Tensor, generator: torch.Generator | None) -> Tensor:
        if isinstance(self.noise, SumOfGamma):
            return self.scale * self.noise.draw(scores, self.n_samples, generator)
        if self.noise == "none":
            return torch.zeros_like(scores).unsqueeze(0)
        z, _ = draw_noise(scores, self.n_samples, noise=self.noise, sampling="independent", generator=generator)
        return self.scale * z


@capability("estimator", cost="2 solver calls")
@dataclass(frozen=True)
class Blackbox(FunctionEstimator):
    r"""Blackbox differentiation: the gradient of an interpolation between the pieces of a piecewise constant loss.

    .. math:: \frac{y(\theta) - y(\theta - \lambda \nabla_y L)}{\lambda}

    The value is the exact solution. Biased.

    Args:
        step: :math:`\lambda > 0`, in units of scores over loss: so large that solutions change.
        dims: axes of one instance; the leading ones are batch.

    Raises:
        InputError: a number out of range.

    Example:
        >>> largest = lambda s: torch.nn.functional.one_hot(s.argmax(-1), s.shape[-1]).to(s)
        >>> scores = torch.tensor([1.0, 0.0], requires_grad=True)
        >>> solution = Blackbox(10.0).wrap(largest)(scores)
        >>> torch.autograd.grad(solution[0], scores)[0].tolist()
        [0.1..., -0.1...]

    Limit: :math:`\lambda \to 0` gives zero almost everywhere.

    Cost: two solver calls.

    Source: Vlastelica, Paulus, Musil, Martius and Rolínek, "Differentiation of Blackbox Combinatorial Solvers", 2020.
    """

    step: float = 1.0
    dims: int = 1

    def __post_init__(self) -> None:
        check_number("step", self.step, low=1e-12)
        check_number("dims", self.dims, low=1, integer=True)

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the solver with a gradient; see ``FunctionEstimator.wrap``. ``generator`` is not used."""
        return IMLE(self.step, noise="none", dims=self.dims).wrap(fn)


@capability("estimator", cost="1 solver call")
@dataclass(frozen=True)
class IdentityProjection(FunctionEstimator):
    r"""The exact solution forward; backward the gradient itself, without what cannot change the solution.

    An argmax of a linear objective does not change when all scores are shifted or scaled, so the scores are projected
    first, :math:`P(\theta) = (\theta - \bar\theta) / \lVert \theta - \bar\theta \rVert`, and the solver counts as the
    identity. Biased; no second call.

    Args:
        projection: ``"standardise"``, ``"centre"`` (shift only), ``"normalise"`` (scale only) or ``"none"``.
        dims: axes of one instance; the leading ones are batch.

    Raises:
        InputError: an unknown projection.

    Example:
        >>> largest = lambda s: torch.nn.functional.one_hot(s.argmax(-1), s.shape[-1]).to(s)
        >>> scores = torch.tensor([1.0, 0.0], requires_grad=True)
        >>> solution = IdentityProjection("centre").wrap(largest)(scores)
        >>> torch.autograd.grad(solution[0], scores)[0].tolist()
        [0.5, -0.5]

    Limit: there is no temperature.

    Cost: one solver call.

    Source: Sahoo, Paulus, Vlastelica, Musil, Kuleshov and Martius, "Backpropagation through Combinatorial Algorithms:
    Identity with Projection Works", 2023.
    """

    projection: str = "standardise"
    dims: int = 1

    def __post_init__(self) -> None:
        check_choice("projection", self.projection, ("standardise", "centre", "normalise", "none"))
        check_number("dims", self.dims, low=1, integer=True)

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the solver with a gradient; see ``FunctionEstimator.wrap``. ``generator`` is not used."""

        def solution(scores: Tensor) -> Tensor:
            axes = instance_axes(scores, self.dims)
            answer = called(fn, scores.detach(), scores.shape[: scores.ndim - self.dims])
            projected = scores
            if self.projection in ("standardise", "centre"):
                projected = projected - projected.mean(axes, keepdim=True)
            if self.projection in ("standardise", "normalise"):
                size = torch.linalg.vector_norm(projected, dim=axes, keepdim=True)
                projected = projected / size.clamp_min(torch.finfo(scores.dtype).eps)
            return straight_through(answer, projected)

        return solution


@capability("estimator", cost="2 solver calls")
def spo_plus_loss(solver: Fn, scores: Tensor, true_scores: Tensor, *, dims: int = 1) -> Tensor:
    r"""Return SPO+, a convex upper bound of the regret of deciding by predicted scores.

    With :math:`y(\cdot)` the maximiser and c the true scores,

    .. math:: L(\theta; c) = \max_y \langle 2\theta - c, y \rangle - 2 \langle \theta, y(c) \rangle
              + \langle c, y(c) \rangle, \qquad \nabla_\theta L = 2\,(y(2\theta - c) - y(c)) .

    It is 0 where the prediction is right, and never below the regret :math:`\langle c, y(c) - y(\theta) \rangle`.

    Args:
        solver: from scores ``[..., *instance]`` to the solutions that maximise the inner product, same shape; for
            costs that are minimised pass ``lambda s: minimise(-s)`` and negative costs.
        scores: predicted, :math:`\theta`.
        true_scores: c.
        dims: axes of one instance; the leading ones are batch.

    Raises:
        InputError: the two scores differ in shape.

    Example:
        >>> largest = lambda s: torch.nn.functional.one_hot(s.argmax(-1), s.shape[-1]).to(s)
        >>> spo_plus_loss(largest, torch.tensor([0.0, 1.0]), torch.tensor([3.0, 1.0])).item()
        4.0

    Limit: there is no temperature.

    Cost: two solver calls.

    Source: Elmachtoub and Grigas, "Smart 'Predict, then Optimize'", 2022.
    """
    if scores.shape != true_scores.shape:
        raise InputError("the scores differ in shape", got=f"{tuple(scores.shape)}, {tuple(true_scores.shape)}",
                         allowed="equal shapes", fix="predict one score for each true one")  # fmt: skip
    axes, lead = instance_axes(scores, dims), scores.shape[: scores.ndim - dims]
    with torch.no_grad():
        beyond = 2 * scores - true_scores
        pulled, best = called(solver, beyond, lead), called(solver, true_scores, lead)
        value = sum_over(beyond * pulled + (true_scores - 2 * scores) * best, axes)
    return with_gradient(value, sum_over(2 * scores * (pulled - best), axes))
