"""Isotonic sorting and ranking: projection onto the permutahedron, O(n log n) with a linear-time gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softwood.core import check_choice
from softwood.kernels import block_sums as _block_sums_kernel
from softwood.kernels import permutahedron_kl, permutahedron_l2
from softwood.ops._axes import as_rows, from_rows, over_temperature
from softwood.ops._bridge import array, kernel_operator, over_rows, sort_cpu
from softwood.ops._selection import SoftPermutation


# ------------------------------------------------------------------ sums over blocks
def _sums_cpu(values: Tensor, order: Tensor, start: Tensor, of_items: bool, to_items: bool, mean: bool) -> Tensor:
    given = array(values)
    out = np.empty_like(given)
    over_rows(_block_sums_kernel, out.size, given, array(order), array(start), of_items, to_items, mean, out)
    return torch.from_numpy(out)


def _sums_batched(values: Tensor, order: Tensor, start: Tensor, of_items: bool, to_items: bool, mean: bool) -> Tensor:
    at, segment = (values.gather(-1, order) if of_items else values), start.long()
    sums = torch.zeros_like(at).scatter_add(-1, segment, at)
    if mean:
        sums = sums / torch.zeros_like(at).scatter_add(-1, segment, torch.ones_like(at)).clamp_min(1)
    places = sums.gather(-1, segment)
    return torch.empty_like(places).scatter(-1, order, places) if to_items else places


def _sums_keep(ctx: Any, inputs: Any, output: Any) -> None:
    _, order, start, *ctx.ways = inputs
    ctx.save_for_backward(order, start)


def _sums_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    of_items, to_items, mean = ctx.ways
    back = block_sums(gradient, *ctx.saved_tensors, to_items, of_items, mean)
    return back, None, None, None, None, None


# Sum or mean of ``values`` over the block of each place, for places or for items. It is linear, and its own transpose
# once the two ways are exchanged, so that derivatives of any order exist.
block_sums = kernel_operator(
    "block_sums(Tensor values, Tensor order, Tensor start, bool of_items, bool to_items, bool mean) -> Tensor",
    _sums_cpu,
    batched=_sums_batched,
    fake=lambda values, *rest: torch.empty_like(values, memory_format=torch.contiguous_format),
    backward=_sums_backward,
    setup=_sums_keep,
)


# ------------------------------------------------------------------ the projection
_Three = tuple[Tensor, Tensor, Tensor]


def _project_cpu(data: Tensor, given: Tensor, unsort: bool, descending: bool, kl: bool) -> _Three:
    found, order = sort_cpu(data, descending)
    z, w = (array(found), array(given)) if unsort else (array(given), array(found))
    out, start = np.empty_like(z), np.empty(z.shape, np.int32)
    if kl:
        over_rows(permutahedron_kl, z.size, z, w, array(order), unsort, out, start)
    else:
        over_rows(permutahedron_l2, z.size, z, w, array(order), unsort, 1.0 if descending else -1.0, out, start)
    return torch.from_numpy(out), order, torch.from_numpy(start)


def _project_batched(data: Tensor, given: Tensor, unsort: bool, descending: bool, kl: bool) -> _Three:
    """Pool all runs of violating blocks at once until none is left: a few rounds, each a handful of torch calls."""
    found, order = data.sort(dim=-1, descending=descending, stable=True)
    z, w = (found, given) if unsort else (given, found)
    z, w, sign = z.double(), w.double(), 1.0 if descending else -1.0
    present, spoilt = ~given.isnan(), found.isnan().any(-1, keepdim=True)
    pools = present & found.isfinite()
    place = torch.arange(data.shape[-1], device=data.device).expand(data.shape)
    level = _segment_log_sum if kl else _segment_mean
    start, with_previous = place, pools & pools.roll(1, -1) & (place > 0)
    while True:
        up, down = level(z, start, pools), level(w, start, pools)
        dual = sign * (up - down)
        joins = with_previous & (start == place) & (dual.roll(1, -1) <= dual) & ~spoilt
        if not joins.any():
            break
        start = torch.where((start == place) & ~joins, place, 0).cummax(-1).values
    answer = torch.where(pools, z - up + down, 0.0)
    infinite = present & found.isinf()
    if unsort:
        for one in (infinite & (found > 0), infinite & (found < 0)):
            mean = torch.where(one, w.exp() if kl else w, 0.0).sum(-1, keepdim=True) / one.sum(-1, keepdim=True)
            answer = torch.where(one, mean.log() if kl else mean, answer)
    else:
        answer = torch.where(infinite, found.double(), answer)
    answer = answer.masked_fill(spoilt, torch.nan).to(data.dtype)
    if unsort:
        answer = torch.empty_like(answer).scatter(-1, order, answer)
    return answer, order, start.int()


def _segment_mean(x: Tensor, start: Tensor, pools: Tensor) -> Tensor:
    """Return the mean of each block at all of its places, as a difference from its first entry."""
    x = torch.where(pools, x, 0.0)
    top = x.gather(-1, start)
    return top + _sums_batched(x - top, start, start, False, False, True)


def _segment_log_sum(x: Tensor, start: Tensor, pools: Tensor) -> Tensor:
    """Return the log-sum-exp of each block at all of its places; sorted downward, it begins with its largest."""
    x = torch.where(pools, x, 0.0)
    top = x.gather(-1, start)
    sums = torch.zeros_like(x).scatter_add(-1, start, (x - top).exp())
    return top + sums.gather(-1, start).log()


def _project_fake(data: Tensor, given: Tensor, *how: bool) -> _Three:
    like = torch.empty_like(data, memory_format=torch.contiguous_format)
    return like, torch.empty_like(like, dtype=torch.int64), torch.empty_like(like, dtype=torch.int32)


def _project_keep(ctx: Any, inputs: Any, output: Any) -> None:
    data, given, *ctx.how = inputs
    _, order, start = output
    ctx.mark_non_differentiable(order, start)
    ctx.set_materialize_grads(False)  # no zeros for the order and the blocks
    # the blocks are all that the gradient needs in L2; entropy also weighs the members of each
    ctx.save_for_backward(order, start, *((data, given) if ctx.how[2] else ()))


def _project_backward(ctx: Any, gradient: Tensor | None, *unused: Any) -> tuple[Any, ...]:
    if gradient is None:
        return (None,) * 5
    unsort, _, kl = ctx.how
    order, start, *both = ctx.saved_tensors
    if kl:
        return (*_kl_backward(gradient, unsort, order, start, *both), None, None, None)
    of_data, of_given = ctx.needs_input_grad[:2]
    to_data, to_given = None, None
    if of_data:
        means = block_sums(gradient, order, start, unsort, True, True)
        to_data = gradient - means if unsort else means
    if of_given:
        means = block_sums(gradient, order, start, unsort, False, True)
        to_given = means if unsort else gradient - means
    return to_data, to_given, None, None, None


def _kl_backward(
    gradient: Tensor, unsort: bool, order: Tensor, start: Tensor, data: Tensor, given: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients: z - v has derivative 1 - softmax(z) by z and softmax(w) by w, within each block."""

    def shares(x: Tensor) -> Tensor:
        top = x.detach().gather(-1, start.long())
        e = torch.where(x.isfinite() & top.isfinite(), x - top, 0.0).exp()
        return e / block_sums(e, order, start, False, False, False)

    found = data.gather(-1, order)
    at = gradient.gather(-1, order) if unsort else gradient
    sums = block_sums(at, order, start, False, False, False)
    to_z = at - shares(found if unsort else given) * sums
    to_w = shares(given if unsort else found) * sums
    to_data, to_given = (to_z, to_w) if unsort else (to_w, to_z)
    return torch.zeros_like(to_data).scatter(-1, order, to_data), to_given


# The projection of one row onto the permutahedron of another, of which ``data [rows, n]`` is not sorted and
# ``given [rows, n]`` is. ``unsort``: data is projected, and the answers go to its items; else given is projected onto
# the permutahedron of data, and the answers stay at their places. The kernels say what infinities and NaN mean.
# Returns the answers, the order of data (int64) and the first place of the block of each place (int32).
permutahedron = kernel_operator(
    "permutahedron(Tensor data, Tensor given, bool unsort, bool descending, bool kl) -> (Tensor, Tensor, Tensor)",
    _project_cpu,
    batched=_project_batched,
    fake=_project_fake,
    backward=_project_backward,
    setup=_project_keep,
)


# ------------------------------------------------------------------ what sort and rank call
class BlockPermutation(SoftPermutation):
    """Items of a block share its places evenly: block averages, O(n) for each product.

    Args:
        order: int64 ``[*batch, n]``, the item at each place.
        start: int32 ``[*batch, n]``, the first place of the block of each place.
        mask: bool ``[*batch, n]`` over items, or None; places of absent items hold nothing.
        shape: as in ``SoftSelection``, and so are the next two.
        dim: the axis.
        straight: exact forward.
    """

    def __init__(
        self, order: Tensor, start: Tensor, mask: Tensor | None, *, shape: tuple[int, ...], dim: int, straight: bool
    ) -> None:
        super().__init__(shape, dim, straight)
        self._order = order
        self._start = start
        self._mask = mask

    def _means(self, values: Tensor, of_items: bool) -> Tensor:
        order, start = (as_rows(one.unsqueeze(-2).expand(values.shape)) for one in (self._order, self._start))
        return block_sums(as_rows(values), order, start, of_items, not of_items, True).reshape(values.shape)

    def _present(self, values: Tensor) -> Tensor:
        return values if self._mask is None else values.masked_fill(~self._mask.unsqueeze(-2), 0.0)

    def _product(self, values: Tensor) -> Tensor:
        return self._means(self._present(values), True)

    def _transpose_product(self, values: Tensor) -> Tensor:
        return self._present(self._means(values, False))

    def _matrix(self) -> Tensor:
        start = self._start.long()
        of_item = torch.zeros_like(start).scatter(-1, self._order, start)
        same = (start.unsqueeze(-1) == of_item.unsqueeze(-2)).to(torch.get_default_dtype())
        return self._present(same / same.sum(-1, keepdim=True))

    def hard(self) -> Tensor:
        """Return the order, int64 ``[*batch, n]``."""
        return self._order


@dataclass(frozen=True)
class Isotonic:
    """Projection onto the permutahedron (Blondel et al., 2020).

    Args:
        divergence: ``"l2"``, the nearest point; ``"kl"``, the nearest in relative entropy.

    Raises:
        InputError: ``divergence`` is unknown.

    Example:
        >>> Isotonic("kl")
        Isotonic(divergence='kl')
    """

    divergence: str = "l2"

    def __post_init__(self) -> None:
        check_choice("divergence", self.divergence, ("l2", "kl"))

    def sort(
        self, x: Tensor, temperature: float | Tensor, descending: bool, mask: Tensor | None, frame: dict[str, Any]
    ) -> tuple[Tensor, SoftPermutation]:
        """Return the values ``[..., n]`` and the permutation of ``x [..., n]``."""
        n, kl = x.shape[-1], self.divergence == "kl"
        places = torch.arange(1, n + 1, device=x.device, dtype=x.dtype) / temperature
        # squared distance is the same upward and downward; entropy is not, and is defined downward
        mirrored = kl and not descending
        down = descending or kl
        given = places.flip(-1) if down else places
        if mask is not None:
            x = x.masked_fill(mask & x.isinf(), torch.nan).masked_fill(
                ~mask, torch.inf if not descending else -torch.inf
            )
            here = torch.arange(n, device=x.device) < mask.sum(-1, keepdim=True)
            # places are counted from the first that is absent, which changes nothing but a constant
            given = torch.where(here, given, torch.nan)
        data = as_rows(-x if mirrored else x)
        values, order, start = permutahedron(data, as_rows(given.expand(x.shape)), False, down, kl)
        values = from_rows(-values if mirrored else values, x)
        return values, BlockPermutation(from_rows(order, x), from_rows(start, x), mask, **frame)

    def rank(self, x: Tensor, temperature: float | Tensor, mask: Tensor | None) -> Tensor:
        """Return the ranks ``[..., n]``, from 1 for the smallest, of ``x [..., n]``."""
        n, kl = x.shape[-1], self.divergence == "kl"
        x = over_temperature(x, temperature)
        if mask is None:
            given = torch.arange(1, n + 1, device=x.device, dtype=x.dtype)
            given = given.flip(-1).log() if kl else given
        else:
            largest = torch.finfo(x.dtype).max / 8  # an infinite entry has to stand apart from the absent ones
            x = x.clamp(-largest, largest).masked_fill(~mask, -torch.inf if kl else torch.inf)
            count, place = mask.sum(-1, keepdim=True), torch.arange(n, device=x.device)
            given = torch.where(place < count, count - place if kl else place + 1, torch.nan).to(x.dtype)
            given = given.log() if kl else given
        ranks = permutahedron(as_rows(x), as_rows(given.expand(x.shape)), True, kl, kl)[0]
        ranks = from_rows(ranks, x)
        if kl:
            ranks = ranks.exp()
            ranks = ranks if mask is None else ranks.masked_fill(~mask, 0.0)
        return ranks
