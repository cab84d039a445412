"""``softwood export``: a model in other formats, each run and compared before it is handed over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softwood.cli._console import Output
from softwood.cli._model import Model, load_model, read_like_training
from softwood.cli._options import TABLE_HELP, Json, ModelPath
from softwood.core import InputError, SoftwoodError, UnsupportedError, check_choice

if TYPE_CHECKING:
    import pandas as pd


def export_model(
    model: Model, to: str, place: Path | None = None, *, check: str | None = None, with_kit: bool = False,
    force: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Write a model in one format, or in all.

    Args:
        model: the model.
        to: a format, or ``"all"``.
        place: the file, or the folder for ``"all"``; None takes the model's name in the current folder.
        check: a table to compare on, beside rows on every threshold; path, ``"-"`` or None.
        with_kit: write a folder ``FILE.kit`` beside each file, with which a validator checks it without Softwood.
        force: replace a file that no export wrote.

    Returns:
        JSON content for each format: its ``ExportReport``, or with ``"all"`` the ``error`` of one that failed,
        and why a format that cannot hold the model is ``left_out``.

    Raises:
        InputError: an unknown format, a place that cannot be written to, or a table that does not fit.
        SoftwoodError: a single format that cannot be written or does not give the model's answers.
    """
    from softwood.artifacts import FORMATS

    check_choice("--to", to, [*FORMATS, "all"])
    rows = None if check is None else read_like_training(model, check).frame
    if to != "all":
        path = _free(place or Path(model.name + FORMATS[to].suffix), force=force)
        return [_export_one(model, to, path, rows, with_kit=with_kit)]
    folder = place or Path()
    if folder.exists() and not folder.is_dir():
        raise InputError("--out is a file", got=str(folder), allowed="a folder for --to all", fix="name a folder")
    found = []
    for name, form in FORMATS.items():
        try:
            path = _free(folder / (model.name + form.suffix), force=force)
            found.append(_export_one(model, name, path, rows, with_kit=with_kit))
        except UnsupportedError as error:  # the format cannot hold this model: that is no fault of either
            found.append(
                {"format": name, "verified": False, "left_out": str(error), "text": f"{name}: left out, {error}"}
            )
        except SoftwoodError as error:
            found.append({"format": name, "verified": False, "error": str(error), "text": f"{name}: FAILED, {error}"})
    return found


def _export_one(model: Model, to: str, path: Path, rows: pd.DataFrame | None, *, with_kit: bool) -> dict[str, Any]:
    from softwood.artifacts import export, kit

    report = export(model.ensemble, path, to, rows=rows)
    found = {**report.to_dict(), "text": str(report)}
    if not with_kit:
        return found
    folder = path.with_name(f"{path.name}.kit")
    kit(model.ensemble, folder, to, rows=rows)
    return {**found, "kit": str(folder), "text": f"{report}\n  kit for a validator: {folder}/README.txt"}


def _free(path: Path, *, force: bool) -> Path:
    """Refuse a name under which a file lies that is no export of ours."""
    if not force and path.is_file() and b"oftwood" not in path.read_bytes():
        raise InputError(
            "the file name is taken", got=f"{path}, which no export wrote", allowed="a name that is free",
            fix="pass another --out, or --force to replace the file",
        )  # fmt: skip
    return path


def date_parts(model: Model) -> list[str]:
    """Return the tested columns that are parts of dates; exported files take them as columns of their own."""
    ensemble = model.ensemble
    tested = {ensemble.columns[position].name for position in ensemble.feature[ensemble.feature >= 0]}
    return sorted(tested & set(model.record.get("columns", {}).get("date_parts", [])))


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def export(
        model: ModelPath,
        to: Annotated[
            str,
            typer.Option(metavar="FORMAT", help="Such as json, onnx or python; all writes each.", show_default=False),
        ],
        out: Annotated[
            Path | None, typer.Option(help="File to write; a folder for all.  [default: the model's name, here]")
        ] = None,
        check: Annotated[str | None, typer.Option(metavar="TABLE", help=f"Compare on it too. {TABLE_HELP}")] = None,
        kit: Annotated[
            bool, typer.Option("--kit", help="Write FILE.kit/ beside it: rows, answers and a check without Softwood.")
        ] = False,
        force: Annotated[bool, typer.Option("--force", help="Replace a file that no export wrote.")] = False,
        as_json: Json = False,
    ) -> int:
        """Write the model in another format, checked.

        The file is run, and compared with the model, before it is handed over. Exit code 1 if it answers otherwise.
        """
        console = Output(as_json)
        loaded = load_model(model)
        found = export_model(loaded, to, out, check=check, with_kit=kit, force=force)
        for report in found:
            console.say(report.pop("text"))
        parts = date_parts(loaded)
        if parts:
            console.say(
                f"The files take the parts of dates as numbers in columns of their own ({', '.join(parts)}); "
                "the Python file takes the date column as well"
            )
        failed = any("error" in report for report in found)
        return console.finish({"model": str(model), "exports": found, "date_parts": parts}, 1 if failed else 0)
