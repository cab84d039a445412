"""Decisions: learners of what to bid, whom to ask, where to cut and in which order.

Each trains through a discrete decision (who wins, which k models vote, on which side of a threshold, which rank) and
answers with the discrete one. Experimental: names and defaults may change between releases.
"""

from softwood.decisions._auctions import FirstPriceAuction, Mechanism, Outcomes, SecondPriceAuction, SmoothedMechanism
from softwood.decisions._ensemble import SelectiveEnsembleClassifier
from softwood.decisions._equilibrium import Equilibrium, EquilibriumLearner
from softwood.decisions._metric import MetricClassifier
from softwood.decisions._ranking import RankingLearner
from softwood.decisions._regret import Regret, regret
from softwood.decisions._strategies import BidNetworks

__all__ = [
    "BidNetworks",
    "Equilibrium",
    "EquilibriumLearner",
    "FirstPriceAuction",
    "Mechanism",
    "MetricClassifier",
    "Outcomes",
    "RankingLearner",
    "Regret",
    "SecondPriceAuction",
    "SelectiveEnsembleClassifier",
    "SmoothedMechanism",
    "regret",
]
