"""The score function: unbiased, and the loss may be any black box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from softwood.core import InputError, capability, check_choice, check_number
from softwood.gradients._protocol import (
    ChoiceEstimator,
    LossFn,
    check_logits,
    draw_choices,
    log_probability,
    losses,
    repeat,
    with_gradient,
)


class MovingBaseline(nn.Module):
    r"""The moving mean of past losses, as a baseline: :math:`b \leftarrow \gamma b + (1-\gamma) \bar f`.

    It is used before it sees the losses of a step, so it adds no bias. Its state is two buffers.

    Args:
        decay: :math:`\gamma` in [0, 1).

    Raises:
        InputError: ``decay`` is out of range.

    Example:
        >>> baseline = MovingBaseline(0.5)
        >>> baseline.update(torch.tensor([4.0]))
        >>> baseline.mean().item()
        4.0
    """

    total: Tensor
    weight: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = check_number("decay", decay, low=0, high=1 - 1e-9)
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))

    def mean(self) -> Tensor:
        """Return the mean so far, 0 before the first update; the start at 0 is divided out."""
        return torch.where(self.weight > 0, self.total / self.weight.clamp_min(1e-300), self.total)

    @torch.no_grad()
    def update(self, found: Tensor) -> None:
        """Take in the losses of a step; one that is not finite would stay in the mean for ever and is left out."""
        finite = found.double()[found.isfinite()]
        if len(finite):
            self.total.mul_(self.decay).add_((1 - self.decay) * finite.mean())
            self.weight.mul_(self.decay).add_(1 - self.decay)


@capability("estimator", papers=("gumbel-softmax",), cost="O(K) for each choice of K classes; 1 loss a sample")
@dataclass(frozen=True)
class ScoreFunction(ChoiceEstimator):
    r"""The score-function estimator (REINFORCE) with a baseline b.

    .. math:: \frac{1}{S} \sum_s \bigl(f(z_s) - b_s\bigr)\, \nabla_\theta \log p_\theta(z_s)

    - ``"leave-one-out"``: :math:`b_s` is the mean loss of the other samples (RLOO). No settings, no state; the
      reference choice where bias is not wanted. Needs 2 samples or more.
    - a ``MovingBaseline``: the moving mean of past losses; works with 1 sample.
    - ``"none"``: :math:`b = 0`. The variance grows with the square of the mean loss.

    All are unbiased. The loss is never differentiated by its argument.

    Args:
        baseline: one of the above.

    Raises:
        InputError: an unknown baseline; leave-one-out with 1 sample.

    Example:
        >>> logits = torch.zeros(2, requires_grad=True)
        >>> loss = ScoreFunction().estimate(lambda z: 2 * z[..., 0], logits, n_samples=50_000)
        >>> torch.autograd.grad(loss, logits)[0].round(decimals=1).tolist()
        [0.5, -0.5]

    Limit: there is no temperature.

    Cost: O(K) for each choice, one loss without gradient a sample.

    Source: Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992;
    Kool, van Hoof and Welling, "Buy 4 REINFORCE Samples, Get a Baseline for Free!", 2019.
    """

    baseline: str | MovingBaseline = "leave-one-out"
    unbiased: ClassVar[bool] = True
    uses_loss_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.baseline, MovingBaseline):
            check_choice("baseline", self.baseline, ("none", "leave-one-out"))

    def estimate(
        self, loss_fn: LossFn, logits: Tensor, *, n_samples: int = 2, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean loss, with the estimate as gradient; see ``ChoiceEstimator.estimate``."""
        if self.baseline == "leave-one-out" and n_samples < 2:
            raise InputError(
                "leave-one-out needs other samples", got=f"n_samples={n_samples}", allowed="2 or more",
                fix="pass n_samples=4, or baseline=MovingBaseline()",
            )  # fmt: skip
        choices = draw_choices(repeat(logits, n_samples), generator)
        found = losses(loss_fn, choices)
        log_p = log_probability(logits.expand_as(choices), choices, found.ndim)
        excess = self._excess(found.detach()).to(log_p.dtype)
        return with_gradient(found, excess * log_p).mean(0)

    def _excess(self, found: Tensor) -> Tensor:
        if isinstance(self.baseline, MovingBaseline):
            excess = found - self.baseline.mean().to(found)
            self.baseline.update(found)
            return excess
        if self.baseline == "none":
            return found
        return (found - found.mean(0)) * (len(found) / (len(found) - 1))  # f - mean of the others


@capability("estimator", cost="the loss of every joint outcome: K^m for m choices of K classes")
@dataclass(frozen=True)
class Enumeration(ChoiceEstimator):
    r"""The exact expectation, by the loss of every joint outcome: no bias, no variance, for small problems.

    .. math:: \sum_z p_\theta(z) f(z)

    ``n_samples`` and ``generator`` are not used. Axes that have a loss of their own (the batch) are not multiplied
    with each other, which is why their number is asked for.

    Args:
        batch_ndim: how many leading axes of the logits have a loss of their own.
        limit: most outcomes that are tried.

    Raises:
        InputError: there are more outcomes than ``limit``.

    Example:
        >>> logits = torch.zeros(3, 2, requires_grad=True)
        >>> Enumeration().estimate(lambda z: z[..., 0].prod(-1), logits).item()
        0.125

    Limit: there is no temperature.

    Cost: K^m losses for m choices of K classes; time and memory.

    Source: the definition of an expectation.
    """

    batch_ndim: int = 0
    limit: int = 100_000
    unbiased: ClassVar[bool] = True
    uses_loss_gradient: ClassVar[bool] = False

    def estimate(
        self, loss_fn: LossFn, logits: Tensor, *, n_samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the expected loss, differentiable; see ``ChoiceEstimator.estimate``."""
        check_logits(logits)
        batch, inner = logits.shape[: self.batch_ndim], logits.shape[self.batch_ndim : -1]
        choices = outcomes(math.prod(inner), logits.shape[-1], self.limit).to(logits)
        choices = choices.reshape(-1, *[1] * len(batch), *inner, logits.shape[-1]).expand(-1, *logits.shape)
        found = losses(loss_fn, choices)
        log_p = log_probability(logits.expand_as(choices), choices, found.ndim)
        return (log_p.exp().to(found.dtype) * found).sum(0)


def outcomes(n_choices: int, n_classes: int, limit: int) -> Tensor:
    """Return every joint outcome of some choices, one-hot ``[K ** m, m, K]``."""
    count = n_classes**n_choices
    if count > limit:
        raise InputError(
            "there are too many outcomes to enumerate", got=f"{n_classes} ** {n_choices} = {count}",
            allowed=f"at most {limit}", fix="take ScoreFunction(), or raise limit",
        )  # fmt: skip
    places = n_classes ** torch.arange(n_choices)
    index = torch.arange(count)[:, None] // places % n_classes
    return torch.nn.functional.one_hot(index, n_classes)
