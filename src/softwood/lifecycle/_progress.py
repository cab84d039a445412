"""What a running training shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainProgress:
    """Where a training stands, after one step.

    Args:
        step: steps done.
        total: steps planned.
        metric: what the last step returned.
        best: the lowest metric so far, by the rule of ``train``; infinity before the first.
        seconds: time spent, over all resumes.

    Example:
        >>> TrainProgress(step=5, total=10, metric=0.3, best=0.2, seconds=1.5).step
        5
    """

    step: int
    total: int
    metric: float
    best: float
    seconds: float


Reporter = Callable[[TrainProgress], object]


@contextmanager
def reporter(progress: Reporter | bool | None) -> Iterator[Reporter]:
    """Turn the ``progress`` argument into a function; True draws a bar on stderr while the block runs."""
    if callable(progress):
        yield progress
    elif progress:
        with _bar() as report:
            yield report
    else:
        yield lambda _: None


@contextmanager
def _bar() -> Iterator[Reporter]:
    # imported here: a training without a bar does not need rich
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.completed:.0f}/{task.total:.0f} steps, best {task.fields[best]:.5g}")
    with Progress(BarColumn(), text, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("train", total=1, best=float("inf"), visible=False)  # until there is something to show
        yield lambda now: bar.update(task, completed=now.step, total=now.total, best=now.best, visible=True)
