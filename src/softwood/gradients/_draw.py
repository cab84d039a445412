"""The report of the gradient doctor as an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softwood.gradients._report import EstimatorRow

_NAMES, _PANEL, _GAP, _LINE, _TOP = 230.0, 270.0, 40.0, 26.0, 64.0
_STYLE = (
    "text{font:13px 'DejaVu Sans',Verdana,sans-serif;fill:#1f2328}.small{font-size:11px;fill:#57606a}"
    ".grid{stroke:#d8dee4}.whisker{stroke:#57606a;stroke-width:2}.dot{fill:#0969da}.unbiased{fill:#1a7f37}"
    ".taken{font-weight:bold}"
)


class _Log:
    """A logarithmic axis; what is below its low end is drawn there."""

    def __init__(self, values: Sequence[float], start: float) -> None:
        known = [value for value in values if value > 0 and math.isfinite(value)] or [0.1, 1.0]
        self.low = max(math.floor(math.log10(min(known))), -4)
        self.high = max(math.ceil(math.log10(max(known))), self.low + 1)
        self.start = start

    def __call__(self, value: float) -> float:
        share = (math.log10(max(value, 10.0**self.low)) - self.low) / (self.high - self.low)
        return round(self.start + _PANEL * min(max(share, 0.0), 1.0), 1)

    def ticks(self) -> list[tuple[float, str]]:
        step = max(1, (self.high - self.low) // 5)
        return [(self(10.0**power), f"{10.0**power:g}") for power in range(self.low, self.high + 1, step)]


def draw_report(title: str, rows: Sequence[EstimatorRow], taken: str) -> str:
    """Return a picture with a line for each estimator: its bias with the interval, and its variance, on log axes.

    Args:
        title: what stands above.
        rows: what was measured; those without numbers show what went wrong.
        taken: name of the row that is recommended.

    Example:
        >>> draw_report("nothing", (), "")[:4]
        '<svg'
    """
    height, width = _TOP + _LINE * len(rows) + 40, _NAMES + 2 * _PANEL + _GAP + 40
    measured = [row for row in rows if not math.isnan(row.bias)]
    bias = _Log([v for row in measured for v in (row.bias, row.bias_high)], _NAMES)
    variance = _Log([row.variance for row in measured], _NAMES + _PANEL + _GAP)
    bottom = height - 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        f'<text x="12" y="22">{escape(title)}</text>',
        f'<text x="{bias.start:.0f}" y="46" class="small">relative bias, 95 % interval (green: unbiased)</text>',
        f'<text x="{variance.start:.0f}" y="46" class="small">variance / squared gradient</text>',
    ]
    for axis in (bias, variance):
        for at, text in axis.ticks():
            parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{_TOP - 10}" y2="{bottom}"/>')
            parts.append(f'<text class="small" x="{at}" y="{bottom + 16}" text-anchor="middle">{text}</text>')
    for place, row in enumerate(rows):
        parts += _line(row, _TOP + _LINE * place + 8, bias, variance, row.name == taken)
    return "\n".join([*parts, "</svg>", ""])


def _line(row: EstimatorRow, y: float, bias: _Log, variance: _Log, taken: bool) -> list[str]:
    name = f"{row.name} (take this)" if taken else row.name
    weight = ' class="taken"' if taken else ""
    parts = [f'<text{weight} x="{_NAMES - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>']
    if math.isnan(row.bias):
        return [*parts, f'<text class="small" x="{_NAMES}" y="{y + 4}">{escape(row.failure)}</text>']
    kind = "unbiased" if row.unbiased else "dot"
    says = f"{row.name}: bias {row.bias:.3g} ({row.bias_low:.3g} to {row.bias_high:.3g}), variance {row.variance:.3g}"
    low, high = bias(row.bias_low), bias(row.bias_high)
    parts.append(f'<line class="whisker" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>')
    for x in (bias(row.bias), variance(row.variance)):
        parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="5"><title>{escape(says)}</title></circle>')
    return parts
