"""Perturbed solvers and functions: the gradient of a mean over noise in the argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_choice, check_number
from softwood.gradients._noise import NOISES, SAMPLINGS, called, draw_noise, instance_axes, sum_over, widened
from softwood.gradients._protocol import FunctionEstimator, with_gradient

Fn = Callable[[Tensor], Tensor]


@capability("estimator", papers=("ensemble-selection",), cost="n_samples calls, and that many answers in memory")
@dataclass(frozen=True)
class Perturbed(FunctionEstimator):
    r"""The mean answer under noise, with its gradient; unbiased for that smoothed map.

    .. math:: y_\sigma(\theta) = \mathbb{E}\, y(\theta + \sigma z), \qquad
              \frac{\partial y_\sigma}{\partial \theta} = \frac{1}{\sigma}\,
              \mathbb{E}\bigl[ (y(\theta + \sigma z) - b)\, s(z)^\top \bigr], \quad s(z) = -\nabla \log p(z)

    Around an argmax solver this is the perturbed optimizer, whatever it solves. Around a cost it is evolution
    strategies: smoothing by convolution, by Monte Carlo.

    - ``sampling="antithetic"`` takes z and its mirror image; ``"quasi-random"`` fills the space evenly.
    - ``baseline`` takes off b: the mean answer of the other samples, or with quasi-random ones the answer at
      :math:`\theta` itself, one call more. No bias comes of it, and much less variance.
    - ``noise="gumbel"`` around a one-hot argmax gives exactly softmax, value and Jacobian.

    Args:
        sigma: :math:`\sigma > 0`, in units of the argument.
        n_samples: S; even for antithetic ones, best a power of 2 for quasi-random ones.
        noise: ``"gaussian"`` or ``"gumbel"``.
        sampling: ``"independent"``, ``"antithetic"`` or ``"quasi-random"``.
        baseline: take off b.
        hard: give the answer at :math:`\theta` itself as value, one call more.
        dims: axes of one instance; the leading ones are batch.

    Raises:
        InputError: an unknown name, a number out of range, an odd number of antithetic samples.

    Example:
        >>> largest = lambda s: torch.nn.functional.one_hot(s.argmax(-1), s.shape[-1]).to(s)
        >>> soft = Perturbed(n_samples=10_000, noise="gumbel").wrap(largest)
        >>> [round(p, 1) for p in soft(torch.tensor([1.0, 0.0])).tolist()]
        [0.7, 0.3]

    Limit: :math:`\sigma \to 0` gives the hard answer; the variance grows with :math:`1/\sigma^2`.

    Cost: S calls (S + 1 with ``hard`` or the quasi-random baseline), S answers in memory.

    Source: Berthet, Blondel, Teboul, Cuturi, Vert and Bach, "Learning with Differentiable Perturbed Optimizers", 2020;
    for costs Salimans et al., "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", 2017.
    """

    sigma: float = 1.0
    n_samples: int = 16
    noise: str = "gaussian"
    sampling: str = "independent"
    baseline: bool = True
    hard: bool = False
    dims: int = 1

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, low=1e-12)
        check_number("n_samples", self.n_samples, low=1, integer=True)
        check_number("dims", self.dims, low=0, integer=True)
        check_choice("noise", self.noise, NOISES)
        check_choice("sampling", self.sampling, SAMPLINGS)
        if self.sampling == "antithetic" and self.n_samples % 2:
            raise InputError("antithetic samples come in pairs", got=f"n_samples={self.n_samples}",
                             allowed="an even number", fix=f"pass n_samples={self.n_samples + 1}")  # fmt: skip

    def wrap(self, fn: Fn, *, generator: torch.Generator | None = None) -> Fn:
        """Return the smoothed function; see ``FunctionEstimator.wrap``. ``fn`` may answer in any shape."""

        def smoothed(x: Tensor) -> Tensor:
            axes = instance_axes(x, self.dims)
            lead = x.shape[: x.ndim - self.dims]
            answers, _, score = self.answers(fn, x, generator)
            value = called(fn, x.detach(), lead) if self.hard else answers.mean(0)
            if not (torch.is_grad_enabled() and x.requires_grad):
                return value
            excess = self._excess(fn, answers.detach(), x, lead)
            along = sum_over(score * (x - x.detach()), axes) / (self.sigma * self.n_samples)
            return with_gradient(value, (excess * widened(along, excess.ndim).to(excess.dtype)).sum(0))

        return smoothed

    def answers(self, fn: Fn, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the answers ``[S, ...]``, the perturbed arguments, and the scores of the noise."""
        z, score = draw_noise(x.detach(), self.n_samples, noise=self.noise, sampling=self.sampling, generator=generator)
        perturbed = x.detach() + self.sigma * z
        return called(fn, perturbed, perturbed.shape[: perturbed.ndim - self.dims]), perturbed, score

    def _excess(self, fn: Fn, answers: Tensor, x: Tensor, lead: torch.Size) -> Tensor:
        if not self.baseline:
            return answers
        if self.sampling == "quasi-random":  # these depend on each other: the mean of the others would bias
            with torch.no_grad():
                return answers - called(fn, x.detach(), lead)
        # of the other pairs: an own mirror image is no independent sample
        size = 2 if self.sampling == "antithetic" else 1
        groups = self.n_samples // size
        if groups < 2:
            return answers
        each = answers.reshape(groups, size, *answers.shape[1:])
        own = each.mean(1, keepdim=True)
        others = (groups * own.mean(0, keepdim=True) - own) / (groups - 1)
        return (each - others).reshape(answers.shape)


@capability("estimator", papers=("ensemble-selection",), cost="n_samples solver calls")
def fenchel_young_loss(
    solver: Fn, scores: Tensor, target: Tensor, estimator: Perturbed | None = None, *,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    r"""Return the Fenchel-Young loss of scores under a perturbed solver, convex in the scores.

    .. math:: L(\theta; y) = \mathbb{E} \max_{y'} \langle \theta + \sigma z, y' \rangle - \langle \theta, y \rangle,
              \qquad \nabla_\theta L = y_\sigma(\theta) - y .

    It learns scores from target solutions; the solver is not differentiated. A constant of the target is left out, so
    the value may be negative.

    Args:
        solver: from scores ``[..., *instance]`` to the solutions that maximise the inner product, same shape.
        scores: :math:`\theta`.
        target: y, in the shape of ``scores``.
        estimator: noise and samples; None is ``Perturbed()``.
        generator: where the noise comes from.

    Raises:
        InputError: scores and target differ in shape.

    Example:
        >>> largest = lambda s: torch.nn.functional.one_hot(s.argmax(-1), s.shape[-1]).to(s)
        >>> scores = torch.tensor([9.0, 0.0], requires_grad=True)
        >>> loss = fenchel_young_loss(largest, scores, torch.tensor([0.0, 1.0]), Perturbed(0.1))
        >>> torch.autograd.grad(loss, scores)[0].tolist()
        [1.0, -1.0]

    Limit: :math:`\sigma \to 0` gives the structured perceptron loss.

    Cost: S solver calls, S solutions in memory.

    Source: Blondel, Martins and Niculae, "Learning with Fenchel-Young Losses", 2020; Berthet et al., 2020.
    """
    if scores.shape != target.shape:
        raise InputError("scores and target differ in shape", got=f"{tuple(scores.shape)}, {tuple(target.shape)}",
                         allowed="equal shapes", fix="pass one target solution for each row of scores")  # fmt: skip
    chosen = Perturbed() if estimator is None else estimator
    axes = instance_axes(scores, chosen.dims)
    with torch.no_grad():
        solutions, perturbed, _ = chosen.answers(solver, scores, generator)
        best = sum_over(perturbed * solutions, axes).mean(0) - sum_over(scores * target, axes)
        slope = solutions.mean(0) - target
    return with_gradient(best, sum_over(scores * slope, axes))
