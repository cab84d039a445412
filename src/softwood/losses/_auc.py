"""Ranking of positives above negatives: the area under the ROC curve, and average precision."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import capability
from softwood.losses._lists import as_lists, descending_rank, divided, hard_or_soft, reduced, weight_below
from softwood.ops._axes import full_precision


def _example() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 8), torch.arange(24).reshape(3, 8) % 3 == 0


@capability("loss", cost="O(n log n) time, O(n) memory", example=_example)
@full_precision
def auc_loss(
    scores: Tensor,
    target: Tensor,
    *,
    dim: int = -1,
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - AUC: the share of pairs of a positive and a negative that stand the wrong way round.

    .. math:: 1 - \frac{1}{W_+ W_-} \sum_{i \in +} \sum_{j \in -} w_i w_j\, F((s_i - s_j) / \tau)

    with F the distribution function of the Laplace distribution; no pair is formed.

    Args:
        scores: ``[..., n, ...]``, higher for the positive class.
        target: 0 or 1 (or bool), in the shape of the scores.
        dim: the axis of the list.
        temperature: :math:`\tau > 0` in units of the scores.
        hard: the exact value forward (ties count half), the soft gradient backward.
        mask: bool, True where an item is present.
        weight: >= 0 of each item.
        reduction: ``"mean"`` over the lists that hold both classes, or ``"none"`` (0 for the others).

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, 1 minus the area under the ROC curve.

    Example:
        >>> auc_loss(torch.tensor([0.1, 0.9, 0.4]), torch.tensor([0, 1, 1]), hard=True)
        tensor(0.)

    Cost: O(n log n) time, O(n) memory.

    Source: Yan et al. 2003; sums of exponentials: Struski et al. 2025 (LapSum).
    """
    lists = as_lists(scores, target, dim, temperature, mask, weight)
    positive, negative = lists.weight * lists.target, lists.weight * (1 - lists.target)
    pairs = positive.sum(-1) * negative.sum(-1)

    def value(exact: bool) -> Tensor:
        below = weight_below(lists.scores, negative, lists.temperature, exact)
        return 1 - divided((positive * below).sum(-1), pairs)

    return reduced(hard_or_soft(value, hard), pairs != 0, reduction)


@capability("loss", cost="O(n log n) time, O(n) memory", example=_example)
@full_precision
def average_precision_loss(
    scores: Tensor,
    target: Tensor,
    *,
    dim: int = -1,
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - average precision.

    .. math:: 1 - \frac{1}{n_+} \sum_{i \in +} \frac{\operatorname{rank}_+(i)}{\operatorname{rank}(i)}

    with ranks among the positives and among all, largest score first, softened as in ``auc_loss``.

    Args:
        scores: ``[..., n, ...]``, higher for the positive class.
        target: 0 or 1 (or bool), in the shape of the scores.
        dim: the axis of the list.
        temperature: > 0 in units of the scores.
        hard: the exact value forward (ties share their mean rank), the soft gradient backward.
        mask: bool, True where an item is present.
        reduction: ``"mean"`` over the lists with a positive, or ``"none"`` (0 for the others).

    Raises:
        InputError: an argument does not fit.

    Limit: as temperature goes to 0, 1 minus the average precision.

    Example:
        >>> average_precision_loss(torch.tensor([0.1, 0.9, 0.4]), torch.tensor([1, 1, 0]), hard=True)
        tensor(0.1667)

    Cost: O(n log n) time, O(n) memory.

    Source: Brown et al. 2020 (Smooth-AP).
    """
    lists = as_lists(scores, target, dim, temperature, mask, None)
    positive = lists.target * lists.weight
    count = positive.sum(-1)

    def value(exact: bool) -> Tensor:
        among = descending_rank(lists, positive, exact)
        overall = descending_rank(lists, lists.weight, exact)
        return 1 - divided((positive * among / overall).sum(-1), count)

    return reduced(hard_or_soft(value, hard), count != 0, reduction)
