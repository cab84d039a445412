"""Soft counting and looking: histograms, expected positions, nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import InputError, capability
from softwood.ops._axes import full_precision, mask_last, move_back, move_last, temperature_last
from softwood.ops._selection import DenseSelection, SoftSelection
from softwood.ops._simplex import softmax_last
from softwood.ops._steps import smooth_step


@capability("operation", cost="O(n b) time and memory", example=lambda: (torch.randn(3, 5), torch.linspace(-2, 2, 5)))
@full_precision
def histogram(
    x: Tensor,
    edges: Tensor,
    dim: int = -1,
    *,
    relax: str = "sigmoid",
    temperature: float | Tensor = 0.1,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return how many values lie in each bin, each counted by parts, in float32 at least.

    .. math:: h_b = \textstyle\sum_i H((x_i - e_b) / T) - H((x_i - e_{b+1}) / T)

    Args:
        x: ``[..., n, ...]``.
        edges: ``[b + 1]``, rising; may need a gradient.
        dim: the axis.
        relax: the step H, as in ``heaviside``.
        temperature: T > 0, in units of x.
        mask: bool, True where an entry is present; absent ones do not count.

    Raises:
        InputError: an argument that does not fit.

    Example:
        >>> histogram(torch.tensor([0.2, 0.4, 1.5]), torch.tensor([0.0, 1.0, 2.0]), relax="c1").tolist()
        [2.0, 1.0]

    Limit: as T goes to 0, the histogram; a value on an edge counts half on each side.

    Cost: O(n b) time and memory.

    Source: Ustinova and Lempitsky, "Learning Deep Embeddings with Histogram Loss", 2016.
    """
    if edges.ndim != 1 or len(edges) < 2:
        raise InputError("edges are not a list", got=f"shape {tuple(edges.shape)}", allowed="one axis, two or more",
                         fix="pass torch.linspace(low, high, bins + 1)")  # fmt: skip
    rows, there = move_last(x, dim), mask_last(mask, x, dim)
    if there is not None:
        rows = rows.masked_fill(~there, 0.0)  # whatever stood there, it has no gradient
    width = temperature_last(temperature, rows)
    away = rows.unsqueeze(-1) - edges.to(rows.dtype)
    inside = -smooth_step(away / (width.unsqueeze(-1) if isinstance(width, Tensor) else width), relax).diff(dim=-1)
    if there is not None:
        inside = inside.masked_fill(~there.unsqueeze(-1), 0.0)
    return move_back(inside.sum(-2), dim)


@capability("operation", cost="O(n) time and memory")
@full_precision
def soft_argmax(x: Tensor, n_axes: int = 1, *, temperature: float | Tensor = 0.1, mask: Tensor | None = None) -> Tensor:
    r"""Return the expected position of the maximum on a grid, ``[..., n_axes]``, in places along each axis.

    .. math:: \textstyle\sum_i i \, \operatorname{softmax}(x / T)_i

    Args:
        x: ``[..., *grid]``.
        n_axes: how many axes, from the back, are the grid: 1 for a line, 2 for an image.
        temperature: T > 0, in units of x; a number or a 0-dimensional tensor.
        mask: bool, True where a place is present.

    Raises:
        InputError: an argument that does not fit.

    Example:
        >>> soft_argmax(torch.tensor([[0.0, 0.0], [0.0, 9.0]]), 2).tolist()
        [1.0, 1.0]

    Limit: as T goes to 0, the position of the maximum; of ties, the mean.

    Cost: O(n) time and memory.

    Source: Levine et al., "End-to-End Training of Deep Visuomotor Policies", 2016.
    """
    if not 1 <= n_axes <= x.ndim:
        raise InputError(
            "n_axes is out of range", got=n_axes, allowed=f"1 to {x.ndim}", fix="count the axes of the grid"
        )
    grid = x.shape[x.ndim - n_axes :]
    flat = move_last(x.flatten(x.ndim - n_axes), -1)
    logits = flat / temperature_last(temperature, flat)
    if mask is not None:
        logits = logits.masked_fill(~mask.expand(x.shape).flatten(x.ndim - n_axes), -torch.inf)
    lines = [torch.arange(size, device=x.device, dtype=flat.dtype) for size in grid]
    places = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1).reshape(-1, n_axes)
    return softmax_last(logits) @ places


@capability("operation", cost="O(m n d) time, O(m n) memory", example=lambda: (torch.randn(3, 5), torch.randn(4, 5)))
@full_precision
def nearest_neighbour(
    query: Tensor, keys: Tensor, *, temperature: float | Tensor = 0.1, hard: bool = False, mask: Tensor | None = None
) -> SoftSelection:
    r"""Return which key is nearest to each query, as a distribution over keys.

    .. math:: P_{ji} = \operatorname{softmax}_i(-\lVert q_j - k_i \rVert^2 / T)

    Args:
        query: ``[..., m, d]``.
        keys: ``[..., n, d]``.
        temperature: T > 0, in units of squared distance.
        hard: what the selection applies is exact; its gradient is that of the weights.
        mask: bool ``[..., n]``, True where a key is present.

    Raises:
        RuntimeError: the shapes do not fit.

    Example:
        >>> found = nearest_neighbour(torch.tensor([[0.9, 0.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        >>> found.hard(), found.apply(torch.tensor([5.0, 7.0])).round()
        (tensor([1]), tensor([7.]))

    Limit: as T goes to 0, the nearest key; of ties, the mean.

    Cost: O(m n d) time, O(m n) memory.

    Source: Plötz and Roth, "Neural Nearest Neighbors Networks", 2018.
    """
    raised = query.float() if query.dtype in (torch.float16, torch.bfloat16) else query
    others = keys.to(raised.dtype)
    square = (raised * raised).sum(-1, keepdim=True) + (others * others).sum(-1).unsqueeze(-2)
    logits = (2.0 * raised @ others.mT - square) / temperature_last(temperature, square)
    if mask is not None:
        logits = logits.masked_fill(~mask.unsqueeze(-2), -torch.inf)
    return DenseSelection(softmax_last(logits), log=logits.log_softmax(-1), straight=hard)
