"""Sorting networks of soft swaps: values, and a permutation that is applied swap by swap."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from softwood.core import check_choice, check_number
from softwood.kernels import network_layers, network_pullback_rows, network_rows
from softwood.ops._bridge import array, kernel_operator, over_rows
from softwood.ops._selection import SoftPermutation

_SWAPS = {"reciprocal": 0, "cauchy": 1, "optimal": 2, "logistic": 3, "art": 4}
_ART_WIDTH = 1e-4  # as in the kernel

_layers = functools.lru_cache(maxsize=64)(network_layers)


def _share(d: Tensor, swap: int, power: float) -> Tensor:
    """Return how far pairs with differences d stand in order: the kernel's function, differentiable."""
    if swap == 0:
        return 0.5 + 0.5 * d / (2.0 + d.abs())
    if swap == 1:
        return 0.5 + (0.25 * math.pi * d).atan() / math.pi
    if swap == 2:
        far = 0.25 / torch.where(d.abs() > 1.0, d, 1.0)
        return torch.where(d.abs() <= 1.0, 0.5 + 0.25 * d, torch.where(d > 0, 1.0 - far, -far))
    return (d / (d.abs() + _ART_WIDTH) ** power if swap == 4 else d).sigmoid()


def _partners(layer: int, n: int, device: torch.device) -> Tensor:
    at = torch.arange(n, device=device)
    other = at ^ layer if layer else ((at + 1) ^ 1) - 1
    return torch.where((other >= 0) & (other < n), other, at)


def _batched(x: Tensor, v: Tensor, size: Tensor, odd_even: bool, swap: int, power: float, exact: bool,
             transpose: bool = False) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Do the same in plain torch, a few calls for each layer; ``transpose`` gives the transpose of P times v."""
    y, w, n = x, v, x.shape[-1]
    at, steps = torch.arange(n, device=x.device), []
    for layer in _layers(n, odd_even):
        partner = _partners(int(layer), n, x.device)
        live = (partner != at) & (torch.maximum(partner, at) < size.unsqueeze(-1))
        other = y[:, partner]
        sign = torch.where(at < partner, 1.0, -1.0).to(y.dtype)
        soft = torch.where(live, _share((other - y) * sign, swap, power), 1.0)  # the part of itself that each keeps
        hard = torch.where(live, ((other - y) * sign >= 0).to(y.dtype), 1.0) if exact else None
        steps.append((soft, hard, partner))
        y = _mix(y, other, soft, hard)
        if not transpose:
            w = _mix(w, w[:, :, partner], soft.unsqueeze(1), None if hard is None else hard.unsqueeze(1))
    for soft, hard, partner in reversed(steps if transpose else []):
        w = _mix(w, w[:, :, partner], soft.unsqueeze(1), None if hard is None else hard.unsqueeze(1))
    return y.clone() if y is x else y, w.clone() if w is v else w


def _mix(own: Tensor, other: Tensor, soft: Tensor, hard: Tensor | None) -> Tensor:
    mixed = soft * own + (1.0 - soft) * other
    if hard is None:
        return mixed
    return (hard * own + (1.0 - hard) * other).detach() + (mixed - mixed.detach())


def _kernel(x: Tensor, v: Tensor, size: Tensor, odd_even: bool, swap: int, power: float, exact: bool) -> Any:
    y, w = torch.empty_like(x, memory_format=torch.contiguous_format), torch.empty(v.shape, dtype=v.dtype)
    layers, work = _layers(x.shape[-1], odd_even), (x.numel() + v.numel()) * 16
    over_rows(_network_block, work, array(x), array(v), array(size), array(y), array(w), (layers, swap, power, exact))
    return y, w


def _network_block(x: Any, v: Any, size: Any, y: Any, w: Any, rest: Any) -> None:
    layers, swap, power, exact = rest
    network_rows(x, v, size, layers, swap, power, exact, y, w)


def _pull_block(x: Any, v: Any, size: Any, gy: Any, gw: Any, by_x: Any, by_v: Any, rest: Any) -> None:
    layers, swap, power, exact = rest
    network_pullback_rows(x, v, size, gy, gw, layers, swap, power, exact, by_x, by_v)


_Settings = tuple[bool, int, float, bool]


def _pull_kernel(x: Tensor, v: Tensor, size: Tensor, gy: Tensor, gw: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    by_x, by_v = torch.empty_like(x, memory_format=torch.contiguous_format), torch.empty(v.shape, dtype=v.dtype)
    rest = (_layers(x.shape[-1], settings[0]), *settings[1:])
    given = (array(one) for one in (x, v, size, gy, gw, by_x, by_v))
    over_rows(_pull_block, (x.numel() + v.numel()) * 32, *given, rest)
    return by_x, by_v


def _pull_batched(x: Tensor, v: Tensor, size: Tensor, gy: Tensor, gw: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaves = (x.detach().requires_grad_(), v.detach().requires_grad_())
        found = _batched(*leaves, size, *settings)
        return torch.autograd.grad(found, leaves, (gy, gw), materialize_grads=True)  # type: ignore[return-value]


def _pull_backward(ctx: Any, *by: Tensor) -> tuple[Any, ...]:
    """Differentiate the gradient: through the torch path, once."""
    x, v, size, gy, gw = ctx.saved_tensors
    with torch.enable_grad():
        leaves = [one.detach().requires_grad_() for one in (x, v, gy, gw)]
        found = _batched(leaves[0], leaves[1], size, *ctx.settings)
        first = torch.autograd.grad(found, leaves[:2], leaves[2:], create_graph=True, materialize_grads=True)
        to_x, to_v, to_gy, to_gw = torch.autograd.grad(first, leaves, by, materialize_grads=True)
    return to_x, to_v, None, to_gy, to_gw, None, None, None, None


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*(one for one in inputs if isinstance(one, Tensor)))
    ctx.settings = inputs[-4:]


def _backward(ctx: Any, gy: Tensor, gw: Tensor) -> tuple[Any, ...]:
    by_x, by_v = _pullback(*ctx.saved_tensors, gy, gw, *ctx.settings)
    return by_x, by_v, None, None, None, None, None


def _fake(x: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return tuple(torch.empty_like(one, memory_format=torch.contiguous_format) for one in (x, v))  # type: ignore[return-value]


_SETTINGS = "bool odd_even, int swap, float power, bool exact) -> (Tensor, Tensor)"
_pullback = kernel_operator(
    "network_pullback(Tensor x, Tensor v, Tensor size, Tensor gy, Tensor gw, " + _SETTINGS,
    _pull_kernel, batched=_pull_batched, fake=_fake, backward=_pull_backward, setup=_keep,
)  # fmt: skip
_network = kernel_operator(
    "network(Tensor x, Tensor v, Tensor size, " + _SETTINGS,
    _kernel, batched=_batched, fake=_fake, backward=_backward, setup=_keep,
)  # fmt: skip


class NetworkPermutation(SoftPermutation):
    """The product of all swaps of a network, applied to vectors one swap after the other.

    Args:
        z: ``[rows, n]``, ascending, in units of the temperature; absent places hold 0.
        front: int64 ``[rows, n]``, the item at each place of z, the present ones first.
        size: int64 ``[rows]``, how many are present.
        settings: of the network.
        batch: shape of the other axes.
        frame: shape, dim and straight of ``SoftSelection``.

    Example:
        >>> from softwood.ops import Network, argsort
        >>> x = torch.tensor([3.0, 1.0, 2.0])
        >>> argsort(x, relax=Network(error_free=True)).apply(x)
        tensor([1., 2., 3.])
    """

    def __init__(self, z: Tensor, front: Tensor, size: Tensor, settings: _Settings, batch: Any, frame: Any) -> None:
        super().__init__(**frame)
        self._z, self._front, self._size, self._settings, self._batch = z, front, size, settings, batch

    def _rows_of(self, values: Tensor) -> Tensor:
        return values.reshape(len(self._z), values.shape[-2], self._z.shape[-1]).to(self._z.dtype)

    def _product(self, values: Tensor) -> Tensor:
        rows = self._rows_of(values)
        present = torch.arange(rows.shape[-1], device=rows.device) < self._size[:, None, None]
        moved = rows.gather(-1, self._front.unsqueeze(1).expand(rows.shape))
        moved = torch.where(present, moved, 0.0)
        return _network(self._z, moved, self._size, *self._settings)[1].reshape(values.shape)

    def _transpose_product(self, values: Tensor) -> Tensor:
        rows = self._rows_of(values)
        present = torch.arange(rows.shape[-1], device=rows.device) < self._size[:, None, None]
        moved = _batched(self._z, torch.where(present, rows, 0.0), self._size, *self._settings, transpose=True)[1]
        back = torch.zeros_like(rows).scatter(-1, self._front.unsqueeze(1).expand(rows.shape), moved)
        return back.reshape(values.shape)

    def _matrix(self) -> Tensor:
        n = self._z.shape[-1]
        return self._product(torch.eye(n, dtype=self._z.dtype, device=self._z.device).expand(*self._batch, n, n)).mT

    def hard(self) -> Tensor:
        """Return the hard permutation, int64 ``[*batch, n]``."""
        absent = torch.arange(self._z.shape[-1], device=self._z.device) >= self._size.unsqueeze(-1)
        order = self._z.detach().masked_fill(absent, math.inf).argsort(dim=-1, stable=True)
        return self._front.gather(-1, order).reshape(*self._batch, -1)


@dataclass(frozen=True)
class Network:
    """A sorting network of soft swaps: min and max become mixtures whose share depends on the difference.

    All shares have slope 1 / (4 temperature) at a tie, ``"art"`` a steeper one. Absent entries take no part, in the
    network of all n places; infinity makes its row NaN. Values and products take O(n) time for each layer and O(n)
    memory (backward makes the forward pass again, in stretches); the matrix is formed by ``dense()`` alone.

    Args:
        swap: ``"cauchy"``, ``"reciprocal"`` and ``"optimal"`` are monotone: no output falls when an input rises.
            ``"logistic"`` is not; nor is ``"art"``, the logistic of d / abs(d) ** power, which bounds the error.
        layout: ``"bitonic"`` (about log2(n) ** 2 / 2 layers, any n) or ``"odd-even"`` (n layers).
        error_free: every swap is hard forward and soft backward, so that no softness adds up.
        power: of ``"art"``, from 0 to below 1.

    Example:
        >>> Network("optimal", error_free=True).layout
        'bitonic'
    """

    swap: str = "cauchy"
    layout: str = "bitonic"
    error_free: bool = False
    power: float = 0.25

    def __post_init__(self) -> None:
        check_choice("swap", self.swap, _SWAPS)
        check_choice("layout", self.layout, ("bitonic", "odd-even"))
        check_number("power", self.power, low=0.0, high=0.99)

    def sort(
        self, data: Tensor, temperature: float | Tensor, descending: bool, present: Tensor | None, frame: Any
    ) -> tuple[Tensor, SoftPermutation]:
        """Return values and permutation, the axis last; infinity makes the row NaN, as a NaN does."""
        n, batch = data.shape[-1], data.shape[:-1]
        sign = -1.0 if descending else 1.0
        z = (sign * data / temperature).reshape(math.prod(batch), n)
        bad = ~z.isfinite()
        front = torch.arange(n, device=z.device).expand(z.shape)
        size = torch.full((z.shape[0],), n, device=z.device)
        if present is not None:
            there = present.reshape(z.shape)
            bad, front, size = bad & there, (~there).long().argsort(dim=-1, stable=True), there.sum(-1)
            z = torch.where(there, z, 0.0).gather(-1, front)
        z = torch.where(bad.any(-1, keepdim=True), math.nan, z)
        settings = (self.layout == "odd-even", _SWAPS[self.swap], self.power, self.error_free)
        none = z.new_empty(z.shape[0], 0, n)
        values = sign * temperature * _network(z, none, size, *settings)[0].reshape(*batch, n)
        return values, NetworkPermutation(z, front, size, settings, batch, frame)
