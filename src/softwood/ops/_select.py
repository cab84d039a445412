"""Choosing by soft conditions, weights and positions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from softwood.core import InputError, capability
from softwood.gradients import straight_through
from softwood.ops._axes import full_precision, move_back, move_last, temperature_last
from softwood.ops._selection import DenseSelection, SoftSelection


@capability(
    "operation", cost="O(n) time and memory", example=lambda: (torch.rand(3, 5), torch.randn(3, 5), torch.randn(3, 5))
)
@full_precision
def where(condition: Tensor, x: Tensor, y: Tensor, *, hard: bool = False) -> Tensor:
    r"""Return x where a soft condition holds and y elsewhere: the soft ``torch.where``.

    .. math:: c x + (1 - c) y

    Args:
        condition: truth values between 0 and 1.
        x: broadcasts with the condition.
        y: broadcasts with the condition.
        hard: the choice of a condition rounded at 1/2 forward, the soft gradient backward.

    Raises:
        RuntimeError: the shapes do not broadcast.

    Example:
        >>> where(torch.tensor([1.0, 0.25]), torch.tensor([8.0, 8.0]), torch.tensor([0.0, 0.0])).tolist()
        [8.0, 2.0]

    Limit: torch.where, where the condition is 0 or 1.

    Cost: O(n) time and memory.

    Source: Petersen et al., "Learning with Algorithmic Supervision via Continuous Relaxations", 2021.
    """
    soft = condition * x + (1.0 - condition) * y
    if not hard:
        return soft
    exact = torch.where(condition > 0.5, x, y)
    return straight_through(torch.where(condition.isnan(), torch.nan, exact), soft)


@capability(
    "operation",
    cost="both branches",
    example=lambda: (torch.rand(3, 5), lambda: torch.ones(3, 5), lambda: torch.zeros(3, 5)),
)
def soft_if(
    condition: Tensor, then: Callable[[], Tensor], otherwise: Callable[[], Tensor], *, hard: bool = False
) -> Tensor:
    r"""Run both branches and mix what they return: the soft ``if``.

    .. math:: c \, f() + (1 - c) \, g()

    Args:
        condition: truth values that broadcast with what the branches return.
        then: called without arguments.
        otherwise: called without arguments.
        hard: the choice of a condition rounded at 1/2 forward, the soft gradient backward.

    Raises:
        RuntimeError: the shapes do not broadcast.

    Example:
        >>> soft_if(torch.tensor(0.25), lambda: torch.tensor(8.0), lambda: torch.tensor(0.0)).item()
        2.0

    Limit: the branch that the condition chooses, where it is 0 or 1 (the other one runs all the same).

    Cost: both branches.

    Source: Petersen et al., "Learning with Algorithmic Supervision via Continuous Relaxations", 2021.
    """
    return where(condition, then(), otherwise(), hard=hard)


@capability(
    "operation",
    cost="that of the product of the selection",
    example=lambda: (torch.randn(3, 5), DenseSelection(torch.rand(3, 2, 5).softmax(-1))),
)
def take_along_dim(values: Tensor, index: SoftSelection) -> Tensor:
    r"""Return the values that a soft index picks: the soft ``torch.take_along_dim``.

    .. math:: (P v)_j = \textstyle\sum_i P_{ji} v_i

    Args:
        values: of the shape that was picked from, with any further axes behind it.
        index: what ``argmax``, ``sort``, ``argsort`` or ``topk`` returned.

    Raises:
        InputError: the shape is another one.

    Example:
        >>> from softwood.ops import argmax
        >>> take_along_dim(torch.tensor([10.0, 20.0]), argmax(torch.tensor([0.0, 9.0]), relax="sparsemax")).tolist()
        [20.0]

    Limit: torch.take_along_dim.

    Cost: that of the product of the selection.

    Source: see the operation that made the index.
    """
    return index.apply(values)


@capability(
    "operation",
    cost="O(n k) for each vector; with sparse weights ``[k, n]``, O(their entries)",
    example=lambda: (torch.randn(3, 5), torch.rand(2, 5)),
)
@full_precision
def index_select(x: Tensor, weights: Tensor, dim: int = -1) -> Tensor:
    r"""Return weighted means along an axis: the soft ``torch.index_select``.

    .. math:: y_j = \textstyle\sum_i w_{ji} x_i

    Args:
        x: ``[..., n, ...]``.
        weights: ``[..., k, n]``, one row of weights for each answer; the axes before broadcast with the other axes.
        dim: the axis.

    Raises:
        InputError: a tensor that is not floating or has no such axis.

    Example:
        >>> index_select(torch.tensor([10.0, 20.0, 30.0]), torch.tensor([[0.0, 0.5, 0.5]])).tolist()
        [25.0]

    Limit: exact for one-hot weights.

    Cost: O(n k) for each vector; with sparse weights ``[k, n]``, O(their entries).

    Source: Graves, Wayne and Danihelka, "Neural Turing Machines", 2014.
    """
    moved = move_last(x, dim)
    rows = weights.to(moved.dtype)
    if rows.is_sparse:
        found = torch.sparse.mm(rows, moved.reshape(-1, moved.shape[-1]).mT).mT.reshape(*moved.shape[:-1], -1)
    else:
        found = (rows @ moved.unsqueeze(-1)).squeeze(-1)
    return move_back(found, dim, x.dtype)


@capability("operation", cost="O(n k) for each vector", example=lambda: (torch.randn(3, 2), torch.rand(2, 5)))
@full_precision
def scatter(values: Tensor, weights: Tensor, dim: int = -1) -> Tensor:
    r"""Return values added up at the places that weights give them: the transpose of ``index_select``.

    .. math:: x_i = \textstyle\sum_j w_{ji} y_j

    Args:
        values: ``[..., k, ...]``.
        weights: ``[..., k, n]``, one row of weights for each answer; the axes before broadcast with the other axes.
        dim: the axis.

    Raises:
        InputError: a tensor that is not floating or has no such axis.

    Example:
        >>> scatter(torch.tensor([8.0]), torch.tensor([[0.0, 0.25, 0.75]])).tolist()
        [0.0, 2.0, 6.0]

    Limit: torch.scatter_add, for one-hot weights.

    Cost: O(n k) for each vector.

    Source: Graves, Wayne and Danihelka, "Neural Turing Machines", 2014.
    """
    moved = move_last(values, dim)
    found = (weights.to(moved.dtype).mT @ moved.unsqueeze(-1)).squeeze(-1)
    return move_back(found, dim, values.dtype)


@capability("operation", cost="O(n) for each entry of a row", example=lambda: (torch.randn(3, 5), torch.rand(2, 3)))
@full_precision
def lookup(table: Tensor, weights: Tensor) -> Tensor:
    r"""Return the mean row of a table under weights: the soft look-up.

    .. math:: \textstyle\sum_i w_i t_i

    Args:
        table: ``[n, ...]``.
        weights: ``[..., n]``.

    Raises:
        RuntimeError: the shapes do not fit.

    Example:
        >>> lookup(torch.tensor([[0.0, 2.0], [4.0, 6.0]]), torch.tensor([0.25, 0.75])).tolist()
        [3.0, 5.0]

    Limit: the row, for one-hot weights.

    Cost: O(n) for each entry of a row.

    Source: Graves, Wayne and Danihelka, "Neural Turing Machines", 2014.
    """
    return torch.tensordot(weights.to(table.dtype), table, dims=1)


@capability("operation", cost="O(n k) time and memory", example=lambda: (torch.randn(3, 5), torch.tensor([0.3, 2.2])))
@full_precision
def gather(
    x: Tensor, positions: Tensor, dim: int = -1, *, temperature: float | Tensor = 0.1, hard: bool = False
) -> Tensor:
    r"""Return the values at real positions along an axis.

    .. math:: y_j = \textstyle\sum_i \operatorname{softmax}_i(-(i - s_j)^2 / T) \, x_i

    Args:
        x: ``[..., n, ...]``.
        positions: ``[k]``, or with the other axes of x and k at ``dim``; kept between 0 and n - 1.
        dim: the axis.
        temperature: T > 0, in squared places: the weight of place i is softmax of -(i - position)^2 / T.
        hard: the value at the nearest place forward, the soft gradient backward.

    Raises:
        InputError: x is not floating or has no such axis, or the axis is empty.

    Example:
        >>> gather(torch.tensor([0.0, 10.0, 20.0]), torch.tensor([1.0, 1.5]), temperature=0.1).round().tolist()
        [10.0, 15.0]

    Limit: as T goes to 0, the value at the nearest place; the mean of two at equal distance.

    Cost: O(n k) time and memory.

    Source: Graves, "Generating Sequences With Recurrent Neural Networks", 2013.
    """
    moved = move_last(x, dim)
    if moved.shape[-1] == 0:
        raise InputError("x has no places", got="an axis of size 0", allowed="size 1 or more", fix="pass values")
    at = (positions if positions.ndim == 1 else positions.movedim(dim, -1)).to(moved.dtype)
    places = torch.arange(moved.shape[-1], device=x.device, dtype=moved.dtype)
    width = temperature_last(temperature, moved)
    near = at.clamp(0, moved.shape[-1] - 1).unsqueeze(-1)
    weights = (-((places - near) ** 2) / (width.unsqueeze(-1) if isinstance(width, Tensor) else width)).softmax(-1)
    soft = (weights * moved.unsqueeze(-2)).sum(-1)
    if hard:
        exact = moved.gather(-1, weights.argmax(-1).expand(soft.shape))
        soft = straight_through(exact.masked_fill(weights.isnan().any(-1), torch.nan), soft)
    return move_back(soft, dim, x.dtype)


@capability("operation", cost="O(n l) time and memory", example=lambda: (torch.randn(3, 5), torch.tensor(1.2), 2))
@full_precision
def slice(
    x: Tensor, start: Tensor, length: int, dim: int = -1, *, temperature: float | Tensor = 0.1, hard: bool = False
) -> Tensor:
    r"""Return a stretch of an axis that begins at a real position.

    .. math:: y_j = x(s + j), \quad j = 0, \dots, l - 1,\ \text{each as in } \mathtt{gather}

    Args:
        x: ``[..., n, ...]``.
        start: a 0-dimensional tensor, or one with the other axes of x and size 1 at ``dim``.
        length: l.
        dim: the axis.
        temperature: T > 0, in squared places: the weight of place i is softmax of -(i - position)^2 / T.
        hard: the value at the nearest place forward, the soft gradient backward.

    Raises:
        InputError: x is not floating or has no such axis, or the axis is empty.

    Example:
        >>> slice(torch.tensor([0.0, 10.0, 20.0, 30.0]), torch.tensor(1.0), 2, temperature=0.01).tolist()
        [10.0, 20.0]

    Limit: as T goes to 0, the stretch that begins at the nearest place.

    Cost: O(n l) time and memory.

    Source: Graves, "Generating Sequences With Recurrent Neural Networks", 2013.
    """
    steps = torch.arange(length, device=x.device, dtype=start.dtype)
    positions = start + steps if start.ndim == 0 else (start.movedim(dim, -1) + steps).movedim(-1, dim)
    return gather(x, positions, dim, temperature=temperature, hard=hard)
