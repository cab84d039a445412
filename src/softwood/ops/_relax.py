"""From the name of a relaxation to its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from softwood.core import InputError, check_choice


def resolve(relax: Any, known: Mapping[str, Any]) -> Any:
    """Return the relaxation that ``relax`` names, or ``relax`` itself where it is one.

    Args:
        relax: a name, or an instance of the class of one of the known relaxations.
        known: each name with the instance that it stands for. Two names may share a class.

    Raises:
        InputError: the name is unknown (all are listed), or the object is of another class.

    Example:
        >>> from fractions import Fraction
        >>> resolve("half", {"half": Fraction(1, 2)}), resolve(Fraction(1, 3), {"half": Fraction(1, 2)})
        (Fraction(1, 2), Fraction(1, 3))
    """
    if isinstance(relax, str):
        return known[check_choice("relax", relax, known)]
    if not isinstance(relax, tuple({type(one) for one in known.values()})):
        kinds = ", ".join(dict.fromkeys(type(one).__name__ for one in known.values()))
        raise InputError("relax is unknown", got=repr(relax), allowed=f"{', '.join(map(repr, known))}; or {kinds}(...)",
                         fix="pass one of these names")  # fmt: skip
    return relax
