"""NDCG through a relaxed permutation matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import capability, check_number
from softwood.gradients import straight_through
from softwood.gradients._protocol import gumbel_like
from softwood.losses._lists import Lists, as_lists, divided, reduced
from softwood.losses._ranking import checked_k, discount, graded, ideal_dcg, ndcg_loss
from softwood.ops import sinkhorn
from softwood.ops._axes import full_precision


def _log_permutation(lists: Lists) -> Tensor:
    """Return log P of NeuralSort, largest first, ``[..., n, n]`` (place, item)."""
    s, present = lists.scores, lists.present
    count = present.sum(-1, keepdim=True)
    place = torch.arange(1, s.shape[-1] + 1, dtype=s.dtype, device=s.device)
    distance = (s.unsqueeze(-1) - s.unsqueeze(-2)).abs()
    total = (distance * present.unsqueeze(-2)).sum(-1)
    factor = (count + 1 - 2 * place).unsqueeze(-1)
    tau = lists.temperature.unsqueeze(-1) if isinstance(lists.temperature, Tensor) else lists.temperature
    z = (factor * s.unsqueeze(-2) - total.unsqueeze(-2)) / tau
    return z.masked_fill(~present.unsqueeze(-2), -1e30).log_softmax(-1)


def _example() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 6), torch.arange(18).reshape(3, 6) % 4


@capability(
    "loss",
    papers=("neural-ndcg",),
    cost="O(n^2) time an iteration of Sinkhorn, O(n^2) memory",
    example=_example,
)
@full_precision
def neural_ndcg_loss(
    scores: Tensor,
    target: Tensor,
    *,
    k: int | None = None,
    dim: int = -1,
    gain: str = "exponential",
    temperature: float | Tensor = 1.0,
    doubly_stochastic: bool = True,
    samples: int = 0,
    noise_scale: float = 0.1,
    generator: torch.Generator | None = None,
    hard: bool = False,
    mask: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - NDCG@k with the sorted gains taken from NeuralSort.

    .. math:: 1 - \frac{1}{\mathrm{IDCG}} \sum_{i \le k} \frac{(P g)_i}{\log_2(i + 1)}, \qquad
              P = \operatorname{softmax}\big(((n + 1 - 2 i)\, s - A 1) / \tau\big), \quad A_{jl} = |s_j - s_l| ,

    made doubly stochastic by Sinkhorn, without which some gains count twice. The transposed variant of the paper
    (soft discounts :math:`P^\top d` for each item) is the same sum in another order.

    Args:
        scores: ``[..., n, ...]``, higher is ranked first.
        target: relevance >= 0, in the shape of the scores.
        k: places that count; all by default.
        dim: the axis of the list.
        gain: ``"exponential"`` (:math:`2^y - 1`) or ``"linear"`` (y).
        temperature: :math:`\tau > 0` in units of the scores.
        doubly_stochastic: False leaves Sinkhorn out.
        samples: 0 for the scores as they are, or the number of draws of Gumbel noise to average over.
        noise_scale: of that noise, in units of the scores.
        generator: of that noise.
        hard: the exact value forward (``ndcg_loss``), the soft gradient backward.
        mask: bool, True where an item is present.
        reduction: ``"mean"`` over the lists with something relevant, or ``"none"`` (0 for the others).

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, 1 - NDCG@k (without noise).

    Example:
        >>> round(neural_ndcg_loss(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([2, 1, 0]), temperature=0.01).item(), 4)
        0.0

    Cost: O(n^2) time an iteration of Sinkhorn, O(n^2) memory; ``ndcg_loss`` takes O(n log n).

    Source: Pobrotyn and Białobrzeski 2021 (NeuralNDCG); Grover et al. 2019 (NeuralSort).
    """
    k, samples = checked_k(k), check_number("samples", samples, low=0, integer=True)
    lists = as_lists(scores, target, dim, temperature, mask, None)
    if samples:
        fine = lists.scores.expand(samples, *lists.scores.shape)
        noisy = fine + noise_scale * gumbel_like(fine, generator)
        lists = Lists(noisy, lists.target, lists.weight, lists.present, lists.temperature)
    ideal = ideal_dcg(lists, gain, k)
    worth = graded(lists.target, gain) * lists.weight
    logs = _log_permutation(lists)
    if doubly_stochastic:
        ones = lists.present.to(logs.dtype)
        places = torch.arange(logs.shape[-1], device=logs.device) < lists.present.sum(-1, keepdim=True)
        permutation = sinkhorn(logs, places.to(logs.dtype), ones, temperature=1.0)
    else:
        permutation = logs.exp()
    place = torch.arange(1, logs.shape[-1] + 1, dtype=logs.dtype, device=logs.device)
    gains = (permutation @ worth.expand(lists.scores.shape).unsqueeze(-1)).squeeze(-1)
    rows = 1 - divided((gains * discount(place, k)).sum(-1), ideal)
    rows = rows.mean(0) if samples else rows
    loss = reduced(rows, ideal != 0, reduction)
    if not hard:
        return loss
    exact = ndcg_loss(
        scores, target, k=k, dim=dim, gain=gain, temperature=temperature, hard=True, mask=mask, reduction=reduction
    )
    return straight_through(exact, loss)
