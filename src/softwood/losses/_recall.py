"""Recall at k."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import capability, check_number
from softwood.losses._lists import as_lists, divided, reduced
from softwood.ops import topk_mask
from softwood.ops._axes import full_precision


def _example() -> tuple[Tensor, Tensor, int]:
    return torch.randn(3, 8), torch.arange(24).reshape(3, 8) % 3 == 0, 3


@capability("loss", cost="O(n) time a step of the threshold, O(n) memory", example=_example)
@full_precision
def recall_at_k_loss(
    scores: Tensor,
    target: Tensor,
    k: int,
    *,
    dim: int = -1,
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - recall@k: the share of the relevant items that are not among the top k.

    :math:`1 - \sum_{i \in R} m_i / |R|` with m the soft mask of the top k (``sw.ops.topk_mask``).

    Args:
        scores: ``[..., n, ...]``, higher is ranked first.
        target: 0 or 1 (or bool), in the shape of the scores.
        k: places that count, at least 1.
        dim: the axis of the list.
        temperature: > 0 in units of the scores.
        hard: the exact value forward, the soft gradient backward.
        mask: bool, True where an item is present.
        reduction: ``"mean"`` over the lists with a relevant item, or ``"none"`` (0 for the others).

    Raises:
        InputError: an argument does not fit.

    Limit: as temperature goes to 0, 1 - recall@k.

    Example:
        >>> recall_at_k_loss(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1, 0, 1]), 1, hard=True)
        tensor(0.5000)

    Cost: O(n) time a step of the threshold, O(n) memory, at any k.

    Source: Patel, Tolias and Matas 2022.
    """
    k = check_number("k", k, low=1, integer=True)
    lists = as_lists(scores, target, dim, temperature, mask, None)
    relevant = ((lists.target > 0) & lists.present).to(lists.scores.dtype)
    count = relevant.sum(-1)
    top = topk_mask(lists.scores, k, temperature=lists.temperature, hard=hard, mask=lists.present)
    return reduced(1 - divided((top * relevant).sum(-1), count), count != 0, reduction)
