"""Binary choices: samples that avoid each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.gradients._protocol import ChoiceEstimator, LossFn, check_logits, losses, sum_to, wide, with_gradient


@capability("estimator", cost="O(1) time and memory for each binary choice; 1 loss a sample")
@dataclass(frozen=True)
class DisARM(ChoiceEstimator):
    r"""The score function with antithetic samples, for choices of two classes (DisARM; ARMS for groups above 2).

    With :math:`p = \sigma(\theta_1 - \theta_0)` and groups of n samples that are uniform each and together a Dirichlet
    copula, so that every two of them have the correlation :math:`\rho \le 0`,

    .. math:: \frac{1}{n-1} \sum_i \bigl(f(b_i) - \bar f\bigr) \frac{b_i - p}{1 - \rho}

    estimates the gradient by :math:`\theta_1 - \theta_0` without bias. Never more variance than leave-one-out has, less
    where the samples differ. The loss is never differentiated by its argument.

    Args:
        group: n >= 2, samples that are drawn together; ``n_samples`` is a multiple of it.

    Raises:
        InputError: logits with other than 2 classes; ``n_samples`` is no multiple of ``group``.

    Example:
        >>> logits = torch.zeros(2, requires_grad=True)
        >>> noise = torch.Generator().manual_seed(0)
        >>> loss = DisARM().estimate(lambda z: z[..., 1], logits, n_samples=2, generator=noise)
        >>> torch.autograd.grad(loss, logits)[0].tolist()
        [-0.25, 0.25]

    Limit: there is no temperature.

    Cost: one loss without gradient a sample.

    Source: Dong, Mnih and Tucker, "DisARM: An Antithetic Gradient Estimator for Binary Latent Variables", 2020;
    Dimitriev and Zhou, "ARMS: Antithetic-REINFORCE-Multi-Sample Gradient for Binary Variables", 2021.
    """

    group: int = 2
    unbiased: ClassVar[bool] = True
    uses_loss_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("group", self.group, low=2, integer=True)

    def estimate(
        self, loss_fn: LossFn, logits: Tensor, *, n_samples: int = 2, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean loss, with the estimate as gradient; see ``ChoiceEstimator.estimate``."""
        check_logits(logits)
        if logits.shape[-1] != 2:
            raise InputError(
                "DisARM is for binary choices", got=f"{logits.shape[-1]} classes", allowed="2 classes",
                fix="take ScoreFunction(), or write the choice as binary ones",
            )  # fmt: skip
        if n_samples < self.group or n_samples % self.group:
            raise InputError(
                "n_samples does not make whole groups", got=n_samples, allowed=f"a multiple of {self.group}",
                fix=f"pass n_samples={self.group}",
            )  # fmt: skip
        margin = wide(logits[..., 1] - logits[..., 0])
        with torch.no_grad():
            ones, weight = self._draw(margin, n_samples // self.group, generator)
            choices = torch.stack([1 - ones, ones], -1).to(logits.dtype)
        found = losses(loss_fn, choices)
        grouped = found.detach().reshape(-1, self.group, *found.shape[1:])
        excess = (grouped - grouped.mean(1, keepdim=True)) * (self.group / (self.group - 1))
        return with_gradient(found, excess.reshape(found.shape) * sum_to(weight * margin, found.ndim)).mean(0)

    def _draw(self, margin: Tensor, groups: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return 0/1 samples ``[S, ...]`` and (b - p) / (1 - rho) for each.

        The rarer class is the one that is drawn: that keeps 1 - rho clear of cancellation.
        """
        shape = (groups, self.group, *margin.shape)
        draws = torch.empty(shape, dtype=margin.dtype, device=margin.device).exponential_(generator=generator)
        shares = draws / draws.sum(1, keepdim=True)
        rare = torch.sigmoid(-margin.abs()).clamp_min(torch.finfo(margin.dtype).tiny)
        root = rare ** (1 / (self.group - 1))
        drawn = (shares > 1 - root).to(margin.dtype)
        both = (2 * root - 1).clamp_min(0) ** (self.group - 1)  # that two of a group are drawn
        scale = rare * (1 - rare) / (rare - both)
        sign = torch.where(margin < 0, 1.0, -1.0).to(margin.dtype)
        ones = torch.where(margin < 0, drawn, 1 - drawn)
        ones = torch.where(margin.isnan(), margin, ones)  # no choice can be drawn there
        return ones.flatten(0, 1), (sign * scale * (drawn - rare)).flatten(0, 1)
