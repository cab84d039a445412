"""The pages of the documentation about papers: one list, and one page for each that is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from softwood.papers._eject import eject
from softwood.papers._paper import Paper
from softwood.papers._shelf import built, entries, evidence_folder, load, read_record, verdict

_WIDTH, _LEFT, _LINE = 640, 230, 22  # pixels


def pages(folder: Path | None = None) -> dict[str, str]:
    """Return the pages as Markdown by their path: ``evidence.md``, and ``papers/ID.md`` for each paper that is built.

    Args:
        folder: of evidence; None for the one that came with the library.

    Example:
        >>> sorted(pages())[0]
        'evidence.md'
    """
    folder = folder or evidence_folder()
    made = {"evidence.md": _overview(folder)}
    for id in built():
        made[f"papers/{id}.md"] = _page(load(id).PAPER, read_record(id, folder), eject(id))
    return made


def _overview(folder: Path) -> str:
    rows = [
        (
            f"[{entry.id}](papers/{entry.id}.md)" if entry.api else entry.id, entry.family, entry.does, entry.verdict,
            entry.date or "",
        ) for entry in entries(folder)
    ]  # fmt: skip
    return "\n".join([
        "# Evidence", "",
        "127 papers define the scope. For each one that is built there is a check with bars that were set before the "
        "run. This page is made from the last recorded runs, misses included; `softwood reproduce ID` runs a check.",
        "", *_table(("paper", "family", "what it is for", "verdict", "date"), rows), "",
    ])  # fmt: skip


def _page(paper: Paper, record: dict[str, Any] | None, script: str) -> str:
    lines = [
        f"# {paper.title}", "", f"{paper.does} (`{paper.id}`, {paper.year}, {paper.kind}).", "",
        f"**When.** {paper.when}", "", f"**Names.** {', '.join(f'`{name}`' for name in paper.api)}", "",
        f"**Claim.** {paper.claim}", "", f"**The paper reports.** {paper.headline}", "",
        f"**At full size.** {paper.full}", "", "## What was measured", "",
    ]  # fmt: skip
    lines += ["Nothing is recorded yet."] if record is None else _measured(paper, record)
    lines += ["", "## A script to start from", "", f"`softwood reproduce {paper.id} --eject FILE` writes it.", ""]
    return "\n".join([*lines, "```python", script.rstrip(), "```", ""])


def _measured(paper: Paper, record: Mapping[str, Any]) -> list[str]:
    about = f"Verdict: **{verdict(paper, dict(record))}**. {record['date']}, commit `{record['commit']}`"
    if record["outcome"] != "ran":
        return [f"{about}: {record['outcome']}. {record['error']}"]
    seconds = sum(record["seconds"]) / len(record["seconds"])
    bars = [
        (bar["says"], _number(bar["measured"]), f"{bar['side']} {bar['bound']:g}", bar["origin"],
         "met" if bar["holds"] else "**missed**") for bar in record["bars"]
    ]  # fmt: skip
    measures = [
        (one["name"], one["method"], _number(one["mean"]), _number(one["spread"]) if one["spread"] is not None else "",
         one["unit"]) for one in record["measures"]
    ]  # fmt: skip
    return [
        f"{about}, size {record['size']}, {len(record['seeds'])} seeds, {seconds:.0f} s each: {record['scale']}.", "",
        *_table(("bar", "measured", "bound", "from", ""), bars), "",
        *(_picture(group) + "\n" for group in _by_name(record["measures"])),
        *_table(("measure", "method", "mean", "spread", "unit"), measures),
    ]  # fmt: skip


def _by_name(measures: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in measures:
        if one["mean"] is not None:
            groups.setdefault(one["name"], []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def _picture(group: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG with a line for each method of one measure: the mean as a dot, the spread as a stroke."""
    spreads = [one["spread"] or 0.0 for one in group]
    low = min(one["mean"] - spread for one, spread in zip(group, spreads, strict=True))
    high = max(one["mean"] + spread for one, spread in zip(group, spreads, strict=True))
    low, high = (min(low, 0.0), high) if low > 0 and low < 0.5 * high else (low, high)

    def place(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 80) * (value - low) / (high - low or 1.0)

    height = _LINE * (len(group) + 1)
    unit = f" ({group[0]['unit']})" if group[0]["unit"] else ""
    parts = [f'<text x="0" y="15" font-weight="bold">{escape(group[0]["name"] + unit)}</text>']
    for row, (one, spread) in enumerate(zip(group, spreads, strict=True), 1):
        y, mean = _LINE * row + 15, one["mean"]
        parts += [
            f'<text x="0" y="{y}">{escape(one["method"][:36])}</text>',
            f'<line x1="{place(mean - spread):.1f}" x2="{place(mean + spread):.1f}" y1="{y - 4}" y2="{y - 4}" '
            'stroke="currentColor" stroke-width="2"/>',
            f'<circle cx="{place(mean):.1f}" cy="{y - 4}" r="4" fill="teal"/>',
            f'<text x="{_WIDTH}" y="{y}" text-anchor="end">{_number(mean)}</text>',
        ]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" fill="currentColor" font-size="13" role="img" '
        f'aria-label="{escape(group[0]["name"])}">{"".join(parts)}</svg>\n'
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(heads), "|" + "---|" * len(heads), *map(line, rows)]


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"
