"""HTML that is escaped by construction, and numbers as people read them."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from softwood.lifecycle import Estimate

_VOID = frozenset({"meta", "br", "input", "line", "circle", "rect", "path"})


class Markup(str):
    """Text that is HTML already. Everything else is escaped when it enters a ``tag``."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Return text that HTML shows as it is, in content and in attributes.

    Args:
        text: anything; ``Markup`` passes unchanged.
    """
    if isinstance(text, Markup):
        return text
    # half a surrogate pair, as a damaged name may hold, can be written to no file
    return Markup(html.escape(str(text).encode("utf-8", "replace").decode()))


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """Return an element.

    Args:
        name: of the element.
        content: text, escaped here, or ``Markup``; None is left out.
        attributes: ``class_`` means ``class`` and ``_`` a hyphen; True writes the bare name, None and False nothing.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        written.append(f" {label}" if value is True else f' {label}="{escape(value)}"')
    opened = f"<{name}{''.join(written)}>"
    if name in _VOID and not content:
        # an SVG element has to be closed, an HTML one may be
        return Markup(opened[:-1] + "/>")
    return Markup(opened + "".join(escape(part) for part in content if part is not None) + f"</{name}>")


def join(parts: Iterable[object], between: str = "") -> Markup:
    """Put parts together, each escaped unless it is ``Markup``."""
    return Markup(between.join(escape(part) for part in parts))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str, numbers: int = 0) -> Markup:
    """Return a table that scrolls sideways where it is too wide.

    Args:
        head: of the columns.
        rows: cells; the first one of each row is its head.
        caption: what the table shows, for readers of every kind.
        numbers: how many of the last columns hold numbers.
    """
    first = len(head) - numbers
    heads = [tag("th", text, scope="col", class_="number" if i >= first else None) for i, text in enumerate(head)]
    body = []
    for row in rows:
        cells = [
            tag("td" if i else "th", text, scope=None if i else "row", class_="number" if i >= first else None)
            for i, text in enumerate(row)
        ]
        body.append(tag("tr", *cells))
    inner = tag("table", tag("caption", caption), tag("thead", tag("tr", *heads)), tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def section(name: str, title: str, *content: object) -> Markup:
    """Return a section of the page that the navigation leads to."""
    return tag("section", tag("h2", title, id=f"{name}-title"), *content, id=name, aria_labelledby=f"{name}-title")


def listed(items: Iterable[object]) -> Markup:
    """Return an unordered list."""
    return tag("ul", *(tag("li", item) for item in items))


def folded(title: str, *content: object) -> Markup:
    """Return content that is shown when its title is clicked, and in print."""
    return tag("details", tag("summary", title), *content)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits, and commas between thousands.

    Args:
        value: a number, or None.
        digits: significant digits.
    """
    if value is None or math.isnan(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    if 10**digits <= abs(value) < 1e15:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.{digits}g}".replace("-", "−")


def percent(share: float | None) -> str:
    """Return a share in percent; what is rounded to nothing or to all says so."""
    if share is None or math.isnan(share):
        return "–"
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.0f} %" if share in (0, 1) else f"{100 * share:.1f} %"


def interval(found: Estimate | None, *, share: bool) -> str:
    """Return a value with its interval."""
    if found is None:
        return "–"
    text = percent if share else number
    return f"{text(found.value)} ({text(found.low)} to {text(found.high)})"


def script_data(name: str, content: Any) -> Markup:
    """Return JSON for the page's script; no text in it can end the element."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{escape(name)}">{text}</script>')
