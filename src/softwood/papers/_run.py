"""Run the checks of papers: each seed in a process of its own, within a time, resumable, side by side."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from softwood.core import InputError, check_choice, check_number, write_atomic
from softwood.papers._paper import SIZES, Bar, NeedsData, Paper
from softwood.papers._shelf import load, source_hash

SMOKE_SECONDS = 2.0
_LONGER = 5.0  # times the expected seconds: a busy machine is no failure, a hang is one
_LEAST_LIMIT = 60.0
_PACKAGES = ("softwood", "torch", "numpy", "scipy", "scikit-learn", "numba", "pandas")
_TAIL = 4000  # characters of a crash that are kept


def expected_seconds(paper: Paper, size: str) -> float:
    """Return what one seed is expected to take on two cores; unknown for ``full``, so infinite.

    Args:
        paper: that is built.
        size: one of ``SIZES``.

    Example:
        >>> expected_seconds(load("gumbel-softmax").PAPER, "smoke")
        2.0
    """
    return {"smoke": SMOKE_SECONDS, "quick": paper.seconds, "full": math.inf}[check_choice("size", size, SIZES)]


def run_seed(id: str, size: str, seed: int, limit: float | None = None) -> dict[str, Any]:
    """Run one seed of one check in a process of its own.

    Args:
        id: of a paper that is built.
        size: one of ``SIZES``.
        seed: of everything random.
        limit: seconds, or None for five times what is expected, a minute at least.

    Returns:
        JSON content: ``outcome`` (``"ran"``, ``"crashed"``, ``"too slow"`` or ``"needs data"``), ``error``,
        ``seconds``, and of a run its ``evidence``.

    Example:
        >>> run_seed("gumbel-softmax", "smoke", 0, limit=0.01)["outcome"]
        'too slow'
    """
    paper: Paper = load(id).PAPER
    if limit is None:
        limit = max(_LONGER * expected_seconds(paper, size), _LEAST_LIMIT)
    begun = time.monotonic()
    words = [sys.executable, "-m", "softwood.papers", id, size, str(seed)]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"},
            timeout=None if math.isinf(limit) else limit, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return _told(begun, "too slow", f"stopped after {limit:.0f} s")
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return _told(begun, "crashed", (done.stderr or f"it left with code {done.returncode}")[-_TAIL:])
    return {**found, "seconds": round(time.monotonic() - begun, 2)}


def _told(begun: float, outcome: str, error: str) -> dict[str, Any]:
    return {"outcome": outcome, "error": error, "seconds": round(time.monotonic() - begun, 2), "evidence": None}


def check_here(id: str, size: str, seed: int) -> dict[str, Any]:
    """Run one seed in this process; a crash is raised.

    Args:
        id: of a paper that is built.
        size: one of ``SIZES``.
        seed: of everything random.

    Example:
        >>> check_here("gumbel-softmax", "smoke", 0)["outcome"]
        'ran'
    """
    try:
        evidence = load(id).check(check_choice("size", size, SIZES), seed)
    except NeedsData as absent:
        return {"outcome": "needs data", "error": str(absent), "evidence": None}
    return {"outcome": "ran", "error": None, "evidence": evidence.to_dict()}


def reproduce(
    ids: Sequence[str],
    size: str = "quick",
    seeds: Iterable[int] = range(3),
    *,
    folder: str | Path = "softwood-evidence",
    jobs: int = 1,
    told: Callable[[str, float], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Run the checks of papers and return the record of each; what an earlier run has finished is not run again.

    Jobs go through joblib: ``joblib.parallel_config(backend="ray")`` around the call carries them to a cluster.

    Args:
        ids: of papers that are built.
        size: one of ``SIZES``.
        seeds: one run each.
        folder: where finished seeds are kept, so that a stopped run goes on.
        jobs: how many run side by side.
        told: is given (what is done, share done).

    Returns:
        Record by id; see ``record_of``.

    Raises:
        InputError: a paper is not built, or an option is out of range.

    Example:
        >>> import tempfile
        >>> records = reproduce(["gumbel-softmax"], "smoke", [0], folder=tempfile.mkdtemp())
        >>> records["gumbel-softmax"]["outcome"]
        'ran'
    """
    seeds = [check_number("seed", seed, low=0, integer=True) for seed in seeds]
    if not seeds or not ids:
        raise InputError("there is nothing to run", got=f"{len(ids)} papers, {len(seeds)} seeds",
                         allowed="one of each at least", fix="name a paper; --seeds 3")  # fmt: skip
    papers: dict[str, Paper] = {id: load(id).PAPER for id in ids}
    work = [(id, seed, _place(Path(folder), papers[id], size, seed)) for id in ids for seed in seeds]
    rest = [(id, seed, place) for id, seed, place in work if not place.exists()]
    waits = [delayed(_run_and_keep)(id, size, seed, place) for id, seed, place in rest]
    finished = len(work) - len(rest)
    for id, seed in Parallel(n_jobs=jobs, prefer="threads", return_as="generator_unordered")(waits):
        finished += 1
        if told is not None:
            told(f"{id}, seed {seed}", finished / len(work))
    runs: dict[str, list[dict[str, Any]]] = {id: [] for id in ids}
    for id, seed, place in work:
        kept = place if place.exists() else _failed(place)
        runs[id].append({"seed": seed, **json.loads(kept.read_text(encoding="utf-8"))})
    return {id: record_of(papers[id], size, runs[id]) for id in ids}


def _run_and_keep(id: str, size: str, seed: int, place: Path) -> tuple[str, int]:
    found = run_seed(id, size, seed)
    # what crashed or was too slow is tried again by the next run
    write_atomic(place if found["outcome"] == "ran" else _failed(place), json.dumps(found))
    return id, seed


def _failed(place: Path) -> Path:
    return place.with_suffix(".failed.json")


def _place(folder: Path, paper: Paper, size: str, seed: int) -> Path:
    return folder / f"{paper.id}-{size}-{seed}-{source_hash(paper)}.json"


def record_of(paper: Paper, size: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the content of an evidence file.

    A bar holds where the mean over the seeds meets its bound; one marked ``every`` where each seed does.

    Args:
        paper: that was checked.
        size: at which.
        runs: one for each seed, with its ``seed``.

    Example:
        >>> run = {"seed": 0, "seconds": 2.0, "outcome": "crashed", "error": "it broke", "evidence": None}
        >>> record_of(load("gumbel-softmax").PAPER, "smoke", [run])["outcome"]
        'crashed'
    """
    failed = [run for run in runs if run["outcome"] != "ran"]
    found = [run["evidence"] for run in runs if run["outcome"] == "ran"]
    return {
        "format": "softwood-evidence", "version": 1, "id": paper.id, "hash": source_hash(paper),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit(),
        "machine": {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "size": size, "seeds": [run["seed"] for run in runs], "seconds": [run["seconds"] for run in runs],
        "outcome": failed[0]["outcome"] if failed else "ran", "error": failed[0]["error"] if failed else None,
        "headline": paper.headline, "scale": found[0]["scale"] if found else None,
        "measures": _measures(found), "bars": _bars(found),
    }  # fmt: skip


def _measures(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the values of all seeds into one row for each measure and method."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in (measure for evidence in found for measure in evidence["measures"]):
        key = one["name"], one["method"]
        rows.setdefault(key, {**{k: v for k, v in one.items() if k != "value"}, "values": []})["values"].append(
            one["value"]
        )
    return [{**row, **_summary(row["values"])} for row in rows.values()]


def _bars(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for bar in (bar for evidence in found for bar in evidence["bars"]):
        rows.setdefault(bar["says"], []).append(bar)
    made = []
    for bars in rows.values():
        values = [bar["measured"] for bar in bars]
        mean = _summary(values)["mean"]
        first = {name: bars[0][name] for name in ("says", "bound", "side", "origin")}
        in_mean = mean is not None and Bar(measured=mean, **first).holds
        holds = len(bars) == len(found) and (all(bar["holds"] for bar in bars) if bars[0]["every"] else in_mean)
        made.append({**bars[0], "measured": mean, "values": values, "holds": bool(holds)})
    return made


def _summary(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return {"mean": None, "spread": None}
    return {"mean": float(np.mean(known)), "spread": float(np.std(known, ddof=1)) if len(known) > 1 else None}


def commit() -> str | None:
    """Return the commit of the checkout that runs, with ``+`` where it was changed since; None elsewhere."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    found = git("rev-parse", "--short=10", "HEAD")
    return found and found + ("+" if git("status", "--porcelain", "--", str(here.parent)) else "")
