"""``softwood predict``, ``score``, ``certify`` and ``show``: a saved model at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softwood.cli._console import Output, write_bytes
from softwood.cli._measure import certificate_on, scores_on
from softwood.cli._model import CERTIFICATE, Model, is_training_table, load_model, read_json, read_like_training
from softwood.cli._options import Json, ModelPath, TablePath
from softwood.cli._prepare import Scored, scored_rows
from softwood.core import UnsupportedError, write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from softwood.lifecycle import LeafObserved

Target = Annotated[
    list[str] | None, typer.Option(metavar="COL", help="Column with the truth.  [default: the name in training]")
]


def predictions(model: Model, source: str, *, proba: bool = False) -> pd.DataFrame:
    """Return the answers for a table, one row for each of its rows.

    The columns are those that an exported Python file writes: ``label``, or ``value`` for a regression, then with
    ``proba`` one ``probability of CLASS`` for each class.

    Args:
        model: the model.
        source: path of the table, or ``"-"``.
        proba: add the probabilities.

    Raises:
        InputError: the table lacks a column, or holds what the model cannot read.
        UnsupportedError: probabilities of a regression.
    """
    import pandas as pd

    ensemble = model.ensemble
    if proba and ensemble.classes is None:
        raise UnsupportedError("a regression model has no probabilities; leave --proba out")
    x = ensemble.encode(read_like_training(model, source).frame)
    raw = ensemble.raw_encoded(x)
    if ensemble.classes is None:
        names = ["value"] if ensemble.n_outputs == 1 else [f"value of {name}" for name in ensemble.outputs]
        return pd.DataFrame(ensemble.numbers(raw), columns=names)
    answers = pd.DataFrame({"label": ensemble.labels(raw)})
    if proba:
        chances = ensemble.probabilities(raw)
        for position, label in enumerate(ensemble.classes):
            answers[f"probability of {label}"] = chances[:, position]
    return answers


def scores(model: Model, source: str, targets: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure a model on a table that holds the target.

    Args:
        model: the model.
        source: path of the table, or ``"-"``.
        targets: names of the target columns; None takes those in training.

    Returns:
        JSON content: rows, and each score with its 95 % interval.

    Raises:
        InputError: a column is absent, or labels are unknown.
    """
    rows, left_out = _rows_with_target(model, source, model.targets(targets))
    found = scores_on(model.ensemble, rows.frame, rows.y, rows.weight)
    return {
        "model": str(model.path),
        "table": source,
        "rows": len(rows.y),
        "rows_without_target": left_out,
        "weight": None if rows.weight is None else model.weight,
        "is_training_table": is_training_table(model, source),
        "level": 0.95,
        "scores": {name: asdict(estimate) for name, estimate in found.items()},
    }


def certificate(model: Model, source: str, targets: Sequence[str] | None = None) -> Any:
    """Certify a model on a table that holds the target.

    Args:
        model: the model.
        source: path of the table, or ``"-"``.
        targets: names of the target columns; None takes those in training.

    Returns:
        The ``Certificate``.

    Raises:
        InputError: a column is absent, or labels are unknown.
    """
    rows, _ = _rows_with_target(model, source, model.targets(targets))
    limits = ["whether training has seen some of these rows: that cannot be told from the table"]
    if is_training_table(model, source):
        limits = ["rows that training has not seen: this is the table that the model was fitted on"]
    told = "the rows of standard input" if source == "-" else f"the rows of {source}"
    limits += model.record.get("search", {}).get("not_covered", [])
    loss = model.loss
    if loss is not None and ":" in loss and not loss.startswith("quantile:"):
        limits.append(f"the loss that was trained, {loss}: code that a file names is not run")
        loss = None
    constraints = model.record.get("search", {}).get("constraints")
    return certificate_on(
        model.ensemble, model.soft(), rows.frame, rows.y, rows.weight, rows=told, loss=loss, constraints=constraints,
        not_covered=limits,
    )  # fmt: skip


def _rows_with_target(model: Model, source: str, targets: Sequence[str]) -> tuple[Scored, int]:
    frame = read_like_training(model, source, targets=targets).frame
    rows = scored_rows(frame, targets, model.ensemble.classes, model.weight)
    return rows, len(frame) - len(rows.y)


def _say_leaves(console: Output, rows: str, listed: Sequence[LeafObserved]) -> None:
    from softwood.lifecycle import leaf_lines

    if listed:
        console.title(f"Leaves, on {rows}")
        for line in leaf_lines(listed):
            console.say(line)


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    def predict(
        model: ModelPath,
        table: TablePath,
        out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write CSV here instead of stdout.")] = None,
        proba: Annotated[bool, typer.Option("--proba", help="Add the probability of each class.")] = False,
        as_json: Json = False,
    ) -> int:
        """Answer for each row of a table, as CSV."""
        console = Output(as_json)
        answers = predictions(load_model(model), table, proba=proba)
        text = answers.to_csv(index=False, lineterminator="\n")
        content: dict[str, Any] = {"model": str(model), "table": table, "rows": len(answers)}
        if out is not None:
            write_atomic(out, text)
            console.say(f"{len(answers)} answers in {out}")
            return console.finish({**content, "file": str(out)})
        if not as_json:
            write_bytes(text.encode())
        return console.finish({**content, "answers": answers.to_dict("list")})

    @app.command()
    def score(model: ModelPath, table: TablePath, target: Target = None, as_json: Json = False) -> int:
        """Measure on a table that holds the target."""
        console = Output(as_json)
        found = scores(load_model(model), table, target)
        width = max(8, *map(len, found["scores"]))
        for name, part in found["scores"].items():
            console.say(f"{name:{width}} {part['value']:.4g}  [{part['low']:.4g}, {part['high']:.4g}]")
        console.say(f"on {found['rows']} rows of {table}; intervals at 0.95 confidence")
        if found["weight"]:
            console.say(f"rows are weighted by {found['weight']}; an accuracy counts each row once")
        if found["rows_without_target"]:
            console.say(f"{found['rows_without_target']} rows without a target were left out")
        if found["is_training_table"]:
            console.say("This is the table that the model was fitted on, so the scores are optimistic")
        return console.finish(found)

    @app.command()
    def certify(model: ModelPath, table: TablePath, target: Target = None, as_json: Json = False) -> int:
        """Compare what ships with what was trained.

        Use rows that training has not seen. Exit code 1 if the certificate does not pass.
        """
        console = Output(as_json)
        found = certificate(load_model(model), table, target)
        console.say(str(found))
        return console.finish(found.to_dict(), 0 if found.passed else 1)

    @app.command()
    def show(model: ModelPath, as_json: Json = False) -> int:
        """Print the model as rules, with its certificate."""
        console = Output(as_json)
        loaded = load_model(model)
        stored = read_json(model / CERTIFICATE)
        console.say(str(loaded.ensemble))
        content = {
            "model": str(model), "fingerprint": loaded.ensemble.fingerprint, "rules": str(loaded.ensemble),
            "certificate": stored or None, "record": loaded.record or None, "ensemble": loaded.ensemble.to_dict(),
        }  # fmt: skip
        if stored and not as_json:
            from softwood.lifecycle import Certificate, listed_from

            certificate = Certificate.from_dict(stored)
            _say_leaves(console, "training rows", listed_from(loaded.record.get("search", {}).get("leaves", [])))
            _say_leaves(console, "the certificate's rows", certificate.leaves)
            console.title("Certificate")
            console.say(str(certificate))
        return console.finish(content)
