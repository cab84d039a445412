"""Gradients: gradients where there are none, and how far to trust them.

A discrete decision has derivative zero almost everywhere. What stands here puts something useful in its place:
``straight_through`` gives a hard value the gradient of a soft one.
"""

from softwood.gradients._straight_through import straight_through

__all__ = ["straight_through"]
