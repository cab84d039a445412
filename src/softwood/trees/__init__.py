"""Trees: decision trees that are trained through their tests, and shipped hard.

``TreeClassifier`` and ``TreeRegressor`` go from a table to one small, certified tree, ``ForestClassifier`` and
``ForestRegressor`` to a forest of a given size, with scikit-learn's manners.
``SoftTree`` and ``SoftForest`` are soft modules for use inside any network; they harden to ``HardTree`` and
``HardForest``, and from there to ``artifacts.HardEnsemble``. ``path_probabilities`` and ``gate`` are the pieces that
soft trees are made of.
"""

from softwood.trees import _torch_convert  # registers what sw.soften can soften
from softwood.trees._brought import read_init
from softwood.trees._distill import distill
from softwood.trees._distill_teacher import read_teacher
from softwood.trees._forest_learners import ForestClassifier, ForestRegressor
from softwood.trees._hard_forest import HardForest
from softwood.trees._learners import TreeClassifier, TreeRegressor
from softwood.trees._soft_forest import SoftForest
from softwood.trees._soft_forest_model import SoftForestModel, read_soft
from softwood.trees._soft_model import SoftModel
from softwood.trees._soft_tree import HardTree, SoftTree, gate, path_probabilities

__all__ = [
    "ForestClassifier",
    "ForestRegressor",
    "HardForest",
    "HardTree",
    "SoftForest",
    "SoftForestModel",
    "SoftModel",
    "SoftTree",
    "TreeClassifier",
    "TreeRegressor",
    "distill",
    "gate",
    "path_probabilities",
    "read_init",
    "read_soft",
    "read_teacher",
]

del _torch_convert
