"""Where a fit that is killed leaves what it has, so that the same command goes on from there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softwood.core import InputError, write_atomic

if TYPE_CHECKING:
    import pandas as pd

_MARKER = "fit.json"
_PACKAGES = ("softwood", "torch", "numpy", "numba")  # another version may compute otherwise


def settings_of(frame: pd.DataFrame, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to be equal for a fit to go on: the table, the options, the versions.

    Args:
        frame: the table as it was read.
        options: JSON content.
    """
    import pandas as pd

    digest = hashlib.sha256(repr(list(zip(frame.columns, map(str, frame.dtypes), strict=True))).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    versions = {name: version(name) for name in _PACKAGES}
    return {"table": digest.hexdigest(), "options": dict(options), "versions": versions}


@contextmanager
def checkpoint(place: Path, settings: Mapping[str, Any], note: Callable[[str], None]) -> Iterator[Path]:
    """Give a directory for checkpoints. It is removed when the block ends well, or if nothing lies in it.

    A directory that a fit of other settings left is emptied first.

    Args:
        place: the directory.
        settings: of ``settings_of``.
        note: is told when a fit goes on, or starts over.

    Raises:
        InputError: something that no fit wrote lies there.
    """
    settings = json.loads(json.dumps(settings))
    if place.exists():
        found = _read_marker(place)
        if found == settings:
            if _content(place):
                note(f"going on from {place}, which an earlier run of this fit left")
        else:
            note(f"{place} is of a fit of another table, other options or other versions: starting over")
            shutil.rmtree(place)
    write_atomic(place / _MARKER, json.dumps(settings, indent=1))
    try:
        yield place
    except BaseException:
        if not _content(place):
            shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(place, ignore_errors=True)


def _content(place: Path) -> list[Path]:
    """Return what lies there beside the marker and what an unfinished write left."""
    return [entry for entry in place.iterdir() if entry.name != _MARKER and not entry.name.startswith(".")]


def _read_marker(place: Path) -> Any:
    try:
        return json.loads((place / _MARKER).read_bytes())
    except (OSError, ValueError):
        if not place.is_dir() or _content(place):
            raise InputError(
                "the place for checkpoints is taken", got=str(place), allowed="a name that is free",
                fix="move it away, or choose another --out",
            ) from None  # fmt: skip
        return None
