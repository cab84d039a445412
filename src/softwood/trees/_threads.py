"""Work on threads, and Ctrl-C during it: the kernels hold no interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from softwood.core import check_number

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def threads(n_jobs: int | None) -> int:
    """Return how many threads ``n_jobs`` means: None is 1, -1 all cores.

    Args:
        n_jobs: as scikit-learn has it.
    """
    count = 1 if n_jobs is None else check_number("n_jobs", n_jobs, low=-1, integer=True)
    return max(count, 1) if count >= 0 else (os.cpu_count() or 1)


def each(
    items: Sequence[_Item],
    work: Callable[[_Item], _Result],
    jobs: int,
    told: Callable[[float], None] | None = None,
) -> list[_Result]:
    """Return what ``work`` makes of every item, in order. Ctrl-C drops what has not begun.

    Args:
        items: what to work on.
        work: called from a thread.
        jobs: threads.
        told: is given the share that is done, from the threads, before each item; what it raises ends the work.
    """
    done = 0

    def one(item: _Item) -> _Result:
        nonlocal done
        if told is not None:
            told(done / len(items))  # may raise, to say that it is enough
        result = work(item)
        done += 1  # a lost count would only misreport
        return result

    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        return list(pool.map(one, items))
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def plain_interrupts() -> Iterator[None]:
    """Raise a Ctrl-C that came during a compiled loop as KeyboardInterrupt; numba makes a SystemError of it."""
    try:
        yield
    except SystemError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, KeyboardInterrupt):
            cause = cause.__cause__
        if cause is None:
            raise
        raise KeyboardInterrupt from error
