"""Gradients: gradients where there are none, and how far to trust them.

A discrete decision has derivative zero almost everywhere. An estimator puts something useful in its place. There are
two families, and within each the members swap without a change to the model:

- *choice estimators* are for categorical choices with logits: ``estimate(loss_fn, logits)`` gives the mean loss, whose
  gradient by the logits is the estimate. ``ScoreFunction()`` with 4 samples is the unbiased choice for any black box,
  ``ReinMax()`` and ``GumbelSoftmax()`` the ones with little variance for a loss that has a gradient.
- *function estimators* stand around a solver or black box: ``wrap(fn)`` gives a differentiable function to call in its
  place. ``Perturbed()`` is right for any of them, ``Blackbox()`` and ``IMLE()`` for argmax solvers, ``SPSA()`` for a
  cost, ``Smoothing()`` for kinks and jumps, ``ImplicitMinimum()`` for what satisfies an equation.

``check`` is the gradient doctor: it measures all that apply to a problem, and recommends one. ``unroll_report`` says
whether gradients through an iterated system can be trusted, ``kink_report``, ``one_sided`` and ``derivative_faults``
whether autograd can, ``nonsmooth_report`` whether descent stalls at kinks.
"""

from softwood.gradients._bilevel import BilevelRound, BilevelTrainer, Stationarity, stationarity
from softwood.gradients._blackbox import IMLE, AdaptiveStep, Blackbox, IdentityProjection, spo_plus_loss
from softwood.gradients._check import check
from softwood.gradients._control_variate import REBAR, RELAX, ControlVariate
from softwood.gradients._differences import SPSA, FiniteDifferences, LocalSPSA
from softwood.gradients._disarm import DisARM
from softwood.gradients._faults import DerivativeFault, FaultReport, derivative_faults, nondifferentiable_bound
from softwood.gradients._gumbel import GumbelSoftmax, Relaxation
from softwood.gradients._implicit import HyperGradient, ImplicitFixedPoint, ImplicitMinimum, hypergradient
from softwood.gradients._kinks import KinkLayer, KinkReport, OneSided, kink_report, one_sided
from softwood.gradients._linear import ConjugateGradient, ExactSolve, Neumann
from softwood.gradients._noise import SumOfGamma, per_instance
from softwood.gradients._nonsmooth import NonsmoothReport, Stall, nonsmooth_report
from softwood.gradients._perturbed import Perturbed, fenchel_young_loss
from softwood.gradients._protocol import ChoiceEstimator, FunctionEstimator, PathwiseEstimator
from softwood.gradients._report import EstimatorRow, GradientReport
from softwood.gradients._score_function import Enumeration, MovingBaseline, ScoreFunction
from softwood.gradients._smoothing import InverseVarianceMix, PiecewiseLinear, Smoothing, inverse_variance_mix
from softwood.gradients._spectrum import UnrollReport, lyapunov, unroll_report
from softwood.gradients._straight_through import ReinMax, StraightThrough, straight_through
from softwood.gradients._unordered import UnorderedSet

__all__ = [
    "IMLE",
    "REBAR",
    "RELAX",
    "SPSA",
    "AdaptiveStep",
    "BilevelRound",
    "BilevelTrainer",
    "Blackbox",
    "ChoiceEstimator",
    "ConjugateGradient",
    "ControlVariate",
    "DerivativeFault",
    "DisARM",
    "Enumeration",
    "EstimatorRow",
    "ExactSolve",
    "FaultReport",
    "FiniteDifferences",
    "FunctionEstimator",
    "GradientReport",
    "GumbelSoftmax",
    "HyperGradient",
    "IdentityProjection",
    "ImplicitFixedPoint",
    "ImplicitMinimum",
    "InverseVarianceMix",
    "KinkLayer",
    "KinkReport",
    "LocalSPSA",
    "MovingBaseline",
    "Neumann",
    "NonsmoothReport",
    "OneSided",
    "PathwiseEstimator",
    "Perturbed",
    "PiecewiseLinear",
    "ReinMax",
    "Relaxation",
    "ScoreFunction",
    "Smoothing",
    "Stall",
    "Stationarity",
    "StraightThrough",
    "SumOfGamma",
    "UnorderedSet",
    "UnrollReport",
    "check",
    "derivative_faults",
    "fenchel_young_loss",
    "hypergradient",
    "inverse_variance_mix",
    "kink_report",
    "lyapunov",
    "nondifferentiable_bound",
    "nonsmooth_report",
    "one_sided",
    "per_instance",
    "spo_plus_loss",
    "stationarity",
    "straight_through",
    "unroll_report",
]
