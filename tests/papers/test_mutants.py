"""A check that cannot fail shows nothing: with its method broken on purpose, a bar has to be missed."""

from __future__ import annotations

import importlib

import pytest

from softwood.layers import _selective
from softwood.papers import check_here

# id: (what is broken, what stands in its place, the size at which that has to be seen)
MUTANTS = {
    # the trap: convolutions alone, while their neighbours go on holding the same tensor
    "selective-memory": (
        "softwood.layers._selective:_TWINS",
        {kind: twin for kind, twin in _selective._TWINS.items() if "Conv" in kind.__name__},
        "smoke",
    ),
}
CASES = [pytest.param(id, marks=[pytest.mark.slow] if MUTANTS[id][2] != "smoke" else [], id=id) for id in MUTANTS]


@pytest.mark.parametrize("id", CASES)
def test_a_broken_method_misses_a_bar(id, monkeypatch):
    target, replacement, size = MUTANTS[id]
    module, _, attribute = target.partition(":")
    monkeypatch.setattr(importlib.import_module(module), attribute, replacement)
    found = check_here(id, size, 0)
    assert [bar["says"] for bar in found["evidence"]["bars"] if not bar["holds"]]
