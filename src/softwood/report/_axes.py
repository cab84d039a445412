"""Axes of charts: scales, round ticks, and the frame that they are drawn in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from softwood.report._html import Markup, number, tag

WIDTH, HEIGHT = 640.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 76.0, 16.0, 14.0, 48.0


@dataclass(frozen=True)
class Scale:
    """A straight line from data to pixels.

    Args:
        low: smallest value shown.
        high: largest value shown.
        start: pixel of ``low``.
        end: pixel of ``high``.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value, to a hundredth; what lies outside is drawn at the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def span(values: Sequence[float], *, zero: bool = False) -> tuple[float, float]:
    """Return ends around values with some room; never an empty span.

    Args:
        values: at least one.
        zero: begin at zero.
    """
    low, high = (0.0 if zero else min(values)), max(values)
    room = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    return (low if zero else low - room), high + room


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round values between two ends: multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Frame:
    """Two scales, and the lines, ticks and titles around them.

    Args:
        x: horizontal scale.
        y: vertical scale.
        marks: what is drawn behind the data.
    """

    x: Scale
    y: Scale
    marks: tuple[Markup, ...]


def frame(
    x: tuple[float, float], y: tuple[float, float], *, x_title: str, y_title: str, shares: bool = False,
    powers: bool = False,
) -> Frame:  # fmt: skip
    """Return the frame of a chart.

    Args:
        x: ends of the horizontal axis.
        y: ends of the vertical axis.
        x_title: what is along it.
        y_title: what is along it.
        shares: ticks are shares, written in percent.
        powers: x holds logarithms to base 10; ticks are written as what they are logarithms of.
    """
    across = Scale(*x, _LEFT, WIDTH - _RIGHT)
    up = Scale(*y, HEIGHT - _BOTTOM, _TOP)
    text = _whole_percent if shares else number
    marks = []
    for value in _decades(*x) if powers else ticks(*x):
        at = across(value)
        marks.append(tag("line", x1=at, x2=at, y1=_TOP, y2=HEIGHT - _BOTTOM, class_="grid"))
        marks.append(
            tag(
                "text",
                text(10**value if powers else value),
                x=at,
                y=HEIGHT - _BOTTOM + 18,
                text_anchor="middle",
                class_="tick",
            )
        )
    for value in ticks(*y):
        at = up(value)
        marks.append(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=at, y2=at, class_="grid"))
        marks.append(tag("text", text(value), x=_LEFT - 8, y=at + 4, text_anchor="end", class_="tick"))
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    marks.append(tag("text", x_title, x=(_LEFT + WIDTH) / 2, y=HEIGHT - 8, text_anchor="middle", class_="axis"))
    turned = f"rotate(-90 14 {middle})"
    marks.append(tag("text", y_title, x=14, y=middle, text_anchor="middle", transform=turned, class_="axis"))
    return Frame(across, up, tuple(marks))


def _decades(low: float, high: float) -> list[float]:
    """Return the logarithms of 1, 2 and 5 times powers of ten between two logarithms."""
    steps = [math.log10(times) + power for power in range(math.floor(low), math.ceil(high) + 1) for times in (1, 2, 5)]
    return [step for step in steps if low <= step <= high]


def _whole_percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def picture(label: str, *content: object, height: float = HEIGHT) -> Markup:
    """Return an SVG picture with its description for those who do not see it."""
    return tag("svg", *content, viewBox=f"0 0 {WIDTH:g} {height:g}", role="img", aria_label=label, class_="chart")
