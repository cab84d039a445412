"""Which papers there are, which of them are built, and what their last evidence says."""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import softwood
from softwood.core import DamagedFileError, InputError, check_choice
from softwood.papers._paper import FAMILIES, Paper
from softwood.papers._titles import TITLES

VERDICTS = ("holds", "falls short", "stale", "crashed", "needs data", "not built")
_PACKAGE = Path(softwood.__file__).parent


@dataclass(frozen=True)
class Entry:
    """A line of the list of papers.

    Args:
        id: short name.
        family: one of ``FAMILIES``.
        title: of the paper.
        does: what it is for.
        api: public names that carry it; none where it is not built.
        verdict: one of ``VERDICTS``.
        date: of the evidence, or None.
        commit: of the evidence, or None.

    Example:
        >>> Entry("demo", "ops", "A paper", "shows", (), "not built").commit is None
        True
    """

    id: str
    family: str
    title: str
    does: str
    api: tuple[str, ...]
    verdict: str
    date: str | None = None
    commit: str | None = None


def module_name(id: str) -> str:
    """Return the module of a paper's file, built or not.

    Args:
        id: of a paper.

    Raises:
        InputError: there is no such paper.

    Example:
        >>> module_name("gumbel-softmax")
        'softwood.papers.ops._gumbel_softmax'
    """
    check_choice("id", id, TITLES)
    return f"softwood.papers.{TITLES[id].family}._{id.replace('-', '_')}"


def built(family: str | None = None) -> tuple[str, ...]:
    """Return the ids of the papers that have a file, in the order of the list.

    Args:
        family: of this family only.

    Example:
        >>> "gumbel-softmax" in built("trees")
        False
    """
    if family is not None:
        check_choice("family", family, FAMILIES)
    ids = [id for id, entry in TITLES.items() if family in (None, entry.family)]
    return tuple(id for id in ids if _path(module_name(id)).exists())


def load(id: str) -> ModuleType:
    """Import a paper's file.

    Args:
        id: of a paper that is built.

    Raises:
        InputError: there is no such paper, or it is not built.

    Example:
        >>> load("gumbel-softmax").PAPER.year
        2016
    """
    name = module_name(id)
    if not _path(name).exists():
        raise InputError("this paper is not built", got=id, allowed=", ".join(built()) or "none yet",
                         fix="softwood papers lists what is")  # fmt: skip
    return importlib.import_module(name)


def entries(folder: Path | None = None) -> tuple[Entry, ...]:
    """Return all papers with their last verdict.

    Args:
        folder: of evidence; None for the one that came with the library.

    Example:
        >>> len(entries())
        127
    """
    known = set(built())
    return tuple(_entry(id, known, folder or evidence_folder()) for id in TITLES)


def _entry(id: str, known: set[str], folder: Path) -> Entry:
    title = TITLES[id]
    if id not in known:
        return Entry(id, title.family, title.title, title.does, (), "not built")
    paper: Paper = load(id).PAPER
    record = read_record(id, folder)
    date, commit = (None, None) if record is None else (record["date"], record["commit"])
    return Entry(id, paper.family, paper.title, paper.does, paper.api, verdict(paper, record), date, commit)


def verdict(paper: Paper, record: dict[str, Any] | None) -> str:
    """Return what a record says about a paper as it stands now: one of ``VERDICTS``.

    Args:
        paper: that is built.
        record: content of its evidence file, or None.

    Example:
        >>> verdict(load("gumbel-softmax").PAPER, None)
        'stale'
    """
    if record is None or record["hash"] != source_hash(paper):
        return "stale"
    if record["outcome"] != "ran":
        return "needs data" if record["outcome"] == "needs data" else "crashed"
    return "holds" if all(bar["holds"] for bar in record["bars"]) else "falls short"


def evidence_folder() -> Path:
    """Return where the evidence lies: in the package, or in a checkout beside ``src``.

    Example:
        >>> evidence_folder().name
        'evidence'
    """
    inside = _PACKAGE / "evidence"
    return inside if inside.is_dir() else _PACKAGE.parent.parent / "evidence"


def read_record(id: str, folder: Path) -> dict[str, Any] | None:
    """Return the content of a paper's evidence file, or None where there is none.

    Raises:
        DamagedFileError: it is no evidence file.

    Example:
        >>> read_record("sau", Path("nowhere")) is None
        True
    """
    path = folder / f"{id}.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != "softwood-evidence" or content["version"] != 1:
            raise DamagedFileError(path, "it is no evidence of version 1", "record it again, or update Softwood")
        return dict(content)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(path, f"it is no evidence file ({error})", "record it again") from error


def source_hash(paper: Paper) -> str:
    """Return a hash of the paper's own file and of the rooms in which its public names stand.

    Args:
        paper: that is built.
    """
    rooms = sorted({name.split(".")[1] for name in paper.api})
    parts = [hashlib.sha256(_path(module_name(paper.id)).read_bytes()).hexdigest(), *map(_room_hash, rooms)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


@cache
def _room_hash(room: str) -> str:
    sources = sorted((_PACKAGE / room).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _path(module: str) -> Path:
    return _PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
