"""``softwood doctor``: what is installed, and whether it works."""

from __future__ import annotations

import importlib
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import typer

from softwood.cli._console import Output
from softwood.cli._doctor_gradients import register as _gradients
from softwood.cli._options import Json

_MODULES = {"scikit-learn": "sklearn"}  # where the module is not called as its package
_INTERNAL = {"dev", "docs", "all"}


def packages() -> list[dict[str, Any]]:
    """Return each package that Softwood asks for: version or None, and the extra that brings it.

    Returns:
        JSON content: name, extra (None for what is always needed), version, and where it is missing the command.
    """
    found = []
    for line in requires("softwood") or []:
        name = re.match(r"[A-Za-z0-9_.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", line)
        if name is None or name[0] == "softwood" or (extra is not None and extra[1] in _INTERNAL):
            continue
        wanted = None if extra is None else extra[1]
        entry: dict[str, Any] = {"name": name[0], "extra": wanted, "version": _version(name[0])}
        if entry["version"] is None:
            entry["fix"] = f'pip install "softwood{"" if wanted is None else f"[{wanted}]"}"'
        found.append(entry)
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _import_all() -> str:
    for entry in packages():
        if entry["version"] is not None:
            importlib.import_module(_MODULES.get(entry["name"], entry["name"]))
    return "every installed package can be imported"


def _cache() -> str:
    """Say whether compiled loops can be kept; numba writes beside the code, else into the user's cache folder."""
    import softwood.kernels

    beside = Path(softwood.kernels.__file__).parent / "__pycache__"
    own = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(own)] if own else [beside, Path.home() / ".cache"]
    for place in places:
        nearest = next(folder for folder in (place, *place.parents) if folder.exists())
        if os.access(nearest, os.W_OK):
            return f"compiled loops are kept in {place}"
    raise PermissionError(f"none of {', '.join(map(str, places))} can be written; set NUMBA_CACHE_DIR to a folder")


class _SelfTest:
    """A tiny tree, from the fit to every export."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.learner: Any = None

    def fit(self) -> str:
        import numpy as np
        import pandas as pd

        from softwood.trees import TreeClassifier

        a, b = np.meshgrid(np.arange(12.0), np.arange(12.0))
        self.table = pd.DataFrame({"a": a.ravel(), "b": b.ravel()})
        y = np.where((a > 5) & (b > 3), "yes", "no").ravel()
        self.learner = TreeClassifier(max_depth=2, effort=0.05).fit(self.table, y)
        right = int((self.learner.predict(self.table) == y).sum())
        if right < len(y):
            raise ValueError(f"a tree that has to be perfect is right on {right} of {len(y)} rows")
        return "a tree of two tests was found"

    def save(self) -> str:
        from softwood.artifacts import HardEnsemble

        path = self.learner.artifact_.save(self.folder / "model")
        if HardEnsemble.load(path) != self.learner.artifact_:
            raise ValueError("the model is another one after it was saved and read")
        return "saved and read again, equal"

    def export(self, to: str) -> str:
        from softwood.artifacts import FORMATS, export
        from softwood.core import MissingExtraError

        try:
            report = export(self.learner.artifact_, self.folder / f"model{FORMATS[to].suffix}", to, rows=self.table)
        except MissingExtraError as error:
            return f"not tried: {error}"
        return f"verified on {report.rows} rows" if report.verified else f"written, UNVERIFIED: {report.verifier}"


def examine() -> dict[str, Any]:
    """Look at the installation and try it.

    Returns:
        JSON content: machine, packages, checks with their seconds, and whether all is well.
    """
    from softwood.artifacts import FORMATS

    with tempfile.TemporaryDirectory() as folder:
        test = _SelfTest(Path(folder))
        steps: dict[str, Callable[[], str]] = {
            "imports": _import_all, "numba cache": _cache, "fit": test.fit, "save": test.save,
            **{f"export {to}": partial(test.export, to) for to in FORMATS},
        }  # fmt: skip
        checks = [_try(name, step) for name, step in steps.items()]
    installed = packages()
    missing = [entry["name"] for entry in installed if entry["version"] is None and entry["extra"] is None]
    return {
        "softwood": _version("softwood"), "python": platform.python_version(), "platform": platform.platform(),
        "cores": os.cpu_count(), "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
        else os.cpu_count(), "packages": installed, "checks": checks,
        "passed": not missing and all(check["passed"] for check in checks),
    }  # fmt: skip


def _try(name: str, step: Callable[[], str]) -> dict[str, Any]:
    begun = time.perf_counter()
    try:
        message, passed = step(), True
    except Exception as error:  # whatever goes wrong here is what the doctor is asked to find
        message, passed = f"{type(error).__name__}: {error}", False
    return {"name": name, "passed": passed, "message": message, "seconds": round(time.perf_counter() - begun, 3)}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    doctor = typer.Typer(rich_markup_mode=None)
    app.add_typer(doctor, name="doctor")
    _gradients(doctor)

    @doctor.callback(invoke_without_command=True)
    def installation(context: typer.Context, as_json: Json = False) -> int:
        """Say what is installed and whether it works; `doctor gradients` looks at a function of yours.

        Exit code 1 if a check fails.
        """
        if context.invoked_subcommand is not None:
            return 0
        console = Output(as_json)
        found = examine()
        console.say(f"softwood {found['softwood']}, Python {found['python']}, {found['platform']}")
        console.say(f"{found['cores']} cores, {found['usable_cores']} of them for this process")
        console.title("Packages")
        for entry in found["packages"]:
            extra = "" if entry["extra"] is None else f"  (extra {entry['extra']})"
            state = entry["version"] or f"missing: {entry['fix']}"
            console.say(f"  {entry['name']:14} {state}{extra}")
        console.title("Checks")
        for check in found["checks"]:
            state = "ok" if check["passed"] else "FAILED"
            console.say(f"  {state:6} {check['name']:14} {check['seconds']:6.2f} s  {check['message']}")
        return console.finish(found, 0 if found["passed"] else 1)
