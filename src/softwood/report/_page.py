"""The whole page: sections, style and script put together."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from softwood.artifacts import HardEnsemble
from softwood.core import InputError
from softwood.lifecycle import Certificate
from softwood.report._headline import certified, headline
from softwood.report._html import Markup, join, tag
from softwood.report._made import candidates, how_made, importance, split_notes
from softwood.report._measure import measure
from softwood.report._measured import leaf_notes, listings, on_rows
from softwood.report._tree_view import tree_view

_STYLES = ("tree.css", "page.css")  # what is for print stands last
_SCRIPTS = ("predict.js", "rule.js", "tree.js", "form.js", "main.js")
_LINKS = {
    "certificate": "Certificate", "tree": "Tree", "candidates": "Candidates", "rows": "On rows",
    "importance": "Importance", "made": "How it was made",
}  # fmt: skip


def report(
    model: HardEnsemble,
    *,
    certificate: Certificate | None,
    record: Mapping[str, Any] | None,
    table: Any = None,
    y: Any = None,
    weight: Any = None,
    about: str = "the rows that were passed",
    rows: Any = None,
) -> str:
    """Return one HTML page about a model that loads nothing and holds no row but those in ``rows``.

    Args:
        model: what ships, with T trees, L leaves and C columns.
        certificate: of the fit, or None.
        record: how it was made: ``record.json`` of the command line or a learner's ``record_``; or None.
        table: n rows to measure on: calibration, confusion, means of each leaf. The page holds sums of them only.
        y: their labels or values, ``[n]`` or ``[n, K]``; given with ``table`` or not at all.
        weight: their weights ``[n]``, >= 0, or None.
        about: which rows these are, in words.
        rows: a table of up to 500 rows that the reader may choose from and follow; these are in the page.

    Raises:
        InputError: one of ``table`` and ``y`` without the other, or they do not fit the model.

    Cost: O(n T depth) for n rows of ``table``, O(N) for the N nodes of the page.

    Example:
        >>> import numpy as np
        >>> from softwood.artifacts import Column
        >>> model = HardEnsemble.single_leaf((Column("x", "number"),), np.array([2.0]), outputs=("y",))
        >>> page = report(model, certificate=None, record=None)
        >>> page.startswith("<!DOCTYPE html>"), model.fingerprint in page
        (True, True)
    """
    if (table is None) != (y is None):
        raise InputError(
            "rows to measure on need their targets", got="table without y" if y is None else "y without table",
            allowed="both, or neither", fix="pass table= and y= of the same rows",
        )  # fmt: skip
    made = record or {}
    found = None if table is None else measure(model, table, y, weight)
    listed = listings(certificate, made, found)
    notes = {**leaf_notes(model, listed), **split_notes(made)}
    body = [
        tag("a", "Skip to the content", href="#certificate", class_="skip"),
        headline(model, certificate, made),
        tag("nav", *(tag("a", text, href=f"#{name}") for name, text in _LINKS.items()), aria_label="Sections"),
        tag(
            "main", certified(certificate), tree_view(model, rows, notes), candidates(model, made),
            on_rows(model, found, about, listed), importance(model, made), how_made(model, made),
        ),
    ]  # fmt: skip
    return _document(f"Softwood report: {made.get('target') or model.fingerprint}", join(body))


def _document(title: str, body: Markup) -> str:
    style = "".join(_asset(name) for name in _STYLES)
    script = '"use strict";\n' + "".join(_asset(name) for name in _SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # the browser itself then refuses every request, and every script but this one
    policy = f"default-src 'none'; base-uri 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = [
        tag("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        Markup(f"<style>{style}</style>"),
    ]
    page = tag("html", tag("head", *head), tag("body", body, Markup(f"<script>{script}</script>")), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _asset(name: str) -> str:
    return (files("softwood.report") / "assets" / name).read_text(encoding="utf-8")
