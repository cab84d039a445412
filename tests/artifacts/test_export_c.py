"""The C file, compiled and run by hand: nothing of the exporter's own checking is used here."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
import subprocess

import numpy as np
import pytest

from softwood.artifacts import Column, HardEnsemble, export, probes
from softwood.artifacts import _export_c as exporter
from softwood.artifacts._export_c import write_c
from softwood.core import UnsupportedError

CC = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
pytestmark = pytest.mark.skipif(CC is None, reason="there is no C compiler")
FORMS = pytest.mark.parametrize("deepest", [16, -1], ids=["nested ifs", "tables"])


def _compile(text, folder, *flags, standard="c99"):
    (folder / "model.c").write_text(text, encoding="ascii")
    command = [CC, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Wno-overlength-strings", "-Werror", *flags]
    done = subprocess.run(
        [*command, str(folder / "model.c"), "-o", str(folder / "model"), "-lm"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder / "model"


def _run(program, content):
    done = subprocess.run([str(program)], input=content, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def _csv(model, table):
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(table.columns)
    for row in [[r[c.name] for c in model.columns] for r in _dicts(model, table)]:
        writer.writerow(["" if v is None or v != v else repr(v) if isinstance(v, float) else v for v in row])
    return text.getvalue().encode()


def _dicts(model, table):
    return [
        {c.name: float(table[c.name].iloc[i]) if c.kind == "number" else table[c.name].iloc[i] for c in model.columns}
        for i in range(len(table))
    ]


def _small():
    columns = (Column("age", "number"), Column("member", "boolean"), Column("city", "category", ("Bonn", "1", "Ulm")))
    return HardEnsemble(
        columns=columns, outputs=("p",), link="probability", classes=("no", "yes"), feature=[1, 0, -1, -1, 2, -1, -1],
        threshold=[0.5, 30.1, *[np.nan] * 5], missing_left=[True, False, False, False, True, False, False],
        left=[1, 2, 0, 0, 5, 0, 0], right=[4, 3, 0, 0, 6, 0, 0], level_set=[-1, -1, -1, -1, 0, -1, -1],
        levels_left=[[True, False, True]], leaf=[-1, -1, 0, 1, -1, 2, 3], values=[[0.1], [0.9], [0.25], [0.75]],
        counts=[10, 20, 30, 40.5], roots=[0], base=[0.0],
    )  # fmt: skip


@FORMS
@pytest.mark.parametrize("number", range(9))
def test_it_gives_the_answers_of_the_definition(lab, tmp_path, monkeypatch, deepest, number):
    monkeypatch.setattr(exporter, "_DEEPEST", deepest)
    for seed, trees, depth in ((1, 1, 0), (2, 1, 5), (3, 5, 3)):
        rng = np.random.default_rng([number, seed])
        model = lab.model(rng, lab.cases[number], trees=trees, depth=depth)
        text = write_c(model)
        assert ("walk(" in text) == (deepest < 0)
        for table in (lab.rows(rng, model, 60), probes(model, limit=200)):
            code, out, err = _run(_compile(text, tmp_path, "-DSOFTWOOD_MAIN"), _csv(model, table))
            assert (code, err) == (0, "")
            found = list(csv.reader(io.StringIO(out, newline="")))[1:]
            totals = [lab.walk(model, row) for row in lab.as_dicts(model, table)]
            scores = [row[1:] if model.classes else row for row in found]
            np.testing.assert_allclose(
                np.array(scores, float), [lab.link(model, t) for t in totals], rtol=0, atol=1e-14
            )
            if model.classes:
                assert [row[0] for row in found] == [str(lab.label(model, total)) for total in totals]


def test_a_small_tree_reads_like_its_rules():
    text = write_c(_small())
    body = text[text.index("static const double *tree_0") : text.index("static const double *(*const")].rstrip()
    assert body.splitlines() == [
        "static const double *tree_0(const struct softwood_row *row)",
        "{",
        "    if (!(row->col_member > 0.5)) {",
        "        if (row->col_age <= 0x1.e19999999999ap+4 /* 30.1 */) {",
        "            return values[0]; /* 0.1; n = 10 */",
        "        } else {",
        "            return values[1]; /* 0.9; n = 20 */",
        "        }",
        "    } else {",
        "        if (!listed(row->col_city, set_0, 1)) {",
        "            return values[2]; /* 0.25; n = 30 */",
        "        } else {",
        "            return values[3]; /* 0.75; n = 40.5 */",
        "        }",
        "    }",
        "}",
    ]


CALLER = """
#include <stdio.h>
int main(void)
{
    struct softwood_row rows[] = {{30.1, NAN, "Ulm"}, {NAN, 0, NULL}, {1, 1, "Ulm"}, {1, 1, "1"}, {1, 1, ""}};
    double p[SOFTWOOD_CLASSES];
    for (int i = 0; i < 5; i++) {
        softwood_predict_proba(&rows[i], p);
        printf("%s %.17g %.17g\\n", softwood_classes[softwood_predict(&rows[i])], p[0], p[1]);
    }
    return 0;
}
"""


@FORMS
@pytest.mark.parametrize("standard", ["c99", "c11", "gnu17"])
def test_the_functions_can_be_called(tmp_path, monkeypatch, deepest, standard):
    monkeypatch.setattr(exporter, "_DEEPEST", deepest)
    code, out, _ = _run(_compile(write_c(_small()) + CALLER, tmp_path, "-O2", standard=standard), b"")
    assert code == 0
    probabilities = [float(line.split()[2]) for line in out.splitlines()]
    assert [line.split()[0] for line in out.splitlines()] == ["no", "yes", "no", "yes", "no"]
    assert probabilities == [0.1, 0.9, 0.25, 0.75, 0.25]


@FORMS
def test_any_text_survives(lab, tmp_path, monkeypatch, deepest):
    monkeypatch.setattr(exporter, "_DEEPEST", deepest)
    texts = [
        "??/",
        "??=",
        "a\\",
        "*/ int x; /*",
        "//",
        "\x7f\x01",
        "é1",
        "\u202e‮x",
        '"',
        "%d%n",
        "\r\n",
        "9",
        "int",
        "NAN",
    ]
    columns = (*(Column(t, "category", (*texts, t + "?")) for t in texts), Column("?", "number"))
    rng = np.random.default_rng(3)
    model = dataclasses.replace(lab.model(rng, "softmax", trees=8, depth=4, columns=columns), classes=tuple(texts[:4]))
    text = write_c(model)
    assert text.isascii()
    table = probes(model, limit=3000)
    code, out, err = _run(_compile(text, tmp_path, "-DSOFTWOOD_MAIN"), _csv(model, table))
    assert (code, err) == (0, "")
    found = list(csv.reader(io.StringIO(out, newline="")))
    assert found[0] == ["label", *(f"probability of {label}" for label in texts[:4])]
    assert [row[0] for row in found[1:]] == model.predict(table).tolist()
    np.testing.assert_allclose(
        np.array([row[1:] for row in found[1:]], float), model.predict_proba(table), rtol=0, atol=1e-14
    )


def test_names_that_come_out_alike_are_told_apart(tmp_path, lab):
    columns = tuple(
        Column(name, "number") for name in ("a b", "a-b", "a_b", "A b", "名", "前", "x" * 90, "x" * 91, "a b 2")
    )
    model = lab.model(np.random.default_rng(0), trees=30, depth=5, columns=columns)
    names = list(exporter._inputs(model).values())
    assert len(set(names)) == len(names) == 9
    assert max(map(len, names)) < 60
    assert export(model, tmp_path / "model.c", "c").verified


@FORMS
def test_a_set_shared_by_two_columns(tmp_path, monkeypatch, deepest):
    monkeypatch.setattr(exporter, "_DEEPEST", deepest)
    columns = (Column("a", "category", ("x", "b")), Column("b", "category", ("b", "x")))
    model = HardEnsemble(
        columns=columns, outputs=("y",), link="identity", classes=None, feature=[0, 1, 1, -1, -1, -1, -1],
        threshold=[np.nan] * 7, missing_left=[False] * 7, left=[1, 3, 5, 0, 0, 0, 0], right=[2, 4, 6, 0, 0, 0, 0],
        level_set=[0, 0, 0, -1, -1, -1, -1], levels_left=[[True, False]], leaf=[-1, -1, -1, 0, 1, 2, 3],
        values=[[0.0], [1.0], [2.0], [3.0]], counts=[0] * 4, roots=[0], base=[0.0],
    )  # fmt: skip
    assert export(model, tmp_path / "model.c", "c").rows > 10


def test_cells_mean_what_they_mean_to_the_model(tmp_path):
    model = _small()
    program = _compile(write_c(model), tmp_path, "-DSOFTWOOD_MAIN")
    ages = ["30.1", " 30.100000000000001 ", "301e-1", "30", "31", "", "NA", "nan", "n/a", "-", ".", "+1", "1E2"]
    members = ["yes", "No", "TRUE", "f", "1", "0.0", "", "null", "?"]
    cities = ["Bonn", "Ulm", "1", "", "ulm", " Ulm", "1.0", "NA", 'U"lm']
    rows = [(a, m, c) for a in ages for m in members for c in cities]
    lines = ["\ufeffcity,other,age,member", *(f'"{c.replace(chr(34), chr(34) * 2)}",,{a},{m}' for a, m, c in rows)]
    code, out, err = _run(program, "\r\n\r\n".join(lines).encode())
    assert (code, err) == (0, "")
    expected = np.vstack([model.predict_proba([row]) for row in rows])
    found = [line.split(",")[1:] for line in out.splitlines()[1:]]
    np.testing.assert_array_equal(np.array(found, float), expected)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("city,age,member\nUlm,1\n", "line 2: a row has another number of cells"),
        ("city,age,member\n\nUlm,old,0\n", "line 3: a cell holds no finite number: old"),
        ("city,age,member\nUlm,0x10,0\n", "no finite number"),
        ("city,age,member\nUlm,inf,0\n", "no finite number"),
        ("city,age,member\nUlm,1e999,0\n", "no finite number"),
        ("city,age,member\nUlm,1_000,0\n", "no finite number"),
        ("city,age,member\nUlm,1 2,0\n", "no finite number"),
        ("city,age,member\nUlm,1,2\n", "neither true nor false"),
        ('city,age,member\n"a\nb",1,2\n', "line 3: a cell holds neither true nor false"),
        ('city,age,member\n"Ulm,1,2\n', "a quoted cell does not end"),
        ("city,age,member\nU\0lm,1,1\n", "NUL byte"),
        ("city,age\nUlm,1\n", "a column is not there: member"),
        ("city,age,member,age\nUlm,1,1,2\n", "a column is there twice: age"),
        ("", "a column is not there"),
    ],
)
def test_a_table_that_cannot_be_read_ends_with_code_2(tmp_path, table, message):
    program = _compile(write_c(_small()), tmp_path, "-DSOFTWOOD_MAIN", "-fsanitize=address,undefined")
    code, _, err = _run(program, table.encode())
    assert code == 2
    assert message in err


def test_arithmetic_without_missing_values_is_refused(tmp_path):
    (tmp_path / "model.c").write_text(write_c(_small()))
    done = subprocess.run([CC, "-c", "-ffast-math", str(tmp_path / "model.c"), "-o", str(tmp_path / "m.o")],
                          capture_output=True, check=False)  # fmt: skip
    assert b"compile without -ffast-math" in done.stderr


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_c_cannot_carry_is_refused(tmp_path, text):
    model = HardEnsemble.single_leaf([Column("x", "category", (text,))], np.zeros(1), outputs=["y"])
    with pytest.raises(UnsupportedError, match="cannot carry"):
        export(model, tmp_path / "model.c", "c")


def test_without_a_compiler_the_file_is_marked_unverified(tmp_path, monkeypatch):
    monkeypatch.setattr(exporter.shutil, "which", lambda name: None)
    report = export(_small(), tmp_path / "model.c", "c")
    assert not report.verified
    assert "UNVERIFIED (there is no C compiler here" in str(report)
    assert (tmp_path / "model.c").exists()
