"""Layers: soft modules of general use.

``SoftModule`` is the one base of everything soft: an ``nn.Module`` with a ``temperature`` buffer that knows how to
turn into its discrete self. ``sw.calibrate``, ``sw.Annealer`` and ``sw.harden`` find such modules anywhere in a
network and leave the rest alone.
"""

from softwood.layers._soft_module import SoftModule, soft_modules

__all__ = ["SoftModule", "soft_modules"]
