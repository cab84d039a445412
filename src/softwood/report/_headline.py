"""The head of the report: the certificate's verdict first, then what ships, then what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from softwood.artifacts import HardEnsemble
from softwood.lifecycle import Certificate
from softwood.report._html import Markup, interval, join, listed, number, percent, section, table, tag

_SCORES = {"accuracy": "Accuracy", "R2": "R²"}
_LOSSES = {"log_loss": "log-loss", "squared": "squared error"}


def headline(model: HardEnsemble, certificate: Certificate | None, record: Mapping[str, Any]) -> Markup:
    """Return the head of the page.

    Args:
        model: what ships.
        certificate: of the fit, or None.
        record: how the model was made; may be empty.
    """
    target = record.get("target")
    trees = "Decision tree" if model.n_trees == 1 else f"Forest of {model.n_trees} trees"
    title = trees if target is None else f"{trees} for {target}"
    tiles = [
        *_score_tile(certificate),
        _tile("Size", f"{model.n_leaf_values:,} leaf values", f"{model.n_splits:,} splits, {_answers(model)}"),
        _tile("Depth", number(model.depth), "splits on the longest path"),
        _tile("Fingerprint", tag("code", model.fingerprint), "every export of this model carries it"),
    ]
    return tag(
        "header", tag("p", "Softwood report", class_="kicker"), tag("h1", title), _verdict(certificate),
        tag("div", *tiles, class_="tiles"),
    )  # fmt: skip


def _answers(model: HardEnsemble) -> str:
    if model.classes is None:
        return "answers a number" if model.n_outputs == 1 else f"answers {model.n_outputs} numbers"
    return f"{len(model.classes)} classes"


def _verdict(certificate: Certificate | None) -> Markup:
    if certificate is None:
        text = "No certificate came with this model: nothing here says how it fares on unseen rows."
        return tag("div", tag("strong", "Not certified"), tag("p", text), class_="verdict none", role="status")
    count = "" if str(certificate.n) in certificate.rows else f" ({number(certificate.n)} rows)"
    where = f"What ships: {certificate.ships}. Measured on {certificate.rows}{count}."
    if certificate.verdict == "passed":
        return tag("div", tag("strong", "Certificate passed"), tag("p", where), class_="verdict passed", role="status")
    if certificate.passed:
        return tag(
            "div", tag("strong", "Certificate not refuted (within noise)"), listed(certificate.within_noise),
            tag("p", "By less than two standard errors of the paired difference. ", where), class_="verdict passed",
            role="status",
        )  # fmt: skip
    return tag(
        "div", tag("strong", "Certificate NOT passed"), listed(certificate.failures), tag("p", where),
        class_="verdict failed", role="status",
    )  # fmt: skip


def _score_tile(certificate: Certificate | None) -> list[Markup]:
    if certificate is None or certificate.score is None:
        return []
    share = certificate.score_name == "accuracy"
    text = percent if share else number
    score = certificate.score
    reach = f"{text(score.low)} to {text(score.high)} at {100 * certificate.level:.3g} % confidence"
    return [_tile(_SCORES.get(str(certificate.score_name), str(certificate.score_name)), text(score.value), reach)]


def _tile(name: str, value: object, note: str) -> Markup:
    return tag(
        "div", tag("div", name, class_="tile-name"), tag("div", value, class_="tile-value"),
        tag("div", note, class_="tile-note"), class_="tile",
    )  # fmt: skip


def certified(certificate: Certificate | None) -> Markup:
    """Return the section with the certificate's details.

    Args:
        certificate: of the fit, or None.
    """
    if certificate is None:
        text = tag("p", "There is none. ", tag("code", "softwood certify MODEL TABLE"), " makes one.")
        return section("certificate", "Certificate", text)
    loss = _LOSSES.get(certificate.loss, certificate.loss)
    rows: list[tuple[object, object]] = [("What ships", number(certificate.loss_shipped, 6))]
    if certificate.loss_rounded is not None:
        rows.append(("Plain rounding of the soft model", number(certificate.loss_rounded, 6)))
    if certificate.loss_soft is not None:
        rows.append(("The soft model, before hardening", number(certificate.loss_soft, 6)))
        rows.append(("Gap: soft minus what ships", number(certificate.gap, 3)))
    for name, pair in (("plain rounding", certificate.versus_rounded), ("soft", certificate.versus_soft)):
        if pair is not None:
            rows.append((f"What ships minus {name}, with its standard error", str(pair).replace("+-", "±")))
    losses = table(["loss of", loss], rows, caption=f"Mean {loss} on {certificate.rows}; lower is better", numbers=1)
    limits = join([tag("h3", "What it does not cover"), listed(certificate.not_covered)])
    return section(
        "certificate", "Certificate", tag("div", join([losses, _agreement(certificate)]), class_="pair"),
        limits if certificate.not_covered else None,
    )  # fmt: skip


def _agreement(certificate: Certificate) -> Markup:
    facts: list[tuple[object, object]] = []
    if certificate.agreement is not None:
        facts.append(("Agreement with the soft model", interval(certificate.agreement, share=True)))
        facts.append(("“Agree” means", certificate.agreement_means or "–"))
        facts.append(("Rows on which they differ (flips)", number(certificate.n_flips)))
        facts.append(("Largest difference", number(certificate.worst_difference)))
    if certificate.in_band is not None:
        facts.append(("Rows inside the soft band", percent(certificate.in_band)))
    bound = certificate.bound
    if bound is not None:
        about = "what ships" if bound.about_shipped else "the plain rounding, not of what ships"
        facts.append(("Provable difference from soft is of", about))
        facts.append(("at most", number(bound.largest)))
        facts.append(("on average", number(bound.mean)))
        facts.append(("zero on", f"{percent(bound.share_zero)} of the rows"))
        facts.append(("held on every row", "yes" if bound.holds else "NO"))
    if not facts:
        return tag("p", "What ships has no soft parent, so there is no hardening whose effect could be measured.")
    return table(["what", "measured"], facts, caption="What ships beside the soft model")
