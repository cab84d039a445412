"""Random models of every kind, hostile names, and pages that run in a headless Chromium."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softwood.artifacts import Column, HardEnsemble

HOSTILE = "<script>alert(1)</script>"
NAMES = (HOSTILE, "\"'><img src=x onerror=alert(2)>", "a & b", "</script><b>", "ünï 名 🌲", "line\nbreak", " {x} ")
KINDS = {
    "regression": ("identity", None, ("y",)),
    "two outputs": ("identity", None, ("y", HOSTILE)),
    "binary": ("probability", (HOSTILE, "kept"), ("p",)),
    "sigmoid": ("sigmoid", (False, True), ("logit",)),
    "three classes": ("probability", (3, 1, 2), ("a", "b", "c")),
    "softmax": ("softmax", ("it's", '"', "</script>", "名"), ("a", "b", "c", "d")),
}
THRESHOLDS = (-1e300, -2.5, -0.1, 0.0, 0.1, 1 / 3, 7.0, 16777217.0, 1e-310)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom",
)  # fmt: skip


def random_model(seed: int, kind: str, trees: int = 1, depth: int = 4) -> HardEnsemble:
    """A model over columns of every kind, whose thresholds, sets, directions and leaves are random."""
    rng = np.random.default_rng(seed)
    link, classes, outputs = KINDS[kind]
    columns = (
        Column(NAMES[0], "number"), Column(NAMES[1], "category", NAMES), Column(NAMES[2], "boolean"),
        Column(NAMES[4], "number"), Column("never", "number"), Column("many", "category", tuple(map(str, range(300)))),
    )  # fmt: skip
    nodes: list[Any] = []
    sets: list[np.ndarray] = []
    values: list[np.ndarray] = []

    def grow(level: int) -> int:
        here = len(nodes)
        nodes.append(None)
        if level == 0 or rng.random() < 0.1:
            nodes[here] = (-1, np.nan, False, 0, 0, -1, len(values))
            width = len(outputs)
            values.append(
                rng.normal(size=width) if link != "probability"
                else rng.random(1) / trees if width == 1 else rng.dirichlet(np.ones(width)) / trees
            )  # fmt: skip
            return here
        feature = int(rng.choice([0, 1, 2, 3, 5]))
        threshold, level_set = np.nan, -1
        if columns[feature].kind == "category":
            level_set = len(sets)
            sets.append(np.resize(rng.random(len(columns[feature].levels)) < 0.5, 300))
        else:
            threshold = 0.5 if columns[feature].kind == "boolean" else float(rng.choice(THRESHOLDS))
        left, right = grow(level - 1), grow(level - 1)
        nodes[here] = (feature, threshold, bool(rng.random() < 0.5), left, right, level_set, -1)
        return here

    roots = [grow(depth) for _ in range(trees)]
    feature, threshold, missing_left, left, right, level_set, leaf = map(np.array, zip(*nodes, strict=True))
    base = np.zeros(len(outputs)) if link == "probability" else rng.normal(size=len(outputs))
    return HardEnsemble(
        columns, outputs, link, classes, feature, threshold, missing_left, left, right, level_set,
        np.array(sets).reshape(len(sets), 300), leaf, np.array(values), rng.integers(0, 90, len(values)), roots, base,
    )  # fmt: skip


@pytest.fixture
def make_model() -> Callable[..., HardEnsemble]:
    return random_model


@pytest.fixture
def shop() -> HardEnsemble:
    """if price <= 10 (or missing): if city in {Oslo, Rome}: kept .9 else .6; else: member? .2 : .05."""
    columns = (
        Column("price", "number"), Column("city", "category", ("Oslo", "Rome", "Lima")), Column("member", "boolean"),
        Column("age", "number"),
    )  # fmt: skip
    nan = np.nan
    return HardEnsemble(
        columns, ("P(kept)",), "probability", ("back", "kept"),
        feature=[0, 1, -1, -1, 2, -1, -1], threshold=[10.0, nan, nan, nan, 0.5, nan, nan],
        missing_left=[True, False, False, False, True, False, False], left=[1, 2, 0, 0, 5, 0, 0],
        right=[4, 3, 0, 0, 6, 0, 0], level_set=[-1, 0, -1, -1, -1, -1, -1], levels_left=[[True, True, False]],
        leaf=[-1, -1, 0, 1, -1, 2, 3], values=[[0.9], [0.6], [0.05], [0.2]], counts=[40.0, 30.0, 20.0, 10.0],
        roots=[0], base=[0.0],
    )  # fmt: skip


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[str, str], Any]:
    """Open a page in Chromium, run a script in it that returns JSON content, and hand that back."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")

    def run(page: str, script: str) -> Any:
        watch = "window.faults = []; window.onerror = (text) => { window.faults.push(text); };"
        ask = (
            f"let found = null; try {{ found = (() => {{ {script} }})(); }}"
            "catch (fault) { window.faults.push(String(fault.stack)); }"
            "const out = document.createElement('pre'); out.id = 'found';"
            "out.textContent = btoa(unescape(encodeURIComponent(JSON.stringify({found, faults: window.faults}))));"
            "document.body.appendChild(out);"
        )
        own = " ".join(f"'sha256-{_digest(code)}'" for code in (watch, ask))
        page = page.replace("script-src ", f"script-src {own} ", 1)
        page = page.replace("<style>", f"<script>{watch}</script><style>", 1)
        place = tmp_path / "page.html"
        place.write_text(page.replace("</body>", f"<script>{ask}</script></body>"), encoding="utf-8")
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", place.as_uri()]
        done = subprocess.run(command, capture_output=True, timeout=120, check=True)
        answer = re.search(r'<pre id="found">([^<]*)</pre>', done.stdout.decode())
        assert answer, done.stderr.decode()[-2000:]
        content = json.loads(base64.b64decode(answer[1]))
        assert content["faults"] == []
        return content["found"]

    return run


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
