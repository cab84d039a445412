"""How much of the search for a forest there is time for, counted so that it can be noted and done again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from softwood.core import DamagedFileError, InputError, load_artifact, save_artifact
from softwood.trees._plan import Clock
from softwood.trees._threads import each

STAGES = ("screened", "judged")
_KIND, _VERSION = "forest-search", 1
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def check_forest_plan(plan: Mapping[str, int] | None) -> dict[str, int] | None:
    """Return a plan that says how many settings each stage looks at.

    Args:
        plan: count by stage, as ``record_["plan"]`` has it, or None.

    Raises:
        InputError: it says something else.
    """
    if plan is None:
        return None
    good = isinstance(plan, Mapping) and all(
        key in STAGES and isinstance(count, int) and count >= 0 for key, count in plan.items()
    )
    if not good:
        raise InputError(
            "this is no plan of a forest", got=repr(plan), allowed=f"a count for each of {', '.join(STAGES)}",
            fix='pass record_["plan"] of an earlier fit',
        )  # fmt: skip
    return {stage: plan.get(stage, 0) for stage in STAGES}


def in_time(
    items: Sequence[_Item],
    work: Callable[[_Item], _Result],
    jobs: int,
    told: Callable[[float], None],
    clock: Clock,
    share: float,
) -> list[_Result]:
    """Return what ``work`` makes of the first items: of as many as there is time for, without a gap.

    An item is begun only if the longest one so far would end in time.

    Args:
        items: what to work on.
        work: called from a thread.
        jobs: threads.
        told: is given the share that is done.
        clock: says what is left.
        share: of what is left now, for these items.
    """
    until, longest = clock.spent + share * clock.left, 0.0

    def one(item: _Item) -> _Result | None:
        nonlocal longest
        begun = time.monotonic()
        if clock.spent + longest > until:
            return None
        result = work(item)
        longest = max(longest, time.monotonic() - begun)
        return result

    found = []
    for result in each(items, one, jobs, told):
        if result is None:
            break
        found.append(result)
    return found


class Finished:
    """The finished stages of a search that may be killed.

    Args:
        place: directory, or None to remember nothing.
    """

    def __init__(self, place: Path | None) -> None:
        self.place = place

    def stage(self, name: str, find: Callable[[], dict[str, np.ndarray]]) -> dict[str, Any]:
        """Return the arrays that a stage has found before, or find them now."""
        if self.place is None:
            return find()
        path = self.place / name
        try:
            if path.exists():
                return load_artifact(path, kind=_KIND, version=_VERSION)[1]
        except DamagedFileError:
            pass  # found again below
        found = find()
        save_artifact(path, kind=_KIND, version=_VERSION, fields={}, arrays=found)
        return found
