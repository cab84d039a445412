"""Samples without replacement: the unordered set estimator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.gradients._protocol import ChoiceEstimator, LossFn, check_logits, gumbel_like, losses, wide, with_gradient

# Trapezoids in t of an integral over v = exp(t): the integrand falls as exp(t) to the left and as exp(-exp(t)) to the
# right and is analytic between, so this step leaves an error near the last bit of a double.
_STEP = 0.2
_GRID = torch.arange(-45.0, 5.0, _STEP, dtype=torch.float64)


@capability("estimator", cost="O(m k K) to draw k of the K^m outcomes of m choices, O(k^2) to weigh them; k losses")
@dataclass(frozen=True)
class UnorderedSet(ChoiceEstimator):
    r"""The score function on ``n_samples`` different outcomes, drawn without replacement.

    .. math:: \sum_{s \in S} \nabla p(s)\, R(S, s)
              \Bigl( f(s) - \sum_{s' \in S} p(s')\, R^{D \setminus s}(S, s') f(s') \Bigr)

    where R(S, s) is the probability of the set S given that s came first, over that of S. No loss is spent on an
    outcome twice, which pays where few outcomes hold most of the probability; with all outcomes it is exact
    enumeration. Unbiased. Outcomes are joint: all choices that share a loss.

    Args:
        batch_ndim: how many leading axes of the logits have a loss of their own.

    Raises:
        InputError: fewer than 2 samples or more than there are outcomes; a loss with other axes than the batch.

    Example:
        >>> logits = torch.zeros(3, requires_grad=True)
        >>> loss = UnorderedSet().estimate(lambda z: z[..., 0], logits, n_samples=3)
        >>> [round(g, 3) for g in torch.autograd.grad(loss, logits)[0].tolist()]
        [0.222, -0.111, -0.111]

    Limit: there is no temperature.

    Cost: O(m k K + 250 k^2) time, O(250 k^2) memory for each batch element, k losses without gradient.

    Source: Kool, van Hoof and Welling, "Estimating Gradients for Discrete Random Variables by Sampling without
    Replacement", 2020; the drawing from their "Stochastic Beams and Where to Find Them", 2019.
    """

    batch_ndim: int = 0
    unbiased: ClassVar[bool] = True
    uses_loss_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("batch_ndim", self.batch_ndim, low=0, integer=True)

    def estimate(
        self, loss_fn: LossFn, logits: Tensor, *, n_samples: int = 4, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return an unbiased estimate of the mean loss, and of its gradient; see ``ChoiceEstimator.estimate``."""
        check_logits(logits)
        batch, inner = logits.shape[: self.batch_ndim], logits.shape[self.batch_ndim : -1]
        count = logits.shape[-1] ** math.prod(inner)
        if not 2 <= n_samples <= count:
            raise InputError(
                "a set of this size cannot be drawn", got=f"n_samples={n_samples}",
                allowed=f"2 to {count}, the outcomes", fix="pass another n_samples",
            )  # fmt: skip
        log_p = torch.log_softmax(wide(logits), -1).reshape(*batch, -1, logits.shape[-1])
        with torch.no_grad():
            index = draw_set(log_p, n_samples, generator)
        drawn = torch.nn.functional.one_hot(index, logits.shape[-1]).to(logits)  # [*batch, k, m, K]
        found = losses(loss_fn, drawn.movedim(-3, 0).reshape(n_samples, *logits.shape))
        if found.ndim != self.batch_ndim + 1:
            raise InputError(
                "the loss has other axes than the batch", got=str(tuple(found.shape)),
                allowed=f"{(n_samples, *batch)}, as batch_ndim={self.batch_ndim}", fix="set batch_ndim to match",
            )  # fmt: skip
        joint = log_p.unsqueeze(-3).expand(drawn.shape).gather(-1, index.unsqueeze(-1)).squeeze(-1).sum(-1)
        with torch.no_grad():
            weight, weight_of_others = set_weights(joint.double())
            by_set = found.detach().movedim(0, -1).double()
            excess = by_set - (weight_of_others * by_set.unsqueeze(-2)).sum(-1)
        per_sample = weight.movedim(-1, 0).to(found.dtype) * found
        score = torch.where(joint.isfinite(), joint, torch.zeros_like(joint)).double()  # impossible ones weigh nothing
        surrogate = (weight * excess * score).movedim(-1, 0)
        return with_gradient(per_sample, surrogate).sum(0)


def draw_set(log_p: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """Return the outcomes with the largest perturbed log-probabilities, as if all K^m had been perturbed.

    A beam holds the best prefixes; the noise of what continues a prefix is drawn given that its largest is that
    of the prefix.

    Args:
        log_p: ``[*batch, m, K]``, each row sums to one.
        size: how many outcomes.
        generator: where the noise comes from.

    Returns:
        Classes, int64 ``[*batch, size, m]``; no two outcomes are equal.
    """
    batch, (m, classes) = log_p.shape[:-2], log_p.shape[-2:]
    so_far = log_p.new_zeros(*batch, 1)
    noise = log_p.new_zeros(*batch, 1)
    index = torch.zeros(*batch, 1, 0, dtype=torch.int64, device=log_p.device)
    for step in range(m):
        child = so_far.unsqueeze(-1) + log_p[..., step, :].unsqueeze(-2)
        free = child + gumbel_like(child, generator)
        largest = free.amax(-1, keepdim=True)
        # shift the law so that the largest is the prefix's: -log(exp(-T) - exp(-Z) + exp(-G)), without overflow
        gap = noise.unsqueeze(-1) - free + torch.log1p(-(free - largest).exp())
        bound = noise.unsqueeze(-1) - gap.clamp_min(0) - torch.log1p(torch.exp(-gap.abs()))
        bound = torch.where(free == largest, noise.unsqueeze(-1), bound).flatten(-2)
        noise, kept = bound.topk(min(size, bound.shape[-1]), -1)
        prefix = torch.div(kept, classes, rounding_mode="floor")
        so_far = child.flatten(-2).gather(-1, kept)
        before = index.gather(-2, prefix.unsqueeze(-1).expand(*prefix.shape, step))
        index = torch.cat([before, (kept % classes).unsqueeze(-1)], -1)
    return index


def set_weights(log_p: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return :math:`p(s) R(S, s)` and :math:`p(s') R^{D \setminus s}(S, s')` for the members of a set.

    All come from :math:`I(C) = \int_0^1 \prod_{s \in S \setminus C} (1 - u^{a_s})\, du` with
    :math:`a_s = p(s) / (1 - p(S))`: the probability of a set is I of nothing left out.

    Args:
        log_p: ``[..., k]`` log-probabilities of the members, float64.

    Returns:
        ``[..., k]`` and ``[..., k, k]`` over (s, s').
    """
    size = log_p.shape[-1]
    log_p = log_p.clamp_min(-300.0)  # an outcome that cannot happen weighs nothing, and stays finite
    rest = (1 - log_p.exp().sum(-1, keepdim=True)).clamp_min(1e-290).log()
    # u = exp(-v), v = exp(t): factors 1 - exp(-a v), measure exp(-v) v dt
    rate = torch.exp(log_p - rest).unsqueeze(-1) * _GRID.exp().to(log_p.device)
    factor = torch.log(-torch.expm1(-rate))  # [..., k, T]
    measure = (_GRID - _GRID.exp() + math.log(_STEP)).to(log_p.device)
    all_of_them = factor.sum(-2) + measure
    without_one = torch.logsumexp(all_of_them.unsqueeze(-2) - factor, -1)
    pairs = all_of_them.unsqueeze(-2).unsqueeze(-2) - factor.unsqueeze(-2) - factor.unsqueeze(-3)
    without_two = torch.logsumexp(pairs, -1)
    weight = torch.exp(log_p + without_one - torch.logsumexp(all_of_them, -1).unsqueeze(-1))
    others = torch.exp(log_p.unsqueeze(-2) + without_two - without_one.unsqueeze(-1))
    same = torch.eye(size, dtype=torch.bool, device=log_p.device)
    return weight, torch.where(same, log_p.exp().unsqueeze(-2), others)
