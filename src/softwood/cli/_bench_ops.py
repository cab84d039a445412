"""``softwood bench ops``: relaxed operations in multiples of ``torch.sort``, beside other libraries."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = "softwood bench ops 1"
SIZES = ((256, 16), (256, 128), (64, 1024), (1, 1_000_000))
GROWTH = tuple(10**power for power in range(2, 7))
_TEMPERATURE, _SLOPE = 0.1, 10.0
_ROUNDS, _LEAST_SECONDS, _LONGEST = 101, 0.0005, 5.0
_DENSE, _MIDDLE = 1024, 128  # the longest axis that a method of quadratic or higher cost is asked for


class _Method(NamedTuple):
    operation: str
    name: str
    module: str
    make: Callable[[Any, int], Callable[[Tensor], Tensor]]  # of the module and n
    longest: int = 10**6


def _ours(operation: str, **options: Any) -> Callable[[Any, int], Callable[[Tensor], Tensor]]:
    def make(softwood: Any, n: int) -> Callable[[Tensor], Tensor]:
        function = getattr(softwood.ops, operation)
        extra = {"k": max(1, n // 1000)} if operation.startswith("topk") else {}
        if operation == "sort":
            return lambda x: function(x, **options)[0]
        return lambda x: function(x, **extra, **options)

    return make


def _soft_sort(kind: str, operation: str = "sort") -> Callable[[Any, int], Callable[[Tensor], Tensor]]:
    def make(softtorch: Any, n: int) -> Callable[[Tensor], Tensor]:
        options = {"softness": _TEMPERATURE, "method": kind, "standardize": False, "dim": -1}
        if operation == "rank":
            return lambda x: softtorch.rank(x, **options)
        return lambda x: softtorch.sort(x, return_indices=False, **options)[0]

    return make


def _diffsort(diffsort: Any, n: int) -> Callable[[Tensor], Tensor]:
    network = diffsort.DiffSortNet("bitonic", n, steepness=_SLOPE)
    return lambda x: network(x)[0]


# what is asked of each library; the first of an operation is what the others are compared with
METHODS = (
    _Method("rank", "isotonic-l2", "softwood", _ours("rank")),
    _Method("rank", "isotonic-kl", "softwood", _ours("rank", relax="isotonic-kl")),
    _Method("rank", "lapsum", "softwood", _ours("rank", relax="lapsum")),
    _Method("rank", "pairwise", "softwood", _ours("rank", relax="pairwise"), _DENSE),
    _Method("rank", "soft_rank", "torchsort",
            lambda m, n: lambda x: m.soft_rank(x, regularization_strength=_TEMPERATURE)),
    _Method("rank", "fast_soft_sort", "softtorch", _soft_sort("fast_soft_sort", "rank")),
    _Method("sort", "isotonic-l2", "softwood", _ours("sort")),
    _Method("sort", "isotonic-kl", "softwood", _ours("sort", relax="isotonic-kl")),
    _Method("sort", "lapsum", "softwood", _ours("sort", relax="lapsum")),
    _Method("sort", "soft_sort", "torchsort",
            lambda m, n: lambda x: m.soft_sort(x, regularization_strength=_TEMPERATURE)),
    _Method("sort", "fast_soft_sort", "softtorch", _soft_sort("fast_soft_sort")),
    _Method("softsort", "softsort", "softwood", _ours("sort", relax="softsort")),
    _Method("softsort", "softsort", "softtorch", _soft_sort("softsort"), _DENSE),
    _Method("neuralsort", "neuralsort", "softwood", _ours("sort", relax="neuralsort"), _DENSE),
    _Method("neuralsort", "neuralsort", "softtorch", _soft_sort("neuralsort"), _DENSE),
    _Method("network", "network", "softwood", _ours("sort", relax="network"), _DENSE),
    _Method("network", "bitonic", "diffsort", _diffsort, _MIDDLE),
    _Method("network", "sorting_network", "softtorch", _soft_sort("sorting_network"), _DENSE),
    _Method("entmax15", "entmax15", "softwood", _ours("entmax15")),
    _Method("entmax15", "entmax15", "entmax", lambda m, n: lambda x: m.entmax15(x, dim=-1)),
    _Method("sparsemax", "sparsemax", "softwood", _ours("sparsemax")),
    _Method("sparsemax", "sparsemax", "entmax", lambda m, n: lambda x: m.sparsemax(x, dim=-1)),
    _Method("topk_mask", "lapsum", "softwood", _ours("topk_mask", relax="lapsum")),
    _Method("topk_mask", "threshold", "softwood", _ours("topk_mask", relax="threshold")),
)  # fmt: skip


def bench_ops(
    *, threads: Sequence[int] = (1, 2), sizes: Sequence[tuple[int, int]] = SIZES, growth: Sequence[int] = GROWTH,
    only: Sequence[str] = (), quick: bool = False, methods: Sequence[_Method] = METHODS,
    told: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:  # fmt: skip
    """Time forward and backward of each operation on normal numbers, and ``torch.sort`` beside each of them.

    All methods of a size take turns, in an order that changes from turn to turn, so that a busy moment of the machine
    meets now one and now another. A turn is short, so that most turns of short calls meet none. What is reported is the
    median of a method over that of ``torch.sort``.

    Args:
        threads: how many, one after the other.
        sizes: rows and entries of a row.
        growth: entries of one row, for the growth of our own methods; on one thread.
        only: these operations; none for all.
        quick: time little, to see that all works.
        methods: what is timed.
        told: is given each row of the result as it comes.

    Returns:
        JSON content as ``schemas/bench_ops.json`` describes it.
    """
    import torch

    methods = [method for method in methods if not only or method.operation in only]
    absent = sorted({method.module for method in methods if not find_spec(method.module)})
    methods = [method for method in methods if method.module not in absent]
    results: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    before = torch.get_num_threads()
    try:
        for count in threads:
            torch.set_num_threads(count)
            for rows, n in sizes:
                here = {"threads": count, "rows": rows, "n": n}
                found, broken = _compared([one for one in methods if n <= one.longest], rows, n, quick)
                results += [{**here, **row} for row in found]
                failed += [{**here, **row} for row in broken]
                told(results[-1])
        torch.set_num_threads(1)
        growing = _growth([one for one in methods if one.module == "softwood"], growth, quick)
    finally:
        torch.set_num_threads(before)
    return {"schema": SCHEMA, "quick": quick, "absent": absent, "failed": failed, "results": results,
            "ratios": _ratios(results), "growth": growing}  # fmt: skip


def _call(function: Callable[[Tensor], Tensor], rows: int, n: int) -> Callable[[], Any]:
    """Return one forward and backward pass."""
    import torch

    generator = torch.Generator().manual_seed(n)
    x = torch.randn(rows, n, generator=generator).requires_grad_()
    upstream = torch.randn(rows, n, generator=generator)
    return lambda: torch.autograd.grad(function(x), x, upstream)


def _seconds(call: Callable[[], Any], times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begun) / times


def _compared(
    methods: Sequence[_Method], rows: int, n: int, quick: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return times of each method at one size, and what failed."""
    calls: dict[tuple[str, str, str], Callable[[], Any]] = {
        ("sort", "torch.sort", "torch"): _call(lambda x: x.sort(-1)[0], rows, n)
    }
    failed = []
    for one in methods:
        key = (one.operation, one.name, one.module)
        try:
            call = _call(one.make(import_module(one.module), n), rows, n)
            call()
        except Exception as error:  # of another library, or of an operation that is not there: that is a result too
            failed.append({**_named(key), "error": f"{type(error).__name__}: {error}"[:300]})
            continue
        calls[key] = call
    least = 0.0 if quick else _LEAST_SECONDS
    first = {key: _seconds(call, 1) for key, call in calls.items()}
    times = {key: max(1, min(500, math.ceil(least / max(first[key], 1e-7)))) for key in calls}
    base = next(iter(calls))
    turns: dict[tuple[str, str, str], list[float]] = {key: [] for key in calls}
    names, shuffled = list(calls), np.random.default_rng(0)
    for turn in range(2 if quick else _ROUNDS):
        for place in shuffled.permutation(len(names)):
            key = names[place]
            if turn == 0 or first[key] * turn < _LONGEST:
                turns[key].append(_seconds(calls[key], times[key]))
    found = []
    for key, held in turns.items():
        low, middle, high = np.quantile(np.array(held) / np.median(turns[base]), [0.25, 0.5, 0.75])
        found.append({
            **_named(key), "median": float(np.median(held)), "multiple": float(middle), "low": float(low),
            "high": float(high), "times": len(held),
        })  # fmt: skip
    return found, failed


def _named(key: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("operation", "method", "library"), key, strict=True))


def _ratios(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each other library, our time over its time; the first of our methods of an operation counts."""
    own: dict[tuple[Any, ...], float] = {}
    for row in results:
        if row["library"] == "softwood":
            own.setdefault((row["operation"], row["threads"], row["rows"], row["n"]), row["multiple"])
    found = []
    for row in results:
        key = (row["operation"], row["threads"], row["rows"], row["n"])
        if row["library"] not in ("softwood", "torch") and key in own:
            where = {name: row[name] for name in ("operation", "threads", "rows", "n")}
            found.append({**where, "against": f"{row['library']} {row['method']}", "ratio": own[key] / row["multiple"]})
    return found


def _growth(methods: Sequence[_Method], sizes: Sequence[int], quick: bool) -> list[dict[str, Any]]:
    """Return seconds of our methods for one row of each size, and the exponent between neighbours."""
    found: list[dict[str, Any]] = []
    for one in methods:
        last: tuple[int, float] | None = None
        for n in (size for size in sizes if size <= one.longest):
            try:
                call = _call(one.make(import_module(one.module), n), 1, n)
                call()
            except Exception:  # it stands among the failed already
                break
            seconds = min(_seconds(call, 1) for _ in range(2 if quick else 5))
            power = None if last is None else math.log(seconds / last[1]) / math.log(n / last[0])
            found.append(
                {"operation": one.operation, "method": one.name, "n": n, "seconds": seconds, "exponent": power}
            )
            last = (n, seconds)
    return found
