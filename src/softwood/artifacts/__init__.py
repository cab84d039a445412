"""Artefacts: the discrete things that Softwood ships, and their exporters, without torch.

``HardEnsemble`` is every tree and forest: it predicts from a raw table, prints as rules, compares by value, and
saves to JSON + safetensors. ``Column`` describes one raw input column. ``export`` writes a model in another format
and compares every prediction before the file is handed over; ``kit`` adds what it takes to check that without
Softwood. ``import_model`` takes ensembles of scikit-learn, LightGBM, XGBoost and CatBoost.
"""

from softwood.artifacts._columns import Column, encode_table
from softwood.artifacts._counterfactual import Counterfactual
from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._explain import Explanation
from softwood.artifacts._export import FORMATS, ExportReport, export
from softwood.artifacts._export_json import load_json
from softwood.artifacts._import import import_model
from softwood.artifacts._kit import kit
from softwood.artifacts._monotone import ConstraintError, check_monotone, verified_constraints
from softwood.artifacts._probes import probes
from softwood.artifacts._rules import rules
from softwood.artifacts._verify import ExportMismatchError

__all__ = [
    "FORMATS",
    "Column",
    "ConstraintError",
    "Counterfactual",
    "Explanation",
    "ExportMismatchError",
    "ExportReport",
    "HardEnsemble",
    "check_monotone",
    "encode_table",
    "export",
    "import_model",
    "kit",
    "load_json",
    "probes",
    "rules",
    "verified_constraints",
]
