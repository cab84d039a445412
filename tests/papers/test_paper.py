"""What a paper, a bar and evidence accept."""

from __future__ import annotations

import math

import pytest

from softwood.core import InputError
from softwood.papers import Bar, Evidence, Measure, Paper

FACTS = {"does": "shows", "when": "always", "claim": "it holds", "headline": "1 %", "full": "a week"}


@pytest.mark.parametrize(
    ("measured", "side", "holds"),
    [(1.0, "at most", True), (1.1, "at most", False), (1.0, "at least", True), (0.9, "at least", False)],
)
def test_a_bar_holds_up_to_its_bound(measured, side, holds):
    assert Bar("", measured, 1.0, side, "paper").holds is holds


@pytest.mark.parametrize("side", ["at most", "at least"])
def test_nan_meets_no_bar(side):
    assert not Bar("", math.nan, 1.0, side, "paper").holds


def test_evidence_needs_a_bar_and_writes_nan_as_null():
    with pytest.raises(InputError, match="a check has no bar"):
        Evidence((), (), "nothing")
    bar = Bar("", math.nan, 1.0, "at most", "paper")
    found = Evidence((Measure("m", "ours", math.inf),), (bar,), "small").to_dict()
    assert found["measures"][0]["value"] is None
    assert found["bars"][0]["measured"] is None
    assert found["bars"][0]["holds"] is False


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"family": "cars"}, "family is unknown"), ({"kind": "poem"}, "kind is unknown"), ({"api": ()}, "no public name"),
     ({"seconds": 0}, "seconds is out of range")],
)  # fmt: skip
def test_a_paper_says_what_it_is(changed, message):
    about = {"family": "ops", "kind": "system", "api": ("softwood.core.Budget",), "seconds": 1, **FACTS, **changed}
    with pytest.raises(InputError, match=message):
        Paper("demo", "A paper", 2020, **about)
