"""``softwood``: the commands put together, and what happens when one of them cannot go on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from softwood import __version__
from softwood.cli._bench import register as _bench
from softwood.cli._console import Output, write_json
from softwood.cli._demo import register as _demo
from softwood.cli._distill import register as _distill
from softwood.cli._doctor import register as _doctor
from softwood.cli._explain import register as _explain_row
from softwood.cli._export import register as _export
from softwood.cli._fit import register as _fit
from softwood.cli._papers import register as _papers
from softwood.cli._report import register as _report
from softwood.cli._use import register as _use
from softwood.core import SoftwoodError

app = typer.Typer(
    name="softwood",
    help="Train through discrete decisions, ship the discrete result: a table becomes a small, certified tree.",
    add_completion=False,
    rich_markup_mode=None,
)
for _register in (_fit, _distill, _use, _explain_row, _export, _report, _papers, _bench, _doctor, _demo):
    _register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"softwood {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: words after the program's name; None takes those of the process.

    Raises:
        SystemExit: always; 0 done, 1 a check failed, 2 bad usage or input, 130 Ctrl-C.

    Example:
        >>> try:
        ...     main(["--version"])
        ... except SystemExit as stop:
        ...     print(stop.code)
        softwood ...
        0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot show is no reason to stop
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(words))


def run(words: Sequence[str]) -> int:
    """Run one command and return its exit code; errors become messages."""
    try:
        code = typer.main.get_command(app).main(list(words) or ["--help"], prog_name="softwood", standalone_mode=False)
        return int(code or 0)
    except BrokenPipeError:
        # whoever read has seen enough, as in "softwood predict ... | head"; nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        Output().note("stopped")
        return 130
    except Exception as error:
        if os.environ.get("SOFTWOOD_TRACEBACK"):
            raise
        code, content = _explain(error)
        Output().note(f"error: {content['message']}")
        if "--json" in words:
            write_json({"error": content})
        return code


def _explain(error: Exception) -> tuple[int, dict[str, Any]]:
    """Return the exit code and what is said about an error."""
    content: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, SoftwoodError):
        for name in ("what", "got", "allowed", "fix", "path", "reason", "module", "extra"):
            if hasattr(error, name):
                content[name] = str(getattr(error, name))
        failed = content["kind"] == "ExportMismatchError"
        return (1 if failed else 2), content
    if hasattr(error, "format_message"):  # a usage error of typer: an unknown option, a missing argument
        content["message"] = f"{error.format_message()} (softwood COMMAND --help lists what there is)"
        return 2, content
    if isinstance(error, OSError):
        content["message"] = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
        return 2, content
    content["message"] = (
        f"{content['kind']}: {error}. This is a fault of Softwood, please report it; "
        "SOFTWOOD_TRACEBACK=1 shows where it happened"
    )
    return 1, content
