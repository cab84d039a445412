"""Escaping by construction, and numbers for people."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softwood.lifecycle import Estimate
from softwood.report._html import Markup, escape, interval, join, number, percent, script_data, table, tag


def test_text_is_escaped_and_markup_is_not():
    made = tag("td", "<b>", tag("i", "&"), None, title="\"'><", class_="a", aria_label="x", hidden=True, id=None)
    expected = '<td title="&quot;&#x27;&gt;&lt;" class="a" aria-label="x" hidden>&lt;b&gt;<i>&amp;</i></td>'
    assert made == expected
    assert join(["<", Markup("<hr>")]) == "&lt;<hr>"
    assert "<b>" not in table(["<b>"], [["<b>", "<b>"]], caption="<b>")


@given(st.text())
def test_no_text_opens_an_element_or_leaves_an_attribute(text):
    escaped = escape(text)
    assert not set("<>\"'") & set(escaped)
    escaped.encode()


def test_half_a_character_can_be_written():
    assert escape("a\ud800b") == "a?b"


@given(st.text())
def test_data_for_the_script_ends_no_element_and_comes_back(text):
    made = script_data("x", {"a": text})
    inner = made.removeprefix('<script type="application/json" id="x">').removesuffix("</script>")
    assert not set("<>&") & set(inner)
    assert json.loads(inner) == {"a": text}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (3.0, "3"), (12345.0, "12,345"), (12345.678, "12,346"), (0.123456, "0.1235"), (-2.5, "−2.5"),
        (1e-7, "1e−07"), (None, "–"), (float("nan"), "–"), (1e20, "1e+20"), (9999.96, "1e+04"),
    ],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"), (1.0, "100 %"), (0.0001, "< 0.1 %"), (0.9999, "> 99.9 %"), (0.5, "50.0 %"), (0.0237, "2.4 %"),
        (None, "–"),
    ],
)  # fmt: skip
def test_shares(share, text):
    assert percent(share) == text


def test_intervals():
    assert interval(Estimate(0.5, 0.25, 1.0), share=True) == "50.0 % (25.0 % to 100 %)"
    assert interval(Estimate(2.0, 1.5, 2.5), share=False) == "2 (1.5 to 2.5)"
    assert interval(None, share=True) == "–"
