"""The program as a whole: start-up, help, exit codes, errors, pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from softwood import __version__
from softwood.cli import main

PROGRAM = [sys.executable, "-c", "from softwood.cli import main; main()"]
COMMANDS = ["fit", "predict", "score", "certify", "show", "export", "doctor", "demo"]


def test_version_and_help(softwood):
    assert softwood("--version").out == f"softwood {__version__}\n"
    done = softwood()
    assert done.code == 0
    assert done.out == softwood("--help").out
    assert [name for name in COMMANDS if f"  {name} " in done.out] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(softwood, command):
    done = softwood(command, "--help")
    assert done.code == 0
    assert "--json" in done.out


def test_help_brings_no_heavy_library():
    code = """
import sys
from softwood.cli import main
try:
    main(["fit", "--help"])
except SystemExit:
    heavy = {"torch", "numba", "sklearn", "pandas", "scipy", "onnx"} & set(sys.modules)
    sys.stderr.write(f"{sorted(heavy)}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[]"
    assert "--target" in done.stdout


def test_idle_threads_do_not_spin():
    code = "import softwood.cli, os; print(os.environ['OMP_WAIT_POLICY'])"
    bare = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for environment, expected in ((bare, "PASSIVE"), ({**bare, "OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.strip() == expected


@pytest.mark.parametrize("words", [["frob"], ["fit", "--frob"], ["predict"], ["score", "a", "b", "c"]])
def test_bad_usage_is_one_line_and_exit_code_2(softwood, words):
    done = softwood(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "softwood COMMAND --help" in done.err
    assert "message" in softwood(*words, "--json").json["error"]


def test_a_fault_of_ours_is_one_line_unless_the_traceback_is_wanted(softwood, monkeypatch):
    def fault(*_words):
        raise ZeroDivisionError("a slip")

    monkeypatch.setattr("softwood.cli._use.load_model", fault)
    done = softwood("show", "m", "--json")
    assert done.code == 1
    assert "a fault of Softwood" in done.err
    assert "Traceback" not in done.err
    assert done.json["error"]["kind"] == "ZeroDivisionError"
    monkeypatch.setenv("SOFTWOOD_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["show", "m"])


def test_a_place_that_cannot_be_written_is_bad_input(softwood, model, tmp_path):
    (tmp_path / "file").write_text("")
    done = softwood("predict", model, model.parent / "shop.csv", "--out", tmp_path / "file" / "answers.csv")
    assert done.code == 2
    assert str(tmp_path / "file") in done.err
    assert "Traceback" not in done.err


def test_a_reader_that_has_seen_enough_is_no_error(model, shop, tmp_path):
    big = tmp_path / "big.csv"
    shop.sample(30_000, replace=True, random_state=0).to_csv(big, index=False)
    with subprocess.Popen(
        [*PROGRAM, "predict", str(model), str(big), "--proba"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith(b"label")
        running.stdout.close()
        said = running.stderr.read().decode()
    assert (running.returncode, said) == (0, "")


@pytest.mark.slow
def test_json_is_ascii_and_csv_is_utf_8_whatever_the_terminal(shop, tmp_path):
    table = tmp_path / "t.csv"
    shop.rename(columns={"returned": "zurück"}).replace({"back": "[red]é"}).to_csv(table, index=False)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    def call(*words):
        done = subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    fitted = ("fit", table, "--target", "zurück", "--effort", "0.05", "--max-depth", "2", "--out", tmp_path / "m")
    assert b"[red]\\xe9" in call(*fitted)  # shown as well as this terminal can, and not taken for markup
    assert json.loads(call("score", tmp_path / "m", table, "--json").decode("ascii"))["rows"] == 348
    assert "[red]é" in call("predict", tmp_path / "m", table).decode("utf-8").splitlines()
