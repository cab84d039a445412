"""``softwood report``: one HTML page about a saved model."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softwood.cli._console import Output
from softwood.cli._model import CERTIFICATE, Model, is_training_table, load_model, read_json, read_like_training
from softwood.cli._options import TABLE_HELP, Json, ModelPath
from softwood.cli._prepare import Scored, scored_rows
from softwood.core import InputError, write_atomic

if TYPE_CHECKING:
    pass


def report_page(
    model: Model, source: str | None = None, *, targets: Sequence[str] | None = None, show: str | None = None
) -> str:
    """Return the page about a model.

    Args:
        model: the model.
        source: path of a table that holds the target, to measure on; ``"-"`` or None.
        targets: names of the target columns; None takes those in training.
        show: path of a table whose rows stand in the page, for the reader to follow; or None.

    Raises:
        InputError: a table lacks a column, or holds what the model cannot read.
        DamagedFileError: the certificate cannot be read.
    """
    from softwood.lifecycle import Certificate
    from softwood.report import report

    stored = read_json(model.path / CERTIFICATE)
    measured, about = _rows(model, source, targets)
    return report(
        model.ensemble, certificate=Certificate.from_dict(stored) if stored else None, record=model.record,
        **({} if measured is None else {"table": measured.frame, "y": measured.y, "weight": measured.weight}),
        about=about, rows=None if show is None else read_like_training(model, show).frame,
    )  # fmt: skip


def _rows(model: Model, source: str | None, targets: Sequence[str] | None) -> tuple[Scored | None, str]:
    """Return the rows whose target is known, and which rows these are in words."""
    if source is None:
        return None, ""
    names = model.targets(targets)
    frame = read_like_training(model, source, targets=names).frame
    measured = scored_rows(frame, names, model.ensemble.classes, model.weight)
    about = "the rows of standard input" if source == "-" else f"the rows of {source}"
    if is_training_table(model, source):
        about += ", the table that the model was fitted on, so it is optimistic"
    return measured, about


def _place(model: Model, out: Path | None) -> Path:
    """Return where to write; a name that nobody chose does not replace a file that is no report."""
    place = out or Path(f"{model.name}.html")
    if out is None and place.is_file() and b"Softwood report" not in place.read_bytes()[:20_000]:
        raise InputError(
            "the usual file name is taken", got=f"{place}, which is no report", allowed="a name that is free",
            fix="pass --out FILE.html",
        )  # fmt: skip
    if place.is_dir():
        raise InputError("--out is a directory", got=str(place), allowed="a file", fix="pass --out FILE.html")
    return place


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def report(
        model: ModelPath,
        table: Annotated[
            str | None, typer.Option(metavar="TABLE", help=f"Measure on it; it holds the target. {TABLE_HELP}")
        ] = None,
        target: Annotated[
            list[str] | None,
            typer.Option(metavar="COL", help="Column with the truth.  [default: the name in training]"),
        ] = None,
        rows: Annotated[
            str | None, typer.Option(metavar="TABLE", help="Put these rows into the page, to be followed.")
        ] = None,
        out: Annotated[
            Path | None, typer.Option(metavar="FILE", help="File to write.  [default: the model's name, here]")
        ] = None,
        open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
        as_json: Json = False,
    ) -> int:
        """Write one HTML page about the model, for people who have to trust it.

        The page loads nothing and holds no row, except those that --rows names.
        """
        console = Output(as_json)
        loaded = load_model(model)
        place = _place(loaded, out)
        page = report_page(loaded, table, targets=target, show=rows)
        write_atomic(place, page)
        console.say(f"Report in {place} ({len(page) // 1024 + 1} KiB)")
        content: dict[str, Any] = {
            "model": str(model), "fingerprint": loaded.ensemble.fingerprint, "file": str(place), "table": table,
        }  # fmt: skip
        if open_it and not webbrowser.open(place.resolve().as_uri()):
            console.note(f"no browser could be opened; open {place} yourself")
        return console.finish(content)
