"""How much of each search fits into the time: settled before it begins, so that it can be noted and done again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from softwood.core import DamagedFileError, InputError, load_artifact, save_artifact, write_atomic
from softwood.trees._candidates import Candidate, Setting
from softwood.trees._dense_tree import DenseTree

SEARCHES = ("kicks", "teacher", "gradient")
_SHARES = {"kicks": 0.3, "teacher": 0.4, "gradient": 0.9}  # of the time that is left when the search begins
_LEAST = 0.05  # of the effort asked for: below it a search is left out
_KIND, _VERSION = "tree-candidates", 1


class OutOfTime(Exception):
    """A search has run into the limit; what it found so far is dropped, since another machine would find more."""


@dataclass
class Clock:
    """Seconds since the search began, against a limit.

    Args:
        limit: seconds, infinity for none.
        reserve: seconds that selection will need.
        now: seconds that never go back.
    """

    limit: float
    reserve: float = 0.0
    now: Callable[[], float] = time.monotonic
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.now()

    @property
    def spent(self) -> float:
        """Seconds since the search began."""
        return self.now() - self.begun

    @property
    def left(self) -> float:
        """Seconds until selection has to begin."""
        return self.limit - self.reserve - self.spent

    def check(self) -> None:
        """Raise ``OutOfTime`` if there are none."""
        if self.left < 0:
            raise OutOfTime


def affordable(search: str, asked: float, cost: float, clock: Clock) -> float:
    """Return the effort for a search: what was asked for, or as much of it as its share of the time allows, or 0.

    Args:
        search: one of ``SEARCHES``.
        asked: effort asked for.
        cost: seconds that the search would take at that effort.
        clock: says what is left.
    """
    ratio = min(1.0, clock.left * _SHARES[search] / max(cost, 1e-9))
    return 0.0 if ratio < _LEAST else round(asked * ratio, 3)


def check_plan(plan: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return a plan that names only searches and efforts.

    Args:
        plan: effort by search, as ``record_["plan"]`` has it, or None.

    Raises:
        InputError: it names something else.
    """
    if plan is None:
        return None
    good = isinstance(plan, Mapping) and all(
        key in SEARCHES and isinstance(effort, int | float) and 0 <= effort <= 100 for key, effort in plan.items()
    )
    if not good:
        raise InputError(
            "this is no plan", got=repr(plan), allowed=f"an effort from 0 to 100 for each of {', '.join(SEARCHES)}",
            fix='pass record_["plan"] of an earlier fit',
        )  # fmt: skip
    return {search: float(plan.get(search, 0.0)) for search in SEARCHES}


class Memory:
    """What a fit that is killed has finished: efforts that were settled, and the trees of finished searches.

    Args:
        place: directory, or None to remember nothing.
    """

    def __init__(self, place: Path | None) -> None:
        self.place = place

    def effort(self, search: str, settle: Callable[[], float]) -> float:
        """Return the effort that was settled for a search before, or settle it now."""
        if self.place is None:
            return settle()
        path = self.place / f"{search}.json"
        if path.exists():
            return float(json.loads(path.read_text())["effort"])
        effort = settle()
        write_atomic(path, json.dumps({"effort": effort}))
        return effort

    def forget(self, search: str) -> None:
        """Settle that a search is left out."""
        if self.place is not None:
            write_atomic(self.place / f"{search}.json", json.dumps({"effort": 0.0}))

    def trees(self, search: str, find: Callable[[], list[Candidate]]) -> list[Candidate]:
        """Return the candidates that a search found before, or find them now. They have no soft parents."""
        if self.place is None:
            return find()
        path = self.place / search
        try:
            if path.exists():
                return _unpacked(*load_artifact(path, kind=_KIND, version=_VERSION))
        except DamagedFileError:
            pass  # found again below
        found = find()
        fields, arrays = _packed(found)
        save_artifact(path, kind=_KIND, version=_VERSION, fields=fields, arrays=arrays)
        return found


def _packed(candidates: Sequence[Candidate]) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Return settings and the arrays ``[S, G, 2^D - 1]`` of all trees."""
    parts = ("feature", "cut", "missing_left")
    arrays = {part: np.array([[getattr(t, part) for t in c.trees] for c in candidates]) for part in parts}
    return {"settings": [vars(candidate.setting) for candidate in candidates]}, arrays


def _unpacked(fields: Mapping[str, list[dict[str, object]]], arrays: Mapping[str, np.ndarray]) -> list[Candidate]:
    found = []
    for place, setting in enumerate(fields["settings"]):
        parts = (arrays["feature"][place], arrays["cut"][place], arrays["missing_left"][place])
        found.append(Candidate(Setting(**setting), [DenseTree(*tree) for tree in zip(*parts, strict=True)]))  # type: ignore[arg-type]
    return found
