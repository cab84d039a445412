"""NeuralSort, SoftSort and pairwise ranks: permutations whose rows are softmaxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from softwood.core import check_number
from softwood.ops._axes import as_rows, from_rows, over_temperature
from softwood.ops._lapsum import laplace_sums, order_last, present_last
from softwood.ops._selection import SoftPermutation
from softwood.ops._topk import NeuralSort as NeuralRows
from softwood.ops._topk import _NeuralPicks

_BLOCK = 1 << 22  # entries of an n x n matrix that are formed at once


# ------------------------------------------------------------------ SoftSort
class _SoftSortBase(SoftPermutation):
    """Row k is a softmax of -|s_k - x_i|, s the sorted x.

    Args:
        x: ``[*batch, n]`` over the temperature; absent entries hold 0.
        weights: ``[*batch, n]``, 1 where an entry is present, else 0.
        order: int64 ``[*batch, n]``, the hard order.
        shape: as in ``SoftSelection``, and so are the next two.
        dim: the axis.
        straight: exact forward.
    """

    def __init__(
        self, x: Tensor, weights: Tensor, order: Tensor, *, shape: tuple[int, ...], dim: int, straight: bool
    ) -> None:
        super().__init__(shape, dim, straight)
        self._x, self._weights, self._order = x, weights, order
        self._sorted = x.gather(-1, order)
        self._there = weights.gather(-1, order)  # at places

    def hard(self) -> Tensor:
        """Return the order, int64 ``[*batch, n]``."""
        return self._order


class LaplaceRows(_SoftSortBase):
    """Softmaxes of -|s_k - x_i| are ratios of Laplace sums: products in O(n log n)."""

    def _sum(self, q: Tensor, x: Tensor, v: Tensor) -> Tensor:
        """Return the sums over i of exp(-|q_k - x_i|) v_i for v ``[*batch, f, n]``."""
        dtype = torch.promote_types(v.dtype, q.dtype)
        q, x = (as_rows(one.unsqueeze(-2).expand(v.shape)).to(dtype) for one in (q, x))
        return 2 * laplace_sums(q, x, as_rows(v).to(dtype), 1).reshape(v.shape)

    def _whole(self) -> Tensor:
        whole = self._sum(self._sorted, self._x, self._weights.unsqueeze(-2))
        return torch.where(self._there.unsqueeze(-2) > 0, whole, 1.0)  # an absent place has no row

    def _product(self, values: Tensor) -> Tensor:
        values = torch.where(self._weights.unsqueeze(-2) > 0, values, 0.0)
        picked = self._sum(self._sorted, self._x, values) / self._whole()
        return torch.where(self._there.unsqueeze(-2) > 0, picked, 0.0)

    def _transpose_product(self, values: Tensor) -> Tensor:
        values = torch.where(self._there.unsqueeze(-2) > 0, values, 0.0)
        back = self._sum(self._x, self._sorted, values / self._whole())
        return torch.where(self._weights.unsqueeze(-2) > 0, back, 0.0)

    def log_dense(self) -> Tensor:
        """Return log P ``[*batch, n, n]``: -inf where an item is absent."""
        away = -(self._sorted.unsqueeze(-1) - self._x.unsqueeze(-2)).abs()
        log = away.masked_fill(self._weights.unsqueeze(-2) == 0, -torch.inf).log_softmax(-1)
        return torch.where(self._there.unsqueeze(-1) > 0, log, -torch.inf)

    def _matrix(self) -> Tensor:
        return self.log_dense().exp()


class BandedRows(_SoftSortBase):
    """SoftSort over the items whose hard place is at most ``window`` away: O(n window)."""

    def __init__(self, window: int, *args: Any, **frame: Any) -> None:
        super().__init__(*args, **frame)
        self._window = window

    def _unfolded(self, at_places: Tensor, beyond: float) -> Tensor:
        """Return ``[..., n]`` as ``[..., n, 2 w + 1]``: what stands at the places around each."""
        w = self._window
        return torch.nn.functional.pad(at_places, (w, w), value=beyond).unfold(-1, 2 * w + 1, 1)

    def _band(self) -> Tensor:
        """Return P over (place, offset), ``[*batch, n, 2 w + 1]``."""
        near = self._unfolded(self._sorted, 0.0)
        there = self._unfolded(self._there, 0.0) * self._there.unsqueeze(-1) > 0
        logits = -(near - self._sorted.unsqueeze(-1)).abs()
        shares = torch.where(there, logits, -1e30).softmax(-1)
        return torch.where(there, shares, 0.0)

    def _offsets(self) -> tuple[Tensor, Tensor]:
        """Return the place that each entry of the band looks at, clamped, and whether there is one."""
        n, w = self._x.shape[-1], self._window
        at = torch.arange(n, device=self._x.device).unsqueeze(-1)
        at = at + torch.arange(-w, w + 1, device=self._x.device)
        return at.clamp(0, max(n - 1, 0)), (at >= 0) & (at < n)

    def _product(self, values: Tensor) -> Tensor:
        at_places = values.gather(-1, self._order.unsqueeze(-2).expand(values.shape))
        at_places = torch.where(self._there.unsqueeze(-2) > 0, at_places, 0.0)
        return (self._unfolded(at_places, 0.0) * self._band().unsqueeze(-3)).sum(-1)

    def _transpose_product(self, values: Tensor) -> Tensor:
        width = 2 * self._window + 1
        at, inside = self._offsets()
        # entry (i, j) of the transposed band is entry (at, width - 1 - j) of the band
        place = at * width + torch.arange(width - 1, -1, -1, device=at.device)
        band = self._band().flatten(-2).gather(-1, place.flatten().expand(*self._x.shape[:-1], -1))
        band = torch.where(inside, band.reshape(*self._x.shape, width), 0.0)
        values = torch.where(self._there.unsqueeze(-2) > 0, values, 0.0)
        back = (self._unfolded(values, 0.0) * band.unsqueeze(-3)).sum(-1)
        return torch.zeros_like(back).scatter(-1, self._order.unsqueeze(-2).expand(back.shape), back)

    def _matrix(self) -> Tensor:
        n = self._x.shape[-1]
        at, _ = self._offsets()
        band = self._band()
        at_places = torch.zeros(*band.shape[:-1], n, dtype=band.dtype, device=band.device)
        at_places = at_places.scatter_add(-1, at.expand(band.shape), band)  # what is outside the band is 0
        return torch.zeros_like(at_places).scatter(-1, self._order.unsqueeze(-2).expand(at_places.shape), at_places)


@dataclass(frozen=True)
class SoftSort:
    """Softmaxes of the distances to the sorted values (Prillo and Eisenschlos, 2020).

    Args:
        window: only items whose hard place is at most so far away take part, for O(n window) time and memory; None for
            all of them, which takes O(n log n) time and O(n) memory, since the sums are those of Laplace densities.

    Raises:
        InputError: ``window`` is not a whole number >= 0.

    Example:
        >>> SoftSort(window=8)
        SoftSort(window=8)
    """

    window: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None:
            check_number("window", self.window, low=0, integer=True)

    def sort(
        self, x: Tensor, temperature: float | Tensor, descending: bool, mask: Tensor | None, frame: dict[str, Any]
    ) -> tuple[Tensor, SoftPermutation]:
        """Return the values ``[..., n]`` and the permutation of ``x [..., n]``."""
        scaled, weights = present_last(over_temperature(x, temperature), mask)
        parts = scaled, weights, order_last(x, mask, descending)
        permutation = LaplaceRows(*parts, **frame) if self.window is None else BandedRows(self.window, *parts, **frame)
        return _permuted(permutation, x, mask), permutation


def _permuted(permutation: SoftPermutation, x: Tensor, mask: Tensor | None) -> Tensor:
    """Return P times x; infinities stand at their places, and a NaN spoils its row."""
    present = x if mask is None else x.masked_fill(~mask, 0.0)
    finite = torch.where(present.isinf(), 0.0, present)
    values = permutation._product(finite.unsqueeze(-2)).squeeze(-2).to(x.dtype)
    exact = present.gather(-1, permutation.hard())
    values = torch.where(exact.isinf(), exact, values)
    return values.masked_fill(present.isnan().any(-1, keepdim=True), torch.nan)


# ------------------------------------------------------------------ NeuralSort
class NeuralPermutation(_NeuralPicks, SoftPermutation):
    """Row k is a softmax of (n + 1 - 2 k) z_i - sum_j |z_i - z_j|: made a block of rows at a time.

    Args:
        z: ``[*batch, n]`` over the temperature, in the direction in which the largest comes first; absent: -inf.
        shape: as in ``SoftSelection``, and so are the next two.
        dim: the axis.
        straight: exact forward.
    """

    def __init__(self, z: Tensor, order: Tensor, *, shape: tuple[int, ...], dim: int, straight: bool) -> None:
        super().__init__(z, z.shape[-1], shape, dim, straight)
        self._order = order

    def hard(self) -> Tensor:
        """Return the order, int64 ``[*batch, n]``."""
        return self._order

    def _there(self) -> Tensor:
        place = torch.arange(self._z.shape[-1], device=self._z.device)
        return place < (self._z != -torch.inf).sum(-1, keepdim=True)

    def _rows(self, first: int, last: int) -> Tensor:
        return torch.where(self._there()[..., first:last].unsqueeze(-1), super()._rows(first, last), 0.0)

    def _product(self, values: Tensor) -> Tensor:
        return super()._product(torch.where((self._z == -torch.inf).unsqueeze(-2), 0.0, values))

    def _transpose_product(self, values: Tensor) -> Tensor:
        values = torch.where(self._there().unsqueeze(-2), values, 0.0)

        def block(values: Tensor, first: int, last: int) -> Tensor:
            rows = self._rows(first, last)
            dtype = torch.promote_types(values.dtype, rows.dtype)
            return values[..., first:last].to(dtype) @ rows.to(dtype)

        blocks = self._blocks()
        if len(blocks) <= 1:
            return block(values, 0, values.shape[-1])
        made = [checkpoint(block, values, *ends, use_reentrant=False, preserve_rng_state=False) for ends in blocks]
        return torch.stack(made).sum(0)


@dataclass(frozen=True)
class NeuralSort(NeuralRows):
    """Softmaxes around each rank (Grover et al., 2019); O(n^2) time, a block of rows in memory at a time.

    Example:
        >>> NeuralSort()
        NeuralSort()
    """

    def sort(
        self, x: Tensor, temperature: float | Tensor, descending: bool, mask: Tensor | None, frame: dict[str, Any]
    ) -> tuple[Tensor, SoftPermutation]:
        """Return the values ``[..., n]`` and the permutation of ``x [..., n]``."""
        order = order_last(x, mask, descending)
        finite = x.masked_fill(x.isinf(), torch.nan)
        data = finite if mask is None else finite.masked_fill(~mask, 0.0)
        scaled = data / temperature
        z = scaled if descending else -scaled
        z = z if mask is None else z.masked_fill(~mask, -torch.inf)
        permutation = NeuralPermutation(z, order, **frame)
        return _permuted(permutation, data, mask), permutation


# ------------------------------------------------------------------ pairwise ranks
@dataclass(frozen=True)
class Pairwise:
    """One half and a sigmoid of the difference to each entry; O(n^2) time, a block of differences in memory at a time.

    Example:
        >>> Pairwise()
        Pairwise()
    """

    def rank(self, x: Tensor, temperature: float | Tensor, mask: Tensor | None) -> Tensor:
        """Return the ranks ``[..., n]``, from 1 for the smallest, of ``x [..., n]``."""
        scaled, weights = present_last(over_temperature(x, temperature), mask)
        data, weights = as_rows(scaled), as_rows(weights)
        at_once = max(1, _BLOCK // max(data.numel(), 1))

        def block(first: int) -> Tensor:
            here = data[:, first : first + at_once].unsqueeze(-1)
            away = here - data.unsqueeze(-2)
            away = torch.where(here == data.unsqueeze(-2), 0.0 * away.nan_to_num(), away)  # infinities of one sign
            return (away.sigmoid() * weights.unsqueeze(-2)).sum(-1)

        firsts = range(0, data.shape[-1], at_once)
        if len(firsts) <= 1:
            ranks = block(0)
        else:
            made = [checkpoint(block, first, use_reentrant=False, preserve_rng_state=False) for first in firsts]
            ranks = torch.cat(made, -1)
        ranks = from_rows(ranks, x) + 0.5
        return ranks if mask is None else ranks.masked_fill(~mask, 0.0)
