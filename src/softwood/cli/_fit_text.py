"""What ``softwood fit`` tells people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from softwood.cli._console import Output

if TYPE_CHECKING:
    from softwood.cli._fit_options import FitOptions
    from softwood.cli._prepare import Prepared
    from softwood.data import Target
    from softwood.lifecycle import Certificate

_MOST_LISTED = 20


def say_table(out: Output, options: FitOptions, data: Prepared) -> None:
    """Say what was read, what is predicted, and from which columns."""
    out.say(f"Table   {options.table}", style="bold")
    for note in data.table.notes:
        out.say(f"  {note}")
    for name, target in zip(options.target, data.targets, strict=True):
        out.say(f"Target  {name}: {target.kind}{_spread(target)}", style="bold")
        for note in target.notes:
            out.say(f"  {note}")
    for note in data.notes:
        out.say(f"Rows    {note}", style="bold")
    out.say(f"Columns {data.found.notes[0]}", style="bold")
    for note in data.found.notes[1:]:
        out.say(f"  {note}")
    _say_pairs(out, "left out", data.found.dropped)
    _say_pairs(out, "POSSIBLE LEAK (kept; --drop leaves it out)", data.found.leaks)


def _spread(target: Target) -> str:
    if not target.classes:
        return f", {target.values.min():.6g} to {target.values.max():.6g}"
    counts = Counter(target.values.tolist())
    listed = [f"{label} ({counts[code]})" for code, label in enumerate(target.classes[:_MOST_LISTED])]
    return f", {len(target.classes)} classes: {', '.join(listed)}{' ...' if len(target.classes) > _MOST_LISTED else ''}"


def _say_pairs(out: Output, head: str, pairs: tuple[tuple[str, str], ...]) -> None:
    for name, reason in pairs[:_MOST_LISTED]:
        out.say(f"  {head}: {name}: {reason}")
    if len(pairs) > _MOST_LISTED:
        out.say(f"  {head}: {len(pairs) - _MOST_LISTED} more, see record.json")


def _folds(made: Sequence[int]) -> str:
    folds, repeats = made
    return f"{folds} folds" + (f", {repeats} times over" if repeats > 1 else "") if folds else "too few for folds"


def say_found(
    out: Output, options: FitOptions, learner: Any, certificate: Certificate, *, unseen: bool, interrupted: bool
) -> None:
    """Say what ships, why, how good it is, and what to do with it."""
    out.title(f"The {options.shape}")
    out.say(str(learner.artifact_))
    out.title("Why this one")
    out.say(learner.record_["reason"])
    out.say(f"Rows were divided {learner.record_['split']}; {_folds(learner.record_['folds'])}")
    for cut in learner.record_["cut_by_time_limit"]:
        out.say(f"The time limit left out: {cut}")
    if interrupted:
        out.say("Ctrl-C cut the search: this is the best so far")
    if options.stability:
        out.title("Stability")
        out.say(str(learner.stability_))
    out.title("Certificate")
    out.say(str(certificate))
    out.title("Score")
    rows = f"{certificate.rows}" if unseen else f"{certificate.rows}, so it is optimistic"
    score = "none" if certificate.score is None else f"{certificate.score_name} {certificate.score}"
    out.say(f"{score} on {rows}")
    out.title("Saved")
    out.say(f"{options.out}/  ({learner.artifact_.fingerprint})")
    out.say("  artifact.json, arrays.safetensors: the model; certificate.json; record.json: how it was made")
    out.title("Next")
    out.say(f"  softwood predict {options.out} TABLE")
    out.say(f"  softwood score {options.out} TABLE")
    out.say(f"  softwood certify {options.out} TABLE")
    out.say(f"  softwood export {options.out} --to python")
