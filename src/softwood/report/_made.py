"""The sections on candidates, importance, and how the model was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from softwood import __version__
from softwood.artifacts import HardEnsemble
from softwood.lifecycle import Estimate, Paired
from softwood.report._charts import Dot, bars, dots, losses, whiskers
from softwood.report._html import Markup, folded, interval, join, listed, number, percent, section, table, tag

_METRICS = {
    "accuracy": "share of wrong answers out of fold", "log_loss": "log-loss out of fold",
    "squared": "squared error out of fold, in units of the target's variance",
    "absolute": "absolute error out of fold, in units of the target's standard deviation",
}  # fmt: skip
_NAMES = {
    "all": "all together",
    "cart": "CART",
    "kicks": "kicks and polish",
    "gradient": "gradient restarts",
    "booster": "booster",
}
_LABELS = {
    "search": "found by", "criterion": "criterion", "min_leaf": "least weight in a leaf", "price": "price of a leaf",
    "loss": "loss", "smooth_loss": "smooth loss", "leaves": "leaves a tree", "rate": "learning rate",
    "l2": "penalty", "per_class": "a tree for each class", "max_depth": "depth", "spent": "share of the budget",
    "refit": "leaves re-fitted, strength", "leaf_values": "leaf values",
}  # fmt: skip
_MOST_BARS = 20


def search_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the record of the search: that of a learner, or the part of it in a command's record."""
    found: Mapping[str, Any] = record.get("search") or (record if "trials" in record else {})
    return found


# ------------------------------------------------------------------ candidates
def candidates(model: HardEnsemble, record: Mapping[str, Any]) -> Markup:
    """Return the section that compares the candidates.

    Args:
        model: what ships.
        record: how it was made.
    """
    search = search_of(record)
    trials: Sequence[Mapping[str, Any]] = [trial for trial in search.get("trials", []) if trial.get("loss") is not None]
    title = "Candidates: size against score"
    if not trials:
        return section(
            "candidates", title, tag("p", "The record holds no comparison of candidates."), peers(model, record)
        )
    shipped = [_ships(trial, search.get("shipped", {})) for trial in trials]
    metric = str(search.get("options", {}).get("metric"))
    axis = _METRICS.get(metric, f"{metric} loss out of fold")
    sizes = [_size(trial, search) for trial in trials]
    if all(size is not None for size in sizes):
        points = [
            Dot(float(size or 0), trial["loss"], _says(trial), int(trial.get("refit") is not None), ships)
            for trial, size, ships in zip(trials, sizes, shipped, strict=True)
        ]
        chart = dots(points, label=f"{axis}, against size", x_title="leaf values, at most", y_title=axis)
        note = "Each mark is a candidate: lower is better, further left is smaller; the ring is what ships."
        if any(point.group for point in points):
            note += " Diamonds have their leaves re-fitted jointly."
    else:
        ranked = sorted(zip(trials, shipped, strict=True), key=lambda pair: pair[0]["loss"])
        chart = losses([(_name(trial), trial["loss"], ships) for trial, ships in ranked], label=axis, title=axis)
        note = (
            "The best of each search, each pruned at the price for a leaf that served it best: a higher price is a "
            f"smaller tree. What ships has {model.n_leaf_values} leaf values."
        )
    keys = [key for key in _LABELS if any(trial.get(key) is not None for trial in trials)]
    head = ["ships", *(_LABELS[key] for key in keys)]
    order = sorted(range(len(trials)), key=lambda at: trials[at]["loss"])
    rows = [["yes" if shipped[at] else "", *(_cell(key, trials[at].get(key)) for key in keys)] for at in order]
    numbers = table(head, rows, caption=f"All {len(trials)} candidates, the best first")
    return section(
        "candidates", title, tag("p", tag("strong", "Why this one ships: "), search.get("reason", "not recorded"), "."),
        tag("figure", chart, tag("figcaption", note)), folded(f"All {len(trials)} candidates", numbers),
        peers(model, record),
    )  # fmt: skip


def _ships(trial: Mapping[str, Any], shipped: Mapping[str, Any]) -> bool:
    """Is this the candidate that ships? All that both records say has to be the same; of a tree, the search."""
    if "search" in trial:
        return bool(trial["search"] == shipped.get("search"))
    return all(shipped.get(key) == value for key, value in trial.items())


def _size(trial: Mapping[str, Any], search: Mapping[str, Any]) -> float | None:
    if trial.get("leaf_values") is not None:
        return float(trial["leaf_values"])
    budget = search.get("options", {}).get("budget")
    return None if budget is None or "spent" not in trial else float(int(trial["spent"] * budget))


def _name(trial: Mapping[str, Any]) -> str:
    return _NAMES.get(str(trial.get("search")), str(trial.get("search", "candidate")))


def _says(trial: Mapping[str, Any]) -> str:
    return ", ".join(f"{_LABELS[key]} {_cell(key, trial[key])}" for key in _LABELS if trial.get(key) is not None)


def _cell(key: str, value: Any) -> str:
    if key == "search":
        return _NAMES.get(str(value), str(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return percent(value) if key == "spent" else number(value)
    return "–" if value is None else str(value)


# ------------------------------------------------------------------ peers
def peers(model: HardEnsemble, record: Mapping[str, Any]) -> Markup:
    """Return the part that compares what ships with CART of the same size and full-size boosting.

    Args:
        model: what ships.
        record: how it was made.
    """
    found = search_of(record).get("peers")
    if not found:
        none = "No peers were compared: no rows were held out, or the loss is not one that they minimise."
        return tag("p", none, class_="quiet")
    error = "root of the mean squared error" if model.classes is None else "share of wrong answers"
    loss = "squared error" if model.classes is None else "log-loss"
    points = [Dot(peer["leaf_values"], peer["loss"], _peer(peer), at, at == 0) for at, peer in enumerate(found)]
    axis = f"{loss} on the held-out rows"
    chart = dots(points, label=f"{axis}, against size", x_title="leaf values", y_title=axis, far=True)
    note = (
        "What ships (ring), CART of the same size, and scikit-learn's histogram booster, which has no size to keep. "
        "They learned from the same rows, at most 20,000, and are judged on those of the certificate."
    )
    rows = [
        (peer["name"], number(peer["leaf_values"]), number(peer["loss"]),
         number(peer["error"]) if model.classes is None else percent(peer["error"]),
         "" if at == 0 else str(Paired(**peer["versus"])).replace("+-", "±"))
        for at, peer in enumerate(found)
    ]  # fmt: skip
    head = ["model", "leaf values", loss, error, f"{loss} of what ships minus this"]
    made = table(head, rows, caption="Beside others, on the held-out rows; lower is better", numbers=4)
    return join([tag("h3", "Beside CART and full-size boosting"), tag("figure", chart, tag("figcaption", note)), made])


def _peer(peer: Mapping[str, Any]) -> str:
    return f"{peer['name']}: {number(peer['leaf_values'])} leaf values, loss {number(peer['loss'])}"


# ------------------------------------------------------------------ importance
def importance(model: HardEnsemble, record: Mapping[str, Any]) -> Markup:
    """Return the section with the share of each column in what the splits separate, and how firm that is.

    Args:
        model: what ships.
        record: how it was made; with ``stability``, what bootstrap samples said.
    """
    share, meaning = column_shares(model)
    tested = set(model.feature[model.feature >= 0].tolist())
    order = [int(at) for at in np.argsort(-share, kind="stable") if at in tested]
    if not order:
        return section("importance", "Importance", tag("p", "The model splits on no column."))
    rows = [(model.columns[at].name, float(share[at])) for at in order[:_MOST_BARS]]
    unused = len(model.columns) - len(order)
    note = f"{meaning} {len(order)} of {len(model.columns)} columns are tested"
    note += f", {unused} never." if unused else "."
    chart = tag("figure", bars(rows, label="importance of the columns"), tag("figcaption", note))
    firm = _stability(search_of(record).get("stability"))
    if len(order) <= _MOST_BARS:
        return section("importance", "Importance", chart, firm)
    rest = [(model.columns[at].name, percent(float(share[at]))) for at in order[_MOST_BARS:]]
    more = table(["column", "share"], rest, caption="The other columns", numbers=1)
    return section("importance", "Importance", chart, folded(f"{len(rest)} more columns", more), firm)


def _stability(found: Mapping[str, Any] | None) -> Markup:
    """Return how often columns and splits came back on bootstrap samples."""
    if not found:
        return tag(
            "p", "How firm this is was not measured; ", tag("code", "softwood fit --stability"),
            " fits again to bootstrap samples.", class_="quiet",
        )  # fmt: skip
    columns = [column for column in found["columns"] if column["importance"]["high"] > 0][:_MOST_BARS]
    rows = [(c["column"], c["importance"]["value"], c["importance"]["low"], c["importance"]["high"]) for c in columns]
    chart = whiskers(rows, label="importance of the columns on bootstrap samples")
    note = (
        f"Share of the training weight that passes all splits: median of {found['bootstraps']} bootstrap samples of "
        f"the training rows, {found['how']}; the line holds 90 % of them."
    )
    cells = [(c["column"], percent(c["used"]), percent(c["top"])) for c in columns]
    used = table(["column", "tested in", "among the ten strongest in"], cells, caption="Of the samples", numbers=2)
    parts = [
        tag("h3", "Stability"),
        tag("figure", chart, tag("figcaption", note)),
        folded("How often it is used", used),
    ]
    if found["splits"]:
        head = ["split", "depth", "same place", "same depth", "anywhere", "threshold (90 %)"]
        lines = [
            (s["column"], number(s["depth"]), *(percent(s[key]) for key in ("same_place", "same_depth", "anywhere")),
             "–" if s["threshold"] is None else interval(Estimate(**s["threshold"]), share=False))
            for s in found["splits"]
        ]  # fmt: skip
        caption = "Share of the samples whose tree tests the column there; the drawing shows it at each split"
        parts.append(table(head, lines, caption=caption, numbers=5))
    return join(parts)


def split_notes(record: Mapping[str, Any]) -> dict[int, list[str]]:
    """Return what the drawing says about how firm each split is, by its node.

    Args:
        record: how the model was made.
    """
    found = search_of(record).get("stability") or {"splits": ()}
    notes = {}
    for split in found["splits"]:
        lines = [
            f"on bootstrap samples: same place {percent(split['same_place'])}, anywhere {percent(split['anywhere'])}"
        ]
        if split["threshold"] is not None:
            lines.append(f"threshold {interval(Estimate(**split['threshold']), share=False)} in 90 % of them")
        notes[int(split["node"])] = lines
    return notes


def column_shares(model: HardEnsemble) -> tuple[np.ndarray, str]:
    r"""Return the share of each column, ``[C]`` summing to 1 or all zero, and what it is a share of.

    A split of weights a and b, whose sides answer p and q on average, separates
    :math:`\frac{ab}{a+b} \lVert p - q \rVert^2`; without training weights, each split counts once.

    Args:
        model: what ships.

    Cost: O(N K).
    """
    inner = np.flatnonzero(model.feature >= 0)
    gain = np.ones(len(inner))
    meaning = "Share of the splits: the model knows no training weights."
    if model.counts.any():
        weight, total = np.zeros(len(model.feature)), np.zeros((len(model.feature), model.n_outputs))
        ends = np.flatnonzero(model.feature < 0)
        weight[ends] = model.counts[model.leaf[ends]]
        total[ends] = weight[ends, None] * model.values[model.leaf[ends]]
        for node in inner[::-1]:  # children stand behind their parent
            weight[node] = weight[model.left[node]] + weight[model.right[node]]
            total[node] = total[model.left[node]] + total[model.right[node]]
        mean = total / np.maximum(weight, 1e-300)[:, None]
        a, b = weight[model.left[inner]], weight[model.right[inner]]
        apart = ((mean[model.left[inner]] - mean[model.right[inner]]) ** 2).sum(1)
        gain = a * b / np.maximum(a + b, 1e-300) * apart
        meaning = "Share of what all splits separate: the weight that they part, times how far apart its answers are."
    share = np.bincount(model.feature[inner], gain, minlength=len(model.columns))
    return (share / share.sum() if share.sum() > 0 else share), meaning


# ------------------------------------------------------------------ how it was made
def how_made(model: HardEnsemble, record: Mapping[str, Any]) -> Markup:
    """Return the section on the table, the options, the time and the versions.

    Args:
        model: what ships.
        record: how it was made.
    """
    search = search_of(record)
    parts: list[Markup | None] = [_table_text(record), _leaks(record), _dropped(record), _used(model), _seconds(search)]
    options = {**search.get("options", {}), **record.get("options", {})}
    rows = [(name, _option(value)) for name, value in options.items()]
    parts.append(folded("Options", table(["option", "value"], rows, caption="Options of the fit")) if rows else None)
    versions = record.get("versions", {})
    kept = table(["package", "version"], versions.items(), caption="Versions at the fit")
    parts.append(folded("Versions", kept) if versions else None)
    if not record:
        parts.append(tag("p", "No record of the fit came with this model."))
    parts.append(tag("p", f"This page was written by Softwood {__version__}.", class_="quiet"))
    return section("made", "How it was made", *parts)


def _table_text(record: Mapping[str, Any]) -> Markup | None:
    search, about = search_of(record), record.get("table", {})
    said = (
        [f"Table {about['source']}: {number(about['rows'])} rows, {number(about['columns'])} columns."] if about else []
    )
    if search.get("rows") is not None:
        folds = search.get("folds") or [0, 0]
        compared = f", compared on {folds[0]} folds" if folds[0] else ""
        compared += f", {folds[1]} times" if folds[0] and folds[1] > 1 else ""
        said.append(f"{number(search['rows'])} rows were learned from{compared}.")
    if search.get("split"):
        said.append(f"They were divided {search['split']}.")
    if search.get("held_out_rows"):
        said.append(f"{number(search['held_out_rows'])} rows were held out for the certificate.")
    notes = [*about.get("notes", []), *record.get("notes", [])]
    if not said and not notes:
        return None
    return join([tag("p", " ".join(said)), listed(notes) if notes else ""])


def _leaks(record: Mapping[str, Any]) -> Markup | None:
    leaks = record.get("columns", {}).get("leaks", [])
    if not leaks:
        return tag("p", "No column was flagged as a likely leak of the target.") if "columns" in record else None
    rows = table(["column", "why it is suspected"], leaks, caption="Likely leaks of the target; they were kept")
    return tag("div", tag("strong", "Possible leaks"), rows, class_="verdict failed")


def _dropped(record: Mapping[str, Any]) -> Markup | None:
    dropped = record.get("columns", {}).get("dropped", [])
    if not dropped:
        return None
    return join([tag("h3", "Columns left out"), table(["column", "reason"], dropped, caption="Left out of the fit")])


def _used(model: HardEnsemble) -> Markup:
    tested = set(model.feature[model.feature >= 0].tolist())
    rows = [
        (column.name, column.kind, number(len(column.levels)) if column.levels else "", "yes" if at in tested else "no")
        for at, column in enumerate(model.columns)
    ]
    made = table(["column", "kind", "levels", "tested by a split"], rows, caption="The model's columns")
    return folded(f"Columns used: {len(model.columns)}, of which {len(tested)} are tested", made)


def _seconds(search: Mapping[str, Any]) -> Markup | None:
    cut, spent = search.get("cut_by_time_limit", []), search.get("seconds", {})
    parts: list[Markup] = []
    if spent:
        rows = [(_NAMES.get(name, name), number(value, 3)) for name, value in spent.items()]
        parts.append(table(["stage", "seconds"], rows, caption="Where the time went", numbers=1))
    if cut:
        parts.append(tag("p", tag("strong", "The time limit left out: "), ", ".join(map(str, cut)), "."))
    elif search:
        parts.append(tag("p", "No time limit left anything out."))
    if search.get("interrupted"):
        parts.append(tag("p", tag("strong", "The search was stopped by hand; "), "this is the best model up to then."))
    return join([tag("h3", "Time"), *parts]) if parts else None


def _option(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "–" if value is None else str(value)
