"""From a discrete thing to a trainable one."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from softwood.core import InputError, capability
from softwood.layers import SoftModule

# Rooms above this one register what they can soften when they are imported. The first unknown type imports these,
# so that `soften` works whatever the caller has imported.
_ROOMS = ("softwood.trees",)


@capability("verb", cost="that of copying the parameters of the discrete thing")
@functools.singledispatch
def soften(thing: Any, **options: Any) -> SoftModule:
    """Turn a discrete thing into a ``SoftModule`` that can be trained and hardened back.

    Rooms add the types that they know with ``soften.register``; the options are those of the room.

    Args:
        thing: a discrete thing, such as an ``artifacts.HardEnsemble``.
        options: passed to the room.

    Returns:
        A soft module that tends to ``thing`` as its temperature tends to 0.

    Raises:
        InputError: no room knows this type; the message lists the types that can be softened.

    Example:
        >>> class Threshold:
        ...     at = 3.0
        >>> class SoftThreshold(SoftModule):
        ...     def __init__(self, at): super().__init__(); self.at = at
        ...     def margins(self, x): return x - self.at
        ...     def forward(self, x): return (self.margins(x) / self.temperature).sigmoid()
        ...     def harden(self): return Threshold()
        >>> soften.register(Threshold, lambda thing: SoftThreshold(thing.at))  # doctest: +ELLIPSIS
        <function ...>
        >>> soften(Threshold()).at
        3.0
    """
    if _import_rooms(type(thing)):
        return soften(thing, **options)
    known = sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in soften.registry if kind is not object)
    raise InputError(
        "this cannot be softened",
        got=f"a {type(thing).__module__}.{type(thing).__qualname__}",
        allowed=", ".join(known) or "no type is registered",
        fix="pass one of these, or register yours with soften.register(type, function)",
    )


def _import_rooms(kind: type) -> bool:
    """Import the rooms that register types, and say whether one of them knows ``kind``."""
    unknown = soften.dispatch(object)
    for room in _ROOMS:
        importlib.import_module(room)
    return soften.dispatch(kind) is not unknown
