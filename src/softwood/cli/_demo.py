"""``softwood demo``: the main job on a real table, through the functions behind the other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from softwood.cli._console import Output
from softwood.cli._export import export_model
from softwood.cli._fit import fit_model
from softwood.cli._fit_options import FitOptions
from softwood.cli._model import load_model
from softwood.cli._options import Json, Progress
from softwood.cli._report import report_page
from softwood.cli._use import certificate, predictions, scores
from softwood.core import InputError, write_atomic

TARGET = "diagnosis"
_TEST_EVERY = 5  # each fifth row is kept for the certificate; the rows come in no order


def write_tables(folder: Path) -> dict[str, Path]:
    """Write scikit-learn's breast cancer table as CSV: whole, and its training and test rows.

    Args:
        folder: where to.

    Returns:
        The paths of ``whole``, ``train`` and ``test``.
    """
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    frame = data.data.assign(**{TARGET: data.target_names[data.target]})
    for_test = frame.index % _TEST_EVERY == 0
    parts = {"whole": frame, "train": frame[~for_test], "test": frame[for_test]}
    names = {"whole": "breast_cancer.csv", "train": "train.csv", "test": "test.csv"}
    return {part: write_atomic(folder / names[part], rows.to_csv(index=False)) for part, rows in parts.items()}


def run_demo(folder: Path, out: Output, *, effort: float = 1.0) -> dict[str, Any]:
    """Do the main job: fit, harden, certify, predict, export to every format, each checked on the whole table.

    Args:
        folder: where everything goes.
        out: where text and progress go.
        effort: of the fit.

    Returns:
        JSON content.

    Raises:
        InputError: ``folder`` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError("--out is a file", got=str(folder), allowed="a folder", fix="name a folder")
    tables = write_tables(folder)
    train, test, place = str(tables["train"]), str(tables["test"]), folder / "model"
    out.say(f"$ softwood fit {train} --target {TARGET} --test {test} --out {place}", style="bold")
    options = FitOptions(train, (TARGET,), test=test, effort=effort, out=place)
    fitted = fit_model(options, out)
    model = load_model(place)

    answers = folder / "predictions.csv"
    out.title(f"$ softwood predict {place} {test} --proba --out {answers}")
    found = predictions(model, test, proba=True)
    write_atomic(answers, found.to_csv(index=False, lineterminator="\n"))
    out.say(f"{len(found)} answers")

    out.title(f"$ softwood score {place} {test}")
    score = scores(model, test)
    for name, part in score["scores"].items():
        out.say(f"{name:8} {part['value']:.4g}  [{part['low']:.4g}, {part['high']:.4g}]")

    out.title(f"$ softwood certify {place} {test}")
    certified = certificate(model, test)
    out.say("Passed" if certified.passed else f"NOT passed: {'; '.join(certified.failures)}")

    out.title(f"$ softwood export {place} --to all --out {folder / 'exports'} --check {tables['whole']}")
    exports = export_model(model, "all", folder / "exports", check=str(tables["whole"]))
    for report in exports:
        out.say(report.pop("text"))

    page = folder / "report.html"
    out.title(f"$ softwood report {place} --table {test} --out {page}")
    write_atomic(page, report_page(model, test))
    out.say(f"Report in {page}")

    places = {
        "table": tables["whole"], "training rows": tables["train"], "test rows": tables["test"], "model": place,
        "certificate": place / "certificate.json", "how it was made": place / "record.json", "answers": answers,
        "report": page,
        **{f"as {report['format']}": Path(report["path"]) for report in exports if "path" in report},
    }  # fmt: skip
    out.title("Where everything is")
    for name, path in places.items():
        out.say(f"  {name:16} {path}")
    return {
        "passed": bool(certified.passed),  # an export whose answers differ has raised; some have no verifier here
        "interrupted": fitted["interrupted"],
        "places": {name: str(path) for name, path in places.items()},
        "fit": fitted,
        "score": score,
        "certificate": certified.to_dict(),
        "exports": exports,
    }


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        out: Annotated[Path, typer.Option(help="Folder for everything.")] = Path("demo-output"),
        effort: Annotated[float, typer.Option(help="Multiplies what the fit tries.")] = 1.0,
        progress: Progress = None,
        as_json: Json = False,
    ) -> int:
        """Do the main job on a table that scikit-learn ships.

        Fit, harden, certify, predict, score, and export to every format, each checked on every row.
        """
        console = Output(as_json, progress)
        found = run_demo(out, console, effort=effort)
        code = 130 if found["interrupted"] else 0 if found["passed"] else 1
        return console.finish(found, code)
