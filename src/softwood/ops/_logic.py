"""Logic on truth values between 0 and 1, under a t-norm."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import capability, check_choice
from softwood.ops._axes import exact_forward, full_precision, mask_last, move_last
from softwood.ops._steps import scaled_by, smooth_step

_NORMS = ("product", "godel", "lukasiewicz")


def _both(a: Tensor, b: Tensor, relax: str) -> Tensor:
    check_choice("relax", relax, _NORMS)
    if relax == "product":
        return a * b
    return torch.minimum(a, b) if relax == "godel" else (a + b - 1.0).clamp_min(0.0)


def _finish(soft: Tensor, exact: Tensor, hard: bool) -> Tensor:
    return exact_forward(exact, soft) if hard else soft


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.rand(3, 5), torch.rand(3, 5)))
@full_precision
def and_(a: Tensor, b: Tensor, *, relax: str = "product", hard: bool = False) -> Tensor:
    r"""Return how true it is that both hold.

    .. math:: ab, \quad \min(a, b), \quad \max(a + b - 1, 0)

    Args:
        a: truth values, floating.
        b: truth values that broadcast with a.
        relax: the t-norm: ``"product"`` (independent events), ``"godel"`` (minimum) or ``"lukasiewicz"``.
        hard: the exact answer for truth values rounded at 1/2, with the gradient of the soft one.

    Raises:
        InputError: an unknown t-norm, or an argument that does not fit.

    Example:
        >>> and_(torch.tensor(0.5), torch.tensor(0.5)).item()
        0.25

    Limit: exact where the truth values are 0 and 1.

    Cost: O(n) time and memory.

    Source: Klement, Mesiar and Pap, "Triangular Norms", 2000.
    """
    return _finish(_both(a, b, relax), (a > 0.5) & (b > 0.5), hard)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.rand(3, 5), torch.rand(3, 5)))
@full_precision
def or_(a: Tensor, b: Tensor, *, relax: str = "product", hard: bool = False) -> Tensor:
    r"""Return how true it is that one or both hold: not both not.

    .. math:: a + b - ab, \quad \max(a, b), \quad \min(a + b, 1)

    Args:
        a: truth values, floating.
        b: truth values that broadcast with a.
        relax: the t-norm: ``"product"`` (independent events), ``"godel"`` (minimum) or ``"lukasiewicz"``.
        hard: the exact answer for truth values rounded at 1/2, with the gradient of the soft one.

    Raises:
        InputError: an unknown t-norm, or an argument that does not fit.

    Example:
        >>> or_(torch.tensor(0.5), torch.tensor(0.5)).item()
        0.75

    Limit: exact where the truth values are 0 and 1.

    Cost: O(n) time and memory.

    Source: Klement, Mesiar and Pap, "Triangular Norms", 2000.
    """
    return _finish(1.0 - _both(1.0 - a, 1.0 - b, relax), (a > 0.5) | (b > 0.5), hard)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.rand(3, 5),))
@full_precision
def not_(a: Tensor, *, hard: bool = False) -> Tensor:
    r"""Return how true it is that it does not hold.

    .. math:: 1 - a

    Args:
        a: truth values, floating.
        hard: the exact answer for truth values rounded at 1/2, with the gradient of the soft one.

    Raises:
        TypeError: a is not a tensor.

    Example:
        >>> not_(torch.tensor(0.25)).item()
        0.75

    Limit: exact where the truth values are 0 and 1.

    Cost: O(n) time and memory.

    Source: Klement, Mesiar and Pap, "Triangular Norms", 2000.
    """
    return _finish(1.0 - a, a <= 0.5, hard)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.rand(3, 5), torch.rand(3, 5)))
@full_precision
def xor(a: Tensor, b: Tensor, *, relax: str = "product", hard: bool = False) -> Tensor:
    r"""Return how true it is that exactly one holds.

    .. math:: a + b - 2ab \ \text{(product)}; \quad (a \wedge \neg b) \vee (\neg a \wedge b)

    Args:
        a: truth values, floating.
        b: truth values that broadcast with a.
        relax: the t-norm: ``"product"`` (independent events), ``"godel"`` (minimum) or ``"lukasiewicz"``.
        hard: the exact answer for truth values rounded at 1/2, with the gradient of the soft one.

    Raises:
        InputError: an unknown t-norm, or an argument that does not fit.

    Example:
        >>> xor(torch.tensor(1.0), torch.tensor(0.25)).item()
        0.75

    Limit: exact where the truth values are 0 and 1.

    Cost: O(n) time and memory.

    Source: Klement, Mesiar and Pap, "Triangular Norms", 2000.
    """
    if check_choice("relax", relax, _NORMS) == "product":
        soft = a + b - 2.0 * a * b
    else:
        soft = 1.0 - _both(1.0 - _both(a, 1.0 - b, relax), 1.0 - _both(1.0 - a, b, relax), relax)
    return _finish(soft, (a > 0.5) ^ (b > 0.5), hard)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.rand(3, 5), torch.rand(3, 5)))
@full_precision
def implies(a: Tensor, b: Tensor, *, relax: str = "product", hard: bool = False) -> Tensor:
    r"""Return how true it is that b holds if a does: not a, or b.

    .. math:: 1 - a + ab, \quad \max(1 - a, b), \quad \min(1 - a + b, 1)

    Args:
        a: truth values, floating.
        b: truth values that broadcast with a.
        relax: the t-norm: ``"product"`` (independent events), ``"godel"`` (minimum) or ``"lukasiewicz"``.
        hard: the exact answer for truth values rounded at 1/2, with the gradient of the soft one.

    Raises:
        InputError: an unknown t-norm, or an argument that does not fit.

    Example:
        >>> implies(torch.tensor(1.0), torch.tensor(0.25)).item()
        0.25

    Limit: exact where the truth values are 0 and 1.

    Cost: O(n) time and memory.

    Source: Klement, Mesiar and Pap, "Triangular Norms", 2000.
    """
    return _finish(1.0 - _both(a, 1.0 - b, relax), (a <= 0.5) | (b > 0.5), hard)


def _conjunction(p: Tensor, relax: str) -> Tensor:
    check_choice("relax", relax, _NORMS)
    if relax == "product":
        return p.prod(-1)
    if relax == "godel":
        return p.amin(-1) if p.shape[-1] else p.new_ones(p.shape[:-1])
    return (1.0 - (1.0 - p).sum(-1)).clamp_min(0.0)


def _present(p: Tensor, dim: int, mask: Tensor | None, absent: float) -> Tensor:
    moved, there = move_last(p, dim), mask_last(mask, p, dim)
    return moved if there is None else moved.masked_fill(~there, absent)


def _log_not(log: Tensor) -> Tensor:
    """Return log(1 - exp(log)), exact at both ends."""
    near = log > -0.6931471805599453
    close = torch.where(near, -torch.expm1(torch.where(near, log, -1.0)), 0.5).log()
    return torch.where(near, close, torch.log1p(-torch.where(near, -1.0, log).exp()))


def _check_log(relax: str, hard: bool) -> None:
    check_choice("relax (of logarithms)", relax, ("product",))
    check_choice("hard (of logarithms)", hard, (False,))


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.rand(3, 5),))
@full_precision
def all(
    p: Tensor,
    dim: int = -1,
    *,
    relax: str = "product",
    hard: bool = False,
    mask: Tensor | None = None,
    log: bool = False,
) -> Tensor:
    r"""Return how true it is that all hold.

    .. math:: \textstyle\prod_i p_i, \quad \min_i p_i, \quad \max(1 - \sum_i (1 - p_i), 0)

    Args:
        p: truth values ``[..., n, ...]``.
        dim: the axis.
        relax: the t-norm: ``"product"`` (independent events), ``"godel"`` (minimum) or ``"lukasiewicz"``.
        hard: the exact answer for truth values rounded at 1/2, with the gradient of the soft one.
        mask: bool, True where an entry is present; absent ones do not count.
        log: p and the answer are logarithms (``"product"`` alone, not hard), so that long axes do not underflow.

    Raises:
        InputError: an unknown t-norm, or an argument that does not fit.

    Example:
        >>> all(torch.tensor([0.5, 0.5, 1.0])).item()
        0.25

    Limit: exact where the truth values are 0 and 1. Of nothing, 1.

    Cost: O(n) time and memory.

    Source: Klement, Mesiar and Pap, "Triangular Norms", 2000.
    """
    if log:
        _check_log(relax, hard)
        return _present(p, dim, mask, 0.0).sum(-1).to(p.dtype)
    rows = _present(p, dim, mask, 1.0)
    return _finish(_conjunction(rows, relax), (rows > 0.5).all(-1), hard).to(p.dtype)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.rand(3, 5),))
@full_precision
def any(
    p: Tensor,
    dim: int = -1,
    *,
    relax: str = "product",
    hard: bool = False,
    mask: Tensor | None = None,
    log: bool = False,
) -> Tensor:
    r"""Return how true it is that one or more hold: not all not.

    .. math:: 1 - \textstyle\prod_i (1 - p_i), \quad \max_i p_i, \quad \min(\sum_i p_i, 1)

    Args:
        p: truth values ``[..., n, ...]``.
        dim: the axis.
        relax: the t-norm: ``"product"`` (independent events), ``"godel"`` (minimum) or ``"lukasiewicz"``.
        hard: the exact answer for truth values rounded at 1/2, with the gradient of the soft one.
        mask: bool, True where an entry is present; absent ones do not count.
        log: p and the answer are logarithms (``"product"`` alone, not hard), so that long axes do not underflow.

    Raises:
        InputError: an unknown t-norm, or an argument that does not fit.

    Example:
        >>> any(torch.tensor([0.5, 0.5, 0.0])).item()
        0.75

    Limit: exact where the truth values are 0 and 1. Of nothing, 0.

    Cost: O(n) time and memory.

    Source: Klement, Mesiar and Pap, "Triangular Norms", 2000.
    """
    if log:
        _check_log(relax, hard)
        return _log_not(_log_not(_present(p, dim, mask, -torch.inf)).sum(-1)).to(p.dtype)
    rows = _present(p, dim, mask, 0.0)
    return _finish(1.0 - _conjunction(1.0 - rows, relax), (rows > 0.5).any(-1), hard).to(p.dtype)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.rand(3, 5),))
@full_precision
def count(p: Tensor, dim: int = -1, *, hard: bool = False, mask: Tensor | None = None) -> Tensor:
    r"""Return how many hold, in float32 at least: the expected number.

    .. math:: \textstyle\sum_i p_i

    Args:
        p: truth values ``[..., n, ...]``.
        dim: the axis.
        hard: the exact answer for truth values rounded at 1/2, with the gradient of the soft one.
        mask: bool, True where an entry is present; absent ones do not count.

    Raises:
        InputError: an argument that does not fit.

    Example:
        >>> count(torch.tensor([0.5, 0.5, 1.0])).item()
        2.0

    Limit: exact where the truth values are 0 and 1.

    Cost: O(n) time and memory.

    Source: Klement, Mesiar and Pap, "Triangular Norms", 2000.
    """
    rows = _present(p, dim, mask, 0.0)
    return _finish(rows.sum(-1), (rows > 0.5).sum(-1), hard)


@capability("operation", cost="O(n) time and memory", example=lambda: (torch.rand(3, 5),))
@full_precision
def majority(
    p: Tensor,
    dim: int = -1,
    *,
    relax: str = "sigmoid",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return how true it is that more than half hold.

    .. math:: H\bigl( (\textstyle\sum_i p_i - n / 2) / T \bigr)

    Args:
        p: truth values ``[..., n, ...]``.
        dim: the axis.
        relax: the step H, as in ``heaviside``.
        temperature: T > 0, in votes.
        hard: the exact answer for truth values rounded at 1/2, with the gradient of the soft one.
        mask: bool, True where an entry is present; absent ones do not count.

    Raises:
        InputError: an argument that does not fit.

    Example:
        >>> majority(torch.tensor([1.0, 1.0, 0.0]), temperature=0.01).item()
        1.0

    Limit: as T goes to 0, 0 or 1; 1/2 at exactly half.

    Cost: O(n) time and memory.

    Source: Klement, Mesiar and Pap, "Triangular Norms", 2000.
    """
    rows = _present(p, dim, mask, 0.0)
    votes = rows.shape[-1] if mask is None else mask.expand(p.shape).movedim(dim, -1).sum(-1)
    soft = smooth_step(scaled_by(rows.sum(-1) - 0.5 * votes, temperature)[0], relax)
    return _finish(soft, (rows > 0.5).sum(-1) > 0.5 * votes, hard).to(p.dtype)
