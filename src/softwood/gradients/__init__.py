"""Gradients: gradients where there are none, and how far to trust them.

A discrete decision has derivative zero almost everywhere. An estimator puts something useful in its place. There are
two families, and within each the members swap without a change to the model:

- *choice estimators* are for categorical choices with logits: ``estimate(loss_fn, logits)`` gives the mean loss, whose
  gradient by the logits is the estimate. ``ScoreFunction()`` with 4 samples is the unbiased choice for any black box,
  ``ReinMax()`` and ``GumbelSoftmax()`` the ones with little variance for a loss that has a gradient.
"""

from softwood.gradients._control_variate import REBAR, RELAX, ControlVariate
from softwood.gradients._disarm import DisARM
from softwood.gradients._gumbel import GumbelSoftmax, Relaxation
from softwood.gradients._protocol import ChoiceEstimator, FunctionEstimator, PathwiseEstimator
from softwood.gradients._score_function import Enumeration, MovingBaseline, ScoreFunction
from softwood.gradients._straight_through import ReinMax, StraightThrough, straight_through
from softwood.gradients._unordered import UnorderedSet

__all__ = [
    "REBAR",
    "RELAX",
    "ChoiceEstimator",
    "ControlVariate",
    "DisARM",
    "Enumeration",
    "FunctionEstimator",
    "GumbelSoftmax",
    "MovingBaseline",
    "PathwiseEstimator",
    "ReinMax",
    "Relaxation",
    "ScoreFunction",
    "StraightThrough",
    "UnorderedSet",
    "straight_through",
]
