"""The largest and the smallest: argmax, argmin, max, min, one_hot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import capability, check_number
from softwood.gradients import straight_through
from softwood.ops._axes import exact_forward, full_precision, move_back, temperature_last
from softwood.ops._relax import resolve
from softwood.ops._selection import DenseSelection, SoftSelection
from softwood.ops._simplex import entmax_last, scaled, softmax_last


@dataclass(frozen=True)
class Softmax:
    """Weights exp(x / T): smooth, never exactly 0.

    Example:
        >>> max(torch.tensor([0.0, 1.0, 3.0]), relax=Softmax(), temperature=1.0)[0]
        tensor(2.6456)
    """


@dataclass(frozen=True)
class LogSumExp:
    """The weights of softmax; the value of ``max`` is T logsumexp(x / T), whose gradient they are.

    Example:
        >>> max(torch.tensor([0.0, 1.0, 3.0]), relax=LogSumExp(), temperature=1.0)[0]
        tensor(3.1698)
    """


@dataclass(frozen=True)
class Entmax:
    """Sparse weights; see ``entmax``.

    Args:
        alpha: > 1; 1.5 is ``"entmax15"``, 2 is ``"sparsemax"``.

    Example:
        >>> max(torch.tensor([0.0, 1.0, 3.0]), relax=Entmax(2.0), temperature=1.0)[0]
        tensor(3.)
    """

    alpha: float = 1.5

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, low=1.0 + 1e-6)


@dataclass(frozen=True)
class PNorm:
    """The point y of the simplex that maximises <y, x / T> - |y|_p^p / p.

    Args:
        p: > 1; at 2 it is sparsemax.

    Example:
        >>> argmax(torch.tensor([0.0, 1.0, 1.5]), relax=PNorm(2.0), temperature=1.0).dense()
        tensor([[0.0000, 0.2500, 0.7500]])
    """

    p: float = 1.5

    def __post_init__(self) -> None:
        check_number("p", self.p, low=1.0 + 1e-6)


Argmax = Softmax | LogSumExp | Entmax | PNorm

_KNOWN: dict[str, Argmax] = {
    "softmax": Softmax(),
    "logsumexp": LogSumExp(),
    "sparsemax": Entmax(2.0),
    "entmax15": Entmax(1.5),
    "p-norm": PNorm(),
}


def _weights(z: Tensor, relax: Argmax) -> Tensor:
    if isinstance(relax, Entmax):
        return entmax_last(z, relax.alpha)
    if isinstance(relax, PNorm):
        return entmax_last(z / (relax.p - 1.0), relax.p)
    return softmax_last(z)


def _select(x: Tensor, dim: int, relax: Argmax, temperature: float | Tensor, hard: bool, mask: Tensor | None,
            sign: float = 1.0) -> tuple[Tensor, Tensor, DenseSelection]:  # fmt: skip
    """Return z = sign x / temperature, the weights (both with the axis last) and the selection of one item."""
    z = scaled(x if sign > 0 else -x, dim, temperature, mask)
    weights = _weights(z, relax)
    log = z.log_softmax(-1).unsqueeze(-2) if isinstance(relax, Softmax | LogSumExp) else None
    picked = z.detach().argmax(-1, keepdim=True)
    kept = dim % x.ndim
    return z, weights, DenseSelection(weights.unsqueeze(-2), picked, shape=x.shape, dim=kept, log=log, straight=hard)


@capability("operation", cost="O(n) time and memory")
@full_precision
def argmax(
    x: Tensor,
    dim: int = -1,
    *,
    relax: str | Argmax = "softmax",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> SoftSelection:
    r"""Return the index of the largest value, as a distribution over indices.

    Args:
        x: ``[..., n, ...]``. -inf is absent; +inf or NaN makes the row NaN.
        dim: the axis.
        relax: ``"softmax"`` (or ``Softmax()``), ``"sparsemax"``, ``"entmax15"`` (``Entmax(alpha)``), ``"p-norm"``
            (``PNorm(p)``), ``"logsumexp"`` (as softmax).
        temperature: T > 0, in units of x.
        hard: what the selection applies is the exact index; its gradient is that of the weights.
        mask: bool, True where an entry is present.

    Returns:
        One pick, ``[..., 1, n]``: ``.apply(values)`` is the soft ``take_along_dim``, ``.dense()`` the weights,
        ``.log_dense()`` their logarithm, ``.hard()`` the index ``[..., 1]``.

    Raises:
        InputError: an unknown relaxation, or an argument that does not fit x.

    Example:
        >>> pick = argmax(torch.tensor([0.0, 2.0, 1.0]), temperature=0.01)
        >>> pick.hard(), pick.apply(torch.tensor([10.0, 20.0, 30.0]))
        (tensor([1]), tensor([20.]))

    Limit: as T goes to 0, the index of the largest value; ties share equally (``hard`` takes the first).

    Cost: O(n) time and memory.

    Source: see ``softmax`` and ``entmax``.
    """
    return _select(x, dim, resolve(relax, _KNOWN), temperature, hard, mask)[2]


@capability("operation", cost="O(n) time and memory")
@full_precision
def argmin(
    x: Tensor,
    dim: int = -1,
    *,
    relax: str | Argmax = "softmax",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> SoftSelection:
    r"""Return the index of the smallest value, as a distribution over indices: ``argmax`` of -x.

    Args:
        x: ``[..., n, ...]``. +inf is absent; -inf or NaN makes the row NaN.
        dim: the axis.
        relax: as in ``argmax``.
        temperature: T > 0, in units of x.
        hard: as in ``argmax``.
        mask: bool, True where an entry is present.

    Raises:
        InputError: an unknown relaxation, or an argument that does not fit x.

    Example:
        >>> argmin(torch.tensor([0.0, 2.0, 1.0]), relax="sparsemax").dense()
        tensor([[1., 0., 0.]])

    Limit: as T goes to 0, the index of the smallest value; ties share equally (``hard`` takes the first).

    Cost: O(n) time and memory.

    Source: see ``softmax`` and ``entmax``.
    """
    return _select(x, dim, resolve(relax, _KNOWN), temperature, hard, mask, -1.0)[2]


def _extreme(x: Tensor, dim: int, relax: str | Argmax, temperature: float | Tensor, hard: bool, mask: Tensor | None,
             keepdim: bool, sign: float) -> tuple[Tensor, SoftSelection]:  # fmt: skip
    kind = resolve(relax, _KNOWN)
    z, weights, selection = _select(x, dim, kind, temperature, hard, mask, sign)
    values = torch.where(z == -math.inf, 0.0, x.movedim(dim, -1).to(z.dtype))  # infinity times weight 0 is NaN
    if isinstance(kind, LogSumExp):
        soft = sign * temperature_last(temperature, z) * z.logsumexp(-1, keepdim=True)
    else:
        soft = (weights * values).sum(-1, keepdim=True)
    if hard:
        soft = straight_through(values.gather(-1, selection.hard()), soft)
    found = move_back(soft, dim, x.dtype)
    return (found if keepdim else found.squeeze(dim)), selection


@capability("operation", cost="O(n) time and memory")
@full_precision
def max(
    x: Tensor,
    dim: int = -1,
    keepdim: bool = False,
    *,
    relax: str | Argmax = "softmax",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> tuple[Tensor, SoftSelection]:
    r"""Return the largest value, :math:`\langle p, x \rangle`, and its index as a distribution p.

    Args:
        x: ``[..., n, ...]``. -inf is absent; +inf or NaN makes the row NaN.
        dim: the axis.
        keepdim: keep the axis with size 1.
        relax: as in ``argmax``; ``"logsumexp"`` gives T logsumexp(x / T), which is at least the largest value, where
            the others give at most that.
        temperature: T > 0, in units of x.
        hard: the exact value and index forward, the relaxed gradient backward.
        mask: bool, True where an entry is present. Where none is, the value is 0 (-inf for ``"logsumexp"``).

    Returns:
        The values, in the dtype of x, and a selection of one item.

    Raises:
        InputError: an unknown relaxation, or an argument that does not fit x.

    Example:
        >>> value, index = max(torch.tensor([0.0, 2.0, 1.0]), relax="entmax15")
        >>> value, index.hard()
        (tensor(2.), tensor([1]))

    Limit: as T goes to 0, the largest value.

    Cost: O(n) time and memory.

    Source: see ``softmax`` and ``entmax``.
    """
    return _extreme(x, dim, relax, temperature, hard, mask, keepdim, 1.0)


@capability("operation", cost="O(n) time and memory")
@full_precision
def min(
    x: Tensor,
    dim: int = -1,
    keepdim: bool = False,
    *,
    relax: str | Argmax = "softmax",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> tuple[Tensor, SoftSelection]:
    r"""Return the smallest value and its index as a distribution: ``max`` of -x, negated.

    Args:
        x: ``[..., n, ...]``. +inf is absent; -inf or NaN makes the row NaN.
        dim: the axis.
        keepdim: keep the axis with size 1.
        relax: as in ``max``.
        temperature: T > 0, in units of x.
        hard: the exact value and index forward, the relaxed gradient backward.
        mask: bool, True where an entry is present. Where none is, the value is 0 (+inf for ``"logsumexp"``).

    Raises:
        InputError: an unknown relaxation, or an argument that does not fit x.

    Example:
        >>> min(torch.tensor([0.0, 2.0, 1.0]), relax="sparsemax")[0]
        tensor(0.)

    Limit: as T goes to 0, the smallest value.

    Cost: O(n) time and memory.

    Source: see ``softmax`` and ``entmax``.
    """
    return _extreme(x, dim, relax, temperature, hard, mask, keepdim, -1.0)


@capability("operation", cost="O(n) time and memory")
@full_precision
def one_hot(
    x: Tensor,
    dim: int = -1,
    *,
    relax: str | Argmax = "softmax",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return the one-hot vector of the largest value, softened: the weights of ``argmax`` in the shape of x.

    Args:
        x: ``[..., n, ...]``. -inf is absent; +inf or NaN makes the row NaN.
        dim: the axis.
        relax: as in ``argmax``.
        temperature: T > 0, in units of x.
        hard: exact one-hot forward (the first of ties), the relaxed gradient backward.
        mask: bool, True where an entry is present. Where none is, all weights are 0.

    Raises:
        InputError: an unknown relaxation, or an argument that does not fit x.

    Example:
        >>> one_hot(torch.tensor([0.0, 2.0, 1.0]), hard=True).tolist()
        [0.0, 1.0, 0.0]

    Limit: as T goes to 0, one-hot at the largest value; ties share equally.

    Cost: O(n) time and memory.

    Source: see ``softmax`` and ``entmax``.
    """
    z, weights, selection = _select(x, dim, resolve(relax, _KNOWN), temperature, hard, mask)
    if hard:
        exact = torch.zeros_like(weights).scatter(-1, selection.hard(), 1.0)
        weights = exact_forward(exact.masked_fill(z == -math.inf, 0.0), weights)
    return move_back(weights, dim, x.dtype)
