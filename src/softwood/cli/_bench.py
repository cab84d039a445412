"""``softwood bench``: this library beside others, in one process, on the same rows; what it loses is shown."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer

from softwood.cli._console import Output
from softwood.cli._options import Json, Progress
from softwood.core import InputError, write_atomic

_PACKAGES = ("softwood", "numpy", "scikit-learn", "lightgbm", "xgboost", "catboost", "neural-trees", "treegrad",
             "treelite", "onnxruntime", "torch", "numba", "torchsort", "entmax", "diffsort", "softtorch")  # fmt: skip


def _machine() -> dict[str, Any]:
    """Return where it was measured, and by which versions; None for a package that is not installed."""
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return {"python": platform.python_version(), "machine": platform.machine(), "packages": found}


def grid(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text; all columns but the first two are set to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place < 2 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    held = StringIO()
    Console(file=held, width=200, markup=False, emoji=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in held.getvalue().splitlines())


def show_trees(found: dict[str, Any], out: Output) -> None:
    """Print what ``bench_trees`` returned."""
    lost = {(row["table"], row["kind"], row["method"], row["measure"]) for row in found["worse"]}
    for about in found["tables"]:
        name, measures = about["table"], ("accuracy", "log-loss") if about["classes"] else ("R2", "RMSE")
        rows = []
        for row in (part for part in found["summary"] if part["table"] == name):
            if "error" in row:
                rows.append((row["kind"], row["method"], "failed", row["error"][:60], "", "", ""))
                continue
            marks = [
                " *" if (name, row["kind"], row["method"], measure) in lost else "  " for measure in ("score", "loss")
            ]
            rows.append((
                row["kind"], row["method"], f"{row['score']:.4f}{marks[0]}", f"{row['loss']:.4f}{marks[1]}",
                f"{row['leaf_values']:.0f}", "-" if row["agreement"] is None else f"{100 * row['agreement']:.1f} %",
                f"{row['seconds']:.1f} s",
            ))  # fmt: skip
        title = f"{name}: {about['rows']} rows, {about['columns']} columns, target {about['target']}"
        out.say(grid(title, ("", "method", *measures, "leaf values", "soft = hard", "fit"), rows))
    tables = {row["table"] for row in found["worse"]}
    out.say(f"* better than ours: {len(found['worse'])} entries on {len(tables)} of {len(found['tables'])} tables")
    out.say(f"Not installed, so not compared: {', '.join(found['absent']) or 'none'}")


def show_predict(found: dict[str, Any], out: Output) -> None:
    """Print what ``bench_predict`` returned."""
    faster = {(r["model"], r["threads"], r["batch"], r["against"]): r["times_faster"] for r in found["ratios"]}
    rows = []
    for row in found["results"]:
        ratio = faster.get((row["model"], row["threads"], row["batch"], row["engine"]))
        mark = "" if ratio is None else f"{ratio:.1f}x{' *' if ratio < 1 else '  '}"
        rows.append((
            row["model"], row["engine"], str(row["threads"]), str(row["batch"]), f"{1e6 * row['median']:.1f}",
            f"{1e6 * row['low']:.1f} - {1e6 * row['high']:.1f}", f"{row['batch'] / row['median'] / 1e6:.3f}", mark,
        ))  # fmt: skip
    heads = ("model", "engine", "threads", "rows", "median us", "quartiles us", "million rows/s", "Softwood is faster")
    out.say(grid("Prediction", heads, rows))
    for row in found["failed"]:
        out.say(f"{row['model']}, {row['engine']}, {row['threads']} threads failed: {row['error']}")
    out.say("* quicker than ours")
    out.say(f"Not installed, so not compared: {', '.join(found['absent']) or 'none'}")


def show_estimators(found: dict[str, Any], out: Output) -> None:
    """Print what ``bench_estimators`` returned."""
    from softwood.cli._bench_estimators import HEADS, table_rows

    for problem in found["problems"]:
        out.say(grid(f"{problem['name']}: {problem['problem']}", HEADS, table_rows(problem)))
        out.say(f"reference: {problem['reference_detail']}")
        for text in problem["warnings"]:
            out.say(f"warning: {text}")
        out.say(f"take: {problem['recommendation']}. {problem['reason']}")
        out.say()


def show_ops(found: dict[str, Any], out: Output) -> None:
    """Print what ``bench_ops`` returned."""
    sizes = list(dict.fromkeys((row["threads"], row["rows"], row["n"]) for row in found["results"]))
    for threads in dict.fromkeys(size[0] for size in sizes):
        here = [size for size in sizes if size[0] == threads]
        cells: dict[tuple[str, str], dict[Any, str]] = {}
        for row in found["results"]:
            if row["threads"] == threads and row["library"] != "torch":
                name = (row["operation"], f"{row['library']} {row['method']}")
                place = (threads, row["rows"], row["n"])
                cells.setdefault(name, {})[place] = f"{row['multiple']:.2f} ({row['low']:.2f} - {row['high']:.2f})"
        heads = ("operation", "method", *(f"{rows} x {n:,}" for _, rows, n in here))
        rows = [(*name, *(held.get(size, "") for size in here)) for name, held in cells.items()]
        thread = "1 thread" if threads == 1 else f"{threads} threads"
        out.say(grid(f"Multiples of torch.sort, forward and backward, {thread}: median (quartiles)", heads, rows))
    rows = [(row["operation"], row["against"], str(row["threads"]), f"{row['rows']} x {row['n']:,}",
             f"{row['ratio']:.2f}{' *' if row['ratio'] > 1 else '  '}") for row in found["ratios"]]  # fmt: skip
    if rows:
        out.say(
            grid("Our time over theirs (* theirs is quicker)", ("operation", "against", "threads", "size", ""), rows)
        )
    rows = [(row["operation"], row["method"], f"{row['n']:,}", f"{1e3 * row['seconds']:.3f}",
             "" if row["exponent"] is None else f"{row['exponent']:.2f}") for row in found["growth"]]  # fmt: skip
    out.say(grid("Growth, one row, one thread", ("operation", "method", "n", "ms", "exponent"), rows))
    for row in found["failed"]:
        out.say(
            f"{row['operation']}, {row['library']} {row['method']}, {row['rows']} x {row['n']} failed: {row['error']}"
        )
    out.say(f"Not installed, so not compared: {', '.join(found['absent']) or 'none'}")


def _finish(found: dict[str, Any], file: Path | None, out: Output) -> int:
    content = {**found, "where": _machine()}
    if file is not None:
        write_atomic(file, json.dumps(content, indent=1))
        out.say(f"Written to {file}")
    return out.finish(content)


Quick = Annotated[bool, typer.Option("--quick", help="Search and time little: to see that all works.")]
OutFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON document there as well.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    bench = typer.Typer(help="Compare with other libraries; what is lost is shown.", rich_markup_mode=None)
    app.add_typer(bench, name="bench")

    @bench.command()
    def trees(
        tables: Annotated[
            Path | None, typer.Option(metavar="DIR", help="CSV files, beside scikit-learn's tables.")
        ] = None,
        target: Annotated[
            list[str] | None,
            typer.Option(metavar="NAME=COL", help="Target of a table of DIR.  [default: targets.json, last column]"),
        ] = None,
        only: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="This table only; may be repeated.")
        ] = None,
        splits: Annotated[int, typer.Option(help="Splits of each table, 70 : 30.", min=1)] = 3,
        size: Annotated[int, typer.Option(help="Leaf values of a forest.", min=4)] = 480,
        max_depth: Annotated[int, typer.Option(help="Depth of one tree.", min=1, max=10)] = 4,
        seed: Annotated[int, typer.Option(help="Of the first split and all else.")] = 0,
        quick: Quick = False,
        out: OutFile = None,
        progress: Progress = None,
        as_json: Json = False,
    ) -> int:
        """Fit trees and forests of equal size: ours, CART, LightGBM, XGBoost, CatBoost, neural-trees, treegrad."""
        from softwood.cli._bench_methods import Plan
        from softwood.cli._bench_tables import (
            BUNDLED,
            bundled_table,
            folder_table,
            folder_tables,
            read_targets,
            table_name,
        )
        from softwood.cli._bench_trees import bench_trees

        console, targets = Output(as_json, progress), read_targets(target or [])
        paths = {table_name(path): path for path in folder_tables(tables, targets)} if tables is not None else {}
        names = [*BUNDLED, *paths]
        unknown = sorted(set(only or []) - set(names))
        if unknown:
            raise InputError("--only names a table that is not there", got=", ".join(unknown),
                             allowed=", ".join(names), fix="name one of them")  # fmt: skip
        names = [name for name in names if not only or name in only]
        read = (folder_table(paths[name], targets) if name in paths else bundled_table(name) for name in names)
        with console.stages() as report:
            done: list[str] = []

            def told(row: dict[str, Any]) -> None:
                if row["table"] not in done:
                    done.append(row["table"])
                report(f"{row['table']}, {row['method']}", (len(done) - 1) / len(names))

            found = bench_trees(read, Plan(max_depth, size, seed, quick), splits, told)
        show_trees(found, console)
        return _finish(found, out, console)

    @bench.command()
    def predict(
        threads: Annotated[list[int] | None, typer.Option(help="May be repeated.  [default: 1 and 2]")] = None,
        quick: Quick = False,
        out: OutFile = None,
        progress: Progress = None,
        as_json: Json = False,
    ) -> int:
        """Time predictions of the same trees: ours, LightGBM, treelite, onnxruntime; 1, 1,000 and 100,000 rows."""
        from softwood.cli._bench_predict import BATCHES, bench_predict

        console = Output(as_json, progress)
        with console.stages() as report:
            found = bench_predict(
                threads=threads or (1, 2), batches=(1, 1000) if quick else BATCHES, quick=quick,
                told=lambda row: report(f"{row['model']}, {row['engine']}", 0.0),
            )  # fmt: skip
        show_predict(found, console)
        return _finish(found, out, console)

    @bench.command()
    def estimators(
        repeats: Annotated[int, typer.Option(help="Estimates of each estimator.", min=100)] = 20_000,
        seed: Annotated[int, typer.Option(help="Of the estimates; the problems are fixed.")] = 0,
        quick: Quick = False,
        out: OutFile = None,
        progress: Progress = None,
        as_json: Json = False,
    ) -> int:
        """Measure bias, variance and cost of gradient estimators on four problems whose truth is known."""
        from softwood.cli._bench_estimators import bench_estimators

        console = Output(as_json, progress)
        with console.stages() as report:
            found = bench_estimators(500 if quick else repeats, seed, lambda name: report(name, 0.0))
        show_estimators(found, console)
        return _finish(found, out, console)

    @bench.command()
    def ops(
        threads: Annotated[list[int] | None, typer.Option(help="May be repeated.  [default: 1 and 2]")] = None,
        only: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="This operation only; may be repeated.")
        ] = None,
        quick: Quick = False,
        out: OutFile = None,
        progress: Progress = None,
        as_json: Json = False,
    ) -> int:
        """Time relaxed operations in multiples of torch.sort: ours, torchsort, SoftTorch, diffsort, entmax."""
        from softwood.cli._bench_ops import GROWTH, METHODS, SIZES, bench_ops

        names = list(dict.fromkeys(method.operation for method in METHODS))
        unknown = sorted(set(only or []) - set(names))
        if unknown:
            raise InputError("--only names an operation that is not there", got=", ".join(unknown),
                             allowed=", ".join(names), fix="name one of them")  # fmt: skip
        console = Output(as_json, progress)
        with console.stages() as report:
            found = bench_ops(
                threads=threads or (1, 2), sizes=((8, 16), (2, 100)) if quick else SIZES,
                growth=GROWTH[:2] if quick else GROWTH, only=only or (), quick=quick,
                told=lambda row: report(f"{row['rows']} x {row['n']}, {row['threads']} threads", 0.0),
            )  # fmt: skip
        show_ops(found, console)
        return _finish(found, out, console)
