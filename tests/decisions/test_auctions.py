"""Markets against their definition, smoothed ones against their limit, strategies against known equilibria."""

from __future__ import annotations

import pytest
import torch

from softwood.core import InputError
from softwood.decisions import (
    BidNetworks,
    EquilibriumLearner,
    FirstPriceAuction,
    Mechanism,
    Outcomes,
    SecondPriceAuction,
    SmoothedMechanism,
    regret,
)


def uniform(n, *goods):
    return lambda rows, generator: torch.rand(rows, n, *goods, generator=generator)


class Bundles(Mechanism):
    """Two goods as one bundle to bidder 0, or one each to bidders 1 and 2; winners pay their bids."""

    n_bidders, n_goods = 3, 1

    def outcomes(self, bids):
        offers = bids[..., 0]
        score = torch.stack([offers[..., 0], offers[..., 1] + offers[..., 2]], -1).unsqueeze(-2)
        won = torch.tensor([[1.0, 0, 0], [0, 1, 1]]).reshape(1, 2, 3, 1)
        return Outcomes(score, won, (won[0, ..., 0] * offers.unsqueeze(-2)).unsqueeze(-3))


# ---------------------------------------------------------------- markets


@pytest.mark.parametrize("second", [False, True])
def test_a_hard_auction_does_what_its_rule_says(second):
    rule = SecondPriceAuction(3, 2) if second else FirstPriceAuction(3, 2)
    bids = torch.rand(50, 3, 2, dtype=torch.float64)
    shares, paid = rule.allocate(bids)
    for row in range(50):
        expected_shares, expected_paid = torch.zeros(3, 2), torch.zeros(3)
        for good in range(2):
            order = bids[row, :, good].argsort(descending=True)
            expected_shares[order[0], good] = 1
            expected_paid[order[0]] += bids[row, order[1 if second else 0], good]
        assert torch.equal(shares[row].float(), expected_shares)
        torch.testing.assert_close(paid[row].float(), expected_paid)


def test_equal_bids_share():
    shares, paid = FirstPriceAuction(3).allocate(torch.tensor([[2.0], [2.0], [1.0]]))
    assert shares[:, 0].tolist() == [0.5, 0.5, 0]
    assert paid.tolist() == [1, 1, 0]


def test_a_cold_smoothed_market_is_the_hard_one_and_shares_always_add_up():
    bids = torch.rand(100, 4, 2)
    for rule in (FirstPriceAuction(4, 2), SecondPriceAuction(4, 2)):
        for ours, theirs in zip(SmoothedMechanism(rule, 1e-6).allocate(bids), rule.allocate(bids), strict=True):
            torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(SmoothedMechanism(rule, 0.5).allocate(bids)[0].sum(-2), torch.ones(100, 2))


def test_a_smoothed_utility_has_the_gradient_that_differences_see():
    values, bids = torch.rand(2, 3, 2, 1, dtype=torch.float64)
    for rule in (FirstPriceAuction(2), SecondPriceAuction(2)):
        market = SmoothedMechanism(rule, 0.3)
        assert torch.autograd.gradcheck(lambda b, m=market: m.utilities(values, b), bids.clone().requires_grad_())


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="bids do not fit"):
        FirstPriceAuction(2).allocate(torch.rand(3, 1))
    with pytest.raises(InputError, match="not an allocation rule"):
        SmoothedMechanism(lambda bids: bids)
    with pytest.raises(InputError, match="values do not fit"):
        EquilibriumLearner(FirstPriceAuction(2)).learn(torch.rand(10, 3))
    with pytest.raises(InputError, match="values do not fit"):
        EquilibriumLearner(FirstPriceAuction(2)).learn(-torch.rand(10, 2))
    with pytest.raises(InputError, match="n_bidders"):
        FirstPriceAuction(1)


# ---------------------------------------------------------------- regret


def test_regret_is_that_of_the_closed_form():
    """Against half the value, bids b <= 1/2 gain (v - b) 2b: the truth gains nothing, a quarter gains v - v^2/4 ..."""
    values = torch.rand(2**14, 2, 1)
    found = regret(FirstPriceAuction(2), lambda v: torch.stack([0.25 * v[:, 0], 0.5 * v[:, 1]], 1), values)
    v = values[:, 0, 0]
    assert found.best[0] == pytest.approx(float((v**2 / 2).mean()), abs=0.01)
    assert found.utility[0] == pytest.approx(float((0.75 * v * v / 2).mean()), abs=0.01)
    assert min(found.regret) >= 0


def test_regret_sees_what_a_smoothed_market_would_hide():
    truthful = regret(FirstPriceAuction(2), lambda v: v, torch.rand(4096, 2, 1))
    assert truthful.share == pytest.approx(1.0, abs=0.02)
    assert regret(SecondPriceAuction(2), lambda v: v, torch.rand(4096, 2, 1)).share < 0.01


# ---------------------------------------------------------------- equilibria


@pytest.mark.parametrize("n", [2, 3])
def test_a_first_price_equilibrium_is_found(n):
    found = EquilibriumLearner(FirstPriceAuction(n), steps=300).learn(uniform(n))
    v = torch.rand(5000, n)
    assert (found.bids(v) - (n - 1) / n * v).square().mean().sqrt() < 0.03
    assert found.regret.share < 0.03


def test_bidders_that_are_alike_share_a_strategy():
    found = EquilibriumLearner(FirstPriceAuction(2), shared=True, steps=300).learn(uniform(2))
    v = torch.rand(5000, 1).expand(-1, 2)
    assert torch.equal(*found.bids(v).T)
    assert (found.bids(v) - 0.5 * v).square().mean().sqrt() < 0.03


def test_values_in_other_units_change_nothing_but_the_units():
    table = torch.rand(2000, 2)
    small, large = (EquilibriumLearner(FirstPriceAuction(2), steps=50).learn(s * table) for s in (1.0, 1024.0))
    torch.testing.assert_close(1024 * small.bids(table), large.bids(1024 * table))
    assert large.regret.share == pytest.approx(small.regret.share, rel=1e-3)


def test_goods_that_are_sold_side_by_side_are_bid_for_apart():
    found = EquilibriumLearner(FirstPriceAuction(2, 2), steps=400).learn(uniform(2, 2))
    v = torch.rand(5000, 2, 2)
    assert (found.bids(v) - 0.5 * v).square().mean().sqrt() < 0.05


def test_a_rule_of_ones_own_has_an_equilibrium_too():
    found = EquilibriumLearner(Bundles(), steps=300).learn(
        lambda rows, g: torch.rand(rows, 3, generator=g) * torch.tensor([2.0, 1.0, 1.0])
    )
    assert found.regret.share < 0.05
    with torch.no_grad():
        bids = found.strategies(torch.full((1, 3, 1), 0.8))[0, :, 0]
    assert (bids < 0.8).all()
    assert bids[1:].max() < 0.6  # the small ones leave part of the price to each other


def test_opponents_are_held_fixed():
    """With gradients into the others' bids, each would also learn to make the other bid less."""
    learner = EquilibriumLearner(FirstPriceAuction(2))
    bids, values = torch.rand(64, 2, 1).requires_grad_(), torch.rand(64, 2, 1)
    market = SmoothedMechanism(FirstPriceAuction(2), 0.1)
    (ours,) = torch.autograd.grad(learner._own_gains(market, values, bids), bids)
    one = bids.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(market.utilities(values, one)[:, 0].mean(), one)
    torch.testing.assert_close(ours[:, 0], expected[:, 0])
    assert expected[:, 1].abs().max() > 0


def test_the_seed_decides_all():
    first, again = (EquilibriumLearner(FirstPriceAuction(2), steps=5, seed=3).learn(uniform(2)) for _ in range(2))
    assert first.regret == again.regret
    assert BidNetworks(2, 1, start=0.5)(torch.ones(1, 2, 1)).tolist() == [[[0.5], [0.5]]]
