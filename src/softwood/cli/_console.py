"""What a command writes: text for people or one JSON document on standard output, progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Report = Callable[[str, float], None]


@dataclass
class Output:
    """Where a command writes to.

    Args:
        as_json: nothing but the final document goes to standard output.
        progress: show progress; None shows it on a terminal only.
    """

    as_json: bool = False
    progress: bool | None = None

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """Write text for people."""
        if not self.as_json:
            _write(sys.stdout, text, style)

    def title(self, text: str) -> None:
        """Begin a section."""
        self.say()
        self.say(text, style="bold")

    def note(self, text: str) -> None:
        """Write a message to standard error."""
        _write(sys.stderr, text, None)

    def finish(self, content: Mapping[str, Any], code: int = 0) -> int:
        """Write the document if one was asked for; return the exit code."""
        if self.as_json:
            write_json(content)
        return code

    @contextmanager
    def stages(self) -> Iterator[Report]:
        """Give a function that is told (stage, share done) and shows it."""
        if not (sys.stderr.isatty() if self.progress is None else self.progress):
            yield lambda stage, done: None
        elif sys.stderr.isatty():
            with _bar() as report:
                yield report
        else:
            yield _Lines().report


class _Lines:
    """Progress where no bar can be drawn: a line for each stage and each tenth of it."""

    def __init__(self) -> None:
        self.last = ""

    def report(self, stage: str, done: float) -> None:
        """Write a line if something has changed."""
        line = f"{stage} {10 * int(10 * done)} %"
        if line != self.last:
            self.last = line
            _write(sys.stderr, line, None)


@contextmanager
def _bar() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda stage, done: bar.update(task, description=stage, completed=done)


def write_json(content: Mapping[str, Any]) -> None:
    """Write one JSON document to standard output, in ASCII and without NaN."""
    text = json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False, default=_plain)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_bytes(data: bytes) -> None:
    """Write to standard output as it is, whatever the terminal's encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _write(stream: Any, text: str, style: str | None) -> None:
    from rich.console import Console  # here: a program that reads JSON does not pay for it

    # a name such as "[red]" or ":bug:" in a user's table is text, not markup
    console = Console(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=True)
    console.print(text, style=style)
    stream.flush()
