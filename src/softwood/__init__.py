"""Softwood: train through discrete decisions, ship the discrete result.

A model holds a decision without a useful gradient (a threshold, a sort, a choice of structure). The verbs
``soften``, ``train``, ``calibrate``, ``Annealer``, ``harden`` and ``certify`` turn it soft, train it, and turn it
back; the rooms (``sw.trees``, ``sw.artifacts``, ...) hold what is learned. Rooms are imported on first use, so
that ``import softwood`` is quick and ``softwood.artifacts`` predicts where torch is not installed.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_ROOMS = (
    "artifacts",
    "cli",
    "core",
    "data",
    "decisions",
    "gradients",
    "kernels",
    "layers",
    "lifecycle",
    "losses",
    "ops",
    "papers",
    "report",
    "trees",
)
_VERBS = ("Annealer", "Certificate", "HardenResult", "calibrate", "certify", "harden", "soften", "train")

__all__ = ["__version__", *_ROOMS, *_VERBS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"softwood.{name}")
    if name in _VERBS:
        return getattr(importlib.import_module("softwood.lifecycle"), name)
    raise AttributeError(f"module 'softwood' has no attribute {name!r}; it has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
