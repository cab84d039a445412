"""Charts show the numbers that they are given, where they belong."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softwood.lifecycle import Estimate
from softwood.report._axes import Scale, span, ticks
from softwood.report._charts import Dot, against_truth, bars, dots, losses


def _circles(svg: str, kind: str) -> list[tuple[float, float]]:
    found = [part for part in re.findall(r"<circle[^>]*>", svg) if kind in part]
    return [(float(re.search(r'cx="([^"]*)"', c)[1]), float(re.search(r'cy="([^"]*)"', c)[1])) for c in found]


@given(st.floats(-1e6, 1e6), st.floats(1e-2, 1e9))
def test_ticks_are_few_round_and_inside(low, width):
    high = low + width
    found = ticks(low, high)
    slack = 1e-6 * width
    assert 1 <= len(found) <= 7
    assert all(low - slack <= value <= high + slack for value in found)


def test_ticks_of_shares():
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [-1.0], [1.0, 2.0]])
def test_spans_are_never_empty(values):
    for zero in (False, True):
        low, high = span([abs(value) for value in values], zero=zero)
        assert low < high


def test_a_scale_is_linear_and_stays_inside():
    scale = Scale(0.0, 10.0, 100.0, 200.0)
    assert [scale(value) for value in (0, 5, 10, 99, -99)] == [100, 150, 200, 200, 100]


def test_dots_stand_in_order_and_the_marked_one_has_a_ring():
    points = [Dot(10, 0.3, "a"), Dot(20, 0.2, "b", marked=True), Dot(30, 0.4, "c <i>", group=1)]
    svg = dots(points, label="what it shows", x_title="size", y_title="loss")
    (xa, ya), (xb, yb) = sorted(_circles(svg, "dot"))
    assert xa < xb
    assert ya < yb  # a larger loss stands higher, so its pixel is smaller
    assert _circles(svg, "ring") == [(xb, yb)]
    assert svg.count("<polygon") == 1
    assert "<title>c &lt;i&gt;</title>" in svg
    assert 'aria-label="what it shows"' in svg


def test_losses_name_each_candidate_and_the_one_that_ships():
    svg = losses([("CART", 0.5, False), ("kicks", 0.25, True)], label="loss", title="loss")
    (cart, kicks) = _circles(svg, "dot")
    assert cart[0] > kicks[0]
    assert _circles(svg, "ring") == [kicks]
    assert "kicks (ships)" in svg
    assert "CART (ships)" not in svg


def test_bars_are_as_long_as_their_shares():
    svg = bars([("a", 0.6), ("b", 0.3), ("a name that is longer than there is room for it", 0.1)], label="importance")
    wide = [float(width) for width in re.findall(r'<rect[^>]*? width="([^"]*)"', svg)]
    assert wide[0] == pytest.approx(2 * wide[1], abs=0.02)
    assert wide[0] == pytest.approx(6 * wide[2], abs=0.06)
    assert "60.0 %" in svg
    assert "<title>a name that is longer than there is room for it</title>" in svg


def test_a_right_answer_lies_on_the_line():
    points = [(0.25, Estimate(0.25, 0.1, 0.5), 40), (0.75, Estimate(0.5, 0.4, 0.6), 10)]
    svg = against_truth(points, label="calibration", x_title="p", y_title="share", shares=True)
    even = re.search(r'x1="([\d.]+)" x2="([\d.]+)" y1="([\d.]+)" y2="([\d.]+)" class="even"', svg)
    x1, x2, y1, y2 = map(float, even.groups())
    (right, wrong) = _circles(svg, "dot")
    assert right[1] == pytest.approx(y1 + (right[0] - x1) * (y2 - y1) / (x2 - x1), abs=0.02)
    assert wrong[1] > y1 + (wrong[0] - x1) * (y2 - y1) / (x2 - x1) + 10
    assert "predicted 25.0 %, observed 25.0 % (10.0 % to 50.0 %), 40 rows" in svg
