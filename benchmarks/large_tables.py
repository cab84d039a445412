# ruff: noqa: T201
"""Time and memory of fits on large generated tables: 20 of 50 columns categories, a tenth of the cells missing.

    python benchmarks/large_tables.py --rows 200000 --columns 50 --shape tree
    python benchmarks/large_tables.py --rows 1000000 --columns 20 --shape forest

Each run prints one line of JSON: seconds of the fit by stage, largest resident memory, score on 20,000 unseen rows
beside LightGBM with as many leaf values, what shipped, and what a time limit cut.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings

import numpy as np
import pandas as pd

import softwood as sw


def make(rows: int, columns: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table, two fifths of its columns categories of 3 to 40 levels, and binary labels.

    Args:
        rows: n.
        columns: C.
        seed: of everything random.
    """
    random = np.random.default_rng(seed)
    frame, score = {}, np.zeros(rows)
    for index in range(columns):
        if index % 5 < 2:
            levels = int(random.integers(3, 41))
            code = random.integers(0, levels, rows)
            score += random.normal(0, 0.4, levels)[code] * (index < columns // 2)
            column = pd.Series(np.array([f"level {k}" for k in range(levels)], object)[code])
        else:
            value = random.normal(size=rows).astype(np.float32).astype(float).round(4)
            score += 0.5 * np.sin(2 * value) * (index < columns // 2)
            column = pd.Series(value)
        frame[f"c{index}"] = column.mask(random.random(rows) < 0.1)
    first, second = frame["c2"].fillna(0).to_numpy(), frame["c3"].fillna(0).to_numpy()
    score += 1.2 * np.sign(first * second)
    return pd.DataFrame(frame), np.where(score + random.logistic(size=rows) > 0, "yes", "no")


def light(table: pd.DataFrame, y: np.ndarray, held: pd.DataFrame, size: int, threads: int) -> np.ndarray:
    """Return LightGBM's P(yes) of the held rows, from as many leaf values, 16 leaves a tree.

    Args:
        table: training rows.
        y: labels.
        held: rows to answer.
        size: leaf values.
        threads: threads.
    """
    import lightgbm

    def coded(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.astype({name: "category" for name in frame if not pd.api.types.is_numeric_dtype(frame[name])})

    model = lightgbm.LGBMClassifier(
        n_estimators=size // 16, num_leaves=16, learning_rate=0.2, n_jobs=threads, verbose=-1
    )
    answers: np.ndarray = model.fit(coded(table), y).predict_proba(coded(held))[:, 1]
    return answers


def main() -> None:
    """Fit, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--shape", choices=["tree", "forest"], default="tree")
    parser.add_argument("--time-limit", type=float)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    frame, y = make(options.rows + 20_000, options.columns, 0)
    table, held = frame.iloc[: options.rows], frame.iloc[options.rows :]
    stages: dict[str, float] = {}
    started = time.perf_counter()

    def progress(stage: str, done: float) -> None:
        stages[stage] = round(time.perf_counter() - started, 1)

    kind = sw.trees.TreeClassifier if options.shape == "tree" else sw.trees.ForestClassifier
    limit = {} if options.time_limit is None else {"time_limit": options.time_limit}
    model = kind(progress=progress, n_jobs=options.threads, **limit)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    model.fit(table, y[: options.rows])
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    truth = y[options.rows :] == "yes"
    share = model.predict_proba(held)[:, 1].clip(1e-15, 1 - 1e-15)
    found = {
        "rows": options.rows, "columns": options.columns, "shape": options.shape, "seconds": round(seconds, 1),
        "stages_end": stages, "gib_before": round(before, 2), "gib_peak": round(peak, 2),
        "log_loss": -np.log(np.where(truth, share, 1 - share)).mean(), "accuracy": ((share > 0.5) == truth).mean(),
        "size": model.artifact_.n_leaf_values, "shipped": model.record_["shipped"],
        "cut": model.record_["cut_by_time_limit"],
    }  # fmt: skip
    if options.shape == "forest":
        begun = time.perf_counter()
        share = light(table, y[: options.rows], held, 480, options.threads).clip(1e-15, 1 - 1e-15)
        found["lightgbm"] = {
            "log_loss": -np.log(np.where(truth, share, 1 - share)).mean(),
            "seconds": round(time.perf_counter() - begun, 1),
        }
    print(json.dumps(found, default=float), flush=True)


if __name__ == "__main__":
    main()
