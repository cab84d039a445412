"""REBAR and RELAX: the score function, with a relaxed sample to take its noise away."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from softwood.core import InputError, capability, check_number
from softwood.gradients._gumbel import conditional_gumbels
from softwood.gradients._protocol import (
    ChoiceEstimator,
    LossFn,
    gumbel_like,
    log_probability,
    losses,
    one_hot,
    repeat,
    sum_to,
    wide,
    with_gradient,
)


class ControlVariate(nn.Module):
    r"""What RELAX learns: :math:`c(y) = \eta f(y) + r(y)`, where y is a relaxed choice at temperature :math:`\tau`.

    Args:
        net: r, from relaxed choices to losses, in the shape of the loss function; None is 0.
        temperature: where :math:`\tau > 0` begins.
        strength: where :math:`\eta` begins.
        uses_loss: whether :math:`\eta f` is there; False for a loss that takes one-hot choices only.

    Raises:
        InputError: a number out of range; neither ``net`` nor ``uses_loss``.

    Example:
        >>> sorted(name for name, _ in ControlVariate().named_parameters())
        ['log_temperature', 'strength']
    """

    def __init__(
        self, net: nn.Module | None = None, *, temperature: float = 0.5, strength: float = 1.0, uses_loss: bool = True
    ) -> None:
        super().__init__()
        if net is None and not uses_loss:
            raise InputError("the control variate would be 0", got="net=None, uses_loss=False",
                             allowed="one of the two", fix="pass a net, or uses_loss=True")  # fmt: skip
        self.net, self.uses_loss = net, uses_loss
        self.log_temperature = nn.Parameter(torch.tensor(math.log(check_number("temperature", temperature, low=1e-6))))
        self.strength = nn.Parameter(torch.tensor(check_number("strength", strength)))

    def forward(self, loss_fn: LossFn, perturbed: Tensor) -> Tensor:
        """Return c for perturbed logits."""
        relaxed = torch.softmax(perturbed / self.log_temperature.exp(), -1)
        total = self.strength * losses(loss_fn, relaxed) if self.uses_loss else 0.0
        return total + losses(self.net, relaxed) if self.net is not None else torch.as_tensor(total)


@capability("estimator", cost="O(K) for each choice of K classes; 3 losses a sample, 2 of them with their gradient")
@dataclass(frozen=True)
class REBAR(ChoiceEstimator):
    r"""The score function with the relaxed loss as control variate, whose own gradient comes by reparameterisation.

    .. math:: \bigl(f(b) - \eta f(\tilde y)\bigr) \nabla \log p(b) + \eta \nabla f(y) - \eta \nabla f(\tilde y)

    where y is a Gumbel-softmax sample, b its one-hot, and :math:`\tilde y` a second one, drawn given b. Unbiased at
    every temperature and strength.

    Args:
        temperature: :math:`\tau > 0` of the relaxed samples.
        strength: :math:`\eta`; 0 is the plain score function.

    Raises:
        InputError: a number out of range.

    Example:
        >>> logits = torch.zeros(2, requires_grad=True)
        >>> noise = torch.Generator().manual_seed(0)
        >>> loss = REBAR().estimate(lambda z: 2 * z[..., 0], logits, n_samples=2000, generator=noise)
        >>> [round(g, 1) for g in torch.autograd.grad(loss, logits)[0].tolist()]
        [0.5, -0.5]

    Limit: :math:`\tau \to 0` makes the control variate perfect and its gradient useless.

    Cost: three losses a sample.

    Source: Tucker, Mnih, Maddison, Lawson and Sohl-Dickstein, "REBAR: Low-variance, unbiased gradient estimates for
    discrete latent variable models", 2017.
    """

    temperature: float = 0.5
    strength: float = 1.0
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=1e-6)
        check_number("strength", self.strength)

    def estimate(
        self, loss_fn: LossFn, logits: Tensor, *, n_samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean loss, with the estimate as gradient; see ``ChoiceEstimator.estimate``."""

        def control(perturbed: Tensor) -> Tensor:
            return self.strength * losses(loss_fn, torch.softmax(perturbed / self.temperature, -1))

        return _estimate(loss_fn, control, [], repeat(logits, n_samples), logits, generator)


@capability("estimator", cost="that of REBAR, and a second backward pass through the control variate")
@dataclass(frozen=True)
class RELAX(ChoiceEstimator):
    r"""REBAR with a control variate that learns: each backward pass also moves it towards less variance.

    The surrogate's gradient by the parameters :math:`\phi` of ``control`` is that of the squared norm of the estimate,

    .. math:: \nabla_\phi \, \lVert \hat g_\phi \rVert^2 , \qquad
              \text{whose mean is that of the variance, as } \mathbb{E}\, \hat g_\phi \text{ does not depend on } \phi ,

    so give ``control.parameters()`` to the same optimizer. Without a net this is REBAR with a learned temperature and
    strength. Unbiased whatever ``control`` is.

    Args:
        control: what learns; its ``state_dict`` belongs to the model.

    Example:
        >>> control = ControlVariate()
        >>> logits = torch.zeros(3, requires_grad=True)
        >>> RELAX(control).estimate(lambda z: z[..., 0] ** 2, logits, n_samples=4).backward()
        >>> control.strength.grad is not None
        True

    Limit: as REBAR.

    Cost: three losses a sample, and their second derivative by ``control``.

    Source: Grathwohl, Choi, Wu, Roeder and Duvenaud, "Backpropagation through the Void", 2018.
    """

    control: ControlVariate = field(default_factory=ControlVariate)
    unbiased: ClassVar[bool] = True

    def estimate(
        self, loss_fn: LossFn, logits: Tensor, *, n_samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean loss, with the estimate as gradient; see ``ChoiceEstimator.estimate``."""
        learning = [p for p in self.control.parameters() if p.requires_grad]
        return _estimate(
            loss_fn, lambda z: self.control(loss_fn, z), learning, repeat(logits, n_samples), logits, generator
        )


def _estimate(
    loss_fn: LossFn, control: Callable[[Tensor], Tensor], learning: list[nn.Parameter], repeated: Tensor,
    logits: Tensor, generator: torch.Generator | None,
) -> Tensor:  # fmt: skip
    """Return the mean loss with REBAR's gradient by ``logits``, and the variance's by what is ``learning``."""
    log_p = torch.log_softmax(wide(repeated), -1)
    perturbed = log_p + gumbel_like(log_p, generator)
    choices = one_hot(perturbed.detach())
    again = conditional_gumbels(log_p, choices, generator, through_noise=True)
    found = losses(loss_fn, choices.to(logits.dtype))
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return found.mean(0)
    relaxed = control(again)
    # the score's factor is constant in the logits, but not in what learns
    excess = found.detach() - (control(again.detach()) if learning else relaxed.detach())
    score = log_probability(repeated, choices, found.ndim)
    (by_score,) = torch.autograd.grad((excess * score).sum() / len(found), logits, create_graph=bool(learning))
    gradient = by_score + _by_path(control(perturbed) - relaxed, logits, create_graph=bool(learning))
    possible = torch.where(logits == -torch.inf, 0.0, logits)  # 0 times infinity would turn the value into NaN
    along = sum_to((gradient.detach() * possible).to(found.dtype), found.ndim - 1)
    if not along.requires_grad:
        return found.mean(0)
    result = with_gradient(found.mean(0), along)
    used = torch.autograd.grad(gradient.square().sum(), learning, allow_unused=True) if learning else ()
    for parameter, slope in zip(learning, used, strict=True):
        if slope is not None:
            # shared out evenly, so that a sum over the batch gives it once; what is not finite teaches nothing
            result = with_gradient(
                result, (slope.detach().nan_to_num(0.0, 0.0, 0.0) * parameter).sum() / max(result.numel(), 1)
            )
    return result


def _by_path(difference: Tensor, logits: Tensor, create_graph: bool) -> Tensor:
    """Return the reparameterised gradient; without it the estimate would be biased, and nobody would see it."""
    found = None
    if difference.requires_grad:
        mean = difference.sum() / len(difference)
        (found,) = torch.autograd.grad(mean, logits, create_graph=create_graph, allow_unused=True)
    if found is None:
        raise InputError("the control variate has no gradient by the choices", got="a loss that is a black box",
                         allowed="a differentiable control variate",
                         fix="take ScoreFunction(), or RELAX with a net and uses_loss=False")  # fmt: skip
    return found
