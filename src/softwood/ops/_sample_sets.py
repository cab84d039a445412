"""Relaxed samples of subsets and orders: Gumbel noise on scores, then top-k, sort or assignment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from softwood.core import capability
from softwood.ops._axes import full_precision, mask_last, move_last
from softwood.ops._sample import standard_noise
from softwood.ops._selection import SoftPermutation
from softwood.ops._sort import argsort
from softwood.ops._structured import NEVER, working
from softwood.ops._topk_mask import topk_mask
from softwood.ops._transport import assignment


@capability("operation", cost="as topk_mask: O(n) time a step and memory", example=lambda: (torch.randn(3, 6), 2))
@full_precision
def sample_subset(
    logits: Tensor,
    k: int | Tensor,
    dim: int = -1,
    *,
    relax: Any = "threshold",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return a relaxed sample of k items without replacement: the top k of ``logits + Gumbel noise``.

    Its items are those that are drawn one after the other from ``softmax(logits)``, each time without those drawn
    before; ``plackett_luce_log_prob`` gives the probability of such a sequence. (Subsets with probability in
    proportion to the product of their weights are another distribution: ``KSubset(logits, k).sample()``.)

    Args:
        logits: ``[..., n, ...]``; -inf is absent; NaN makes the row NaN.
        k: how many; a number, or a tensor with one for each row.
        dim: the axis.
        relax: of the top k, as in ``topk_mask``.
        temperature: > 0 in units of the logits.
        hard: exactly k ones forward, the relaxed gradient backward.
        mask: bool, True where an item is present.
        noise: standard Gumbel noise in the shape of the logits, to compare two calls at the same draw.
        generator: source of the draw where no noise is given.

    Returns:
        Weights in [0, 1] that add up to k, in the shape and type of the logits.

    Raises:
        InputError: an argument does not fit.

    Limit: as temperature goes to 0, the mask of the k largest of ``logits + noise``.

    Example:
        >>> sample_subset(torch.zeros(2, 5), 3, hard=True).sum(-1)
        tensor([3., 3.])

    Cost: O(n) time a step of the threshold and O(n) memory, at any k.

    Source: Vieira 2014; Kool, van Hoof and Welling 2019; relaxed: Xie and Ermon 2019.
    """
    fine = working(logits)
    keys = fine + standard_noise(fine, noise, generator, "gumbel")
    picked = topk_mask(keys, k, dim, relax=relax, temperature=temperature, hard=hard, mask=mask)
    return picked.to(logits.dtype)


@capability("operation", cost="as argsort with the same relaxation", example=lambda: (torch.randn(3, 5),))
@full_precision
def sample_permutation(
    scores: Tensor,
    dim: int = -1,
    *,
    relax: Any = "softsort",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> SoftPermutation:
    r"""Return a relaxed sample of the Plackett-Luce distribution over orders: sorted ``scores + Gumbel noise``.

    First place goes to an item with probability ``softmax(scores)``, second place to one of the rest in the same way,
    and so on; ``plackett_luce_log_prob`` gives the probability.

    Args:
        scores: ``[..., n, ...]``, higher comes earlier.
        dim: the axis.
        relax: of the sort, as in ``argsort``; one whose permutation has a gradient.
        temperature: > 0, in the units of that relaxation.
        hard: exact products forward, the relaxed gradient backward.
        mask: bool, True where an item is present.
        noise: standard Gumbel noise in the shape of the scores, to compare two calls at the same draw.
        generator: source of the draw where no noise is given.

    Raises:
        InputError: an argument does not fit.

    Limit: as temperature goes to 0, the permutation that sorts ``scores + noise``, largest first.

    Example:
        >>> sample_permutation(torch.tensor([0.0, 90.0, 60.0])).hard()
        tensor([1, 2, 0])

    Cost: as ``argsort`` with the same relaxation.

    Source: Yellott 1977; Grover et al. 2019.
    """
    fine = working(scores)
    keys = fine + standard_noise(fine, noise, generator, "gumbel")
    return argsort(keys, dim, True, relax=relax, temperature=temperature, hard=hard, mask=mask)


@capability(
    "operation",
    cost="O(n k) time and memory",
    example=lambda: (torch.randn(3, 4), torch.tensor([[1, 0], [2, 3], [0, 3]])),
)
@full_precision
def plackett_luce_log_prob(scores: Tensor, order: Tensor, dim: int = -1, *, mask: Tensor | None = None) -> Tensor:
    r"""Return the log-probability of drawing items in an order, without replacement.

    .. math:: \sum_{i=1}^k \Big(s_{o_i} - \log \sum_{j \notin \{o_1 \dots o_{i-1}\}} e^{s_j}\Big) .

    Args:
        scores: ``[..., n, ...]``; -inf is absent.
        order: int64, the first k items, along the same axis; k <= n.
        dim: the axis.
        mask: bool, True where an item is present; the order holds present items only.

    Returns:
        ``[...]``, without the axis, float32 at least.

    Raises:
        InputError: an argument does not fit.

    Limit: nothing is relaxed; there is no temperature.

    Example:
        >>> plackett_luce_log_prob(torch.zeros(3), torch.tensor([2, 0, 1])).exp()
        tensor(0.1667)

    Cost: O(n k) time and memory.

    Source: Plackett 1975.
    """
    s, present, picks = move_last(scores, dim), mask_last(mask, scores, dim), order.movedim(dim, -1)
    s = s.clamp_min(NEVER) if present is None else s.masked_fill(~present, NEVER)
    picked = s.gather(-1, picks)
    if not picks.shape[-1]:
        return picked.sum(-1)
    taken = torch.zeros_like(s, dtype=torch.bool).scatter(-1, picks, True)
    rest = torch.logsumexp(s.masked_fill(taken, NEVER), -1, keepdim=True).expand_as(picked)
    # what is left at each pick: the picks from here on, and all that is never picked
    tail = picked.flip(-1).logcumsumexp(-1).flip(-1)
    return (picked - torch.logsumexp(torch.stack([tail, rest]), 0)).sum(-1)


@capability("operation", cost="as assignment: O(n^2) time an iteration", example=lambda: (torch.randn(2, 4, 4),))
@full_precision
def gumbel_sinkhorn(
    scores: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    hard: bool = False,
    mask: Tensor | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
    iterations: int = 1000,
    tolerance: float = 1e-6,
    backward: str = "implicit",
) -> Tensor:
    r"""Return a relaxed sample of an assignment: that of ``scores + Gumbel noise``.

    Args:
        scores: ``[..., n, m]``, worth of assigning i to j; -inf forbids.
        temperature: > 0 in units of the scores; a tensor broadcasts with the batch axes.
        hard: a permutation matrix forward (Hungarian method, on the host), the relaxed gradient backward.
        mask: bool ``[..., n, m]``, True where a pair is present.
        noise: standard Gumbel noise in the shape of the scores, to compare two calls at the same draw.
        generator: source of the draw where no noise is given.
        iterations: as in ``sinkhorn``.
        tolerance: as in ``sinkhorn``.
        backward: as in ``sinkhorn``.

    Returns:
        ``[..., n, m]``, doubly stochastic where n = m, in the type of the scores.

    Raises:
        InputError: an argument does not fit.

    Limit: as temperature goes to 0, the best assignment for ``scores + noise``.

    Example:
        >>> gumbel_sinkhorn(torch.zeros(3, 3), hard=True).sum(0)
        tensor([1., 1., 1.])

    Cost: O(n m) time an iteration, O(n m) memory; hard: O(n^3) on the host.

    Source: Mena et al. 2018.
    """
    fine = working(scores)
    keys = fine + standard_noise(fine, noise, generator, "gumbel")
    plan = assignment(
        keys, temperature=temperature, hard=hard, mask=mask, iterations=iterations, tolerance=tolerance,
        backward=backward,
    )  # fmt: skip
    return plan.to(scores.dtype)
