"""The section on the rows that were passed: how the model fares on them, and the table of its leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from softwood.artifacts import HardEnsemble
from softwood.lifecycle import (
    MOST_LEAVES,
    Certificate,
    Estimate,
    LeafObserved,
    leaf_answers,
    listed_from,
    mean_of,
    observe_leaves,
    share_of,
)
from softwood.report._charts import against_truth
from softwood.report._html import Markup, folded, interval, join, number, percent, section, table, tag
from softwood.report._made import search_of
from softwood.report._measure import (
    Bin,
    Measured,
    confusion,
    predicted_bins,
    reliability,
)

_MOST_CLASSES, _MOST_OUTPUTS = 30, 6
_SIDE_BY_SIDE = 4  # classes up to which two pictures stand beside each other


def on_rows(model: HardEnsemble, found: Measured | None, about: str, listed: Listings) -> Markup:
    """Return the section.

    Args:
        model: what ships.
        found: its answers on the rows, or None where no rows were passed.
        about: which rows these are, in words.
        listed: what was observed in each leaf.
    """
    if found is None:
        none = tag(
            "p", "No rows were passed to this report, so it shows no calibration and no errors; ",
            tag("code", "softwood report MODEL --table TABLE"), " adds them. The score above is the certificate's.",
        )  # fmt: skip
        return section("rows", "On rows", none, _leaves(model, listed))
    parts = [tag("p", f"Measured on {about}: {found.n:,} rows. Intervals are at 95 % confidence", _weights(found))]
    parts += _classified(found) if model.classes is not None else _regressed(found)
    return section("rows", "On rows", *parts, _leaves(model, listed))


def _weights(found: Measured) -> str:
    if not found.weighted:
        return "."
    return "; weights count in shares and means, and their intervals are those of the effective number of rows."


def _classified(found: Measured) -> list[Markup]:
    classes = found.model.classes or ()
    right = share_of(found.guessed == found.truth, found.weight if found.weighted else None)
    chance = np.clip(found.answers[np.arange(found.n), found.truth], 1e-15, 1.0)
    loss = mean_of(-np.log(chance), found.weight)
    facts = tag("p", tag("strong", "Accuracy "), interval(right, share=True), _second("Log-loss", loss))
    if len(classes) == 2:
        x, y = f"predicted probability of {classes[1]}", f"observed share of {classes[1]}"
    else:
        x, y = "probability of the label that is given", "share of rows on which it is right"
    bins = reliability(found)
    calibration = tag("div", tag("h3", "Calibration"), _bins(bins, x, y, shares=True))
    errors = tag("div", tag("h3", "Confusion"), _confusion(found))
    return [facts, tag("div", calibration, errors, class_="pair uneven" if len(classes) <= _SIDE_BY_SIDE else None)]


def _second(name: str, found: Estimate | None) -> Markup | None:
    return None if found is None else join([" · ", tag("strong", f"{name} "), interval(found, share=False)])


def _regressed(found: Measured) -> list[Markup]:
    parts = []
    for output, name in enumerate(found.model.outputs[:_MOST_OUTPUTS]):
        error = np.abs(found.answers[:, output] - found.truth[:, output])
        root = float(np.sqrt(np.average(error**2, weights=found.weight)))
        several = found.model.n_outputs > 1
        facts = join(
            [tag("strong", "RMSE "), number(root), _second("Mean absolute error", mean_of(error, found.weight))]
        )
        parts.append(tag("h3", f"Predicted against observed: {name}" if several else "Predicted against observed"))
        parts.append(tag("p", facts))
        bins = predicted_bins(found, output)
        parts.append(_bins(bins, "predicted (mean of rows alike)", "observed (their mean)", shares=False))
    if found.model.n_outputs > _MOST_OUTPUTS:
        parts.append(tag("p", f"{found.model.n_outputs - _MOST_OUTPUTS} more outputs are not shown."))
    return parts


def _bins(bins: list[Bin], x: str, y: str, *, shares: bool) -> Markup:
    if not bins:
        return tag("p", "Too few rows with the same answer to compare.")
    points = [(part.predicted, part.observed, part.n) for part in bins]
    label = f"{y} against {x}"
    chart = against_truth(points, label=label, x_title=x, y_title=y, shares=shares)
    text = percent if shares else number
    rows = [[text(part.predicted), interval(part.observed, share=shares), number(part.n)] for part in bins]
    numbers = table([x, f"{y} (interval)", "rows"], rows, caption=label, numbers=3)
    note = "Rows with about the same answer lie in one dot; a dot on the dashed line is right on average."
    return join([tag("figure", chart, tag("figcaption", note)), folded("The numbers", numbers)])


def _confusion(found: Measured) -> Markup:
    classes = found.model.classes or ()
    if len(classes) > _MOST_CLASSES:
        return tag("p", f"{len(classes)} classes are too many for a table that people read.")
    counts = confusion(found)
    rows = []
    for code, label in enumerate(classes):
        line = [_cell(int(count), int(counts[code].sum()), right=code == at) for at, count in enumerate(counts[code])]
        rows.append([str(label), *line, number(int(counts[code].sum()))])
    head = ["truth", *(f"answered {label}" for label in classes), "rows"]
    return table(head, rows, caption="Rows of each class (lines) by the answer that they got", numbers=len(classes) + 1)


def _cell(count: int, total: int, *, right: bool) -> Markup:
    share = count / total if total else 0.0
    kind = "right" if right else "wrong"
    return tag("span", number(count), class_=f"cell {kind}", style=f"--share:{share:.3f}", title=percent(share))


# ------------------------------------------------------------------ leaves
TRAINING = "training rows"
Listings = Sequence[tuple[str, Sequence[LeafObserved]]]
"""Which rows, in words, and what was observed on them in each leaf."""


def listings(certificate: Certificate | None, record: Mapping[str, Any], found: Measured | None) -> Listings:
    """Return the leaf listings that there are: of training, of the certificate, and of the rows that were passed.

    Args:
        certificate: of the fit, or None.
        record: how the model was made.
        found: answers on the rows that were passed, or None.
    """
    made = [(TRAINING, listed_from(search_of(record).get("leaves", ())))]
    made += [] if certificate is None else [("certificate's rows", certificate.leaves)]
    if found is not None and found.model.n_trees == 1:
        weight = found.weight if found.weighted else None
        made.append(("rows passed", observe_leaves(found.model, found.leaves[:, 0], found.truth, weight)))
    return [(title, listed) for title, listed in made if listed]


def leaf_notes(model: HardEnsemble, listed: Listings) -> dict[int, list[str]]:
    """Return what the drawing says about each leaf beside its answer, by the leaf's node."""
    if model.n_trees != 1:
        return {}
    node_of = {int(model.leaf[node]): int(node) for node in np.flatnonzero(model.feature < 0)}
    notes: dict[int, list[str]] = {}
    for title, lines in listed:
        for line in lines:
            said = f"{title}: {line.n}, {line.answer} {_observed(line, model)}"
            notes.setdefault(node_of[line.leaf], []).append(said)
    return notes


def _leaves(model: HardEnsemble, listed: Listings) -> Markup:
    if model.n_trees > 1:
        text = "A leaf of a forest answers nothing by itself: it adds to a sum. Each tree's leaves are in the drawing."
        return join([tag("h3", "Leaves"), tag("p", text)])
    if model.n_leaves > MOST_LEAVES:
        return join([tag("h3", "Leaves"), tag("p", f"{model.n_leaves:,} leaves are too many for a table.")])
    weighed = not listed or listed[0][0] != TRAINING
    head = ["leaf", "answer", *(["training weight"] if weighed else []), "ships"]
    head += [name for title, _ in listed for name in (title, "observed (interval)")]
    rows = []
    for line, (leaf, _, name, ships) in enumerate(leaf_answers(model)):
        cells = [f"{leaf}", name, *([number(model.counts[leaf])] if weighed else [])]
        cells.append(percent(ships) if model.classes is not None else number(ships))
        for _, observed in listed:
            cells += [number(observed[line].n), _observed(observed[line], model)]
        rows.append(cells)
    caption = "What each leaf ships" + (", and what was observed in it" if listed else "")
    made = table(head, rows, caption=caption, numbers=len(head) - 2)
    return join([tag("h3", "Leaves"), made])


def _observed(line: LeafObserved, model: HardEnsemble) -> str:
    if line.observed is None:
        return "no rows" if line.n == 0 else "one row"
    return interval(line.observed, share=model.classes is not None)
