"""Strategies: from what a good is worth to a bidder to its bid."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from softwood.core import check_number

_SHARP = 50.0  # of the softplus at the end: no bid is below 0, and none is stuck there as after a ReLU
_GAIN = 0.1  # of the networks' last layer: a step of Adam moves all weights, and bids by their sum


class BidNetworks(nn.Module):
    """One small network for each bidder, all in one batched product; or one that they share.

    A network answers with what is added to a multiple of the value, which is where the bids start.

    Args:
        n_bidders: n.
        n_goods: d.
        hidden: units of each hidden layer.
        shared: all bidders play the same strategy.
        start: bids at the start as a multiple of values.
        scale: > 0, the largest value; values and bids are counted in it.
        generator: source of the start.

    Shape: ``[..., n, d]`` to ``[..., n, d]``.

    Raises:
        InputError: a number out of range.

    Example:
        >>> BidNetworks(2, 1)(torch.rand(5, 2, 1)).shape
        torch.Size([5, 2, 1])

    Source: Bichler, Fichtl, Heidekrüger, Kohring and Sutterer 2021 (neural pseudogradient ascent).
    """

    def __init__(
        self,
        n_bidders: int,
        n_goods: int,
        *,
        hidden: tuple[int, ...] = (16, 16),
        shared: bool = False,
        start: float = 1.0,
        scale: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.start = check_number("start", start, low=0)
        self.scale = check_number("scale", scale, low=1e-30)
        sizes = [check_number("units", units, low=1, integer=True) for units in (n_goods, *hidden, n_goods)]
        copies = 1 if shared else check_number("n_bidders", n_bidders, low=1, integer=True)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, units in pairwise(sizes):
            drawn = torch.rand(copies, fan_in, units, generator=generator) * 2 - 1
            self.weights.append(nn.Parameter((3.0 / fan_in) ** 0.5 * drawn))
            self.biases.append(nn.Parameter(torch.zeros(copies, 1, units)))
        nn.init.zeros_(self.weights[-1])

    def forward(self, values: Tensor) -> Tensor:
        """Return the bids."""
        v = values / self.scale
        z = v.reshape(-1, *v.shape[-2:]).transpose(0, 1)  # bidders first: [n, rows, d]
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = nn.functional.selu(z) if layer else z
            z = z @ weight + bias
        added = _GAIN * z.transpose(0, 1).reshape(values.shape)
        return self.scale * nn.functional.softplus(self.start * v + added, beta=_SHARP)
