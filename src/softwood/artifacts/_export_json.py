"""The JSON format: the whole model in one documented file that any language can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._verify import Answers, answers
from softwood.core import DamagedFileError, InputError, SoftwoodError

FORMAT, VERSION = "softwood-hard-ensemble", 1

_ABOUT = (
    "Each node with feature >= 0 tests one column: number or boolean (0 and 1) goes left if value <= threshold, "
    "in float64; a category goes left if levels_left[level_set][index of its level]; a missing value or an unseen "
    "level goes left if missing_left. A node with feature -1 is a leaf: values[leaf]. Score = base + the sum of the "
    "leaf values over all roots, in their order, then the link: identity, exp, probability (as it is; one output is "
    "the probability of classes[1]), sigmoid or softmax. Label: the class with the largest score, the first of equal "
    "ones; with one output classes[1] if its probability is above 0.5."
)


def write_json(model: HardEnsemble) -> str:
    """Return the model as JSON text: an envelope with format, version and fingerprint, and ``model.to_dict()``.

    Args:
        model: the ensemble.

    Example:
        >>> from softwood.artifacts import Column
        >>> text = write_json(HardEnsemble.single_leaf([Column("x", "number")], [0.5], outputs=["y"]))
        >>> json.loads(text)["version"]
        1
    """
    envelope: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "fingerprint": model.fingerprint,
        "about": _ABOUT,
    }
    # one array a line: readable in a diff, and a tenth of the lines that indent=1 would give
    parts = [f"{json.dumps(key)}: {_dump(value)}" for key, value in envelope.items()]
    body = ",\n  ".join(f"{json.dumps(key)}: {_dump(value)}" for key, value in model.to_dict().items())
    return "{\n " + ",\n ".join(parts) + ',\n "model": {\n  ' + body + "\n }\n}\n"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def load_json(path: str | Path) -> HardEnsemble:
    """Read a model that was exported as JSON.

    Args:
        path: the file.

    Raises:
        InputError: there is no such file.
        DamagedFileError: it is cut off, altered, no such export, or written by a newer version.

    Example:
        >>> import tempfile
        >>> from softwood.artifacts import Column, export
        >>> model = HardEnsemble.single_leaf([Column("x", "number")], [0.5], outputs=["y"])
        >>> target = Path(tempfile.mkdtemp()) / "model.json"
        >>> _ = export(model, target, "json")
        >>> load_json(target) == model
        True
    """
    source = Path(path)
    again = "export the model again"
    try:
        envelope = json.loads(source.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(
            "there is no model here", got=str(source), allowed="a file exported as json", fix="check the path"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(source, f"it is no JSON text ({error})", again) from None
    if not isinstance(envelope, dict) or envelope.get("format") != FORMAT:
        raise DamagedFileError(source, f"it is not a {FORMAT} file", "point to a file exported as json")
    version = envelope.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise DamagedFileError(source, f"format version {version!r}; this Softwood reads 1 to {VERSION}",
                               "upgrade softwood")  # fmt: skip
    try:
        model = HardEnsemble.from_dict(envelope["model"])
    except (SoftwoodError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DamagedFileError(source, f"it describes no model ({error})", again) from None
    if model.fingerprint != envelope.get("fingerprint"):
        raise DamagedFileError(source, "the model was altered (its fingerprint differs)", again)
    return model


def run_json(path: Path, model: HardEnsemble, table: Any) -> Answers:
    """Answer from the file: read it again and predict."""
    return answers(load_json(path), table)
