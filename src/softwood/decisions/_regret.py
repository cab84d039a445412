"""Regret: what a bidder could still gain by bidding otherwise, in the market as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.stats.qmc import Sobol
from torch import Tensor

from softwood.core import capability, check_number
from softwood.decisions._auctions import Mechanism

_CELLS = 2**23  # numbers that are held at once


@dataclass(frozen=True)
class Regret:
    """How far strategies are from an equilibrium: one number for each bidder, in the units of values.

    Args:
        utility: mean over values of what the strategy gains.
        best: mean over values of what the best bid found gains against the others' strategies.
        worst: the largest gap at a single value.
        candidates: bids tried for each value.
        draws: of the others' values, the same for every candidate.

    Example:
        >>> Regret(utility=(0.75,), best=(1.0,), worst=(0.5,), candidates=256, draws=1000).share
        0.25
    """

    utility: tuple[float, ...]
    best: tuple[float, ...]
    worst: tuple[float, ...]
    candidates: int
    draws: int

    @property
    def regret(self) -> tuple[float, ...]:
        """Mean over values of what the best bid gains more: 0 in equilibrium."""
        return tuple(best - own for best, own in zip(self.best, self.utility, strict=True))

    @property
    def share(self) -> float:
        """The largest regret of a bidder as a share of what the best bids gain."""
        return max(gap / best if best > 0 else 0.0 for gap, best in zip(self.regret, self.best, strict=True))

    def __str__(self) -> str:
        gaps = ", ".join(f"{gap:.2g}" for gap in self.regret)
        return (f"regret {gaps} in the hard market: at most {self.share:.2%} of the best utility; best of "
                f"{self.candidates} bids against {self.draws} draws")  # fmt: skip


def _gains(rule: Mechanism, bidder: int, candidates: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean shares ``[C, d]`` and payments ``[C]`` of candidate bids against bids ``[D, n, d]``."""
    found = []
    at_once = max(1, _CELLS // (others.numel() * rule.n_bidders))
    for part in torch.split(candidates, at_once):
        bids = others.expand(len(part), *others.shape).clone()
        bids[:, :, bidder] = part.unsqueeze(1)
        shares, paid = rule.allocate(bids)
        found.append((shares[:, :, bidder].mean(1), paid[:, :, bidder].mean(1)))
    return torch.cat([shares for shares, _ in found]), torch.cat([paid for _, paid in found])


@capability("estimator", papers=("smooth-markets",), cost="O(n C D) time for C candidates and D draws")
@torch.no_grad()
def regret(
    rule: Mechanism,
    strategies: Callable[[Tensor], Tensor],
    values: Tensor,
    *,
    candidates: int = 256,
    n_values: int = 512,
    generator: torch.Generator | None = None,
) -> Regret:
    """Return the best-response regret of strategies in a market, of each bidder in turn.

    A bid's mean share and payment against the others do not depend on the bidder's own value, so each candidate is
    played once, and the best for every value is a matter of one product. Candidates are a grid for one good and
    quasi-random points for several, from 0 to the largest value, and what the strategy itself bids at other values.
    The best is chosen on the draws on which it is measured, which makes regret look larger than it is, never smaller;
    what lies between the candidates is not seen.

    Args:
        rule: the market; pass the hard one.
        strategies: from values ``[D, n, d]`` to bids.
        values: draws ``[D, n, d]``. Bidders' values are independent of each other.
        candidates: bids tried beside the strategy's own.
        n_values: values of the bidder at which bids are compared.
        generator: of the choice of these values.

    Raises:
        InputError: a number out of range.

    Example:
        >>> values = torch.rand(4096, 2, 1, generator=torch.Generator().manual_seed(0))
        >>> from softwood.decisions import FirstPriceAuction
        >>> equilibrium, truthful = lambda v: 0.5 * v, lambda v: v
        >>> regret(FirstPriceAuction(2), equilibrium, values).share < 0.02
        True
        >>> regret(FirstPriceAuction(2), truthful, values).share > 0.9
        True

    Cost: O(n C D) time for C candidates and D draws; memory bounded.

    Source: Bichler et al. 2021; Kohring, Pieroth and Bichler 2023.
    """
    candidates = check_number("candidates", candidates, low=2, integer=True)
    n_values = check_number("n_values", n_values, low=1, integer=True)
    bids, top = strategies(values), values.amax((0, 1))
    if rule.n_goods == 1:
        grid = torch.linspace(0, 1, candidates, dtype=values.dtype).unsqueeze(-1)
    else:
        grid = torch.as_tensor(Sobol(rule.n_goods, scramble=False).random(candidates), dtype=values.dtype)
    utility, best, worst = [], [], []
    for bidder in range(rule.n_bidders):
        some = torch.randperm(len(values), generator=generator)[:n_values]
        value, own = values[some, bidder], bids[some, bidder]
        tried = torch.cat([grid * top, own])
        shares, paid = _gains(rule, bidder, tried, bids)
        table = value @ shares.mT - paid  # [values, candidates]
        gained = (value * shares[candidates:]).sum(-1) - paid[candidates:]
        most = table.amax(1)
        utility.append(float(gained.mean()))
        best.append(float(most.mean()))
        worst.append(float((most - gained).amax()))
    return Regret(tuple(utility), tuple(best), tuple(worst), candidates + len(some), len(values))
