"""One tree of a ``HardEnsemble`` as an SVG picture."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from softwood.artifacts._rules import describe_test
from softwood.core import InputError, check_number

if TYPE_CHECKING:
    from softwood.artifacts._ensemble import HardEnsemble

_LETTER, _LINE, _GAP, _EDGE, _MARGIN = 8.1, 17.0, 12.0, 96.0, 16.0  # pixels; the letters are 13 high
_HEAD = 40.0
_LONGEST = 36  # letters of a line; the whole text is in the tooltip
_MOST_VALUES = 3
# fills that differ for colour-blind eyes as well, light enough for dark text
_CLASS_FILLS = ("#f5d0a9", "#bfe0f5", "#b7e4d3", "#f6efb0", "#c5cdf2", "#f3c4b2", "#ecc9df", "#d9d9d9")
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = (
    "text{font:13px 'DejaVu Sans',Verdana,sans-serif;fill:#1f2328}"
    ".small{font-size:11px;fill:#57606a}.halo{paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".box{stroke:#57606a;stroke-width:1}.edge{fill:none;stroke:#8c959f;stroke-linecap:round}"
)


@dataclass
class _Box:
    """What is drawn at one node."""

    node: int
    lines: list[str]
    whole: str  # the tooltip
    fill: str
    column: int
    children: list[_Box] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)  # of the edges to the children
    y: float = 0.0

    @property
    def width(self) -> float:
        return _LETTER * max(map(len, self.lines)) + 18

    @property
    def height(self) -> float:
        return _LINE * len(self.lines) + 12


def draw_tree(model: HardEnsemble, tree: int = 0, *, max_depth: int = 8) -> str:
    """Return one tree as SVG text; see ``HardEnsemble.draw``.

    Args:
        model: the ensemble.
        tree: which tree, 0 for the first.
        max_depth: deepest level that is drawn; what lies below is counted.

    Raises:
        InputError: there is no such tree.

    Example:
        >>> from softwood.artifacts import Column, HardEnsemble
        >>> model = HardEnsemble.single_leaf((Column("x", "number"),), np.array([2.0]), outputs=("y",))
        >>> draw_tree(model)[:4]
        '<svg'
    """
    check_number("max_depth", max_depth, low=0, integer=True)
    check_number("tree", tree, integer=True)
    if not 0 <= tree < model.n_trees:
        raise InputError("there is no such tree", got=tree, allowed=f"0 to {model.n_trees - 1}", fix="pass another")
    boxes = _boxes(model, int(model.roots[tree]), max_depth)
    height = _place(boxes)
    widths = [max(box.width for box in boxes if box.column == c) for c in range(1 + max(b.column for b in boxes))]
    lefts = _MARGIN + np.concatenate([[0.0], np.cumsum(np.array(widths) + _EDGE)])
    title = _title(model, tree)
    width = max(lefts[-1] - _EDGE, _MARGIN + _LETTER * len(title)) + _MARGIN
    edges = [_edge(model, box, side, lefts, widths) for box in boxes for side in range(len(box.children))]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{_text(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        f'<text x="{_MARGIN:.0f}" y="26">{_text(title)}</text>',
        *(line for line, _ in edges),
        *(label for _, label in edges),  # above all lines
        *(_drawn(box, lefts) for box in boxes),
        "</svg>",
        "",
    ])  # fmt: skip


def _title(model: HardEnsemble, tree: int) -> str:
    meaning = {"identity": "values", "exp": "logarithms", "probability": "probabilities"}.get(
        model.link, f"logits ({model.link})"
    )
    if model.n_trees == 1:
        return f"leaves hold {meaning}"
    return f"tree {tree} of {model.n_trees} (0 to {model.n_trees - 1}): the leaves of all trees add up to {meaning}"


# ------------------------------------------------------------------ what stands in the boxes
def _boxes(model: HardEnsemble, root: int, max_depth: int) -> list[_Box]:
    """Return the boxes, each before its children; a list instead of recursion, as trees may be deep."""
    boxes = [_box(model, root, 0, max_depth)]
    for box in boxes:  # grows while it is read
        if model.feature[box.node] < 0 or box.column == max_depth:
            continue
        missing = ["", ""]
        missing[0 if model.missing_left[box.node] else 1] = ", missing"
        for side, (word, child) in enumerate((("yes", model.left[box.node]), ("no", model.right[box.node]))):
            box.children.append(_box(model, int(child), box.column + 1, max_depth))
            box.labels.append(word + missing[side])
        boxes += box.children
    return boxes


def _box(model: HardEnsemble, node: int, column: int, max_depth: int) -> _Box:
    if model.feature[node] < 0:
        return _leaf(model, node, column)
    whole, test = describe_test(model, node), _test(model, node)
    if column == max_depth:
        leaves = _leaves_below(model, node)
        return _Box(node, [f"... {len(leaves)} leaves", *_weight(model, leaves)], whole, "#fff", column)
    return _Box(node, [_short(test)], whole, "#f6f8fa", column)


def _test(model: HardEnsemble, node: int) -> str:
    """Return the question at a node; the edges say where missing values go."""
    column, threshold = model.columns[model.feature[node]], model.threshold[node]
    if column.kind == "number":
        known = threshold == np.finfo(np.float64).max  # every number is below
        return f"{column.name} is known?" if known else f"{column.name} ≤ {threshold:.6g}?"
    return describe_test(model, node).removesuffix(" or missing") + "?"


def _leaf(model: HardEnsemble, node: int, column: int) -> _Box:
    row = int(model.leaf[node])
    values = model.values[row]
    whole = ", ".join(f"{name} = {value:.6g}" for name, value in zip(model.outputs, values, strict=True))
    lines = [f"{name} = {value:.4g}" for name, value in zip(model.outputs[:_MOST_VALUES], values, strict=False)]
    if len(values) > _MOST_VALUES:
        lines[-1] = f"... {len(values) - _MOST_VALUES + 1} more"
    fill = _shade(model, float(values[0]))
    if model.classes is not None:
        shares = np.array([1 - values[0], values[0]]) if len(values) == 1 else values
        best = int(shares.argmax())
        if model.link == "probability" and model.n_trees == 1:
            lines = [f"{model.classes[best]}: {shares[best]:.3f}"]
        elif len(values) == 1:
            best = int(values[0] > 0) if model.link == "sigmoid" else 1
        fill = _CLASS_FILLS[best % len(_CLASS_FILLS)]
    return _Box(node, [*map(_short, lines), *_weight(model, [row])], whole, fill, column)


def _weight(model: HardEnsemble, leaves: list[int]) -> list[str]:
    weight = float(model.counts[leaves].sum())
    return [f"n = {weight:g}"] if weight > 0 else []


def _shade(model: HardEnsemble, value: float) -> str:
    """Return white for the smallest first value of all leaves, to blue for the largest."""
    low, high = float(model.values[:, 0].min()), float(model.values[:, 0].max())
    part = (value - low) / (high - low) if high > low else 0.0
    red, green = round(255 - 105 * part), round(255 - 58 * part)
    return f"#{red:02x}{green:02x}fa"


def _leaves_below(model: HardEnsemble, node: int) -> list[int]:
    found, waiting = [], [node]
    while waiting:
        here = waiting.pop()
        if model.feature[here] < 0:
            found.append(int(model.leaf[here]))
        else:
            waiting += [int(model.left[here]), int(model.right[here])]
    return found


# ------------------------------------------------------------------ where they stand
def _place(boxes: list[_Box]) -> float:
    """Stack the ends of all paths, put each parent between its children; return the height of the picture."""
    bottom, waiting = _HEAD, [boxes[0]]
    while waiting:
        box = waiting.pop()
        if not box.children:
            box.y = bottom + box.height / 2
            bottom += box.height + _GAP
        waiting += box.children[::-1]
    for box in reversed(boxes):
        if box.children:
            box.y = sum(child.y for child in box.children) / len(box.children)
    return bottom + _MARGIN


# ------------------------------------------------------------------ the picture
def _edge(model: HardEnsemble, box: _Box, side: int, lefts: np.ndarray, widths: list[float]) -> tuple[str, str]:
    """Return the line to a child, as thick as its share of the training weight, and its label."""
    child = box.children[side]
    start, end = lefts[box.column] + box.width, lefts[child.column]
    bend = lefts[box.column] + widths[box.column] + 18
    below, all_below = (float(model.counts[_leaves_below(model, b.node)].sum()) for b in (child, box))
    thick = 1 + 5 * below / all_below if all_below > 0 else 1.5
    line = f'<path class="edge" d="M{start:.1f} {box.y:.1f}H{bend - 14:.1f}L{bend:.1f} {child.y:.1f}H{end:.1f}" '
    label = f'<text class="small halo" x="{bend + 3:.1f}" y="{child.y - 6:.1f}">{_text(box.labels[side])}</text>'
    return line + f'stroke-width="{thick:.1f}"/>', label


def _drawn(box: _Box, lefts: np.ndarray) -> str:
    left, top = lefts[box.column], box.y - box.height / 2
    lines = []
    for number, line in enumerate(box.lines):
        small = ' class="small"' if number and line.startswith("n = ") else ""
        lines.append(f'<text x="{left + 9:.1f}" y="{top + 19 + _LINE * number:.1f}"{small}>{_text(line)}</text>')
    frame = (
        f'<rect class="box" x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="5" '
        f'fill="{box.fill}"/>'
    )
    return f"<g><title>{_text(box.whole)}</title>{frame}{''.join(lines)}</g>"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _text(text: str) -> str:
    """Escape text for XML; what XML cannot hold becomes the replacement sign."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))
