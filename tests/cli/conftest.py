"""A table with a column of every kind, a model fitted to it, and a way to run commands in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from softwood.cli import main

QUICK = ("--effort", "0.05", "--max-depth", "2", "--no-progress")


@dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def softwood(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def run(*words: object) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        caught = capsys.readouterr()
        return Done(int(stop.value.code or 0), caught.out, caught.err)

    return run


def shop_frame() -> pd.DataFrame:
    """Sales: whether one is returned depends on its price and city, with noise; 12 targets are missing."""
    r = np.random.default_rng(0)
    n = 360  # enough that rows are held out instead of cross-fitted, which takes six fits
    frame = pd.DataFrame(
        {
            "order_id": np.arange(1, n + 1),
            "price": r.uniform(1, 100, n).round(2),
            "city": r.choice(["Oslo", "Rome", "Zürich"], n),
            "member": r.choice(["yes", "no"], n),
            "sold": pd.Timestamp("2024-01-01") + pd.to_timedelta(r.integers(0, 300, n), unit="D"),
            "shop": "main",
        }
    )
    returned = ((frame.price > 60) & (frame.city != "Oslo")) ^ (r.random(n) < 0.05)
    frame["returned"] = np.where(returned, "back", "kept")
    frame.loc[::30, "returned"] = None
    frame.loc[5::20, "price"] = np.nan
    frame["sold"] = frame["sold"].dt.strftime("%Y-%m-%d")
    return frame


@pytest.fixture(scope="session")
def shop() -> pd.DataFrame:
    return shop_frame()


@pytest.fixture
def shop_csv(tmp_path: Path, shop: pd.DataFrame) -> Path:
    path = tmp_path / "shop.csv"
    shop.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, shop: pd.DataFrame) -> Path:
    """A classifier, fitted by the command; tests do not write to it."""
    folder = tmp_path_factory.mktemp("fitted")
    shop.to_csv(folder / "shop.csv", index=False)
    words = [
        "fit",
        str(folder / "shop.csv"),
        "--target",
        "returned",
        "--out",
        str(folder / "model"),
        "--holdout",
        "0.1",
        *QUICK,
    ]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    return folder / "model"


@pytest.fixture(scope="session")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regression model, with its table ``numbers.csv`` beside it."""
    folder = tmp_path_factory.mktemp("regression")
    r = np.random.default_rng(1)
    frame = pd.DataFrame({"a": r.uniform(0, 10, 200), "b": r.uniform(0, 1, 200)})
    frame["y"] = np.where(frame.a > 5, 3.0, -1.0) + r.normal(0, 0.3, 200)
    frame.to_csv(folder / "numbers.csv", index=False)
    words = ["fit", str(folder / "numbers.csv"), "--target", "y", "--out", str(folder / "model"), *QUICK]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    return folder / "model"
