"""The section with the interactive drawing: what the page's script needs, and the elements that it fills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from softwood.artifacts import HardEnsemble
from softwood.core import InputError
from softwood.report._html import Markup, folded, script_data, section, tag

_MOST_ROWS = 500


def tree_view(model: HardEnsemble, rows: Any = None, notes: Mapping[int, Sequence[str]] | None = None) -> Markup:
    """Return the section; the script draws the trees and the form into it.

    Args:
        model: what ships.
        rows: a table whose rows the reader may choose from, at most 500; None shows none.
        notes: lines shown with a node when the pointer rests on it, by its number.

    Raises:
        InputError: there are more rows.
    """
    drawing = tag("div", id="drawing", class_="drawing", aria_label="Drawing of the tree")
    form = tag(
        "div", tag("h3", "Follow a row"), tag("p", _form_hint(model), class_="quiet"), tag("div", id="form"),
        class_="card", id="form-card",
    )  # fmt: skip
    answer = tag("div", tag("h3", "Answer"), tag("div", id="answer", aria_live="polite"), class_="card")
    leaf = tag("div", tag("h3", "Rule"), tag("div", id="rule", aria_live="polite"), class_="card")
    text = tag("pre", str(model), tabindex="0")
    return section(
        "tree", "The tree" if model.n_trees == 1 else "The trees",
        tag("noscript", tag("p", "The drawing needs JavaScript; the rules as text stand below.")),
        tag("div", id="toolbar", class_="toolbar"), drawing, tag("p", _legend(model), class_="quiet"),
        tag("div", form, tag("div", answer, leaf, class_="stack"), class_="pair", id="follow"),
        folded("The rules as text", text),
        script_data("model-data", page_data(model, rows, notes)),
    )  # fmt: skip


def _form_hint(model: HardEnsemble) -> str:
    whole = "The answer is the whole forest's; the drawing shows the path in the tree that is chosen. "
    return (whole if model.n_trees > 1 else "") + "An empty field is a missing value."


def _legend(model: HardEnsemble) -> str:
    text = (
        "Rows enter on the left. The upper branch is “yes”, and “?” stands where missing values and unseen levels go. "
        "Drag to pan, Ctrl + wheel or the buttons zoom; click a leaf for its rule; arrow keys walk through the tree. "
        "Branches are as wide as their share of the training weight."
    )
    if model.n_trees > 1:
        text += " Leaves show what they add to the sum."
    return text


def page_data(
    model: HardEnsemble, rows: Any = None, notes: Mapping[int, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Return what the page's script computes with: the model as ``to_dict`` has it, and the rows to show.

    Args:
        model: what ships.
        rows: a table, or None.
        notes: lines about nodes, by their numbers.
    """
    content = model.to_dict()
    # a tenth of the size of true and false; there may be many levels
    content["levels_left"] = ["".join("01"[left] for left in levels) for levels in content["levels_left"]]
    content["class_names"] = None if model.classes is None else [str(label) for label in model.classes]
    content["missing_left"] = [int(left) for left in content["missing_left"]]
    shown: list[list[float | None]] = []
    if rows is not None:
        x = model.encode(rows)
        if len(x) > _MOST_ROWS:
            raise InputError(
                "too many rows to show", got=f"{len(x)} rows", allowed=f"{_MOST_ROWS} or fewer",
                fix="pass the few rows that the reader should look at",
            )  # fmt: skip
        shown = [[None if np.isnan(value) else float(value) for value in row] for row in x]
    said = {str(node): list(lines) for node, lines in (notes or {}).items()}
    return {"model": content, "rows": shown, "notes": said}
