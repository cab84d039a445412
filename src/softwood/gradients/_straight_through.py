"""Hard values forward, soft gradients backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import capability, check_choice, check_number
from softwood.gradients._protocol import PathwiseEstimator, check_logits, draw_choices, wide


@capability("estimator", cost="O(n) time and memory")
def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    r"""Return ``hard`` as value, with the gradient of ``soft``.

    .. math:: y = \operatorname{stop}(h) + s - \operatorname{stop}(s), \qquad
              y = h, \quad \partial y / \partial s = 1 .

    The value is exactly ``hard``, to the last bit. The gradient is that of ``soft``, whatever the two have to do with
    each other: it is biased. Where ``soft`` is NaN or infinite there is no gradient.

    Args:
        hard: the discrete value, any dtype; it takes part in no gradient.
        soft: the relaxed value, floating; ``hard`` broadcasts to its shape and is cast to its dtype.

    Example:
        >>> x = torch.tensor([0.2, 0.9], requires_grad=True)
        >>> straight_through(x.round(), x).tolist()
        [0.0, 1.0]
        >>> torch.autograd.grad(straight_through(x.round(), x).sum(), x)[0].tolist()
        [1.0, 1.0]

    Limit: as the temperature of ``soft`` goes to 0 its gradient goes to 0 almost everywhere, and so does this one.

    Cost: O(n) time and memory.

    Source: Bengio, Léonard and Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for
    Conditional Computation", 2013.
    """
    value = hard.detach().to(soft.dtype).expand_as(soft)
    # soft - stop(soft) is 0 wherever soft is finite; inf - inf would turn a right value into NaN
    return torch.where(soft.isfinite(), value + (soft - soft.detach()), value)


@capability("estimator", cost="O(K) time and memory for each choice of K classes; 1 loss with its gradient a sample")
@dataclass(frozen=True)
class StraightThrough(PathwiseEstimator):
    r"""One-hot samples :math:`z \sim \operatorname{softmax}(\theta)` that hand the gradient on to the logits.

    ``slope`` says what stands in for :math:`\partial z / \partial \theta`:

    - ``"softmax"``: the Jacobian of :math:`\operatorname{softmax}(\theta / \tau)`. Exact for losses linear in z.
    - ``"identity"``: the identity. It ignores that probabilities sum to 1.
    - ``"clipped"``: the identity where :math:`|\theta| \le` ``bound``, else 0, which keeps logits from drifting away.
    - ``"gapped"``: the Jacobian of :math:`\operatorname{softmax}((\theta + m)/\tau)`. The shift m has no gradient; it
      puts the class that was drawn first and all others at least ``gap`` below. That is the consistency of
      Gumbel noise with the sample, without the noise.

    All are biased, with little variance.

    Args:
        slope: one of the four names.
        temperature: :math:`\tau > 0`, in units of the logits; for ``"softmax"`` and ``"gapped"``.
        bound: for ``"clipped"``.
        gap: for ``"gapped"``, >= 0.

    Raises:
        InputError: an unknown slope, or a number out of range.

    Example:
        >>> logits = torch.tensor([2.0, 0.0], requires_grad=True)
        >>> loss = StraightThrough("identity").estimate(lambda z: z[..., 0], logits, n_samples=4)
        >>> torch.autograd.grad(loss, logits)[0].tolist()
        [1.0, 0.0]

    Limit: samples are one-hot at every temperature; for ``"softmax"`` and ``"gapped"`` the gradient vanishes as
    :math:`\tau \to 0`.

    Cost: O(K) for each choice, one loss with its gradient a sample.

    Source: Bengio, Léonard and Courville, 2013; clipping from Hubara et al., "Binarized Neural Networks", 2016; the gap
    from Fan, Chi, Rudnicky and Ramadge, "Training Discrete Deep Generative Models via Gapped Straight-Through
    Estimator", 2022.
    """

    slope: str = "softmax"
    temperature: float = 1.0
    bound: float = 1.0
    gap: float = 1.0

    def __post_init__(self) -> None:
        check_choice("slope", self.slope, ("softmax", "identity", "clipped", "gapped"))
        check_number("temperature", self.temperature, low=1e-12)
        check_number("bound", self.bound, low=0)
        check_number("gap", self.gap, low=0)

    def sample(self, logits: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return one-hot samples in the shape of ``logits``."""
        check_logits(logits)
        choices = draw_choices(logits, generator)
        if self.slope == "identity":
            soft = logits
        elif self.slope == "clipped":
            soft = logits.clamp(-self.bound, self.bound)
        else:
            shift = self._shift(logits.detach(), choices) if self.slope == "gapped" else 0.0
            soft = torch.softmax((wide(logits) + shift) / self.temperature, -1).to(logits.dtype)
        return straight_through(choices, soft)

    def _shift(self, logits: Tensor, choices: Tensor) -> Tensor:
        """Lift the drawn class to the largest logit and push the others ``gap`` below it."""
        largest = wide(logits).amax(-1, keepdim=True)
        drawn = choices.bool()
        below = torch.relu(wide(logits) + self.gap - largest)
        return torch.where(drawn, largest - wide(logits), -below)


@capability("estimator", cost="O(K) time and memory for each choice of K classes; 1 loss with its gradient a sample")
@dataclass(frozen=True)
class ReinMax(PathwiseEstimator):
    r"""Straight-through of second order: Heun's method where the softmax slope is Euler's.

    With :math:`p = \operatorname{softmax}(\theta)`, a one-hot sample z and the Jacobian
    :math:`J(q) = \operatorname{diag}(q) - q q^\top`, the stand-in for :math:`\partial z / \partial \theta` is

    .. math:: 2 J\left(\tfrac{p_\tau + z}{2}\right) - \tfrac{1}{2} J(p),
              \qquad p_\tau = \operatorname{softmax}(\theta / \tau) .

    For one choice and :math:`\tau = 1` it is unbiased for losses quadratic in z; several choices that interact leave
    some bias.

    Args:
        temperature: :math:`\tau > 0`; above 1 it trades bias for variance.

    Raises:
        InputError: ``temperature`` is not a number > 0.

    Example:
        >>> ReinMax().sample(torch.tensor([[9.0, 0.0], [0.0, 99.0]])).sum(-1).tolist()
        [1.0, 1.0]

    Limit: samples are one-hot at every temperature.

    Cost: O(K) for each choice, one loss with its gradient a sample.

    Source: Liu, Dong, Liu, Yu and Gao, "Bridging Discrete and Backpropagation: Straight-Through and Beyond", 2023.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=1e-12)

    def sample(self, logits: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return one-hot samples in the shape of ``logits``."""
        check_logits(logits)
        choices, fine = draw_choices(logits, generator), wide(logits)
        plain = torch.softmax(fine.detach(), -1)
        middle = (torch.softmax(fine.detach() / self.temperature, -1) + choices) / 2
        soft = 2 * _with_slope_of_softmax(middle, fine) - _with_slope_of_softmax(plain, fine) / 2
        return straight_through(choices, soft.to(logits.dtype))


def _with_slope_of_softmax(q: Tensor, logits: Tensor) -> Tensor:
    """Return something whose Jacobian by the logits is diag(q) - q q^T; its value means nothing."""
    finite = torch.where(q > 0, logits, torch.zeros_like(logits))  # a class that cannot be drawn has the logit -inf
    return q * (finite - (q * finite).sum(-1, keepdim=True))
