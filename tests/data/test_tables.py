"""Whole tables: the folder of real ones where it is, scikit-learn's and a made one everywhere."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from softwood.artifacts._columns import encode_table
from softwood.data import describe, read_table, read_target

# table: target, task, number of classes, raw columns
TABLES = {
    "ames": ("Sale_Price", "regression", 0, 73),
    "attrition": ("Attrition", "classification", 2, 30),
    "car_prices": ("Price", "regression", 0, 17),
    "cells": ("class", "classification", 2, 57),
    "concrete": ("compressive_strength", "regression", 0, 8),
    "credit_data": ("Status", "classification", 2, 13),
    "diamonds": ("price", "regression", 0, 9),
    "dna": ("Class", "classification", 3, 180),
    "gssvocab": ("vocab", "regression", 0, 7),
    "housevotes84": ("Class", "classification", 2, 16),
    "hpc_data": ("class", "classification", 4, 7),
    "lending_club": ("Class", "classification", 2, 22),
    "letterrecognition": ("lettr", "classification", 26, 16),
    "mlc_churn": ("churn", "classification", 2, 19),
    "sacramento": ("price", "regression", 0, 8),
    "satellite": ("classes", "classification", 6, 36),
    "shuttle": ("Class", "classification", 7, 9),
    "soybean": ("Class", "classification", 19, 35),
    "stackoverflow": ("Remote", "classification", 2, 20),
    "titanicsurvival": ("survived", "classification", 2, 3),
    "vowel": ("Class", "classification", 11, 10),
    "wa_churn": ("churn", "classification", 2, 19),
}
HERE = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("SOFTWOOD_DATA", HERE.parent / "shared" / "data")) / "tables"


def check(path, target, task, classes, columns):
    table = read_table(path)
    answer, described = read_target(table.frame[target]), describe(table.frame, target)
    assert (answer.kind, len(answer.classes)) == (task, classes)
    assert len(described.columns) == columns
    assert described.leaks == ()
    encoded = encode_table(described.columns, table.frame)
    assert encoded.shape == (len(table.frame), columns)
    assert not np.isinf(encoded).any()
    # every missing cell is NaN and nothing else is: each level was found, each number read
    cells = pd.DataFrame({column.name: table.frame[column.name] for column in described.columns})
    np.testing.assert_array_equal(np.isnan(encoded), cells.isna().to_numpy())
    return encoded


@pytest.mark.parametrize("name", TABLES)
def test_real_tables(name):
    path = FOLDER / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not here; set SOFTWOOD_DATA to the folder that holds tables/")
    check(path, *TABLES[name])


@pytest.mark.parametrize(
    ("load", "task", "classes"),
    [
        (load_iris, "classification", 3),
        (load_wine, "classification", 3),
        (load_breast_cancer, "classification", 2),
        (load_diabetes, "regression", 0),
    ],
)
def test_tables_of_scikit_learn(tmp_path, load, task, classes):
    data = load(as_frame=True)
    data.frame.to_csv(tmp_path / "t.csv.gz", index=False)
    encoded = check(tmp_path / "t.csv.gz", "target", task, classes, data.data.shape[1])
    np.testing.assert_array_equal(encoded, data.data.to_numpy())


def test_a_messy_table(tmp_path):
    rng, n = np.random.default_rng(0), 400
    grade = rng.choice(["low", "mid", "high"], n)
    amount = rng.lognormal(8, 2, n).round(2)
    lines = ["Nr;Größe;Betrag;Stufe;bezahlt;Datum;Bemerkung;leer;Ziel"]
    for row in range(n):
        shown = f"{amount[row]:,.2f}".translate(str.maketrans(",.", ".,"))
        lines.append(
            f"{row + 1};{'k.A.' if row % 50 == 7 else row % 17};€ {shown if row % 9 else '-'};"
            f"{grade[row] if row % 11 else 'NA'};{'ja' if row % 2 else 'nein'};{1 + row % 28:02d}.03.2024;"
            f'"Ein längerer Satz, Nummer {row}; mit Zeichen";;{"gut" if amount[row] > 3000 else "schlecht"}'
        )
    (tmp_path / "t.txt").write_bytes("\r\n".join(lines).replace("€ -", "-").encode("cp1252"))
    table = read_table(tmp_path / "t.txt")
    described = describe(table.frame, "Ziel")
    assert (table.delimiter, table.encoding, table.decimal) == (";", "cp1252", ",")
    assert [(column.name, column.kind) for column in described.columns] == [
        ("Größe", "category"),
        ("Betrag", "number"),
        ("Stufe", "category"),
        ("bezahlt", "category"),
        ("Datum.day", "number"),
        ("Datum.weekday", "number"),
    ]
    assert [name for name, _ in described.dropped] == ["Nr", "Bemerkung", "leer"]
    assert dict(described.leaks) == {"Betrag": "alone predicts the target in every row"}
    encoded = encode_table(described.columns, table.frame)
    rows = np.arange(n) % 9 > 0
    np.testing.assert_array_equal(encoded[rows, 1], amount[rows])
    assert np.isnan(encoded[~rows, 1]).all()
