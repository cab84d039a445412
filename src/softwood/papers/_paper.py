"""What a paper is here, and what its check has to show."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from softwood.core import InputError, SoftwoodError, check_choice, check_number

FAMILIES = ("compress", "graphs", "language", "nas", "ops", "symbolic", "trees", "worlds")
KINDS = ("system", "theory", "survey", "benchmark")
SIZES = ("smoke", "quick", "full")
ORIGINS = ("paper", "measured", "target", "calibrated")


@dataclass(frozen=True)
class Paper:
    """A paper of the scope, and what of it stands in the library.

    Args:
        id: short name, as in ``softwood reproduce ID``.
        title: of the paper.
        year: of its first version.
        family: one of ``FAMILIES``.
        kind: ``"system"`` (a method), ``"theory"``, ``"survey"`` or ``"benchmark"``.
        does: one line: what it is for.
        when: one line: when to use it, and when not.
        api: public names that carry it, such as ``"softwood.ops.sort"``; what they stand in is its room.
        claim: what the check shows, in one sentence.
        headline: the paper's own main result.
        full: how to run it at the paper's size.
        seconds: what one seed takes at size quick, on two cores.

    Raises:
        InputError: family or kind is unknown, or there is no public name.

    Example:
        >>> about = {"does": "shows", "when": "always", "claim": "it holds", "headline": "1 %", "full": "a week"}
        >>> Paper("demo", "A paper", 2020, "ops", "system", api=("softwood.core.Budget",), seconds=1, **about).id
        'demo'
    """

    id: str
    title: str
    year: int
    family: str
    kind: str
    does: str
    when: str
    api: tuple[str, ...]
    claim: str
    headline: str
    full: str
    seconds: float

    def __post_init__(self) -> None:
        check_choice("family", self.family, FAMILIES)
        check_choice("kind", self.kind, KINDS)
        check_number("seconds", self.seconds, low=0.1)
        if not self.api:
            raise InputError(
                "a paper has no public name", got=self.id, allowed="at least one", fix="name what carries it"
            )


@dataclass(frozen=True)
class Measure:
    """One number of a check.

    Args:
        name: what was measured.
        method: ours, or the baseline's name.
        value: the number; NaN and infinity are numbers that failed, and count as such.
        unit: of the number, or nothing.

    Example:
        >>> Measure("accuracy", "straight-through", 0.91).value
        0.91
    """

    name: str
    method: str
    value: float
    unit: str = ""


@dataclass(frozen=True)
class Bar:
    """What has to hold, set before the run.

    Args:
        says: the bar in words, with its number.
        measured: the number it is about.
        bound: what that number may reach at the most or the least.
        side: ``"at most"`` or ``"at least"``.
        origin: where the bar comes from: the ``"paper"``, ``"measured"`` when the bar was prepared, a ``"target"`` that
            nobody had tried, or ``"calibrated"`` in size and epochs (never in baseline, direction or margin).
        every: it has to hold on every seed, not only in the mean.

    Raises:
        InputError: side or origin is unknown.

    Example:
        >>> Bar("error at most 0.1", 0.05, 0.1, "at most", "measured").holds
        True
    """

    says: str
    measured: float
    bound: float
    side: str
    origin: str
    every: bool = False

    def __post_init__(self) -> None:
        check_choice("side", self.side, ("at most", "at least"))
        check_choice("origin", self.origin, ORIGINS)

    @property
    def holds(self) -> bool:
        """Say whether it is met; NaN never is."""
        return self.measured <= self.bound if self.side == "at most" else self.measured >= self.bound


@dataclass(frozen=True)
class Evidence:
    """What one run of a check found.

    Args:
        measures: ours and every baseline's, of this run.
        bars: what had to hold.
        scale: what was run, in one line: rows, sizes, epochs.

    Raises:
        InputError: there is no bar.

    Example:
        >>> Evidence((), (Bar("0 wrong", 0, 0, "at most", "paper"),), "17 points").holds
        True
    """

    measures: tuple[Measure, ...]
    bars: tuple[Bar, ...]
    scale: str

    def __post_init__(self) -> None:
        if not self.bars:
            raise InputError("a check has no bar", got="none", allowed="at least one", fix="say what has to hold")

    @property
    def holds(self) -> bool:
        """Say whether every bar is met."""
        return all(bar.holds for bar in self.bars)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content; a number that is not finite becomes None."""
        return {
            "scale": self.scale,
            "measures": [{**asdict(one), "value": _finite(one.value)} for one in self.measures],
            "bars": [{**asdict(bar), "measured": _finite(bar.measured), "holds": bool(bar.holds)} for bar in self.bars],
        }


class NeedsData(SoftwoodError):
    """Raised by a check where the data that it needs is absent.

    Args:
        what: the data.
        command: what brings it.

    Example:
        >>> NeedsData("CIFAR-10", "softwood data cifar10").command
        'softwood data cifar10'
    """

    def __init__(self, what: str, command: str) -> None:
        self.what, self.command = what, command
        super().__init__(f"{what} is absent; to fix: {command}")


def _finite(value: float) -> float | None:
    value = float(value)
    return value if math.isfinite(value) else None
