"""``softwood fit``: from a table to a saved, certified model."""

from __future__ import annotations

import json
import platform
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softwood.cli._checkpoint import checkpoint, settings_of
from softwood.cli._console import Output
from softwood.cli._fit_options import FitOptions, options_like
from softwood.cli._fit_text import say_found, say_table
from softwood.cli._measure import certificate_on
from softwood.cli._model import CERTIFICATE, RECORD, SOFT, file_digest, read_json
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
    read_class_weight,
    read_duration,
    read_loss,
)
from softwood.cli._prepare import Prepared, Scored, check_options, prepare
from softwood.core import InputError, SoftwoodWarning, check_number, check_replaceable

if TYPE_CHECKING:
    from softwood.lifecycle import Certificate

_FOREST_SIZE = 480  # leaf values
_LEAST_TIME = 0.1  # seconds for the search, however long the table took
_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "numba", "pandas")


def fit_model(options: FitOptions, out: Output) -> dict[str, Any]:
    """Read the table, fit, certify, save; say everything to ``out``.

    Args:
        options: what was asked for.
        out: where text and progress go.

    Returns:
        JSON content: where the model is, its score, certificate and record.

    Raises:
        InputError: the table, the target or an option cannot be used.
    """
    import pandas as pd

    begun = time.monotonic()
    check_options(options)
    check_replaceable(options.out)
    data = prepare(options)
    say_table(out, options, data)
    learner = _learner(options, data)
    # what is left out may hold lists, which have no hash
    beside = pd.DataFrame({f" {name}": part for name, part in data.roles.items()}, index=data.y.index)
    used = pd.concat([data.frame, data.y, beside], axis=1)
    brought = None if data.brought is None else data.brought.fingerprint
    settings = settings_of(used, {**asdict(options), "out": None, "init": brought})
    place = options.out.with_name(f"{options.out.resolve().name}.checkpoint")
    pressed: list[int] = []

    def save(fitted: Any) -> tuple[Certificate, dict[str, Any]]:
        """Write the model, which may be the first of several that a long fit improves on."""
        certificate = fitted.certificate_ if data.test is None else on_test(options, data.test, fitted)
        record = record_of(options, data, fitted, interrupted=bool(pressed))
        save_model(fitted, certificate, record, options.out)
        return certificate, record

    with checkpoint(place, settings, out.note) as folder, first_ctrl_c_keeps(out, pressed), out.stages() as report:
        timed = _time(options, begun)
        learner.set_params(progress=report, checkpoint=folder, improved=save, plan=options.plan, **timed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SoftwoodWarning)  # columns left out: said above
            learner.fit(data.frame, data.y if len(options.target) > 1 else data.y.iloc[:, 0], **data.roles)
        if options.stability:
            report("stability", 0.0)
            learner.record_["stability"] = learner.stability_.to_dict()
        certificate, record = save(learner)
    say_found(out, options, learner, certificate, unseen=is_unseen(options, learner), interrupted=bool(pressed))
    return found_content(options, learner, certificate, record)


def is_unseen(options: FitOptions, learner: Any) -> bool:
    """Say whether the certificate's rows are unseen by training and selection."""
    measured = learner.record_["held_out_rows"] + learner.record_.get("crossfitted_rows", 0)
    return options.test is not None or measured > 0


def found_content(
    options: FitOptions, learner: Any, certificate: Certificate, record: dict[str, Any]
) -> dict[str, Any]:
    """Return what ``--json`` prints of a fit: where the model is, its score, certificate and record."""
    return {
        "model": str(options.out),
        "fingerprint": learner.artifact_.fingerprint,
        "rules": str(learner.artifact_),
        "passed": certificate.passed,
        "certificate": certificate.to_dict(),
        "score": None if certificate.score is None else {"name": certificate.score_name, **asdict(certificate.score)},
        "unseen": is_unseen(options, learner),
        "interrupted": record["interrupted"],
        "record": record,
    }


def exit_code(found: dict[str, Any]) -> int:
    """Return 130 after Ctrl-C, else 0 where the certificate holds, else 1."""
    return 130 if found["interrupted"] else 0 if found["passed"] else 1


def _time(options: FitOptions, begun: float) -> dict[str, float]:
    """Return what is left of the time limit; a plan needs none."""
    if options.time_limit is None or options.plan is not None:
        return {}
    return {"time_limit": max(options.time_limit - (time.monotonic() - begun), _LEAST_TIME)}


def _learner(options: FitOptions, data: Prepared) -> Any:
    from softwood.trees import ForestClassifier, ForestRegressor, TreeClassifier, TreeRegressor

    is_tree, is_classes = options.shape == "tree", data.target.kind == "classification"
    common: dict[str, Any] = {
        "max_depth": options.max_depth if options.max_depth is not None else 4 if is_tree else 6,
        "metric": options.metric,
        "loss": read_loss(options.loss or ("log_loss" if is_classes else "squared")),
        "min_samples_leaf": options.min_samples_leaf,
        "effort": options.effort,
        "holdout": 0.0 if options.test is not None else options.holdout,
        "random_state": check_number("--seed", options.seed, low=0, high=2**32 - 1, integer=True),
        "init": options.init,
        "tune": options.tune,
    }
    signs = {**dict.fromkeys(options.increasing, 1), **dict.fromkeys(options.decreasing, -1)}
    common["monotonic_cst"] = signs or None
    # the parts of a date are forbidden with it
    names = [column.name for column in data.found.columns]
    parts = [name for name in names for asked in options.forbid if name == asked or name.startswith(f"{asked}.")]
    common["forbidden"] = [*dict.fromkeys([*parts, *(name for name in options.forbid if not parts)])] or None
    if is_classes:
        common["class_weight"] = read_class_weight(options.class_weight, data.target.classes)
    elif options.class_weight is not None:
        raise InputError(
            "--class-weight is for classes", got="a regression", allowed="a target of classes",
            fix="leave it out; --weight COL weighs rows",
        )  # fmt: skip
    if not is_classes:
        common["quantile"] = options.quantile
    if is_tree:
        kind = TreeClassifier if is_classes else TreeRegressor
        return kind(max_leaf_nodes=_most_leaves(options.size, len(data.target.classes)), **common)
    size = _FOREST_SIZE if options.size is None else check_number("--size", options.size, low=2, integer=True)
    return (ForestClassifier if is_classes else ForestRegressor)(size, **common)


def _most_leaves(size: int | None, classes: int) -> int | None:
    """Turn a budget in leaf values into leaves: one value each, or one for each class if there are three or more."""
    if size is None:
        return None
    width = classes if classes > 2 else 1
    return int(check_number("--size", size, low=width, integer=True)) // width


def on_test(options: FitOptions, test: Scored, learner: Any) -> Certificate:
    """Certify on the rows of the test table."""
    limits = [*test.limits, *learner.record_.get("not_covered", ())]
    if options.test not in (None, "-") and file_digest(str(options.test)) == file_digest(options.table):
        limits.append("rows that training has not seen: the test file is the training table")
    return certificate_on(
        learner.artifact_, learner.soft_, test.frame, test.y, test.weight, rows=f"the rows of {options.test}",
        ships=learner.certificate_.ships, loss=learner.loss_.certified(),
        constraints=learner.record_["constraints"], not_covered=limits,
    )  # fmt: skip


@contextmanager
def first_ctrl_c_keeps(out: Output, pressed: list[int]) -> Iterator[None]:
    """Let the first Ctrl-C end the search with what it has, the second one leave at once.

    ``lifecycle.train`` takes a KeyboardInterrupt as "stop here"; anywhere else it ends the command.

    Args:
        out: is told.
        pressed: grows with each Ctrl-C.
    """

    def on_signal(number: int, frame: Any) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            raise SystemExit(130)
        out.note("stopping; Ctrl-C again leaves at once")
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    except SystemError as error:
        if pressed:  # what a Ctrl-C within a compiled loop becomes
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _table_record(options: FitOptions, data: Prepared) -> dict[str, Any]:
    table = data.table
    return {
        "source": options.table, "rows": len(table.frame), "columns": table.frame.shape[1],
        "delimiter": table.delimiter, "encoding": table.encoding, "decimal": table.decimal,
        "notes": list(table.notes), "sha256": file_digest(options.table), "missing": list(options.missing),
    }  # fmt: skip


def record_of(options: FitOptions, data: Prepared, learner: Any, *, interrupted: bool) -> dict[str, Any]:
    """Return JSON content that says how the model was made."""
    return {
        "format": "softwood-record",
        "version": 1,
        "fingerprint": learner.artifact_.fingerprint,
        "target": ", ".join(options.target),
        "targets": list(options.target),
        "task": "regression" if learner.artifact_.classes is None else "classification",
        "seed": options.seed,
        "options": {**asdict(options), "out": str(options.out)},
        "table": _table_record(options, data),
        "columns": {
            "used": [column.name for column in data.found.columns],
            "date_parts": [column.name for column in data.found.columns if column.name not in data.frame],
            "dropped": [list(pair) for pair in data.found.dropped],
            "leaks": [list(pair) for pair in data.found.leaks],
        },
        "notes": [*(note for target in data.targets for note in target.notes), *data.found.notes],
        "interrupted": interrupted,
        "search": learner.record_,
        "versions": {
            "python": platform.python_version(), "softwood": version("softwood"),
            **{name: version(name) for name in _PACKAGES},
        },
    }  # fmt: skip


def save_model(fitted: Any, certificate: Certificate, record: dict[str, Any], out: Path) -> None:
    """Write a fitted learner as a model directory.

    Args:
        fitted: the learner.
        certificate: of what ships.
        record: of ``record_of``.
        out: the directory.
    """
    extras = {CERTIFICATE: _json(certificate.to_dict()), RECORD: _json(record)}
    if fitted.soft_ is not None:
        extras[SOFT] = _json(fitted.soft_.to_dict())
    fitted.artifact_.save(out, extras=extras)


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def fit(
        table: Annotated[str, typer.Argument(metavar="TABLE", help=TABLE_HELP, show_default=False)],
        target: Annotated[
            list[str] | None,
            typer.Option(metavar="COL", help="Column to predict; repeat it for several numbers.", show_default=False),
        ] = None,
        task: Task = None,
        shape: Shape = "tree",
        max_depth: MaxDepth = None,
        size: Size = None,
        min_samples_leaf: MinSamplesLeaf = 1.0,
        metric: Metric = None,
        loss: Annotated[
            str | None,
            typer.Option(help="log_loss; squared, absolute, quantile or poisson; or MODULE:FUNCTION of torch tensors."),
        ] = None,
        quantile: Annotated[float, typer.Option(help="Level of --loss quantile.")] = 0.5,
        test: Test = None,
        drop: Drop = None,
        increasing: Annotated[
            list[str] | None, typer.Option(metavar="COL", help="The answer never falls with it; repeatable.")
        ] = None,
        decreasing: Annotated[
            list[str] | None, typer.Option(metavar="COL", help="The answer never rises with it; repeatable.")
        ] = None,
        forbid: Annotated[list[str] | None, typer.Option(metavar="COL", help="No node tests it; repeatable.")] = None,
        ordered: Ordered = None,
        weight: Weight = None,
        group: Group = None,
        time: Annotated[
            str | None, typer.Option(metavar="COL", help="Later rows judge what earlier ones taught; no input then.")
        ] = None,
        keep: Annotated[
            list[str] | None, typer.Option(metavar="COL", help="Use the group or time column as input too.")
        ] = None,
        time_limit: TimeLimit = USUAL_TIME,
        effort: Effort = 1.0,
        holdout: Annotated[
            float | None,
            typer.Option(help="Share of rows kept for the certificate.  [default: 0.1; folds below 300 rows]"),
        ] = None,
        seed: Seed = 0,
        stability: Annotated[
            bool, typer.Option("--stability", help="Fit again to 50 bootstrap samples: how firm is each split?")
        ] = False,
        out: Out = Path("model"),
        init: Annotated[
            str | None,
            typer.Option("--from", metavar="MODEL", help="Model to start from, of any library that we read."),
        ] = None,
        tune: Annotated[
            bool | None,
            typer.Option("--tune/--untuned", help="Fine-tune the best; or ship MODEL as it is.  [default: tune MODEL]"),
        ] = None,
        class_weight: Annotated[
            str | None, typer.Option(metavar="WEIGHTS", help="balanced, or LABEL=2,LABEL=0.5: what errors on it count.")
        ] = None,
        missing: Missing = None,
        like: Annotated[
            Path | None,
            typer.Option(metavar="MODEL", help="Fit as MODEL's record says, what its time limit cut included."),
        ] = None,
        progress: Progress = None,
        as_json: Json = False,
    ) -> int:
        """Fit a tree or a forest to a table, harden it, certify it, and save it."""
        options = FitOptions(
            table, many(target), task, shape, max_depth, size, min_samples_leaf, metric, loss=loss, quantile=quantile,
            test=test, drop=many(drop), increasing=many(increasing), decreasing=many(decreasing), forbid=many(forbid),
            ordered=many(ordered), weight=weight, group=group, time=time, keep=many(keep), missing=many(missing),
            time_limit=read_duration(time_limit), effort=effort, holdout=holdout, seed=seed, stability=stability,
            out=out, init=init, tune=tune, class_weight=class_weight,
        )  # fmt: skip
        if like is not None:
            if target:
                raise InputError(
                    "--like says what the target is", got=f"--target {target[0]}", allowed="--like alone, with --out",
                    fix="leave out --target and every other option but --out",
                )  # fmt: skip
            options = options_like(read_json(like / RECORD), like / RECORD, table, out)
        console = Output(as_json, progress)
        found = fit_model(options, console)
        return console.finish(found, exit_code(found))
