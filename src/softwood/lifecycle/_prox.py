"""Proximal operators: the exact step for a penalty with kinks, which lands on zeros where a gradient only circles."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import capability

_HALVINGS = 60  # of the interval that holds a group's norm: enough for float64


@capability("operation", papers=("nonsmooth-gd",), cost="O(n) time and memory", example=lambda: _small_call())
def prox_l1(x: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Return the proximal point of the L1 norm: soft thresholding.

    .. math:: \arg\min_u \tfrac12 \lVert u - x \rVert^2 + \sum_i t_i |u_i| = \operatorname{sign}(x) \max(|x| - t, 0)

    Args:
        x: any shape.
        threshold: t >= 0, a number or a tensor that broadcasts with x: step size times strength.

    Example:
        >>> prox_l1(torch.tensor([3.0, -0.5, -2.0]), 1.0).tolist()
        [2.0, 0.0, -1.0]

    Limit: t = 0 gives x.

    Source: Parikh and Boyd, "Proximal Algorithms", 2014, section 6.5.2; Kumar, "GD doesn't make the cut", 2023.
    """
    return x - x.clamp(-_as_tensor(threshold, x), _as_tensor(threshold, x))


@capability("operation", papers=("nonsmooth-gd",), cost="O(n) time and memory", example=lambda: _small_call())
def prox_l0(x: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Return the proximal point of the number of entries that are not zero: hard thresholding.

    .. math:: \arg\min_u \tfrac12 \lVert u - x \rVert^2 + \sum_i t_i [u_i \ne 0] = x\, [x^2 > 2 t]

    Args:
        x: any shape.
        threshold: t >= 0, a number or a tensor that broadcasts with x.

    Example:
        >>> prox_l0(torch.tensor([3.0, -1.0, -2.0]), 1.0).tolist()
        [3.0, 0.0, -2.0]

    Limit: t = 0 gives x.

    Source: Blumensath and Davies, "Iterative Thresholding for Sparse Approximations", 2008.
    """
    return torch.where(x.square() > 2 * _as_tensor(threshold, x), x, torch.zeros_like(x))


@capability("operation", papers=("nonsmooth-gd",), cost="O(n) time; 60 passes where the thresholds of a group differ")
def prox_group(x: Tensor, threshold: float | Tensor, dim: int = 0) -> Tensor:
    r"""Return the proximal point of the sum of group norms: whole groups become zero together.

    .. math:: \arg\min_u \tfrac12 \lVert u - x \rVert^2 + \sum_g t\, \lVert u_g \rVert_2, \qquad
              u_g = x_g \max\bigl(1 - t / \lVert x_g \rVert, 0\bigr)

    A group is a slice along ``dim``: with 0, all weights into a unit of a linear or convolution layer. Where the
    thresholds differ within a group they mean a metric, as ``ProxAdam`` has one: :math:`t_i = \lambda d_i`, and the
    distance is :math:`\tfrac12 \sum_i (u_i - x_i)^2 / d_i`. Its norm is then found by bisection.

    Args:
        x: any shape with at least one axis.
        threshold: t >= 0, a number or a tensor that broadcasts with x.
        dim: axis of the groups.

    Example:
        >>> prox_group(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0).tolist()
        [[2.4000..., 3.2000...], [0.0, 0.0]]

    Limit: t = 0 gives x.

    Source: Yuan and Lin, "Model Selection and Estimation in Regression with Grouped Variables", 2006.
    """
    rows = x.movedim(dim, 0).flatten(1) if x.ndim > 1 else x.reshape(-1, 1)
    size = rows.norm(dim=1, keepdim=True)
    if not isinstance(threshold, Tensor) or threshold.numel() == 1:
        kept = (size - _as_tensor(threshold, x).reshape(())).clamp_min(0)
        found = rows * (kept / size.clamp_min(torch.finfo(x.dtype).tiny))
    else:
        wide = threshold.expand_as(x)
        found = _in_metric(rows, wide.movedim(dim, 0).flatten(1) if x.ndim > 1 else wide.reshape(-1, 1), size)
    return found.reshape(x.movedim(dim, 0).shape).movedim(0, dim) if x.ndim > 1 else found.reshape(x.shape)


def _in_metric(rows: Tensor, thresholds: Tensor, size: Tensor) -> Tensor:
    # stationarity gives u_i = x_i s / (s + t_i) with s the norm of u itself: the root of a decreasing function
    t = thresholds.clamp_min(torch.finfo(rows.dtype).tiny)
    low, high = torch.zeros_like(size), size
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = (rows / (middle + t)).norm(dim=1, keepdim=True) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    alive = (rows / t).norm(dim=1, keepdim=True) > 1
    return torch.where(alive, rows * (high / (high + t)), torch.zeros_like(rows))


def _small_call() -> tuple[Tensor, float]:
    return torch.randn(4, 3), 0.1


def _as_tensor(threshold: float | Tensor, x: Tensor) -> Tensor:
    return torch.as_tensor(threshold, dtype=x.dtype, device=x.device)
