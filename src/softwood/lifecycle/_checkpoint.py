"""Checkpoints of a training, in the file format of every artefact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from softwood.core import DamagedFileError, InputError, artifact_exists, load_artifact, save_artifact
from softwood.lifecycle._state import flatten_state, unflatten_state

_KIND, _VERSION = "train-checkpoint", 1


def write_checkpoint(place: Path, settings: dict[str, Any], content: dict[str, Any]) -> None:
    """Write the content whole or not at all; an earlier checkpoint is replaced."""
    state, arrays = flatten_state(content)
    save_artifact(place, kind=_KIND, version=_VERSION, fields={"settings": settings, "state": state}, arrays=arrays)


def read_checkpoint(place: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the content, or None where there is no checkpoint; refuse one of other settings."""
    if not artifact_exists(place):
        return None
    try:
        fields, arrays = load_artifact(place, kind=_KIND, version=_VERSION)
        found = fields["settings"]
    except DamagedFileError as error:
        raise DamagedFileError(place, error.reason, "delete the checkpoint to begin anew, or name another") from error
    different = [name for name in settings if found.get(name) != settings[name]]
    if different:
        raise InputError(
            "the checkpoint is of a training with other settings",
            got=", ".join(f"{name}={found.get(name)!r}" for name in different),
            allowed=", ".join(f"{name}={settings[name]!r}" for name in different),
            fix=f"pass the settings that it was made with, or another checkpoint than {place}",
        )
    content: dict[str, Any] = unflatten_state(fields["state"], arrays)
    return content
