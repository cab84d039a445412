"""A mask of the k largest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.kernels import EXPONENTIAL, LAPLACE, LOGISTIC, POWER
from softwood.ops._axes import exact_forward, full_precision, move_back
from softwood.ops._lapsum import LapSum
from softwood.ops._relax import resolve
from softwood.ops._simplex import scaled
from softwood.ops._threshold import steps_to


@dataclass(frozen=True)
class Threshold:
    """Logistic steps at the threshold at which they add up to k.

    Example:
        >>> topk_mask(torch.tensor([0.0, 1.0, 3.0]), 1, relax=Threshold(), temperature=1.0).round(decimals=2)
        tensor([0.1000, 0.2200, 0.6800])
    """


@dataclass(frozen=True)
class Budget:
    """The nearest point of {0 <= m <= 1, sum m = k}: most entries are exactly 0 or 1.

    Example:
        >>> topk_mask(torch.tensor([0.0, 1.0, 1.5]), 1, relax=Budget(), temperature=1.0)
        tensor([0.0000, 0.2500, 0.7500])
    """


@dataclass(frozen=True)
class Permutahedron:
    """The vertex of the permutahedron of (1, ..., 1, 0, ..., 0), smoothed by a p-norm.

    Args:
        p: >= 1. 2 is ``Budget``, 1 the entropy; between them the mask is sparse and smooth.

    Example:
        >>> topk_mask(torch.tensor([0.0, 1.0, 1.5]), 1, relax=Permutahedron(2.0), temperature=1.0)
        tensor([0.0000, 0.2500, 0.7500])
    """

    p: float = 4.0 / 3.0

    def __post_init__(self) -> None:
        check_number("p", self.p, low=1.0)


@dataclass(frozen=True)
class Transport:
    """Entropic transport to two anchors: temperature is the weight of the entropy, and the plan is solved exactly.

    Example:
        >>> topk_mask(torch.tensor([0.0, 1.0, 3.0]), 1, relax=Transport(), temperature=1.0).round(decimals=2)
        tensor([0.0200, 0.1100, 0.8700])
    """


Mask = Threshold | LapSum | Budget | Permutahedron | Transport

MASKS: dict[str, Mask] = {
    "threshold": Threshold(),
    "lapsum": LapSum(),
    "budget": Budget(),
    "permutahedron": Permutahedron(),
    "transport": Transport(),
}


def mask_steps(z: Tensor, k: float | Tensor, relax: Mask) -> tuple[Tensor, Tensor]:
    """Return the mask of the last axis and its threshold in units of z; see ``steps_to``."""
    if isinstance(relax, Transport):
        # squared distances to the anchors 0 and 1 differ by 2 x - 1
        mask, tau = steps_to(2.0 * z, k, LOGISTIC)
        return mask, tau / 2.0
    if isinstance(relax, Permutahedron):
        if relax.p == 1.0:
            return steps_to(z, k, EXPONENTIAL)
        return steps_to(z, k, POWER, 1.0 / (relax.p - 1.0))
    return steps_to(z, k, {Threshold: LOGISTIC, LapSum: LAPLACE, Budget: POWER}[type(relax)])


def checked_count(k: float | Tensor, whole: bool) -> float | Tensor:
    """Return k if it can be a number of picks; a tensor's values are not read."""
    if isinstance(k, Tensor):
        if k.dtype == torch.bool or k.is_complex():
            raise InputError("k is not a count", got=k.dtype, allowed="whole or floating numbers", fix="pass k.long()")
        return k
    return k if torch.compiler.is_compiling() else check_number("k", k, low=0, integer=whole)


def exact_mask(z: Tensor, k: float | Tensor) -> Tensor:
    """Return 1 at the k largest present values of the last axis (the first of ties), else 0."""
    rank = z.argsort(dim=-1, descending=True, stable=True).argsort(-1)
    limit = k.unsqueeze(-1) if isinstance(k, Tensor) else k
    return ((rank < limit) & (z > -math.inf)).to(z.dtype)


@capability("operation", cost="O(n) time a Newton step (5 to 20 of them) and memory; hard=True sorts: O(n log n)")
@full_precision
def topk_mask(
    x: Tensor,
    k: float | Tensor,
    dim: int = -1,
    largest: bool = True,
    *,
    relax: str | Mask = "threshold",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return weights between 0 and 1 that are near 1 at the k largest values and add up to k.

    .. math:: m_i = F(x_i / T - \tau), \qquad \textstyle\sum_i m_i = k ,

    with a step F from 0 to 1 and the threshold found to rounding. Backward differentiates the equation itself.

    Args:
        x: ``[..., n, ...]``. -inf is absent and +inf is taken whole; NaN makes the row NaN.
        k: >= 0: a number, or a tensor that broadcasts with the other axes (one for each row). It need not be whole,
            and may need a gradient. Where fewer than k entries are present, all of them are taken.
        dim: the axis.
        largest: False takes the smallest.
        relax: ``"threshold"`` (logistic), ``"lapsum"`` (Laplace), ``"budget"`` (the nearest point; sparse),
            ``"permutahedron"`` (sparse and smooth; ``Permutahedron(p)``), ``"transport"`` (logistic at half the
            temperature).
        temperature: T > 0, in units of x.
        hard: exactly 0 and 1 forward (k whole, the first of ties), the relaxed gradient backward.
        mask: bool, True where an entry is present. Absent entries get weight 0 and no gradient.

    Raises:
        InputError: an unknown relaxation, k < 0, or an argument that does not fit x.

    Example:
        >>> topk_mask(torch.tensor([0.0, 3.0, 2.0, -1.0]), 2, relax="budget").tolist()
        [0.0, 1.0, 1.0, 0.0]

    Limit: as T goes to 0, 1 at the k largest and 0 elsewhere; ties at the threshold share equally.

    Cost: O(n) time a Newton step, 5 to 20 of them, and O(n) memory, at any k.

    Source: Xie et al., "Differentiable Top-k with Optimal Transport", 2020; Struski et al., "LapSum", 2025; Sander et
    al., "Fast, Differentiable and Sparse Top-k", 2023; Amos, Koltun and Kolter, "The Limited Multi-Label Projection
    Layer", 2019.
    """
    kind = resolve(relax, MASKS)
    k = checked_count(k, hard)
    z = scaled(x if largest else -x, dim, temperature, mask)
    soft = mask_steps(z, k, kind)[0]
    if hard:
        soft = exact_forward(exact_mask(z, k), soft)
    return move_back(soft, dim, x.dtype)
