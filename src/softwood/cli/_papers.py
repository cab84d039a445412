"""``softwood papers`` and ``softwood reproduce``: which papers stand here, and whether their claims hold."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from softwood.cli._bench import grid
from softwood.cli._console import Output
from softwood.cli._options import Json, Progress
from softwood.core import InputError, check_choice, check_number, write_atomic

_SHORT = 60  # characters of what a paper does that fit a line


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    def papers(
        paper: Annotated[
            str | None, typer.Argument(metavar="[ID]", help="One paper, with all it says.", show_default=False)
        ] = None,
        family: Annotated[str | None, typer.Option(help="Papers of one family only.")] = None,
        as_json: Json = False,
    ) -> int:
        """List the papers that define the scope, with the verdict of their last check."""
        from softwood.papers import FAMILIES, entries

        if family is not None:
            check_choice("--family", family, FAMILIES)
        out = Output(as_json)
        found = [entry for entry in entries() if family in (None, entry.family) and paper in (None, entry.id)]
        if paper is not None:
            check_choice("ID", paper, [entry.id for entry in entries()])
            return out.finish(_show_one(paper, asdict(found[0]), out))
        rows = [(e.id, e.family, e.does[:_SHORT], e.verdict, e.date or "", e.commit or "") for e in found]
        out.say(grid(f"{len(found)} papers", ("paper", "family", "for", "verdict", "date", "commit"), rows))
        counts = Counter(entry.verdict for entry in found)
        out.say(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
        return out.finish({"papers": [asdict(entry) for entry in found], "counts": counts})

    @app.command()
    def reproduce(
        ids: Annotated[
            list[str] | None, typer.Argument(metavar="[ID]...", help="Papers to check.", show_default=False)
        ] = None,
        family: Annotated[str | None, typer.Option(help="All built papers of a family.")] = None,
        everything: Annotated[bool, typer.Option("--all", help="All built papers.")] = False,
        size: Annotated[str, typer.Option(help="smoke (2 s), quick (1 to 5 min a seed), or full (hours).")] = "quick",
        seeds: Annotated[int, typer.Option(help="How many seeds, from 0 on.")] = 3,
        first_seed: Annotated[int, typer.Option(help="Where the seeds begin; 100 on for calibration.")] = 0,
        jobs: Annotated[int, typer.Option(help="Checks that run side by side.")] = 1,
        work: Annotated[
            Path, typer.Option(help="Where finished seeds are kept; a stopped run goes on from there.")
        ] = Path("softwood-evidence"),
        record: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Write DIR/ID.json, the evidence.", show_default=False)
        ] = None,
        eject: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Write a script that uses the method, to start from; run nothing."),
        ] = None,
        progress: Progress = None,
        as_json: Json = False,
    ) -> int:
        """Check papers' claims here: measures beside baselines, against bars that were set before."""
        out = Output(as_json, progress)
        chosen = _chosen(ids or [], family, everything)
        if eject is not None:
            return out.finish(_eject(chosen, eject, out))
        check_number("--seeds", seeds, low=1, integer=True)
        check_number("--jobs", jobs, low=1, integer=True)
        found = _reproduce(chosen, size, range(first_seed, first_seed + seeds), jobs, work, record, out)
        return out.finish({"papers": found}, 0 if all(row["verdict"] == "holds" for row in found) else 1)


def _chosen(ids: Sequence[str], family: str | None, everything: bool) -> list[str]:
    from softwood.papers import built, load

    if bool(ids) + (family is not None) + everything != 1:
        raise InputError("which papers?", got=f"ids {list(ids)}, --family {family}, --all {everything}",
                         allowed="ids, or --family F, or --all", fix="softwood papers lists them")  # fmt: skip
    chosen = list(dict.fromkeys(ids)) or list(built(family))
    for id in chosen:
        load(id)
    if not chosen:
        raise InputError("no paper of this family is built", got=family or "--all", allowed="a family that has some",
                         fix="softwood papers lists them")  # fmt: skip
    return chosen


def _reproduce(
    ids: list[str], size: str, seeds: range, jobs: int, work: Path, folder: Path | None, out: Output
) -> list[dict[str, Any]]:
    from softwood.papers import expected_seconds, load, reproduce, verdict

    expected = sum(expected_seconds(load(id).PAPER, size) for id in ids) * len(seeds) / jobs
    known = "" if math.isinf(expected) else f", about {max(expected, 1):.0f} s" if expected < 120 else \
        f", about {expected / 60:.0f} min"  # fmt: skip
    out.note(f"{len(ids)} papers, {len(seeds)} seeds, size {size}{known}; finished seeds are kept in {work}")
    with out.stages() as told:
        records = reproduce(ids, size, seeds, folder=work, jobs=jobs, told=told)
    found = []
    for id, record in records.items():
        _say_record(record, load(id).PAPER, out)
        found.append({"id": id, "verdict": verdict(load(id).PAPER, record), "record": record})
        if folder is not None:
            write_atomic(folder / f"{id}.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
            out.say(f"written: {folder / f'{id}.json'}")
    return found


def _say_record(record: dict[str, Any], paper: Any, out: Output) -> None:
    from softwood.papers import verdict

    out.title(f"{paper.id}: {paper.title}")
    out.say(paper.claim)
    if record["outcome"] != "ran":
        out.say(f"{record['outcome']}: {record['error']}")
        return
    out.say(f"The paper: {paper.headline}")
    out.say(f"Here: {record['scale']}")
    rows = [
        (one["name"], one["method"], _number(one["mean"]), "" if one["spread"] is None else f"± {one['spread']:.2g}",
         one["unit"]) for one in record["measures"]
    ]  # fmt: skip
    out.say(grid("", ("measure", "method", "mean", "spread", ""), rows))
    for bar in record["bars"]:
        sign = "met   " if bar["holds"] else "MISSED"
        every = ", on every seed" if bar["every"] else ""
        out.say(f"{sign} {bar['says']}: measured {_number(bar['measured'])} ({bar['side']} {bar['bound']:g}{every}; "
                f"{bar['origin']})")  # fmt: skip
    out.say(f"Verdict: {verdict(paper, record)}")


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _show_one(id: str, entry: dict[str, Any], out: Output) -> dict[str, Any]:
    from softwood.papers import built, evidence_folder, load, read_record

    out.say(f"{id}: {entry['title']}", style="bold")
    out.say(f"{entry['does']} (family {entry['family']})")
    if id not in built():
        out.say("not built")
        return {**entry, "record": None}
    paper, record = load(id).PAPER, read_record(id, evidence_folder())
    for head, text in (
        ("When", paper.when), ("Names", ", ".join(paper.api)), ("Claim", paper.claim), ("Paper", paper.headline),
        ("Full size", paper.full), ("Verdict", entry["verdict"]),
    ):  # fmt: skip
        out.say(f"{head}: {text}")
    if record is not None:
        _say_record(record, paper, out)
    out.say(f"softwood reproduce {id}; softwood reproduce {id} --eject {id.replace('-', '_')}.py")
    return {**entry, "record": record}


def _eject(ids: list[str], path: Path, out: Output) -> dict[str, Any]:
    from softwood.papers import eject

    if len(ids) != 1:
        raise InputError("a script is of one paper", got=", ".join(ids), allowed="one id", fix="name one paper")
    write_atomic(path, eject(ids[0]))
    out.say(f"written: {path}; python {path} [--data FILE]")
    return {"id": ids[0], "script": str(path)}
