"""Elementwise operations with a kink or a jump, smoothed."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import InputError, capability
from softwood.gradients import straight_through
from softwood.ops._axes import full_precision
from softwood.ops._steps import scaled_by, smooth_ramp, smooth_step


def _finish(exact: Tensor, soft: Tensor, hard: bool, dtype: torch.dtype) -> Tensor:
    if not hard:
        return soft.to(dtype)
    # an infinite answer is right, though no soft one may exist there
    return straight_through(torch.where(soft.isnan() & exact.isfinite(), torch.nan, exact), soft).to(dtype)


@capability("operation", cost="O(n) time and memory")
@full_precision
def heaviside(x: Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False) -> Tensor:
    r"""Return the step of each entry: 0 below 0, 1 above.

    .. math:: H(x / T)

    Args:
        x: floating, any shape; NaN stays NaN.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> heaviside(torch.tensor([-1.0, 0.0, 1.0]), relax="c1").tolist()
        [0.0, 0.5, 1.0]

    Limit: as T goes to 0, 0 below 0, 1 above, 1/2 at 0 (``hard`` takes 1/2 there).

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    u, _ = scaled_by(x, temperature)
    soft = smooth_step(u, relax)
    return _finish(torch.heaviside(x.detach(), x.new_tensor(0.5)), soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory")
@full_precision
def sign(x: Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False) -> Tensor:
    r"""Return the sign of each entry.

    .. math:: 2 H(x / T) - 1

    Args:
        x: floating, any shape; NaN stays NaN.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> sign(torch.tensor([-1.0, 0.0, 1.0]), relax="c1").tolist()
        [-1.0, 0.0, 1.0]

    Limit: as T goes to 0, -1, 0 or 1.

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    u, _ = scaled_by(x, temperature)
    soft = 2.0 * smooth_step(u, relax) - 1.0
    return _finish(x.sign(), soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory")
@full_precision
def relu(x: Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False) -> Tensor:
    r"""Return the positive part of each entry: the integral of the soft step.

    .. math:: T \int_{-\infty}^{x / T} H

    Args:
        x: floating, any shape; NaN stays NaN.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> relu(torch.tensor([-1.0, 0.0, 1.0]), relax="c0", temperature=0.4).tolist()
        [0.0, 0.05000000074505806, 1.0]

    Limit: as T goes to 0, max(x, 0); the error is largest at 0 and proportional to T.

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    u, t = scaled_by(x, temperature)
    soft = t * smooth_ramp(u, relax)
    return _finish(torch.relu(x), soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory")
@full_precision
def abs(x: Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False) -> Tensor:
    r"""Return the absolute value of each entry.

    .. math:: 2 T \int_{-\infty}^{x / T} H - x

    Args:
        x: floating, any shape; NaN stays NaN.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> abs(torch.tensor([-2.0, 3.0]), relax="c2").tolist()
        [2.0, 3.0]

    Limit: as T goes to 0, abs(x).

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    u, t = scaled_by(x, temperature)
    soft = t * (smooth_ramp(u, relax) + smooth_ramp(-u, relax))
    return _finish(x.abs(), soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.randn(3, 5), -0.5, 0.5))
@full_precision
def clamp(
    x: Tensor,
    low: float | Tensor,
    high: float | Tensor,
    *,
    relax: str = "sigmoid",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
) -> Tensor:
    r"""Return each entry kept between two bounds.

    .. math:: l + R(x - l) - R(x - h), \qquad R(y) = T \int_{-\infty}^{y / T} H

    Args:
        x: floating, any shape; NaN stays NaN.
        low: lower bound, broadcasts with x.
        high: upper bound, broadcasts with x.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> clamp(torch.tensor([-2.0, 0.5, 3.0]), 0.0, 1.0, relax="c1").tolist()
        [0.0, 0.5, 1.0]

    Limit: as T goes to 0, torch.clamp.

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    _, t = scaled_by(x, temperature)
    near = torch.minimum(
        torch.maximum(x, torch.as_tensor(low - 60.0 * t).to(x)), torch.as_tensor(high + 60.0 * t).to(x)
    )  # further away nothing changes
    soft = low + t * (smooth_ramp((near - low) / t, relax) - smooth_ramp((near - high) / t, relax))
    return _finish(
        torch.minimum(torch.maximum(x, torch.as_tensor(low).to(x)), torch.as_tensor(high).to(x)), soft, hard, x.dtype
    )


def _staircase(x: Tensor, temperature: float | Tensor, relax: str) -> Tensor:
    """Return the soft floor: the nearest 7 steps are summed, those below are whole and those above are not there."""
    near = x.detach().round().float() if x.dtype in (torch.float16, torch.bfloat16) else x.detach().round()
    climbed = near - 4.0
    for offset in range(-3, 4):
        climbed = climbed + smooth_step(scaled_by(x - near - offset, temperature)[0], relax)
    return climbed


@capability("operation", cost="O(n) time and memory")
@full_precision
def floor(x: Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False) -> Tensor:
    r"""Return the largest whole number below each entry.

    .. math:: \textstyle\sum_m H((x - m) / T)\ \text{counted from the steps near x}

    Args:
        x: floating, any shape; NaN stays NaN.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> floor(torch.tensor([-1.3, 0.4, 1.6]), relax="c1").tolist()
        [-2.0, 0.0, 1.0]

    Limit: as T goes to 0, torch.floor; the middle at a jump. Meant for
    T <= 1/2: at more, steps beyond the nearest 7 are missed.

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    soft = _staircase(x, temperature, relax)
    return _finish(x.floor(), soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory")
@full_precision
def ceil(x: Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False) -> Tensor:
    r"""Return the smallest whole number above each entry.

    .. math:: 1 + \textstyle\sum_m H((x - m) / T)\ \text{counted from the steps near x}

    Args:
        x: floating, any shape; NaN stays NaN.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> ceil(torch.tensor([-1.3, 0.4, 1.6]), relax="c1").tolist()
        [-1.0, 1.0, 2.0]

    Limit: as T goes to 0, torch.ceil; the middle at a jump. Meant for
    T <= 1/2: at more, steps beyond the nearest 7 are missed.

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    soft = _staircase(x, temperature, relax) + 1.0
    return _finish(x.ceil(), soft, hard, x.dtype)


@capability("operation", cost="O(n) time and memory")
@full_precision
def round(x: Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False) -> Tensor:
    r"""Return the nearest whole number.

    .. math:: \textstyle\sum_m H((x + 1/2 - m) / T)\ \text{counted from the steps near x}

    Args:
        x: floating, any shape; NaN stays NaN.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, or a temperature that is not > 0.

    Example:
        >>> round(torch.tensor([-1.3, 0.4, 1.6]), relax="c1").tolist()
        [-1.0, 0.0, 2.0]

    Limit: as T goes to 0, torch.round; the middle at a jump. Meant for
    T <= 1/2: at more, steps beyond the nearest 7 are missed.

    Cost: O(n) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    soft = _staircase(x + 0.5, temperature, relax)
    return _finish(x.round(), soft, hard, x.dtype)


@capability("operation", cost="O(n L) time and memory", example=lambda: (torch.randn(3, 5), torch.linspace(-1, 1, 4)))
@full_precision
def quantize(
    x: Tensor, levels: Tensor, *, relax: str = "sigmoid", temperature: float | Tensor = 0.1, hard: bool = False
) -> Tensor:
    r"""Return the nearest of several levels.

    .. math:: l_0 + \textstyle\sum_j (l_j - l_{j-1}) H((x - (l_j + l_{j-1}) / 2) / T)

    Args:
        x: floating, any shape; NaN stays NaN.
        levels: ``[L]``, in any order; may need a gradient.
        relax: the step H: ``"sigmoid"``, ``"gaussian"`` (convolution with a normal density), or the polynomials
            ``"c0"``, ``"c1"``, ``"c2"`` by how often they are differentiable, exact beyond T / 2.
        temperature: T > 0, in units of x; a number, or a tensor that broadcasts with x.
        hard: the exact value forward, the relaxed gradient backward.

    Raises:
        InputError: an unknown relaxation, a temperature that is not > 0, or levels that are not a list.

    Example:
        >>> quantize(torch.tensor([0.2, 0.9, 7.0]), torch.tensor([0.0, 1.0, 4.0]), relax="c1").tolist()
        [0.0, 1.0, 4.0]

    Limit: as T goes to 0, the nearest level; the middle of two at equal distance (``hard`` takes the lower).

    Cost: O(n L) time and memory.

    Source: Petersen, "Learning with Differentiable Algorithms", 2022.
    """
    if levels.ndim != 1 or len(levels) == 0:
        raise InputError("levels are not a list", got=f"shape {tuple(levels.shape)}",
                         allowed="one axis, one level or more", fix="pass torch.tensor([0.0, 1.0, ...])")  # fmt: skip
    rungs = levels.to(x.dtype).sort().values
    middles = 0.5 * (rungs[1:] + rungs[:-1])
    u, _ = scaled_by(
        x.unsqueeze(-1) - middles, temperature.unsqueeze(-1) if isinstance(temperature, Tensor) else temperature
    )
    soft = rungs[0] + (smooth_step(u, relax) * rungs.diff()).sum(-1)
    nearest = (x.detach().unsqueeze(-1) > middles.detach()).sum(-1)
    exact = torch.where(x.isnan(), x, rungs[nearest])
    return _finish(exact, soft.masked_fill(x.isnan(), torch.nan), hard, x.dtype)
