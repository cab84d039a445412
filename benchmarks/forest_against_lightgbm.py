# ruff: noqa: T201
"""A forest of 480 leaf values against LightGBM of the same size on real tables: log-loss, or RMSE.

Every table is split 70 : 30 several times. LightGBM is tuned by 5-fold search over leaves, learning rate and leaf size
on all training rows, its number of trees being what 480 leaf values hold (early stopping on the folds may take fewer).
Ours sets a tenth of the same training rows aside for its certificate. Both are judged on the same test rows.

    python benchmarks/forest_against_lightgbm.py --splits 3 --out results.json [--tables NAME,NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split
from tree_against_cart import BUNDLED, TARGETS, load, mean_log_loss

import softwood as sw

BUDGET = 480
VALUES = {
    "ames": "Sale_Price", "car_prices": "Price", "concrete": "compressive_strength", "diamonds": "price",
    "gssvocab": "vocab", "sacramento": "price",
}  # fmt: skip
GRID = [(leaves, rate, least) for leaves in (4, 8, 16, 31) for rate in (0.05, 0.1, 0.2, 0.4) for least in (5, 20)]


def load_values(name: str, folder: Path | None) -> tuple[pd.DataFrame, np.ndarray] | None:
    """Return table and numeric target, or None where the table is absent."""
    if name == "diabetes":
        bunch = datasets.load_diabetes(as_frame=True)
        return bunch.data, bunch.target.to_numpy()
    path = folder / "tables" / f"{name}.csv.gz" if folder else None
    if path is None or not path.exists():
        return None
    frame = sw.data.read_table(path).frame
    target = next(column for column in frame if column.lower() == VALUES[name].lower())
    frame = frame[frame[target].notna()]
    return frame.drop(columns=[target]), frame[target].to_numpy(float)


def tuned_lightgbm(x: pd.DataFrame, y: np.ndarray, outputs: int, classes: int) -> lgb.Booster:
    """Return LightGBM of at most 480 leaf values with the best settings of a 5-fold search."""
    data = lgb.Dataset(x, y, free_raw_data=False)
    base = {"verbose": -1, "num_threads": 1, "seed": 0, "objective": "regression" if classes == 0 else "binary"}
    if classes > 2:
        base |= {"objective": "multiclass", "num_class": classes}
    best = (np.inf, {}, 1)
    for leaves, rate, least in GRID:
        rounds = BUDGET // (leaves * outputs)
        if rounds == 0:
            continue
        params = {**base, "num_leaves": leaves, "learning_rate": rate, "min_data_in_leaf": least}
        history = lgb.cv(params, data, num_boost_round=rounds, nfold=5, stratified=classes > 0, seed=0)
        scores = next(values for key, values in history.items() if key.endswith("-mean"))
        at = int(np.argmin(scores))
        if scores[at] < best[0]:
            best = (scores[at], params, at + 1)
    return lgb.train(best[1], data, num_boost_round=best[2])


def coded(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with texts as categories."""
    texts = [column for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    return table.astype(dict.fromkeys(texts, "category"))


def run(name: str, table: pd.DataFrame, y: np.ndarray, seed: int, *, is_classes: bool) -> dict:
    """Return one row of the result."""
    labels, codes = np.unique(y, return_inverse=True) if is_classes else (np.zeros(0), y)
    counts = np.bincount(codes) if is_classes else np.zeros(1)
    train, test = train_test_split(
        np.arange(len(y)), test_size=0.3, random_state=seed, stratify=y if counts.min() > 1 else None
    )
    started = time.perf_counter()
    outputs = 1 if len(labels) <= 2 else len(labels)
    x = coded(table)
    peer = tuned_lightgbm(x.iloc[train], codes[train], outputs, len(labels)).predict(x.iloc[test])
    middle = time.perf_counter()
    learner = sw.trees.ForestClassifier if is_classes else sw.trees.ForestRegressor
    model = learner(budget=BUDGET, random_state=seed, n_jobs=1).fit(table.iloc[train], y[train])
    seconds = time.perf_counter() - middle
    if is_classes:
        peer = np.column_stack([1 - peer, peer]) if peer.ndim == 1 else peer
        theirs = mean_log_loss(peer, codes[test])
        place = pd.Index(model.classes_).get_indexer(y[test])
        ours = mean_log_loss(model.predict_proba(table.iloc[test]), place)
    else:
        theirs = float(np.sqrt(np.mean((peer - y[test]) ** 2)))
        ours = float(np.sqrt(np.mean((model.predict(table.iloc[test]) - y[test]) ** 2)))
    return {
        "table": name, "split": seed, "rows": len(y), "classes": len(labels), "lightgbm": theirs, "ours": ours,
        "ratio": ours / theirs, "leaf_values": model.artifact_.n_leaf_values, "shipped": model.record_["shipped"],
        "seconds": seconds, "lightgbm_seconds": middle - started,
    }  # fmt: skip


def main() -> None:
    """Run all tables, print a line each, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--tables", default=",".join([*BUNDLED, "diabetes", *TARGETS, *VALUES]))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = Path(os.environ["SOFTWOOD_DATA"]) if os.environ.get("SOFTWOOD_DATA") else None
    results = []
    for name in options.tables.split(","):
        is_classes = name in TARGETS or name in BUNDLED
        loaded = load(name, folder) if is_classes else load_values(name, folder)
        if loaded is None:
            print(f"{name:18s} absent: set SOFTWOOD_DATA", flush=True)
            continue
        for seed in range(options.splits):
            row = run(name, *loaded, seed, is_classes=is_classes)
            results.append(row)
            shipped = {key: row["shipped"][key] for key in ("leaves", "rate", "per_class", "spent", "refit")}
            print(
                f"{name:18s} split {seed}  LightGBM {row['lightgbm']:.4f}  ours {row['ours']:.4f}  "
                f"ratio {row['ratio']:.3f}  {shipped}  {row['seconds']:.0f} s ({row['lightgbm_seconds']:.0f})",
                flush=True,
            )  # fmt: skip
    for kind, keep in (("log-loss", True), ("RMSE", False)):
        ratios = [row["ratio"] for row in results if (row["classes"] > 0) == keep]
        if ratios:
            print(f"mean {kind} ratio: {np.mean(ratios):.4f} over {len(ratios)} fits, worst {max(ratios):.3f}")
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
