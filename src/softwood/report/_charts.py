"""Charts as SVG: size against score, calibration, and bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from softwood.lifecycle import Estimate
from softwood.report._axes import WIDTH, Scale, frame, picture, span, ticks
from softwood.report._html import Markup, number, percent, tag

_NAMES, _VALUES = 210.0, 70.0  # room for names on the left, and for numbers on the right, of a row of bars
_LONGEST = 30  # letters of a name


@dataclass(frozen=True)
class Dot:
    """One point of a chart.

    Args:
        x: horizontal value.
        y: vertical value.
        label: what it is, shown when the pointer rests on it.
        group: 0, 1, ...: its colour and shape.
        marked: drawn larger, with a ring.
    """

    x: float
    y: float
    label: str
    group: int = 0
    marked: bool = False


def dots(points: Sequence[Dot], *, label: str, x_title: str, y_title: str, far: bool = False) -> Markup:
    """Return a scatter of points.

    Args:
        points: at least one; marked ones are drawn last.
        label: what the picture shows.
        x_title: of the horizontal axis.
        y_title: of the vertical axis.
        far: horizontal values, all > 0, are so far apart that their logarithms are drawn.
    """
    points = [replace(point, x=math.log10(point.x)) for point in points] if far else points
    axes = frame(
        span([point.x for point in points], zero=not far), span([point.y for point in points]),
        x_title=x_title, y_title=y_title, powers=far,
    )  # fmt: skip
    drawn = []
    for point in sorted(points, key=lambda point: point.marked):
        x, y, title = axes.x(point.x), axes.y(point.y), tag("title", point.label)
        if point.marked:
            drawn.append(tag("circle", cx=x, cy=y, r=10, class_="ring"))
        if point.group:
            corners = f"{x},{y - 5} {x + 5},{y} {x},{y + 5} {x - 5},{y}"
            drawn.append(tag("polygon", title, points=corners, class_=f"dot group{point.group}"))
        else:
            drawn.append(tag("circle", title, cx=x, cy=y, r=4.5, class_="dot group0"))
    return picture(label, *axes.marks, *drawn)


def losses(rows: Sequence[tuple[str, float, bool]], *, label: str, title: str) -> Markup:
    """Return one line for each name with a dot at its loss; lower is better and further left.

    Args:
        rows: name, loss, and whether it ships.
        label: what the picture shows.
        title: of the axis.
    """
    height = 34.0 * len(rows) + 56
    scale = Scale(*span([loss for _, loss, _ in rows]), _NAMES, WIDTH - _VALUES)
    bottom = height - 46
    drawn = []
    for value in ticks(scale.low, scale.high, 5):
        at = scale(value)
        drawn.append(tag("line", x1=at, x2=at, y1=4, y2=bottom, class_="grid"))
        drawn.append(tag("text", number(value), x=at, y=bottom + 16, text_anchor="middle", class_="tick"))
    for place, (name, loss, ships) in enumerate(rows):
        y, at = 22 + 34 * place, scale(loss)
        drawn.append(tag("line", x1=_NAMES, x2=at, y1=y, y2=y, class_="stem"))
        if ships:
            drawn.append(tag("circle", cx=at, cy=y, r=10, class_="ring"))
        drawn.append(tag("circle", tag("title", f"{name}: {number(loss)}"), cx=at, cy=y, r=5, class_="dot group0"))
        drawn.append(_name(name + (" (ships)" if ships else ""), y, strong=ships))
        drawn.append(tag("text", number(loss), x=WIDTH - _VALUES + 12, y=y + 4, class_="value"))
    middle = (_NAMES + WIDTH - _VALUES) / 2
    drawn.append(tag("text", title, x=middle, y=height - 8, text_anchor="middle", class_="axis"))
    return picture(label, *drawn, height=height)


def bars(rows: Sequence[tuple[str, float]], *, label: str) -> Markup:
    """Return horizontal bars of shares.

    Args:
        rows: name and share, the largest first.
        label: what the picture shows.
    """
    height = 26.0 * len(rows) + 8
    scale = Scale(0.0, max(share for _, share in rows) or 1.0, 0.0, WIDTH - _NAMES - _VALUES)
    drawn = []
    for place, (name, share) in enumerate(rows):
        top = 4 + 26 * place
        title = tag("title", f"{name}: {percent(share)}")
        drawn.append(_name(name, top + 10))
        drawn.append(tag("rect", title, x=_NAMES, y=top, width=scale(share), height=20, rx=3, class_="bar"))
        drawn.append(tag("text", percent(share), x=_NAMES + scale(share) + 8, y=top + 15, class_="value"))
    return picture(label, *drawn, height=height)


def whiskers(rows: Sequence[tuple[str, float, float, float]], *, label: str) -> Markup:
    """Return shares as dots on the lines of their spread.

    Args:
        rows: name, share, and the ends of its line; the largest first.
        label: what the picture shows.
    """
    height = 26.0 * len(rows) + 8
    scale = Scale(0.0, max((high for *_, high in rows), default=0.0) or 1.0, _NAMES, WIDTH - _VALUES)
    drawn = []
    for place, (name, share, low, high) in enumerate(rows):
        y = 14 + 26 * place
        title = tag("title", f"{name}: {percent(share)} ({percent(low)} to {percent(high)})")
        drawn.append(_name(name, y))
        drawn.append(tag("line", x1=scale(low), x2=scale(high), y1=y, y2=y, class_="whisker"))
        drawn.append(tag("circle", title, cx=scale(share), cy=y, r=5, class_="dot group0"))
        drawn.append(tag("text", percent(share), x=WIDTH - _VALUES + 12, y=y + 4, class_="value"))
    return picture(label, *drawn, height=height)


def against_truth(
    points: Sequence[tuple[float, Estimate, int]], *, label: str, x_title: str, y_title: str, shares: bool
) -> Markup:
    """Return what was observed, with intervals, against what was predicted; a right answer lies on the line.

    Args:
        points: prediction, observed value with its interval, and the number of rows.
        label: what the picture shows.
        x_title: of the horizontal axis.
        y_title: of the vertical axis.
        shares: both are shares between 0 and 1.
    """
    ends = (0.0, 1.0)
    if not shares:
        ends = span([value for x, found, _ in points for value in (x, found.low, found.high)])
    axes = frame(ends, ends, x_title=x_title, y_title=y_title, shares=shares)
    low, high = ends
    drawn = [tag("line", x1=axes.x(low), x2=axes.x(high), y1=axes.y(low), y2=axes.y(high), class_="even")]
    text = percent if shares else number
    most = max(n for _, _, n in points)
    for x, found, n in points:
        at = axes.x(x)
        says = (
            f"predicted {text(x)}, observed {text(found.value)} ({text(found.low)} to {text(found.high)}), {n:,} rows"
        )
        drawn.append(tag("line", x1=at, x2=at, y1=axes.y(found.low), y2=axes.y(found.high), class_="whisker"))
        radius = round(3 + 5 * (n / most) ** 0.5, 1)
        drawn.append(tag("circle", tag("title", says), cx=at, cy=axes.y(found.value), r=radius, class_="dot group0"))
    return picture(label, *axes.marks, *drawn)


def _name(text: str, y: float, *, strong: bool = False) -> Markup:
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return tag(
        "text", shown, tag("title", text), x=_NAMES - 10, y=y + 4, text_anchor="end",
        class_="name strong" if strong else "name",
    )  # fmt: skip
