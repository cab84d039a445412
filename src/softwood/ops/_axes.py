"""What every operation does first and last: the axis, the dtype, the mask, the temperature."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from softwood.core import InputError, check_number
from softwood.gradients import straight_through

_SMALLEST = 1e-12  # as in SoftModule
_F = TypeVar("_F", bound=Callable[..., Any])


def move_last(x: Tensor, dim: int) -> Tensor:
    """Return ``x`` with axis ``dim`` last, in the dtype in which we compute (float32 for float16 and bfloat16).

    Args:
        x: floating, one axis or more.
        dim: the axis, from the front or the back.

    Raises:
        InputError: ``x`` is not floating or has no axis, or ``dim`` is none of its axes.

    Example:
        >>> move_last(torch.zeros(2, 3, dtype=torch.float16), 0).shape
        torch.Size([3, 2])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise InputError("x is not a floating tensor", got=x.dtype if isinstance(x, Tensor) else type(x).__name__,
                         allowed="float16, bfloat16, float32 or float64", fix="pass x.float()")  # fmt: skip
    if x.ndim == 0:
        raise InputError("x has no axis", got="a 0-dimensional tensor", allowed="one axis or more",
                         fix="pass x.reshape(1)")  # fmt: skip
    if not -x.ndim <= dim < x.ndim:
        raise InputError("dim is out of range", got=dim, allowed=f"-{x.ndim} to {x.ndim - 1}",
                         fix="pass an axis that x has")  # fmt: skip
    x = x if dim in (-1, x.ndim - 1) else x.movedim(dim, -1)
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def move_back(y: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return ``y`` with its last axis at ``dim``, in ``dtype`` where one is given.

    Example:
        >>> move_back(torch.zeros(3, 2), 0).shape
        torch.Size([2, 3])
    """
    y = y if dim in (-1, y.ndim - 1) else y.movedim(-1, dim)
    return y if dtype is None else y.to(dtype)


def as_rows(x: Tensor) -> Tensor:
    """Return ``x [..., n]`` as ``[rows, n]``, the shape in which kernels take it.

    Example:
        >>> as_rows(torch.zeros(2, 3, 4)).shape, as_rows(torch.zeros(4)).shape
        (torch.Size([6, 4]), torch.Size([1, 4]))
    """
    return x.unsqueeze(0) if x.ndim == 1 else x if x.ndim == 2 else x.flatten(0, -2)


def from_rows(y: Tensor, x: Tensor) -> Tensor:
    """Return ``y [rows, n]`` in the shape of the ``x`` whose rows it answers.

    Example:
        >>> from_rows(torch.zeros(6, 4), torch.zeros(2, 3, 4)).shape
        torch.Size([2, 3, 4])
    """
    return y if x.ndim == 2 else y.reshape(x.shape)


def mask_last(mask: Tensor | None, x: Tensor, dim: int) -> Tensor | None:
    """Return ``mask`` broadcast to ``x`` with axis ``dim`` last, or None.

    Args:
        mask: bool, True where an entry is present, or None.
        x: as the user gave it.
        dim: the axis.

    Raises:
        InputError: ``mask`` is not bool, or does not broadcast to x.

    Example:
        >>> mask_last(torch.tensor([True, False]), torch.zeros(3, 2), -1).shape
        torch.Size([3, 2])
    """
    if mask is None:
        return None
    fits = mask.ndim <= x.ndim and all(
        size in (1, whole) for size, whole in zip(mask.shape[::-1], x.shape[::-1], strict=False)
    )
    if mask.dtype != torch.bool or not fits:
        raise InputError("mask does not fit x", got=f"{mask.dtype} {tuple(mask.shape)}",
                         allowed=f"bool, broadcasting to {tuple(x.shape)}",
                         fix="pass True where an entry is present, with the axes of x")  # fmt: skip
    return mask.expand(x.shape).movedim(dim, -1)


def temperature_last(temperature: float | Tensor, x: Tensor) -> float | Tensor:
    """Return a temperature that divides ``x``, whose axis is last already.

    A tensor's values are not read, which would stop the device and the compiler: where one is not > 0 it turns into
    NaN, and so do the answers.

    Args:
        temperature: a number > 0, or a tensor that broadcasts with x and is of size 1 along the axis.
        x: ``[..., n]``, in the dtype in which we compute.

    Raises:
        InputError: not a number > 0, or a tensor of a shape that does not fit.

    Example:
        >>> temperature_last(torch.tensor([[0.1], [0.0]]), torch.zeros(2, 3)).tolist()
        [[0.10000000149011612], [nan]]
    """
    if not isinstance(temperature, Tensor):
        # the compiler holds a changing number as a symbol, which is none of Python's numbers
        return temperature if torch.compiler.is_compiling() else check_number("temperature", temperature, low=_SMALLEST)
    whole = (*x.shape[:-1], 1)
    fits = temperature.ndim <= x.ndim and all(
        size in (1, most) for size, most in zip(temperature.shape[::-1], whole[::-1], strict=False)
    )
    if not fits:
        raise InputError("temperature does not fit x", got=f"shape {tuple(temperature.shape)}",
                         allowed=f"a number, or a shape that broadcasts to {whole} once the axis is last",
                         fix="give one for all, or one for each row")  # fmt: skip
    value = temperature.to(x.dtype)
    return torch.where(value > 0, value, torch.nan)


def over_temperature(x: Tensor, temperature: float | Tensor) -> Tensor:
    """Return x / temperature; infinities stay, and take no part in the temperature's gradient: it would be NaN.

    Example:
        >>> over_temperature(torch.tensor([1.0, torch.inf]), torch.tensor(-0.5))
        tensor([-2., -inf])
    """
    if not isinstance(temperature, Tensor):
        return x / temperature
    finite = x.isfinite()
    return torch.where(finite, torch.where(finite, x, 0.0) / temperature, x.detach() * temperature.detach().sign())


def exact_forward(exact: Tensor, soft: Tensor) -> Tensor:
    """Return ``exact`` with the gradient of ``soft``, and NaN where that is NaN: what ``hard=True`` gives.

    Rounding a NaN, or finding its place, gives some number as any other; a wrong one must not pass for an answer.

    Example:
        >>> soft = torch.tensor([0.2, 0.8, torch.nan])
        >>> exact_forward(soft > 0.5, soft)
        tensor([0., 1., nan])
    """
    return torch.where(soft.isnan(), torch.nan, straight_through(exact, soft))


def full_precision(operation: _F) -> _F:
    """Run an operation outside autocast, which would round the products of its first argument to 16 bits.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     full_precision(torch.matmul)(torch.eye(2), torch.eye(2)).dtype
        torch.float32
    """

    @functools.wraps(operation)
    def run(x: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, Tensor) or not torch.is_autocast_enabled(x.device.type):
            return operation(x, *args, **kwargs)
        with torch.autocast(x.device.type, enabled=False):
            return operation(x, *args, **kwargs)

    return run  # type: ignore[return-value]
