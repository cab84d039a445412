"""Lifecycle: the verbs through which every soft decision goes.

``soften`` makes a discrete thing trainable, ``calibrate`` sets its temperatures in units of the data, ``train``
runs any learner with seeds, stopping, checkpoints and resume, ``Annealer`` cools a model as its gap allows,
``harden`` makes it discrete again, and ``certify`` says how far what ships and what was trained disagree.
``ProxSGD`` and ``ProxAdam`` are optimizers under which weights become exactly zero.
"""

from softwood.lifecycle._anneal import Annealer, measure_gap
from softwood.lifecycle._calibrate import calibrate
from softwood.lifecycle._certificate import Bound, Certificate, Paired
from softwood.lifecycle._certify import certify
from softwood.lifecycle._fidelity import Fidelity, measure_fidelity
from softwood.lifecycle._harden import HardenResult, HardenStep, harden
from softwood.lifecycle._intervals import Estimate, clopper_pearson, mean_of, paired_error, share_of
from softwood.lifecycle._leaves import (
    MOST_LEAVES,
    LeafObserved,
    leaf_answers,
    leaf_lines,
    listed_from,
    listed_to,
    observe_leaves,
)
from softwood.lifecycle._progress import TrainProgress
from softwood.lifecycle._prox import prox_group, prox_l0, prox_l1
from softwood.lifecycle._prox_optimizers import ProxAdam, ProxSGD
from softwood.lifecycle._soften import soften
from softwood.lifecycle._state import flatten_state, unflatten_state
from softwood.lifecycle._train import Learner, TrainResult, TrainState, train

__all__ = [
    "MOST_LEAVES",
    "Annealer",
    "Bound",
    "Certificate",
    "Estimate",
    "Fidelity",
    "HardenResult",
    "HardenStep",
    "LeafObserved",
    "Learner",
    "Paired",
    "ProxAdam",
    "ProxSGD",
    "TrainProgress",
    "TrainResult",
    "TrainState",
    "calibrate",
    "certify",
    "clopper_pearson",
    "flatten_state",
    "harden",
    "leaf_answers",
    "leaf_lines",
    "listed_from",
    "listed_to",
    "mean_of",
    "measure_fidelity",
    "measure_gap",
    "observe_leaves",
    "paired_error",
    "prox_group",
    "prox_l0",
    "prox_l1",
    "share_of",
    "soften",
    "train",
    "unflatten_state",
]
