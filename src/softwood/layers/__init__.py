"""Layers: soft modules of general use.

``SoftModule`` is the one base of everything soft: an ``nn.Module`` with a ``temperature`` buffer that knows how to
turn into its discrete self. ``sw.calibrate``, ``sw.Annealer`` and ``sw.harden`` find such modules anywhere in a
network and leave the rest alone. Here are sorting networks, smooth activations, choices and projections, and the plain
modules that they become.
``convert_to_selective`` makes any network keep no activation that its frozen parameters make superfluous;
``saved_bytes`` measures it.
"""

from softwood.layers._choices import BirkhoffProjection, RelaxedCategorical, SimplexProjection
from softwood.layers._hard import Gate, Matching, OneHot, PiecewiseLinear, Sort, TopKMask
from softwood.layers._selective import convert_to_selective, revert_selective, saved_bytes
from softwood.layers._set_encoder import SetOrdinalEncoder
from softwood.layers._smooth import SAU, SmoothActivation, smooth, smooth_activation_
from softwood.layers._soft_module import SoftModule, soft_modules
from softwood.layers._sorting import SortingNetwork
from softwood.layers._subset import CappedSimplexProjection, SubsetLayer

__all__ = [
    "SAU",
    "BirkhoffProjection",
    "CappedSimplexProjection",
    "Gate",
    "Matching",
    "OneHot",
    "PiecewiseLinear",
    "RelaxedCategorical",
    "SetOrdinalEncoder",
    "SimplexProjection",
    "SmoothActivation",
    "SoftModule",
    "Sort",
    "SortingNetwork",
    "SubsetLayer",
    "TopKMask",
    "convert_to_selective",
    "revert_selective",
    "saved_bytes",
    "smooth",
    "smooth_activation_",
    "soft_modules",
]
