"""The size that a discrete model may have: a hard constraint, the same argument in every room."""

from __future__ import annotations

from dataclasses import dataclass

from softwood.core._errors import InputError
from softwood.core._validation import check_number


@dataclass(frozen=True)
class Budget:
    """At most ``limit`` of ``unit`` in what ships.

    Args:
        limit: the largest allowed count, >= 1.
        unit: what is counted: ``"leaf values"``, ``"gates"``, ``"edges"``, ...

    Raises:
        InputError: ``limit`` is not a whole number >= 1.

    Example:
        >>> Budget(480, "leaf values").allows(481)
        False
    """

    limit: int
    unit: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", check_number("budget", self.limit, low=1, integer=True))

    def allows(self, count: int) -> bool:
        """Say whether ``count`` fits."""
        return count <= self.limit

    def check(self, count: int) -> int:
        """Return ``count`` if it fits.

        Raises:
            InputError: it does not.
        """
        if not self.allows(count):
            raise InputError(
                "the model is larger than its budget",
                got=f"{count} {self.unit}",
                allowed=f"at most {self.limit} {self.unit}",
                fix=f"raise budget to {count} or more, or let harden prune",
            )
        return count

    def __str__(self) -> str:
        return f"at most {self.limit} {self.unit}"
