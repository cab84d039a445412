"""``softwood bench trees``: every method on every table, and what came out of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from softwood.cli._bench_methods import METHODS, OURS, Answer, Method, Plan
from softwood.cli._bench_tables import BenchTable, bundled_table

SCHEMA = "softwood bench trees 1"
_CLIP = 1e-15  # as in certify


def bench_trees(
    tables: Iterable[BenchTable], plan: Plan, splits: int, told: Callable[[dict[str, Any]], None] = lambda row: None,
    methods: Sequence[Method] = METHODS,
) -> dict[str, Any]:  # fmt: skip
    """Fit every method on 70 % of every table, several times, and judge it on the other rows.

    Args:
        tables: the tables.
        plan: what the methods are held to; its seed is that of the first split.
        splits: of each table.
        told: is given each row of the result as it comes.
        methods: what is compared.

    Returns:
        JSON content as ``schemas/bench_trees.json`` describes it: ``results`` a row for each fit, ``summary`` a row
        for each table and method, ``worse`` where a peer has the lower mean loss, ``absent`` what is not installed.
    """
    from sklearn.model_selection import train_test_split

    there = [method for method in methods if method.module is None or find_spec(method.module)]
    _warm_up()
    results, about = [], []
    for table in tables:
        about.append({"table": table.name, "target": table.target, "rows": len(table.y), "columns": table.raw.shape[1],
                      "classes": table.classes})  # fmt: skip
        alone = table.classes > 0 and np.bincount(table.y).min() > 1
        for split in range(splits):
            now = Plan(plan.max_depth, plan.size, plan.seed + split, plan.quick)
            train, test = train_test_split(
                np.arange(len(table.y)), test_size=0.3, random_state=now.seed, stratify=table.y if alone else None
            )
            for method in there:
                row = {"table": table.name, "split": split, "method": method.name, "kind": method.kind}
                results.append({**row, **_measured(method, table, train, test, now)})
                told(results[-1])
    summary = _summary(results)
    return {
        "schema": SCHEMA, "max_depth": plan.max_depth, "size": plan.size, "splits": splits, "seed": plan.seed,
        "quick": plan.quick, "tables": about, "absent": [method.name for method in methods if method not in there],
        "results": results, "summary": summary, "worse": worse(summary),
    }  # fmt: skip


def _warm_up() -> None:
    """Compile our loops, so that the first table is not charged for it."""
    for name in ("wine", "diabetes"):
        table, quick = bundled_table(name), Plan(2, 16, 0, quick=True)
        for method in METHODS:
            if method.name in OURS.values():
                method.run(table, np.arange(100), np.arange(10), quick)


def _measured(method: Method, table: BenchTable, train: np.ndarray, test: np.ndarray, plan: Plan) -> dict[str, Any]:
    begun = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other libraries, about their own settings
            answer = method.run(table, train, test, plan)
    except Exception as error:  # one peer that fails on one table is a result too
        return {"error": f"{type(error).__name__}: {error}"[:300], "seconds": time.perf_counter() - begun}
    score, loss = _judged(answer, table, test)
    return {"score": score, "loss": loss, "leaf_values": answer.leaf_values, "agreement": answer.agreement,
            "seconds": time.perf_counter() - begun}  # fmt: skip


def _judged(answer: Answer, table: BenchTable, test: np.ndarray) -> tuple[float, float]:
    """Return accuracy and mean log-loss, or R2 and RMSE."""
    y, found = table.y[test], answer.found
    if table.classes:
        right = np.clip(found[np.arange(len(y)), y], _CLIP, 1.0)
        return float((found.argmax(1) == y).mean()), float(-np.log(right).mean())
    error = float(((found - y) ** 2).mean())
    return 1.0 - error / float(y.var()), error**0.5


def _summary(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the means over the splits for each table and method; a method that failed on a split has none."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["table"], result["kind"], result["method"]), []).append(result)
    rows = []
    for (table, kind, method), found in groups.items():
        row: dict[str, Any] = {"table": table, "kind": kind, "method": method}
        errors = [part["error"] for part in found if "error" in part]
        if errors:
            rows.append({**row, "error": errors[0]})
            continue
        row |= {
            name: float(np.mean([part[name] for part in found])) for name in ("score", "loss", "leaf_values", "seconds")
        }
        known = [part["agreement"] for part in found if part["agreement"] is not None]
        row["agreement"] = float(np.mean(known)) if known else None
        rows.append(row)
    return rows


def worse(summary: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return where a peer of the same kind has a lower mean loss or a higher mean score than ours.

    Args:
        summary: rows of the summary.

    Returns:
        ``table``, ``kind``, ``method`` (the peer), ``measure`` and ``by`` (how much the peer is better).
    """
    ours = {(row["table"], row["kind"]): row for row in summary if row["method"] == OURS[row["kind"]]}
    found = []
    for row in summary:
        own = ours.get((row["table"], row["kind"]))
        if own is None or own is row or "error" in row or "error" in own:
            continue
        for measure, by in (("score", row["score"] - own["score"]), ("loss", own["loss"] - row["loss"])):
            if by > 0:
                found.append({key: row[key] for key in ("table", "kind", "method")} | {"measure": measure, "by": by})
    return found
