"""Overlap of masks: Dice and intersection over union."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from softwood.core import capability
from softwood.losses._lists import as_lists, divided, hard_or_soft, reduced
from softwood.ops._axes import full_precision


def _overlap(
    probability: Tensor,
    target: Tensor,
    dim: int,
    temperature: float | Tensor | None,
    mask: Tensor | None,
    weight: Tensor | None,
) -> Callable[[bool], tuple[Tensor, Tensor, Tensor]]:
    """Return a function from "exact?" to the weights of both, of the soft mask and of the true mask."""
    lists = as_lists(probability, target, dim, 1.0 if temperature is None else temperature, mask, weight)

    def parts(exact: bool) -> tuple[Tensor, Tensor, Tensor]:
        if exact:
            said = torch.where(lists.scores.isnan(), lists.scores, (lists.scores > 0.5).to(lists.scores.dtype))
        else:
            said = lists.scores if temperature is None else torch.sigmoid((lists.scores - 0.5) / lists.temperature)
        said, true = said * lists.weight, lists.target * lists.weight
        return (said * lists.target).sum(-1), said.sum(-1), true.sum(-1)

    return parts


def _example() -> tuple[Tensor, Tensor]:
    return torch.rand(2, 12), torch.arange(24).reshape(2, 12) % 3 == 0


@capability("loss", cost="O(n) time and memory", example=_example)
@full_precision
def dice_loss(
    probability: Tensor,
    target: Tensor,
    *,
    dim: int = -1,
    temperature: float | Tensor | None = None,
    hard: bool = False,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - Dice's coefficient of soft and true masks: :math:`1 - 2 \sum p y / (\sum p + \sum y)`.

    Args:
        probability: ``[..., n, ...]``, in [0, 1]; flatten the pixels into one axis.
        target: 0 or 1 (or bool), in the same shape.
        dim: the axis of the pixels.
        temperature: > 0 to amplify probabilities as ``confusion_loss`` does; None takes them as they are.
        hard: the exact value at the threshold 1/2 forward, the soft gradient backward.
        mask: bool, True where a pixel is present.
        weight: >= 0 of each pixel.
        reduction: ``"mean"`` over the masks that are not both empty, or ``"none"`` (0 for the others).

    Raises:
        InputError: an argument does not fit.

    Limit: as temperature goes to 0, 1 - Dice of the thresholded mask.

    Example:
        >>> dice_loss(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 0, 0]), hard=True)
        tensor(0.3333)

    Cost: O(n) time and memory.

    Source: Milletari, Navab and Ahmadi 2016 (V-Net).
    """
    overlap = _overlap(probability, target, dim, temperature, mask, weight)

    def value(exact: bool) -> Tensor:
        both, said, true = overlap(exact)
        return 1 - divided(2 * both, said + true)

    return reduced(hard_or_soft(value, hard), torch.stack(overlap(False)).sum(0) != 0, reduction)


@capability("loss", cost="O(n) time and memory", example=_example)
@full_precision
def iou_loss(
    probability: Tensor,
    target: Tensor,
    *,
    dim: int = -1,
    temperature: float | Tensor | None = None,
    hard: bool = False,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - intersection over union of soft and true masks: :math:`1 - \sum p y / \sum (p + y - p y)`.

    Args:
        probability: as in ``dice_loss``.
        target: as there.
        dim: as there.
        temperature: as there.
        hard: the exact value at the threshold 1/2 forward, the soft gradient backward.
        mask: bool, True where a pixel is present.
        weight: >= 0 of each pixel.
        reduction: ``"mean"`` over the masks that are not both empty, or ``"none"`` (0 for the others).

    Raises:
        InputError: an argument does not fit.

    Limit: as temperature goes to 0, 1 - intersection over union of the thresholded mask.

    Example:
        >>> iou_loss(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 0, 0]), hard=True)
        tensor(0.5000)

    Cost: O(n) time and memory.

    Source: Rahman and Wang 2016.
    """
    overlap = _overlap(probability, target, dim, temperature, mask, weight)

    def value(exact: bool) -> Tensor:
        both, said, true = overlap(exact)
        return 1 - divided(both, said + true - both)

    return reduced(hard_or_soft(value, hard), torch.stack(overlap(False)).sum(0) != 0, reduction)
