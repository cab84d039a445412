"""Markets: who gets what for which price, as the rule says, and smoothed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_number


class Outcomes(NamedTuple):
    """What may come of bids: q decisions side by side, each among m outcomes.

    Args:
        score: ``[..., q, m]``; of each decision the outcome of the largest score happens.
        won: ``[q, m, n, d]``: the share of each of d goods that each of n bidders has in an outcome.
        paid: ``[..., q, m, n]``: what each bidder pays in an outcome.

    Example:
        >>> FirstPriceAuction(2).outcomes(torch.tensor([[3.0], [5.0]])).score
        tensor([[3., 5.]])
    """

    score: Tensor
    won: Tensor
    paid: Tensor


class Mechanism(ABC):
    """An allocation rule with its payments. A rule of your own says ``outcomes``, and all else follows.

    Attributes:
        n_bidders: n.
        n_goods: d; a bid is one number for each good, which may be a bundle.

    Example:
        >>> SecondPriceAuction(2).utilities(torch.tensor([[4.0], [5.0]]), torch.tensor([[4.0], [5.0]]))
        tensor([0., 1.])
    """

    n_bidders: int
    n_goods: int

    @abstractmethod
    def outcomes(self, bids: Tensor) -> Outcomes:
        """Return what may come of bids ``[..., n, d]``; payments differentiable by them."""

    def chances(self, score: Tensor) -> Tensor:
        """Return how likely each outcome is ``[..., q, m]``: the best is certain, and equal ones share."""
        best = (score == score.amax(-1, keepdim=True)).to(score.dtype)
        return best / best.sum(-1, keepdim=True)

    def allocate(self, bids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expected shares ``[..., n, d]`` and payments ``[..., n]``.

        Args:
            bids: ``[..., n, d]``.

        Raises:
            InputError: bids of another shape.
        """
        if bids.ndim < 2 or bids.shape[-2:] != (self.n_bidders, self.n_goods):
            raise InputError("bids do not fit the market", got=tuple(bids.shape),
                             allowed=f"[..., {self.n_bidders} bidders, {self.n_goods} goods]",
                             fix="give each bidder one bid for each good")  # fmt: skip
        found = self.outcomes(bids)
        chances = self.chances(found.score)
        shares = torch.einsum("...qm,qmnd->...nd", chances, found.won.to(chances.dtype))
        return shares, torch.einsum("...qm,...qmn->...n", chances, found.paid)

    def utilities(self, values: Tensor, bids: Tensor) -> Tensor:
        """Return what each bidder gains: values of its shares less its payment, ``[..., n]``.

        Args:
            values: ``[..., n, d]``; goods add up.
            bids: ``[..., n, d]``.
        """
        shares, paid = self.allocate(bids)
        return (values * shares).sum(-1) - paid


def _each_good_to_one(bids: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores ``[..., d, n]`` and shares ``[d, n, n, d]`` where each good goes to one bidder."""
    n, d = bids.shape[-2:]
    eye_n, eye_d = (torch.eye(size, dtype=bids.dtype, device=bids.device) for size in (n, d))
    return bids.mT, eye_n[None, :, :, None] * eye_d[:, None, None, :]


def _checked(mechanism: FirstPriceAuction | SecondPriceAuction) -> None:
    check_number("n_bidders", mechanism.n_bidders, low=2, integer=True)
    check_number("n_goods", mechanism.n_goods, low=1, integer=True)


@capability("estimator", papers=("smooth-markets",), cost="O(n^2 d) time and memory for n bidders and d goods")
@dataclass(frozen=True)
class FirstPriceAuction(Mechanism):
    """Sealed bids; each good goes to its highest bidder, who pays the bid. Ties share.

    Args:
        n_bidders: n >= 2.
        n_goods: d >= 1, sold side by side.

    Raises:
        InputError: a number out of range.

    Example:
        >>> FirstPriceAuction(2).utilities(torch.tensor([[4.0], [5.0]]), torch.tensor([[2.0], [3.0]]))
        tensor([0., 2.])

    Cost: O(n^2 d) time and memory a market.

    Source: Vickrey 1961.
    """

    n_bidders: int = 2
    n_goods: int = 1

    def __post_init__(self) -> None:
        _checked(self)

    def outcomes(self, bids: Tensor) -> Outcomes:
        """Return them: outcome j of a good is that bidder j gets it and pays its own bid."""
        score, won = _each_good_to_one(bids)
        return Outcomes(score, won, torch.diag_embed(score))


@capability("estimator", papers=("smooth-markets",), cost="O(n^2 d) time and memory for n bidders and d goods")
@dataclass(frozen=True)
class SecondPriceAuction(Mechanism):
    """Sealed bids; each good goes to its highest bidder, who pays the highest bid of the others. Ties share.

    Args:
        n_bidders: n >= 2.
        n_goods: d >= 1, sold side by side.

    Raises:
        InputError: a number out of range.

    Example:
        >>> SecondPriceAuction(2).utilities(torch.tensor([[4.0], [5.0]]), torch.tensor([[2.0], [3.0]]))
        tensor([0., 3.])

    Cost: O(n^2 d) time and memory a market.

    Source: Vickrey 1961.
    """

    n_bidders: int = 2
    n_goods: int = 1

    def __post_init__(self) -> None:
        _checked(self)

    def outcomes(self, bids: Tensor) -> Outcomes:
        """Return them: outcome j of a good is that bidder j gets it and pays the best of the other bids."""
        score, won = _each_good_to_one(bids)
        own = torch.eye(self.n_bidders, dtype=torch.bool, device=bids.device)
        others = score.unsqueeze(-2).masked_fill(own, -torch.inf).amax(-1)
        return Outcomes(score, won, torch.diag_embed(others))


@capability("estimator", papers=("smooth-markets",), cost="as the rule")
@dataclass(frozen=True)
class SmoothedMechanism(Mechanism):
    r"""A market in which the better outcome is only likelier, so that utility has a gradient by the bids.

    .. math:: x = \operatorname{softmax}(s / \tau), \qquad u_i = \sum_o x_o \, (v_i \cdot a_{o,i} - p_{o,i})

    with s the scores, a the shares and p the payments of the outcomes. Through the hard market only the payment has a
    gradient, and every bid falls to 0.

    Args:
        rule: any allocation rule.
        temperature: :math:`\tau > 0` in units of the scores, which in an auction are bids. The bias of the gradient
            falls with it, the variance rises: 0.01 to 0.03 of the largest value.

    Raises:
        InputError: the rule is none, or temperature is not positive.

    Limit: as :math:`\tau \to 0`, the rule itself.

    Example:
        >>> smooth = SmoothedMechanism(FirstPriceAuction(2), temperature=1.0)
        >>> smooth.allocate(torch.tensor([[2.0], [3.0]]))[0].round(decimals=2)
        tensor([[0.2700], [0.7300]])

    Cost: as the rule.

    Source: Kohring, Pieroth and Bichler 2023, "Enabling First-Order Gradient-Based Learning for Equilibrium Computation
    in Markets".
    """

    rule: Mechanism
    temperature: float = 0.02

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Mechanism):
            raise InputError("rule is not an allocation rule", got=type(self.rule).__name__, allowed="a Mechanism",
                             fix="pass FirstPriceAuction(2), or a subclass of Mechanism")  # fmt: skip
        check_number("temperature", self.temperature, low=1e-12)

    @property
    def n_bidders(self) -> int:  # type: ignore[override]
        """Bidders of the rule."""
        return self.rule.n_bidders

    @property
    def n_goods(self) -> int:  # type: ignore[override]
        """Goods of the rule."""
        return self.rule.n_goods

    def outcomes(self, bids: Tensor) -> Outcomes:
        """Return those of the rule."""
        return self.rule.outcomes(bids)

    def chances(self, score: Tensor) -> Tensor:
        """Return softmax(score / temperature)."""
        return (score / self.temperature).softmax(-1)
