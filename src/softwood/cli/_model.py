"""A model directory as the commands use it, and tables that are read as the training table was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softwood.core import DamagedFileError, InputError

if TYPE_CHECKING:
    from softwood.artifacts import Column, HardEnsemble
    from softwood.data import Table
    from softwood.trees import SoftForestModel, SoftModel

RECORD, CERTIFICATE, SOFT = "record.json", "certificate.json", "soft.json"


@dataclass(frozen=True)
class Model:
    """What a model directory holds.

    Args:
        path: the directory.
        ensemble: what ships.
        record: how it was made; empty if Python saved it without one.
    """

    path: Path
    ensemble: HardEnsemble
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """The directory's own name."""
        return self.path.resolve().name

    @property
    def loss(self) -> str | None:
        """Name of the loss that was trained, or None where the record does not say."""
        return self.record.get("search", {}).get("loss")

    def soft(self) -> SoftModel | SoftForestModel | None:
        """Return the model before hardening, or None where what ships has none."""
        content = read_json(self.path / SOFT)
        if not content:
            return None
        from softwood.trees import read_soft

        try:
            return read_soft(content)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedFileError(self.path / SOFT, f"it is no soft model ({error})", "fit again") from error

    @property
    def weight(self) -> str | None:
        """Name of the column that weighed the rows in training, or None."""
        name = self.record.get("options", {}).get("weight")
        return None if name is None else str(name)

    def targets(self, override: Sequence[str] | None) -> tuple[str, ...]:
        """Return the names of the target columns."""
        names = override or self.record.get("targets")
        if not names:
            raise InputError(
                "the model does not say what its target is called", got=f"no {RECORD} in {self.path}",
                allowed="a column name", fix="pass --target COL",
            )  # fmt: skip
        return tuple(map(str, names))


def load_model(path: Path) -> Model:
    """Read a model directory.

    Args:
        path: what ``fit`` or ``HardEnsemble.save`` wrote.

    Raises:
        InputError: there is no such directory.
        DamagedFileError: it is not whole.
    """
    from softwood.artifacts import HardEnsemble

    return Model(path, HardEnsemble.load(path), read_json(path / RECORD))


def read_json(path: Path) -> dict[str, Any]:
    """Return a file's content, {} where there is no file."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DamagedFileError(path, f"it is no JSON ({error})", "copy the model again, or fit again") from error
    if not isinstance(content, dict):
        raise DamagedFileError(path, "it is no JSON object", "copy the model again, or fit again")
    return content


def read_like_training(model: Model, source: str, *, targets: Sequence[str] = ()) -> Table:
    """Read a table for a model; see ``read_like``.

    Args:
        model: the model.
        source: path or ``"-"``.
        targets: names of target columns that have to be there.
    """
    return read_like(
        model.record.get("table", {}), source, model.ensemble.columns, targets=targets, classes=model.ensemble.classes
    )


def read_like(
    known: Mapping[str, Any], source: str, columns: Sequence[Column], *, targets: Sequence[str] = (),
    classes: Sequence[Any] | None = None,
) -> Table:  # fmt: skip
    """Read a table as another one was: categories as text, and 1,234 as that table wrote numbers.

    Args:
        known: ``delimiter``, ``decimal`` and ``missing`` of the other table, where they are known.
        source: path or ``"-"``.
        columns: of the model.
        targets: names of target columns that have to be there.
        classes: of the target, if there is one.
    """
    from softwood.artifacts import Column
    from softwood.data import read_table

    wanted = list(columns)
    if classes and isinstance(classes[0], str):
        wanted += [Column(name, "category", tuple(classes)) for name in targets]  # a class "1.0" stays that text
    missing = known.get("missing", ())
    table = read_table(source, decimal=known.get("decimal"), columns=wanted, missing=missing)
    if known.get("decimal") and table.delimiter != known.get("delimiter") and source != "-":
        # a file of another make says itself how it writes numbers
        table = read_table(source, columns=wanted, missing=missing)
    for name in targets:
        check_column("--target", name, table.frame.columns)
    return table


def check_column(option: str, name: str, present: Any) -> None:
    """Refuse the name of a column that is not there, and suggest the nearest one."""
    from softwood.core import check_choice

    check_choice(f"{option}: the column", name, list(map(str, present)))


def file_digest(source: str) -> str | None:
    """Return the SHA-256 of a file, None for standard input."""
    if source == "-":
        return None
    with Path(source).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_training_table(model: Model, source: str) -> bool:
    """Is this the very file that the model was fitted on?"""
    digest = file_digest(source)
    return digest is not None and digest == model.record.get("table", {}).get("sha256")
