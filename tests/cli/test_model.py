"""Model directories and tables that are read for them."""

from __future__ import annotations

import shutil

import pytest

from softwood.artifacts import Column, HardEnsemble
from softwood.cli._model import is_training_table, load_model, read_like_training
from softwood.core import DamagedFileError


def test_a_model_knows_its_record_and_its_name(model, monkeypatch):
    monkeypatch.chdir(model)
    loaded = load_model(type(model)("."))
    assert loaded.name == "model"
    assert loaded.targets(None) == ("returned",)
    assert loaded.targets(["other"]) == ("other",)


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_damaged_record_is_refused(model, tmp_path, content):
    shutil.copytree(model, tmp_path / "m")
    (tmp_path / "m" / "record.json").write_text(content)
    with pytest.raises(DamagedFileError, match=r"record\.json"):
        load_model(tmp_path / "m")


def test_levels_and_classes_stay_text(tmp_path):
    ensemble = HardEnsemble.single_leaf(
        [Column("size", "category", ("1.0", "2.0"))], [0.5], outputs=["P(2.0)"], link="probability",
        classes=("1.0", "2.0"),
    )  # fmt: skip
    ensemble.save(tmp_path / "m")
    (tmp_path / "t.csv").write_text("size,y,other\n1.0,2.0,1.0\n2.0,1.0,2.0\n")
    frame = read_like_training(load_model(tmp_path / "m"), str(tmp_path / "t.csv"), targets=["y"]).frame
    assert frame["size"].tolist() == ["1.0", "2.0"]
    assert frame["y"].tolist() == ["2.0", "1.0"]
    assert frame["other"].tolist() == [1.0, 2.0]


def test_the_training_table_is_recognised(model, shop, tmp_path):
    loaded = load_model(model)
    assert is_training_table(loaded, str(model.parent / "shop.csv"))
    shop[:-1].to_csv(tmp_path / "other.csv", index=False)
    assert not is_training_table(loaded, str(tmp_path / "other.csv"))
    assert not is_training_table(loaded, "-")
