"""The file format of every artefact: a directory with ``artifact.json`` and ``arrays.safetensors``.

A write goes to a temporary name beside the target and is renamed when it is complete, so a reader finds either
the old artefact or the new one, whenever the writer was stopped. Both files are covered by checksums, so damage
is refused instead of predicted with. Nothing is ever unpickled.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as _load_arrays
from safetensors.numpy import save as _save_arrays

from softwood.core._errors import DamagedFileError, InputError

FORMAT = "softwood-artifact"
_JSON, _ARRAYS = "artifact.json", "arrays.safetensors"


def _canonical(content: Any) -> bytes:
    # allow_nan=False: NaN is no JSON, and a reader in another language would stop at it
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _temporary(path: Path, suffix: str = "tmp") -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{suffix}")


def _set_aside(target: Path) -> list[Path]:
    """Find earlier artefacts that a replacement moved out of the way and, if it was killed, did not remove."""
    return sorted(target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.old"))


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def write_atomic(path: str | Path, data: bytes | str) -> Path:
    """Write a file whole or not at all.

    Args:
        path: target; its folder is made if absent.
        data: bytes, or text written as UTF-8.

    Raises:
        InputError: ``path`` is an existing directory.

    Example:
        >>> import tempfile
        >>> write_atomic(Path(tempfile.mkdtemp()) / "a.txt", "done").read_text()
        'done'
    """
    target = Path(path)
    if target.is_dir():
        raise InputError("cannot write a file here", got=str(target), allowed="a file name", fix="add a file name")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    try:
        _write_synced(temporary, data.encode() if isinstance(data, str) else data)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def save_artifact(
    path: str | Path,
    *,
    kind: str,
    version: int,
    fields: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    extras: Mapping[str, str] | None = None,
) -> Path:
    """Write an artefact directory whole or not at all. An artefact that was there before is replaced.

    Args:
        path: the directory.
        kind: what it holds, such as ``"hard-ensemble"``.
        version: version of this kind's format; readers refuse newer ones.
        fields: JSON content without NaN.
        arrays: numeric arrays by name.
        extras: further text files by name (a certificate, the record of a fit), written in the same move.

    Returns:
        The directory.

    Raises:
        InputError: ``path`` is a file, or a directory that holds a file which no artefact wrote; ``fields`` is
            no JSON.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "model"
        >>> _ = save_artifact(target, kind="demo", version=1, fields={"a": 1}, arrays={"x": np.arange(3)})
        >>> load_artifact(target, kind="demo", version=1)[0]
        {'a': 1}
    """
    target = Path(path)
    check_replaceable(target)
    extras = dict(extras or {})
    stored = _save_arrays({name: np.asarray(array, order="C") for name, array in arrays.items()})
    body = {"format": FORMAT, "kind": kind, "version": version, "arrays_sha256": _digest(stored), "fields": fields}
    body["extras"] = sorted(extras)
    try:
        document = {**body, "sha256": _digest(_canonical(body))}
    except (TypeError, ValueError) as error:
        raise InputError(
            "fields cannot be written as JSON",
            got=str(error),
            allowed="dicts, lists, strings, booleans, None and finite numbers",
            fix="put arrays and NaN into arrays",
        ) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = _temporary(target)
    fresh.mkdir()
    try:
        _write_synced(fresh / _ARRAYS, stored)
        for name, text in extras.items():
            _write_synced(fresh / name, text.encode())
        _write_synced(fresh / _JSON, _canonical(document))
        _swap(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def check_replaceable(path: str | Path) -> None:
    """Refuse a target whose replacement would delete something that no artefact wrote.

    Args:
        path: where an artefact is to be written.

    Raises:
        InputError: it is a file, or a directory with foreign entries.

    Example:
        >>> check_replaceable("a-new-name")
    """
    target = Path(path)
    if not target.exists():
        return
    foreign = [target.name]
    if target.is_dir():
        foreign = sorted({entry.name for entry in target.iterdir()} - _own_names(target))
    if foreign:
        raise InputError(
            "the output would replace files that are no part of a Softwood artefact",
            got=f"{target} ({', '.join(foreign[:3])})",
            allowed="a new name, an empty directory, or an earlier artefact",
            fix="choose another output directory",
        )


def _own_names(target: Path) -> set[str]:
    try:
        document = json.loads((target / _JSON).read_bytes())
        known = document["extras"] if document["format"] == FORMAT else []
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {_JSON, _ARRAYS, *known}


def _swap(fresh: Path, target: Path) -> None:
    """Put ``fresh`` in the place of ``target``; a directory cannot be renamed onto a full one.

    Between the two renames there is no ``target``; readers then take what was set aside.
    """
    if target.exists():
        old = _temporary(target, "old")
        target.replace(old)
        try:
            fresh.replace(target)
        except OSError:
            old.replace(target)
            raise
    else:
        fresh.replace(target)
    for old in _set_aside(target):
        shutil.rmtree(old, ignore_errors=True)


def artifact_exists(path: str | Path) -> bool:
    """Say whether ``load_artifact`` has something to read here, whole or damaged.

    Args:
        path: the directory.

    Example:
        >>> artifact_exists("nothing-here")
        False
    """
    return (Path(path) / _JSON).exists() or bool(_set_aside(Path(path)))


def _checksum(body: dict[str, Any]) -> str | None:
    try:
        return _digest(_canonical(body))
    except ValueError:  # an altered byte can make a number infinite or a string no Unicode; we write neither
        return None


def load_artifact(path: str | Path, *, kind: str, version: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read an artefact directory, refusing anything that is not whole.

    Args:
        path: the directory.
        kind: the kind that is expected.
        version: the newest version that the caller can read.

    Returns:
        ``fields`` and ``arrays`` as they were saved.

    Raises:
        InputError: there is no such directory.
        DamagedFileError: a file is missing, truncated, altered, of another kind or of a newer version.

    Example:
        See ``save_artifact``.
    """
    source = Path(path)
    if not source.exists():
        source = next(iter(_set_aside(source)), source)
    if not source.is_dir():
        raise InputError(
            "there is no model here", got=str(source), allowed="a directory written by save", fix="check the path"
        )
    again = "copy or export the directory again from where it was made"
    try:
        document = json.loads((source / _JSON).read_bytes())
    except FileNotFoundError:
        raise DamagedFileError(source, f"{_JSON} is missing", again) from None
    except (ValueError, OSError) as error:
        raise DamagedFileError(source, f"{_JSON} is no readable JSON ({error})", again) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DamagedFileError(source, f"{_JSON} is not a {FORMAT} file", "point to a directory written by save")
    if document.get("kind") != kind:
        raise DamagedFileError(source, f"it holds a {document.get('kind')!r}, not a {kind!r}", "use its own loader")
    found = document.get("version")
    if not isinstance(found, int):
        raise DamagedFileError(source, f"it has no format version (found {found!r})", again)
    if found > version:
        raise DamagedFileError(
            source,
            f"format version {found!r} is newer than {version}, the newest this Softwood reads",
            "upgrade softwood",
        )
    body = {key: value for key, value in document.items() if key != "sha256"}
    if document.get("sha256") != _checksum(body):
        raise DamagedFileError(source, f"{_JSON} was altered (checksum differs)", again)
    try:
        stored = (source / _ARRAYS).read_bytes()
    except OSError:
        raise DamagedFileError(source, f"{_ARRAYS} is missing", again) from None
    if _digest(stored) != document["arrays_sha256"]:
        raise DamagedFileError(source, f"{_ARRAYS} is truncated or altered (checksum differs)", again)
    try:
        return document["fields"], _load_arrays(stored)
    except SafetensorError as error:
        raise DamagedFileError(source, f"{_ARRAYS} is no safetensors file ({error})", again) from None
