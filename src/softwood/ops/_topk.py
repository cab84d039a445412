"""The k largest, in order: values, and a distribution over the items for each place."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from softwood.core import InputError, capability, check_number
from softwood.gradients import straight_through
from softwood.ops._axes import full_precision, move_back
from softwood.ops._lapsum import LapSum, laplace_quantiles, laplace_sums
from softwood.ops._networks import Network
from softwood.ops._relax import resolve
from softwood.ops._selection import SoftSelection
from softwood.ops._simplex import scaled, softmax_last
from softwood.ops._topk_mask import MASKS, Mask, mask_steps

_BLOCK = 1 << 22  # entries of P that exist at once


@dataclass(frozen=True)
class NeuralSort:
    """The first k rows of NeuralSort: softmax of (n + 1 - 2 j) x - sum |x - x'|."""


@dataclass(frozen=True)
class Halving:
    """A tournament: the best meets the worst, each pair leaves its softmax mean, until k are left.

    Example:
        >>> topk(torch.tensor([0.0, 1.0, 3.0]), 1, relax=Halving(), temperature=0.1)[0]
        tensor([3.])
    """


TopK = Mask | NeuralSort | Halving | Network

KNOWN: dict[str, TopK] = {**MASKS, "neuralsort": NeuralSort(), "halving": Halving(), "network": Network()}


class _Picks(SoftSelection):
    """Picks of the k largest of z ``[*batch, n]``."""

    def __init__(self, z: Tensor, k: int, shape: tuple[int, ...], dim: int, straight: bool) -> None:
        super().__init__(shape, dim, straight)
        self._z, self._k = z, k

    def hard(self) -> Tensor:
        """Return the index of the item that each pick would be without softness, int64 ``[*batch, k]``."""
        return self._z.detach().topk(self._k, -1).indices


class _RowPicks(_Picks):
    """Picks whose matrix is made a block of rows at a time, forward and again backward."""

    @abstractmethod
    def _rows(self, first: int, last: int) -> Tensor:
        """Return rows first ... last - 1 of P, ``[*batch, last - first, n]``."""

    def _blocks(self) -> list[tuple[int, int]]:
        at_once = max(1, _BLOCK // max(self._z.numel(), 1))
        return [(first, min(first + at_once, self._k)) for first in range(0, self._k, at_once)]

    def _product(self, values: Tensor) -> Tensor:
        def block(values: Tensor, first: int, last: int) -> Tensor:
            rows = self._rows(first, last)
            dtype = torch.promote_types(values.dtype, rows.dtype)
            return values.to(dtype) @ rows.to(dtype).mT

        blocks = self._blocks()
        if len(blocks) <= 1:
            return block(values, 0, self._k)
        made = [checkpoint(block, values, *ends, use_reentrant=False, preserve_rng_state=False) for ends in blocks]
        return torch.cat(made, -1)

    def _matrix(self) -> Tensor:
        return self._rows(0, self._k)


class _LadderPicks(_RowPicks):
    """Pick j is the mask of the j largest less the mask of the j - 1 largest."""

    def __init__(self, z: Tensor, k: int, shape: tuple[int, ...], dim: int, straight: bool, relax: Mask) -> None:
        super().__init__(z, k, shape, dim, straight)
        self._relax = relax

    def _rows(self, first: int, last: int) -> Tensor:
        counts = torch.arange(first, last + 1, device=self._z.device, dtype=torch.float64)
        z = self._z.unsqueeze(-2).expand(*self._z.shape[:-1], len(counts), self._z.shape[-1])
        return mask_steps(z, counts, self._relax)[0].diff(dim=-2)


class _LaplacePicks(_LadderPicks):
    """The ladder of Laplace steps: thresholds and products from one sort, O(n log n) for all k."""

    def _product(self, values: Tensor) -> Tensor:
        z, features = self._z.unsqueeze(-2).expand(values.shape), values.shape[-2]
        if self._k == 0 or z.numel() == 0:
            return super()._product(values)
        present = ~(z == -math.inf)
        dtype = torch.promote_types(values.dtype, z.dtype)
        data, weights = torch.where(present, -z, 0.0), present.to(z.dtype)
        data, weights, values = (one.to(dtype).reshape(-1, z.shape[-1]) for one in (data, weights, values))
        there = weights.sum(-1, keepdim=True)
        targets = torch.arange(1, self._k + 1, device=z.device, dtype=dtype).expand(len(data), -1)
        inside = targets < there
        # beyond the last present item the mask is whole
        edges = laplace_quantiles(torch.where(inside, targets, 0.5 * there), data, weights)
        values = values * weights
        below = torch.where(inside, laplace_sums(edges, data, values, 0), values.sum(-1, keepdim=True))
        picked = below.diff(dim=-1, prepend=torch.zeros_like(there))
        return picked.reshape(*self._z.shape[:-1], features, self._k)


class _NeuralPicks(_RowPicks):
    def _rows(self, first: int, last: int) -> Tensor:
        z = self._z
        absent = z == -math.inf
        there = (~absent).sum(-1, keepdim=True)
        # sum |z_i - z_j| over the present j, from a sort and running sums
        value, order = z.masked_fill(absent, 0.0).masked_fill(absent, math.inf).sort(-1)
        value = value.masked_fill(value == math.inf, 0.0)
        place = torch.arange(z.shape[-1], device=z.device)
        below = value.cumsum(-1)
        spread = (2 * place + 2 - there) * value + value.sum(-1, keepdim=True) - 2 * below
        spread = torch.zeros_like(spread).scatter(-1, order, spread)
        weight = (there + 1 - 2 * torch.arange(first + 1, last + 1, device=z.device)).unsqueeze(-1)
        logits = weight * z.masked_fill(absent, 0.0).unsqueeze(-2) - spread.unsqueeze(-2)
        return softmax_last(logits.masked_fill(absent.unsqueeze(-2), -math.inf))


class _NetworkPicks(_Picks):
    """The first k outputs of a sorting network, largest first."""

    def __init__(self, z: Tensor, k: int, shape: tuple[int, ...], dim: int, straight: bool, relax: Network) -> None:
        super().__init__(z, k, shape, dim, straight)
        present = ~(z == -math.inf)
        frame = {"shape": tuple(z.shape), "dim": -1, "straight": False}
        self._permutation = relax.sort(torch.where(present, z, 0.0), 1.0, True, present, frame)[1]

    def _product(self, values: Tensor) -> Tensor:
        return self._permutation._product(values)[..., : self._k]

    def _matrix(self) -> Tensor:
        return self._permutation._matrix()[..., : self._k, :]


def _parts(ordered: Tensor, pairs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return those who go through, the better and the worse halves of the pairs, along the last axis."""
    size = ordered.shape[-1]
    return ordered[..., : size - 2 * pairs], ordered[..., size - 2 * pairs : size - pairs], ordered[..., size - pairs :]


class _HalvingPicks(_Picks):
    def _rounds(self) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Return for each round the order of its items and the weights of the winners, and the last order."""
        score, rounds = self._z, []
        while score.shape[-1] > max(self._k, 1):
            size = score.shape[-1]
            pairs = size - max(self._k, (size + 1) // 2)
            score, order = score.sort(-1, descending=True)
            through, best, worst = _parts(score, pairs)
            worst = worst.flip(-1)
            alone = worst == -math.inf
            worst = torch.where(alone, 0.0, worst)
            share = torch.where(alone, 1.0, (torch.where(alone, 0.0, best) - worst).sigmoid())
            rounds.append((order, share))
            won = torch.where(alone, best, share * torch.where(alone, 0.0, best) + (1.0 - share) * worst)
            score = torch.cat((through, won), -1)
        return rounds, score.argsort(-1, descending=True)[..., : self._k]

    def _product(self, values: Tensor) -> Tensor:
        rounds, last = self._rounds()
        for order, share in rounds:
            pairs = share.shape[-1]
            values = values.gather(-1, order.unsqueeze(-2).expand(*values.shape[:-1], -1))
            through, best, worst = _parts(values, pairs)
            mixed = share.unsqueeze(-2) * best + (1.0 - share).unsqueeze(-2) * worst.flip(-1)
            values = torch.cat((through, mixed), -1)
        return values.gather(-1, last.unsqueeze(-2).expand(*values.shape[:-1], -1))

    def _matrix(self) -> Tensor:
        n = self._z.shape[-1]
        return self._product(torch.eye(n, dtype=self._z.dtype, device=self._z.device).expand(*self._z.shape, n)).mT


@capability(
    "operation",
    cost="lapsum, halving: O(n log n) time, O(n) memory; others: O(n k) time, O(n + k) memory beyond a block of 4 "
    "million entries",
)
@full_precision
def topk(
    x: Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    *,
    relax: str | TopK = "lapsum",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> tuple[Tensor, SoftSelection]:
    r"""Return the k largest values in order, and for each of the k places a distribution over the items.

    The relaxations of ``topk_mask`` give place j the difference of two masks, :math:`m^{(j)} - m^{(j-1)}`: every row
    adds up to 1, and together they add up to the mask of the k largest. ``"neuralsort"`` takes the first k rows of its
    permutation. ``"halving"`` lets the best meet the worst and keeps the softmax mean of each pair, until k are left.
    ``"network"`` sorts by soft swaps and takes the first k.

    Args:
        x: ``[..., n, ...]``. -inf is absent; NaN, or +inf, makes the values of the row NaN.
        k: from 0 to n. Places beyond the number of present entries have no weight, and value 0.
        dim: the axis.
        largest: False takes the smallest, in ascending order.
        relax: ``"lapsum"``, ``"threshold"``, ``"budget"``, ``"permutahedron"``, ``"transport"`` (see ``topk_mask``),
            ``"neuralsort"``, ``"halving"``, or ``"network"`` (the first k outputs of ``Network``).
        temperature: T > 0, in units of x.
        hard: the exact values and indices forward, the relaxed gradient backward.
        mask: bool, True where an entry is present. In ``"halving"`` who meets an absent entry goes through unmixed.

    Returns:
        The values, with k in place of n, in the dtype of x; and the picks, ``[..., k, n]``, matrix-free.

    Raises:
        InputError: an unknown relaxation, k out of range, or an argument that does not fit x.

    Example:
        >>> values, picks = topk(torch.tensor([0.0, 3.0, 2.0, -1.0]), 2, relax="budget")
        >>> values, picks.hard()
        (tensor([3., 2.]), tensor([1, 2]))

    Limit: as T goes to 0, torch.topk; ties within the k share their places (``"halving"`` at a tie between winners and
    losers keeps their mean).

    Cost: ``"lapsum"`` and ``"halving"`` O(n log n) time and O(n) memory; ``"network"`` O(n log^2 n) time; the others
    O(n k) time a Newton step, in blocks of 4 million entries of P, which backward makes again.

    Source: Struski et al., "LapSum", 2025; Grover et al., "Stochastic Optimization of Sorting Networks via Continuous
    Relaxations", 2019; Pietruszka, Borchmann and Graliński, "Successive Halving Top-k Operator", 2021.
    """
    kind = relax if isinstance(relax, NeuralSort) else resolve(relax, KNOWN)  # sort has one of its own, derived from it
    z = scaled(x if largest else -x, dim, temperature, mask)
    if not isinstance(temperature, Tensor) and temperature == 1.0:
        z = z.clone()  # it is x itself, which may change before the picks are asked
    k = check_number("k", k, low=0, integer=True)
    if k > z.shape[-1]:
        raise InputError("k is out of range", got=k, allowed=f"0 to {z.shape[-1]}", fix="take at most all entries")
    where = (z, k, tuple(x.shape), dim % x.ndim, hard)
    picks: _Picks
    if isinstance(kind, NeuralSort):
        picks = _NeuralPicks(*where)
    elif isinstance(kind, Network):
        picks = _NetworkPicks(*where, kind)
    elif isinstance(kind, Halving):
        picks = _HalvingPicks(*where)
    else:
        picks = (_LaplacePicks if isinstance(kind, LapSum) else _LadderPicks)(*where, kind)
    values = torch.where(z == -math.inf, 0.0, x.movedim(dim, -1).to(z.dtype))
    soft = picks._product(values.unsqueeze(-2)).squeeze(-2)
    soft = torch.where(values.isnan().any(-1, keepdim=True), math.nan, soft)
    if hard:
        exact = values.gather(-1, picks.hard())
        soft = straight_through(exact.masked_fill(values.isnan().any(-1, keepdim=True), math.nan), soft)
    return move_back(soft, dim, x.dtype), picks
