"""Equilibria of markets, by gradient ascent of every bidder at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number
from softwood.decisions._auctions import Mechanism, SmoothedMechanism
from softwood.decisions._regret import Regret, regret
from softwood.decisions._strategies import BidNetworks

Draw = Callable[[int, torch.Generator], Tensor]
_USUAL_SHARE = 0.02  # of the largest value, as temperature
_CERTIFIED = 2**13  # draws for the certificate


@dataclass(frozen=True)
class Equilibrium:
    """Strategies, and how much a bidder could gain by leaving them.

    Args:
        strategies: from values ``[..., n, d]`` to bids.
        regret: in the hard market.
        temperature: of the market in which they were learned.

    Example:
        >>> from softwood.decisions import FirstPriceAuction
        >>> learner = EquilibriumLearner(FirstPriceAuction(2), steps=5)
        >>> learner.learn(torch.rand(500, 2)).bids(torch.tensor([0.5, 0.8])).shape
        torch.Size([2])
    """

    strategies: BidNetworks
    regret: Regret
    temperature: float

    @torch.no_grad()
    def bids(self, values: Any) -> Tensor:
        """Return the bids for values ``[..., n]`` of one good, ``[..., n, d]`` of several, in the same shape."""
        v = torch.as_tensor(values, dtype=torch.float32)
        several = self.strategies.weights[0].shape[1] > 1
        return self.strategies(v if several else v.unsqueeze(-1)).reshape(v.shape)


@capability("estimator", papers=("smooth-markets",), cost="O(steps batch n^2 (n d + network)) time")
@dataclass(frozen=True)
class EquilibriumLearner:
    """Equilibrium strategies of a market: each bidder ascends its own expected utility, the others' bids held fixed.

    Bidders start from (a multiple of) the truth and move at once, in the market smoothed at a small temperature. What
    comes back is judged in the hard market: the gain that is left to a bidder who bids otherwise.

    Args:
        mechanism: any allocation rule; a ``SmoothedMechanism`` is taken as it is.
        temperature: > 0 in units of the bids; None for 0.02 times the largest value.
        hidden: units of the layers of a bidder's network.
        shared: bidders are alike, and play one strategy.
        start: bids at the start as a multiple of values.
        steps: of Adam; its rate falls to 0 on a cosine.
        batch: draws of values in a step.
        learning_rate: > 0. Where it is too large a bidder drops out, which its regret shows.
        seed: of everything random.

    Raises:
        InputError: a number out of range.

    Example:
        >>> from softwood.decisions import FirstPriceAuction
        >>> uniform = lambda n, generator: torch.rand(n, 2, generator=generator)
        >>> found = EquilibriumLearner(FirstPriceAuction(2), steps=200).learn(uniform)
        >>> found.bids(torch.tensor([0.8, 0.4])).sub(torch.tensor([0.4, 0.2])).abs().max() < 0.05
        tensor(True)

    Cost: O(steps · batch · n² · (n d + network)) time, a step's share of it in memory.

    Source: Kohring, Pieroth and Bichler 2023, "Enabling First-Order Gradient-Based Learning for Equilibrium Computation
    in Markets".
    """

    mechanism: Mechanism
    temperature: float | None = None
    hidden: tuple[int, ...] = (16, 16)
    shared: bool = False
    start: float = 1.0
    steps: int = 500
    batch: int = 1024
    learning_rate: float = 0.03
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature is not None:
            check_number("temperature", self.temperature, low=1e-12)
        check_number("start", self.start, low=0)
        check_number("steps", self.steps, low=0, integer=True)
        check_number("batch", self.batch, low=1, integer=True)
        check_number("learning_rate", self.learning_rate, low=1e-12)
        check_number("seed", self.seed, low=0, integer=True)

    def learn(self, values: Draw | Any) -> Equilibrium:
        """Return the strategies and their regret.

        Args:
            values: a function from (rows, generator) to draws ``[rows, n]`` or ``[rows, n, d]``, or an array of them.
                Bidders' values are independent of each other.

        Raises:
            InputError: values do not fit the market.
        """
        generator = torch.Generator().manual_seed(self.seed)
        draw = self._drawing(values)
        sample = draw(_CERTIFIED, generator)
        scale = float(sample.max())
        market = self._market(scale)
        strategies = BidNetworks(
            market.n_bidders, market.n_goods, hidden=self.hidden, shared=self.shared, start=self.start, scale=scale,
            generator=generator,
        )  # fmt: skip
        optimizer = torch.optim.Adam(strategies.parameters(), self.learning_rate)
        cooler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.steps, 1))
        for _ in range(self.steps):
            v = draw(self.batch, generator)
            optimizer.zero_grad()
            torch.autograd.backward(-self._own_gains(market, v, strategies(v)) / scale)
            optimizer.step()
            cooler.step()
        found = regret(market.rule, strategies, sample, n_values=256, generator=generator)
        return Equilibrium(strategies, found, market.temperature)

    def _market(self, scale: float) -> SmoothedMechanism:
        if isinstance(self.mechanism, SmoothedMechanism):
            return self.mechanism
        share = _USUAL_SHARE * scale
        return SmoothedMechanism(self.mechanism, share if self.temperature is None else self.temperature)

    def _own_gains(self, market: Mechanism, values: Tensor, bids: Tensor) -> Tensor:
        """Return the sum of mean utilities, each with a gradient by the bidder's own bids alone."""
        n = 1 if self.shared else market.n_bidders  # bidders that are alike: one speaks for all
        own = torch.eye(market.n_bidders, dtype=torch.bool)[:n, None, :, None]
        played = torch.where(own, bids, bids.detach())  # [n, batch, n, d]
        return market.utilities(values, played).diagonal(dim1=0, dim2=2).mean(0).sum()

    def _drawing(self, values: Draw | Any) -> Draw:
        """Return a function that draws ``[rows, n, d]``."""
        shape = (self.mechanism.n_bidders, self.mechanism.n_goods)
        table = None if callable(values) else torch.as_tensor(values, dtype=torch.float32)
        fitting = table is not None and table.ndim > 1 and table.shape[1] == shape[0] and len(table) > 0

        def draw(rows: int, generator: torch.Generator) -> Tensor:
            if table is None:
                drawn = values(rows, generator)
            elif fitting:  # each bidder's values from rows of their own: bidders are independent
                places = torch.randint(len(table), (rows, shape[0]), generator=generator)
                drawn = table[places, torch.arange(shape[0])]
            else:
                drawn = table
            if drawn.ndim == 2 and shape[1] == 1:
                drawn = drawn.unsqueeze(-1)
            if drawn.shape[-2:] != shape or drawn.ndim != 3 or not bool((drawn >= 0).all()):
                raise InputError(
                    "values do not fit the market", got=f"shape {tuple(drawn.shape)}, {int((drawn < 0).sum())} below 0",
                    allowed=f"numbers >= 0, [rows, {shape[0]} bidders, {shape[1]} goods]",
                    fix="give each bidder a column; one good needs no axis of its own",
                )  # fmt: skip
            return drawn.to(torch.float32)

        return draw
