"""The expected calibration error."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import capability, check_number
from softwood.losses._lists import as_lists, divided, hard_or_soft, reduced
from softwood.ops._axes import full_precision


def _example() -> tuple[Tensor, Tensor]:
    return torch.rand(3, 9), torch.arange(27).reshape(3, 9) % 3 > 0


@capability("loss", cost="O(n B) time and memory, B bins", example=_example)
@full_precision
def ece_loss(
    probability: Tensor,
    target: Tensor,
    *,
    bins: int = 15,
    dim: int = -1,
    temperature: float | Tensor = 0.01,
    hard: bool = False,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return the expected calibration error: the mean gap between confidence and accuracy, bin by bin.

    .. math:: \sum_b \Big| \sum_i m_{ib} (p_i - y_i) \Big| \Big/ n, \qquad
              m_{ib} = \sigma\big((p_i - e_b) / \tau\big) - \sigma\big((p_i - e_{b+1}) / \tau\big)

    for bins of equal width, the outer two open. Of a classifier, p is its confidence and y whether it was right.

    Args:
        probability: ``[..., n, ...]``, in [0, 1].
        target: 0 or 1 (or bool), in the shape of the probabilities.
        bins: B, at least 1.
        dim: the axis of the examples.
        temperature: :math:`\tau > 0`, a probability.
        hard: the exact value forward (bins open on the left), the soft gradient backward.
        mask: bool, True where an example is present.
        weight: >= 0 of each example.
        reduction: ``"mean"`` over the other axes, or ``"none"``.

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, the binned calibration error.

    Example:
        >>> ece_loss(torch.tensor([0.9, 0.9]), torch.tensor([1, 0]), hard=True)
        tensor(0.4000)

    Cost: O(n B) time and memory.

    Source: Guo et al. 2017; soft bins: Karandikar et al. 2021.
    """
    bins = check_number("bins", bins, low=1, integer=True)
    lists = as_lists(probability, target, dim, temperature, mask, weight)
    p = lists.scores.unsqueeze(-1)
    edges = torch.arange(1, bins, dtype=p.dtype, device=p.device) / bins
    tau = lists.temperature.unsqueeze(-1) if isinstance(lists.temperature, Tensor) else lists.temperature
    miss = (lists.scores - lists.target) * lists.weight
    total = lists.weight.sum(-1)

    def value(exact: bool) -> Tensor:
        above = (p > edges).to(p.dtype) if exact else torch.sigmoid((p - edges) / tau)
        above = torch.cat([torch.ones_like(p), above, torch.zeros_like(p)], -1)
        member = above[..., :-1] - above[..., 1:]
        gaps = (miss.unsqueeze(-1) * member).sum(-2).abs().sum(-1)
        return divided(gaps, total)

    return reduced(hard_or_soft(value, hard), total != 0, reduction)
