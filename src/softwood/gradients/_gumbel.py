"""Relaxed choices: softmax, and softmax of logits with Gumbel noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.gradients._protocol import PathwiseEstimator, check_logits, gumbel_like, one_hot, wide
from softwood.gradients._straight_through import straight_through


@capability("estimator", cost="that of the map (softmax: O(K)) for each choice; 1 loss with its gradient")
@dataclass(frozen=True)
class Relaxation(PathwiseEstimator):
    r"""The loss at the relaxed choice itself: :math:`f(\operatorname{softmax}(\theta / \tau))`, no noise at all.

    Deterministic, so all its error is bias: the loss is asked about mixtures of classes that never ship.

    Args:
        temperature: :math:`\tau > 0`, in units of the logits.
        projection: from scores ``[..., K]`` to the simplex; None is softmax. Sparse ones leave a smaller gap.

    Raises:
        InputError: ``temperature`` is not a number > 0.

    Example:
        >>> Relaxation(2.0).sample(torch.tensor([1.0, 1.0])).tolist()
        [0.5, 0.5]

    Limit: one-hot of the largest logit, not a sample.

    Cost: one loss with its gradient.

    Source: Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.
    """

    temperature: float = 1.0
    projection: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=1e-12)

    def sample(self, logits: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the relaxed choice; ``generator`` is not used."""
        check_logits(logits)
        scores = logits / self.temperature
        return torch.softmax(scores, -1) if self.projection is None else self.projection(scores)


@capability(
    "estimator", papers=("gumbel-softmax",),
    cost="O(K) time and memory for each choice of K classes, times rao where > 0; 1 loss with its gradient a sample",
)  # fmt: skip
@dataclass(frozen=True)
class GumbelSoftmax(PathwiseEstimator):
    r"""Samples of the Gumbel-softmax distribution, which tend to one-hot samples as the temperature falls.

    .. math:: y = \operatorname{softmax}\left(\frac{\theta + g}{\tau}\right), \qquad g_k = -\log(-\log u_k)

    - ``hard``: forward the one-hot z of the largest :math:`\theta + g`, backward the gradient of y: straight-through.
    - ``rao = R > 0`` (with ``hard``): backward the mean of R such gradients, their noise drawn again given z. The same
      bias, less variance, and the loss is still asked once.
    - ``backward_temperature``: the value at :math:`\tau`, the gradient at another temperature.

    Bias grows with :math:`\tau` and variance with :math:`1/\tau`; 0.5 to 1 suits about ten classes.

    Args:
        temperature: :math:`\tau > 0`, in units of the logits.
        hard: give one-hot samples.
        rao: R, how many conditional draws to average; 0 takes the one draw that made z.
        backward_temperature: > 0, or None for ``temperature``.

    Raises:
        InputError: a number out of range, or ``rao`` without ``hard``.

    Example:
        >>> y = GumbelSoftmax(0.5).sample(torch.zeros(4, 3), generator=torch.Generator().manual_seed(0))
        >>> y.sum(-1).tolist()
        [1.0, 1.0, 1.0, 1.0]

    Limit: :math:`\tau \to 0` gives exact one-hot samples, and gradients that are 0 but for rare, huge ones.

    Cost: O(K (1 + R)) for each choice, one loss with its gradient a sample.

    Source: Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017; Maddison, Mnih and Teh, "The
    Concrete Distribution", 2017; Paulus, Maddison and Krause, "Rao-Blackwellizing the Straight-Through Gumbel-Softmax
    Gradient Estimator", 2021; Shah, Yan, Mozer and Liu, "Improving Discrete Optimisation Via Decoupled Straight-Through
    Gumbel-Softmax", 2024.
    """

    temperature: float = 1.0
    hard: bool = False
    rao: int = 0
    backward_temperature: float | None = None

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=1e-12)
        check_number("rao", self.rao, low=0, integer=True)
        if self.backward_temperature is not None:
            check_number("backward_temperature", self.backward_temperature, low=1e-12)
        if self.rao and not self.hard:
            raise InputError(
                "rao needs a hard sample to condition on", got=f"rao={self.rao}, hard=False", allowed="hard=True",
                fix="pass hard=True, or rao=0",
            )  # fmt: skip

    def sample(self, logits: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return samples in the shape of ``logits``."""
        check_logits(logits)
        fine = wide(logits)
        noisy = fine + gumbel_like(fine, generator)
        backward = self.temperature if self.backward_temperature is None else self.backward_temperature
        if self.hard:
            choices = one_hot(noisy.detach())
            if self.rao:
                noisy = conditional_gumbels(fine.expand(self.rao, *fine.shape), choices, generator)
            soft = torch.softmax(noisy / backward, -1)
            sample = straight_through(choices, soft.mean(0) if self.rao else soft)
        else:
            sample = torch.softmax(noisy / self.temperature, -1)
            if backward != self.temperature:
                sample = straight_through(sample, torch.softmax(noisy / backward, -1))
        return sample.to(logits.dtype)


def conditional_gumbels(
    logits: Tensor, choices: Tensor, generator: torch.Generator | None, *, through_noise: bool = False
) -> Tensor:
    r"""Return perturbed logits, drawn given that the largest of each row is at ``choices``.

    The largest is a Gumbel variable at :math:`\log \sum_k e^{\theta_k}`, the others are Gumbel at
    :math:`\theta_k`, cut off there.

    Args:
        logits: ``[..., K]``.
        choices: one-hot, broadcasts with ``logits``.
        generator: where the noise comes from.
        through_noise: let the gradient also go through the noise, whose law depends on the logits given the choice.
            Otherwise the noise is a constant that is added to the logits, as where nothing is conditioned on.
    """
    log_p = torch.log_softmax(logits, -1)
    if not through_noise:
        log_p = log_p.detach()
    top = gumbel_like(log_p[..., :1], generator)  # the law of the largest, as log_p sums to one
    own = gumbel_like(log_p, generator)
    # a Gumbel at log_p, cut off at top: -log(exp(-top) + exp(-(log_p + own)))
    below = -torch.logaddexp(-top, -(log_p + own))
    drawn = torch.where(choices.bool(), top.expand_as(below), below)
    if through_noise:
        return drawn
    usable = log_p.isfinite()  # a class of probability 0 stays at -inf
    return torch.where(usable, logits + (drawn - logits.detach()), logits)
