"""A paper of the tests' own, and the papers that are built."""

from __future__ import annotations

from types import ModuleType

import pytest

from softwood.papers import Bar, Evidence, Measure, NeedsData, Paper, _run, _shelf

FACTS = {"does": "shows", "when": "always", "claim": "it holds", "headline": "1 %", "full": "a week"}
DEMO = Paper("demo", "A paper", 2020, "ops", "system", api=("softwood.core.Budget",), seconds=1, **FACTS)


class Demo(ModuleType):
    """A paper's file whose check does what a test asks."""

    PAPER = DEMO

    def check(self, size, seed):
        if self.behaviour == "crash":
            raise RuntimeError("it broke")
        if self.behaviour == "absent":
            raise NeedsData("the moon", "softwood fetch moon")
        measured = 0.5 if self.behaviour == "miss" and seed == 1 else 1.0 + seed
        bar = Bar("at least 1", measured, 1.0, "at least", "paper", every=self.every)
        return Evidence((Measure("score", "ours", measured), Measure("score", "other", 0.5)), (bar,), f"size {size}")


@pytest.fixture
def demo(monkeypatch):
    module = Demo("demo")
    module.behaviour, module.every = "hold", False
    for place in (_run, _shelf):
        monkeypatch.setattr(place, "load", lambda id: module)
        monkeypatch.setattr(place, "source_hash", lambda paper: "0" * 16)
    monkeypatch.setattr(_run, "run_seed", lambda id, size, seed: _caught(id, size, seed))
    return module


def _caught(id, size, seed):
    try:
        return {**_run.check_here(id, size, seed), "seconds": 0.1}
    except RuntimeError as error:
        return {"outcome": "crashed", "error": str(error), "seconds": 0.1, "evidence": None}
