"""``softwood explain``: why one row gets its answer, and the smallest change that gives another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softwood.cli._console import Output
from softwood.cli._model import Model, load_model, read_like_training
from softwood.cli._options import Json, ModelPath, TablePath
from softwood.core import InputError

if TYPE_CHECKING:
    from softwood.artifacts import Explanation


def explain_row(
    model: Model, source: str, row: int, *, keep: Sequence[str] = (), wanted: str | None = None,
    by: float | None = None,
) -> Explanation:  # fmt: skip
    """Explain the answer to one row of a table.

    Args:
        model: the model.
        source: path of the table, or ``"-"``.
        row: which row, from 0; the header line does not count.
        keep: columns that the counterfactual may not change.
        wanted: the label, or of a regression the value to reach, as text.
        by: of a regression, how much the value has to change.

    Raises:
        InputError: there is no such row, or an option does not fit the model.
    """
    frame = read_like_training(model, source).frame
    if not 0 <= row < len(frame):
        raise InputError(
            "there is no such row", got=f"--row {row}", allowed=f"0 to {len(frame) - 1}", fix="rows count from 0"
        )
    units = model.record.get("search", {}).get("units")
    one = frame.iloc[row : row + 1]
    found = model.ensemble.explain(one, keep=keep, wanted=_goal(model, wanted), by=by, units=units)
    return replace(found[0], row=row)


def _goal(model: Model, wanted: str | None) -> Any:
    """Turn the text into the label, or the number, that it stands for; a text that is neither is refused later."""
    if wanted is None:
        return None
    if model.ensemble.classes is not None:
        return {str(label): label for label in model.ensemble.classes}.get(wanted, wanted)
    try:
        return float(wanted)
    except ValueError:
        return wanted


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def explain(
        model: ModelPath,
        table: TablePath,
        row: Annotated[int, typer.Option(help="Which row, from 0.")] = 0,
        keep: Annotated[
            list[str] | None, typer.Option(metavar="COL", help="Column that may not change; repeatable.")
        ] = None,
        wanted: Annotated[str | None, typer.Option(help="Label or value to reach.  [default: another label]")] = None,
        by: Annotated[float | None, typer.Option(help="Rise (> 0) or fall (< 0) of the value to reach.")] = None,
        as_json: Json = False,
    ) -> int:
        """Say why a row gets its answer, and find the smallest change that gives another.

        The path through the trees, what each column adds, and the nearest row that is answered otherwise, predicted
        before it is shown.
        """
        console = Output(as_json)
        found = explain_row(load_model(model), table, row, keep=keep or (), wanted=wanted, by=by)
        console.say(str(found))
        return console.finish({"model": str(model), "table": table, **found.to_dict()})
