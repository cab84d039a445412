"""``softwood distill``: from a teacher and a table to a small, certified model that answers as the teacher does."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from softwood.cli._console import Output
from softwood.cli._fit import exit_code, first_ctrl_c_keeps, found_content, is_unseen, on_test, record_of, save_model
from softwood.cli._fit_options import FitOptions
from softwood.cli._fit_text import say_found, say_table
from softwood.cli._options import (
    TABLE_HELP,
    USUAL_TIME,
    Drop,
    Effort,
    Group,
    Json,
    MaxDepth,
    Metric,
    MinSamplesLeaf,
    Missing,
    Ordered,
    Out,
    Progress,
    Seed,
    Shape,
    Size,
    Task,
    Test,
    TimeLimit,
    Weight,
    many,
    read_duration,
)
from softwood.cli._prepare import Prepared, check_options, prepare, with_orders
from softwood.core import InputError, SoftwoodWarning, check_number, check_replaceable


def distill_model(
    options: FitOptions, teacher: str, out: Output, *, mix: float | None = None, jitter: float = 0.0
) -> dict[str, Any]:
    """Read the table, ask the teacher, fit the student, certify, save; say everything to ``out``.

    Args:
        options: what was asked for; without a target, the teacher's answers stand for it.
        teacher: path of an ONNX model or of a table of answers, or MODULE:FUNCTION.
        out: where text and progress go.
        mix: share of the teacher in the targets, or None to choose it.
        jitter: made rows for each real one.

    Returns:
        JSON content: where the model is, its fidelity, score, certificate and record.

    Raises:
        InputError: the table, the teacher or an option cannot be used.
    """
    from softwood.trees import distill

    begun = time.monotonic()
    check_options(options, target=False)
    if options.test is not None and not options.target:
        raise InputError(
            "a test table needs a target", got="--test without --target", allowed="both, or neither",
            fix="name the target: a test measures what ships against it",
        )  # fmt: skip
    check_replaceable(options.out)
    data = prepare(options)
    say_table(out, options, data)
    asked, answers, extra = _teacher_rows(options, data, teacher)
    pressed: list[int] = []
    with first_ctrl_c_keeps(out, pressed), out.stages() as report, warnings.catch_warnings():
        warnings.simplefilter("ignore", SoftwoodWarning)  # columns left out: said above
        learner = distill(
            answers, data.frame, None if not data.targets else data.y.to_numpy() if len(data.targets) > 1
            else data.y.iloc[:, 0],
            shape=options.shape, max_depth=options.max_depth,
            budget=options.size,
            mix="auto" if mix is None else mix, jitter=jitter, extra=extra, teacher_table=asked,
            task=options.task or (data.target.kind if data.targets else None),
            min_samples_leaf=options.min_samples_leaf, metric=options.metric, effort=options.effort,
            holdout=0.0 if options.test is not None else options.holdout, random_state=options.seed, progress=report,
            time_limit=None if options.time_limit is None
            else max(options.time_limit - (time.monotonic() - begun), 0.1),
            sample_weight=data.roles.get("sample_weight"), groups=data.roles.get("groups"), time=data.roles.get("time"),
        )  # fmt: skip
    certificate = learner.certificate_ if data.test is None else on_test(options, data.test, learner)
    record = {**record_of(options, data, learner, interrupted=bool(pressed)), "teacher": teacher}
    save_model(learner, certificate, record, options.out)
    about = learner.record_["teacher"]
    out.title("The teacher")
    out.say(f"{about['teacher']}: {about['answers']}")
    out.say(f"share of the teacher in the targets: {about['mix']:g}" + ("" if mix is not None or not data.targets
            else ", the best out of fold"))  # fmt: skip
    say_found(out, options, learner, certificate, unseen=is_unseen(options, learner), interrupted=bool(pressed))
    return {**found_content(options, learner, certificate, record), "fidelity": about["fidelity"]}


def _teacher_rows(options: FitOptions, data: Prepared, teacher: str) -> tuple[Any, Any, Any]:
    """Return what the teacher is asked about, the teacher or its answers to these rows, and rows without a target."""
    import numpy as np

    from softwood.trees import read_teacher

    frame = with_orders(data.table.frame.drop(columns=[*options.target, *options.drop]), options.ordered)
    known = np.logical_and.reduce([np.ones(len(frame), bool), *(target.rows for target in data.targets)])
    asked = frame[known].reset_index(drop=True)
    found = read_teacher(teacher)
    if found.given is None:
        rest = frame[~known].reset_index(drop=True)
        return asked, found, rest if len(rest) else None
    if len(found.given) != len(frame):
        raise InputError(
            "the teacher's answers are not one for each row of the table",
            got=f"{len(found.given)} rows in {teacher}, {len(frame)} in {options.table}", allowed="as many rows",
            fix="write one row of answers for each row of the table, in its order",
        )  # fmt: skip
    return asked, found.of_rows(known), None


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def distill(
        teacher: Annotated[
            str,
            typer.Argument(
                metavar="TEACHER",
                help="ONNX file, MODULE:FUNCTION, or a table of answers, one row each.",
                show_default=False,
            ),
        ],
        table: Annotated[str, typer.Argument(metavar="TABLE", help=TABLE_HELP, show_default=False)],
        target: Annotated[
            list[str] | None,
            typer.Option(metavar="COL", help="Column with the truth, if there is one: mixed in, and measured."),
        ] = None,
        task: Task = None,
        shape: Shape = "tree",
        max_depth: MaxDepth = None,
        size: Size = None,
        mix: Annotated[
            float | None, typer.Option(help="Teacher's share in the targets, 0 to 1.  [default: chosen out of fold]")
        ] = None,
        jitter: Annotated[float, typer.Option(help="Made rows for each real one, answered by TEACHER.")] = 0.0,
        min_samples_leaf: MinSamplesLeaf = 1.0,
        metric: Metric = None,
        test: Test = None,
        drop: Drop = None,
        ordered: Ordered = None,
        weight: Weight = None,
        group: Group = None,
        missing: Missing = None,
        time_limit: TimeLimit = USUAL_TIME,
        effort: Effort = 1.0,
        holdout: Annotated[float, typer.Option(help="Share of rows kept for the certificate.")] = 0.1,
        seed: Seed = 0,
        out: Out = Path("model"),
        progress: Progress = None,
        as_json: Json = False,
    ) -> int:
        """Fit a small tree or forest to what a teacher answers, certify how faithful it is, and save it."""
        options = FitOptions(
            table, many(target), task, shape, max_depth, size, min_samples_leaf, metric, test=test, drop=many(drop),
            ordered=many(ordered), weight=weight, group=group,
            time_limit=read_duration(time_limit), effort=effort, holdout=holdout,
            seed=seed, out=out, missing=many(missing),
        )  # fmt: skip
        if mix is not None:
            check_number("--mix", mix, low=0, high=1)
        check_number("--jitter", jitter, low=0, high=20)
        console = Output(as_json, progress)
        found = distill_model(options, teacher, console, mix=mix, jitter=jitter)
        return console.finish(found, exit_code(found))
