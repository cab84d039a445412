"""``softwood doctor gradients``: which gradient estimator to trust on a function of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softwood.cli._console import Output
from softwood.cli._options import Json
from softwood.core import InputError, entry_point

if TYPE_CHECKING:
    from softwood.gradients import GradientReport


def examine_gradients(
    source: str, choices: str | None = None, at: str | None = None, calls: int = 100, repeats: int | None = None,
    seed: int = 0,
) -> GradientReport:  # fmt: skip
    """Run the gradient doctor on what MODULE:FUNCTION names.

    Args:
        source: ``"module:function"``: the loss itself, or a function without arguments that returns the arguments of
            ``softwood.gradients.check`` as a dict.
        choices: shape of the logits, ``"3,6"``, for the loss of choices; they are 0.
        at: numbers ``"0.1,2"``, for a function of a vector.
        calls: that one training step may make.
        repeats: estimates of each estimator; None is the usual number.
        seed: of all noise.

    Raises:
        InputError: the function cannot be found or used in this way.
    """
    import torch

    from softwood.gradients import check

    function = entry_point(source, "the function")
    asked = _required(function)
    if asked == 0 and choices is None and at is None:
        problem = function()
        if not isinstance(problem, Mapping) or "fn" not in problem:
            raise InputError(
                "the function does not say what to look at", got=type(problem).__name__,
                allowed='a dict with "fn", and "x" or "logits"', fix="return the arguments of gradients.check",
            )  # fmt: skip
        known = set(inspect.signature(check).parameters)
        if set(problem) - known:
            raise InputError("the function returns arguments that are unknown",
                             got=", ".join(sorted(set(problem) - known)), allowed=", ".join(sorted(known)),
                             fix="return the arguments of gradients.check")  # fmt: skip
        settings = {"calls_per_step": calls, "seed": seed} | ({} if repeats is None else {"repeats": repeats})
        return check(**{**settings, **problem})
    if (choices is None) == (at is None):
        raise InputError("where to look is not clear", got=f"--choices {choices}, --at {at}",
                         allowed="one of --choices SHAPE and --at NUMBERS",
                         fix="pass one, or a function without arguments that returns a dict")  # fmt: skip
    if choices is not None:
        shape = [int(number) for number in _numbers("--choices", choices, int)]
        return check(function, logits=torch.zeros(shape), calls_per_step=calls, repeats=repeats, seed=seed)
    x = torch.tensor(_numbers("--at", at or "", float))
    return check(function, x, calls_per_step=calls, repeats=repeats, seed=seed)


def _required(function: Callable[..., Any]) -> int:
    """Return how many arguments a function needs; 1 where it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _numbers(option: str, text: str, kind: Callable[[str], float]) -> list[float]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} is not usable", got=repr(text), allowed="numbers with commas between them",
                         fix="write 3,6") from None  # fmt: skip


def register(doctor: typer.Typer) -> None:
    """Add the command."""

    @doctor.command()
    def gradients(
        source: Annotated[
            str, typer.Argument(metavar="MODULE:FUNCTION", show_default=False, help="A loss, or a function without "
                                "arguments that returns those of gradients.check.")
        ],
        choices: Annotated[
            str | None, typer.Option(metavar="SHAPE", help="FUNCTION is the loss of choices with logits of this shape.")
        ] = None,
        at: Annotated[
            str | None, typer.Option(metavar="NUMBERS", help="FUNCTION is a function of a vector; look here.")
        ] = None,
        calls: Annotated[int, typer.Option(help="Calls that one training step may make.", min=1)] = 100,
        repeats: Annotated[int | None, typer.Option(help="Estimates of each estimator.", min=2)] = None,
        plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a picture, SVG.")] = None,
        seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
        as_json: Json = False,
    ) -> int:  # fmt: skip
        """Measure bias, variance, cost and failures of gradient estimators on a function, and recommend one.

        Exit code 1 if none works.
        """
        console = Output(as_json)
        report = examine_gradients(source, choices, at, calls, repeats, seed)
        console.say(str(report))
        if plot is not None:
            report.plot(plot)
            console.say(f"Written to {plot}")
        return console.finish(report.to_dict(), 0 if report.recommendation else 1)
