"""``softwood bench predict``: how quickly the same trees answer here, in LightGBM, treelite and onnxruntime."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from softwood.artifacts import HardEnsemble

SCHEMA = "softwood bench predict 1"
BATCHES = (1, 1_000, 100_000)
_CENTRE = 10.0  # of all columns: LightGBM has no threshold at 0
_COLUMNS, _TREES, _DEPTH = 30, 100, 6
_LEAST_SECONDS, _LEAST_TIMES, _MOST_TIMES = 0.4, 5, 2000
_COMPARED = 1000  # rows on which the engines have to agree

Call = Callable[[np.ndarray], Any]


def bench_predict(
    *, threads: Sequence[int] = (1, 2), batches: Sequence[int] = BATCHES, quick: bool = False,
    told: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:  # fmt: skip
    """Time the predictions of three models in every engine, on the same rows of float64.

    The models: what ``fit --shape forest`` ships for a table of 30 columns; 100 complete trees of depth 6; 100
    oblivious ones. LightGBM and treelite read the file that ``export --to lightgbm`` writes, onnxruntime that of
    ``--to onnx``. Softwood is asked for ``predict``, by two Python threads on half of the rows each where two are
    wanted.

    Args:
        threads: how many, one after the other.
        batches: rows of a call.
        quick: time little, to see that all works.
        told: is given each row of the result as it comes.

    Returns:
        JSON content as ``schemas/bench_predict.json`` describes it: medians and quartiles in seconds, the largest
        difference of an answer from ours, and how many times faster Softwood is than each engine.
    """
    absent = [name for name in _ENGINES[1:] if not find_spec(name)]
    x = _CENTRE + np.random.default_rng(0).normal(size=(max(batches), _COLUMNS))
    results: list[dict[str, Any]] = []
    failed = []
    for name, model in _models(quick).items():
        for count in threads:
            for engine in (name for name in _ENGINES if name not in absent):
                here = {"model": name, "engine": engine, "threads": count}
                try:
                    found = _measured(model, _MAKERS[engine](model, count), x, batches, quick)
                except Exception as error:  # of another library: one that cannot is a result too
                    if engine == "softwood":
                        raise
                    failed.append({**here, "error": f"{type(error).__name__}: {error}"[:300]})
                    continue
                about = {**here, "trees": model.n_trees, "leaf_values": model.n_leaf_values}
                results += [{**about, **row} for row in found]
                told(results[-1])
    own = {_case(row): row["median"] for row in results if row["engine"] == "softwood"}
    ratios = [
        {**{key: row[key] for key in ("model", "threads", "batch")}, "against": row["engine"],
         "times_faster": row["median"] / own[_case(row)]}
        for row in results if row["engine"] != "softwood"
    ]  # fmt: skip
    return {"schema": SCHEMA, "quick": quick, "absent": absent, "failed": failed, "results": results, "ratios": ratios}


def _measured(
    model: HardEnsemble, call: Call, x: np.ndarray, batches: Sequence[int], quick: bool
) -> list[dict[str, Any]]:  # fmt: skip
    apart = float(np.abs(np.ravel(call(x[:_COMPARED])) - model.predict(x[:_COMPARED])).max())
    rows = []
    for batch in batches:
        times = _timed(partial(call, x[:batch]), quick)
        low, middle, high = map(float, np.quantile(times, [0.25, 0.5, 0.75]))
        rows.append({"batch": batch, "median": middle, "low": low, "high": high, "times": len(times),
                     "largest_difference": apart})  # fmt: skip
    return rows


def _case(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["model"], row["threads"], row["batch"]


# ------------------------------------------------------------------ models
def _models(quick: bool) -> dict[str, HardEnsemble]:
    from softwood.trees import ForestRegressor

    r = np.random.default_rng(1)
    rows = r.normal(size=(500 if quick else 3000, _COLUMNS))
    y = rows[:, 0] + rows[:, 1] * rows[:, 2] + np.sin(2 * rows[:, 3]) + r.normal(size=len(rows)) / 2
    shipped = ForestRegressor(effort=0.05 if quick else 1.0, n_jobs=1).fit(_CENTRE + rows, y).artifact_
    trees = 10 if quick else _TREES
    return {"what fit ships": shipped, "complete trees": _made(trees, False), "oblivious trees": _made(trees, True)}


def _made(trees: int, oblivious: bool) -> HardEnsemble:
    """Return complete trees of random tests, one test a level where they are oblivious."""
    from softwood.artifacts import Column, HardEnsemble

    r = np.random.default_rng(2)
    inner, leaves = 2**_DEPTH - 1, 2**_DEPTH
    size = inner + leaves
    shape = (trees, _DEPTH) if oblivious else (trees, inner)
    level = np.log2(np.arange(inner) + 1).astype(int) if oblivious else np.arange(inner)
    feature = np.full((trees, size), -1)
    threshold = np.full((trees, size), np.nan)
    feature[:, :inner] = r.integers(0, _COLUMNS, shape)[:, level]
    threshold[:, :inner] = _CENTRE + r.normal(size=shape)[:, level].round(3)
    place = np.tile(np.arange(size), trees)
    first = np.repeat(np.arange(trees) * size, size)
    is_inner = place < inner
    leaf = np.where(is_inner, -1, np.repeat(np.arange(trees) * leaves, size) + place - inner)
    missing_left = np.repeat(r.random(trees) < 0.5, size) & is_inner
    names = tuple(Column(f"x{column}", "number") for column in range(_COLUMNS))
    return HardEnsemble(
        names, ("y",), "identity", None, feature.ravel(), threshold.ravel(), missing_left,
        np.where(is_inner, first + 2 * place + 1, 0), np.where(is_inner, first + 2 * place + 2, 0),
        np.full(trees * size, -1), np.zeros((0, 0), bool), leaf, r.normal(size=(trees * leaves, 1)),
        np.ones(trees * leaves), np.arange(trees) * size, np.zeros(1),
    )  # fmt: skip


# ------------------------------------------------------------------ engines
def _softwood(model: HardEnsemble, threads: int) -> Call:
    if threads == 1:
        return model.predict
    pool = ThreadPoolExecutor(threads)

    def parts(x: np.ndarray) -> np.ndarray:
        return np.concatenate(list(pool.map(model.predict, np.array_split(x, threads))))

    return lambda x: parts(x) if len(x) >= threads else model.predict(x)


def _lightgbm(model: HardEnsemble, threads: int) -> Call:
    with _exported(model, "lightgbm") as path:
        booster = import_module("lightgbm").Booster(model_file=str(path))
    return lambda x: booster.predict(x, num_threads=threads)


def _treelite(model: HardEnsemble, threads: int) -> Call:
    frontend, gtil = import_module("treelite.frontend"), import_module("treelite.gtil")
    with _exported(model, "lightgbm") as path:
        loaded = frontend.load_lightgbm_model(path)
    return lambda x: gtil.predict(loaded, x, nthread=threads)


def _onnxruntime(model: HardEnsemble, threads: int) -> Call:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    with _exported(model, "onnx") as path:
        session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    names = [column.name for column in model.columns]
    return lambda x: session.run(None, {name: x[:, [place]] for place, name in enumerate(names)})[0]


@contextmanager
def _exported(model: HardEnsemble, to: str) -> Iterator[Path]:
    """Write the model to a file that goes away."""
    from softwood.artifacts import FORMATS, export

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{FORMATS[to].suffix}"
        export(model, path, to)
        yield path


_MAKERS: dict[str, Callable[[HardEnsemble, int], Call]] = {
    "softwood": _softwood, "lightgbm": _lightgbm, "treelite": _treelite, "onnxruntime": _onnxruntime,
}  # fmt: skip
_ENGINES = tuple(_MAKERS)


def _timed(call: Callable[[], Any], quick: bool) -> list[float]:
    """Return seconds of repeated calls, after one that is not counted."""
    call()
    times: list[float] = []
    least, seconds = (2, 0.0) if quick else (_LEAST_TIMES, _LEAST_SECONDS)
    while len(times) < least or (sum(times) < seconds and len(times) < _MOST_TIMES):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return times
