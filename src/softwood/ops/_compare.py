"""Comparisons as truth values between 0 and 1."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import capability, check_number
from softwood.ops._axes import exact_forward, full_precision
from softwood.ops._steps import scaled_by, smooth_step


def _difference(x: Tensor, y: float | Tensor) -> Tensor:
    """Return x - y, and 0 between equal infinities."""
    away = x - y
    return torch.where(away.isnan() & (x == y), 0.0, away)


def _finish(exact: Tensor, soft: Tensor, hard: bool, dtype: torch.dtype) -> Tensor:
    return (exact_forward(exact, soft) if hard else soft).to(dtype)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.randn(3, 5), 0.1))
@full_precision
def gt(
    x: Tensor, y: float | Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False
) -> Tensor:
    r"""Return how true it is that x is greater than y.

    .. math:: H((x - y) / T)

    Args:
        x: floating, any shape; NaN stays NaN.
        y: a number or a tensor that broadcasts with x.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> gt(torch.tensor([0.0, 1.0, 2.0]), 1.0, relax="c1").tolist()
        [0.0, 0.5, 1.0]

    Limit: as T goes to 0, 0 or 1; 1/2 where they are equal (``hard`` is exact there).

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    u, _ = scaled_by(_difference(x, y), temperature)
    soft = smooth_step(u, relax)
    return _finish(x > y, soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.randn(3, 5), 0.1))
@full_precision
def ge(
    x: Tensor, y: float | Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False
) -> Tensor:
    r"""Return how true it is that x is greater than or equal to y.

    .. math:: H((x - y) / T)

    Args:
        x: floating, any shape; NaN stays NaN.
        y: a number or a tensor that broadcasts with x.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> ge(torch.tensor([0.0, 1.0, 2.0]), 1.0, relax="c1").tolist()
        [0.0, 0.5, 1.0]

    Limit: as T goes to 0, 0 or 1; 1/2 where they are equal (``hard`` is exact there).

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    u, _ = scaled_by(_difference(x, y), temperature)
    soft = smooth_step(u, relax)
    return _finish(x >= y, soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.randn(3, 5), 0.1))
@full_precision
def lt(
    x: Tensor, y: float | Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False
) -> Tensor:
    r"""Return how true it is that x is less than y.

    .. math:: H((y - x) / T)

    Args:
        x: floating, any shape; NaN stays NaN.
        y: a number or a tensor that broadcasts with x.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> lt(torch.tensor([0.0, 1.0, 2.0]), 1.0, relax="c1").tolist()
        [1.0, 0.5, 0.0]

    Limit: as T goes to 0, 0 or 1; 1/2 where they are equal (``hard`` is exact there).

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    u, _ = scaled_by(_difference(x, y), temperature)
    soft = smooth_step(-u, relax)
    return _finish(x < y, soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.randn(3, 5), 0.1))
@full_precision
def le(
    x: Tensor, y: float | Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False
) -> Tensor:
    r"""Return how true it is that x is less than or equal to y.

    .. math:: H((y - x) / T)

    Args:
        x: floating, any shape; NaN stays NaN.
        y: a number or a tensor that broadcasts with x.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> le(torch.tensor([0.0, 1.0, 2.0]), 1.0, relax="c1").tolist()
        [1.0, 0.5, 0.0]

    Limit: as T goes to 0, 0 or 1; 1/2 where they are equal (``hard`` is exact there).

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    u, _ = scaled_by(_difference(x, y), temperature)
    soft = smooth_step(-u, relax)
    return _finish(x <= y, soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.randn(3, 5), 0.1))
@full_precision
def eq(
    x: Tensor, y: float | Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False
) -> Tensor:
    r"""Return how true it is that x is equal to y.

    .. math:: 4 H(u) (1 - H(u)), \quad u = (x - y) / T

    Args:
        x: floating, any shape; NaN stays NaN.
        y: a number or a tensor that broadcasts with x.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> eq(torch.tensor([0.0, 1.0, 2.0]), 1.0, relax="c1").tolist()
        [0.0, 1.0, 0.0]

    Limit: as T goes to 0, 0 or 1; 1 where they are equal.

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    u, _ = scaled_by(_difference(x, y), temperature)
    soft = 4.0 * smooth_step(u, relax) * smooth_step(-u, relax)
    return _finish(x == y, soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.randn(3, 5), 0.1))
@full_precision
def isclose(
    x: Tensor,
    y: float | Tensor,
    tolerance: float = 0.1,
    *,
    relax: str = "sigmoid",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
) -> Tensor:
    r"""Return how true it is that x and y differ by at most a tolerance.

    .. math:: H((x - y + a) / T) - H((x - y - a) / T)

    Args:
        x: floating, any shape; NaN stays NaN.
        y: a number or a tensor that broadcasts with x.
        tolerance: a >= 0, in units of x.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> isclose(torch.tensor([0.0, 1.0, 1.4]), 1.0, 0.2, relax="c1").tolist()
        [0.0, 1.0, 0.0]

    Limit: as T goes to 0, 1 closer than the tolerance, 0 further, 1/2 at it.

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    check_number("tolerance", tolerance, low=0.0)
    u, _ = scaled_by(x - y + tolerance, temperature)
    v, _ = scaled_by(x - y - tolerance, temperature)
    soft = smooth_step(u, relax) - smooth_step(v, relax)
    return _finish((x - y).abs() <= tolerance, soft, hard, x.dtype)
