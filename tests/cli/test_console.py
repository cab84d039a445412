"""Where text, JSON and progress go."""

from __future__ import annotations

import json

import numpy as np
import pytest

from softwood.cli._console import Output, write_json


def test_text_goes_to_stdout_and_not_beside_json(capsys):
    Output().say("[bold]a[/bold] :bug:")
    assert capsys.readouterr().out == "[bold]a[/bold] :bug:\n"
    console = Output(as_json=True)
    console.say("a")
    console.title("b")
    assert console.finish({"x": np.float64(0.5), "y": np.arange(2)}, 1) == 1
    assert json.loads(capsys.readouterr().out) == {"x": 0.5, "y": [0, 1]}


def test_nan_is_no_json():
    with pytest.raises(ValueError, match="JSON"):
        write_json({"x": float("nan")})


def test_progress_is_silent_unless_wanted_or_on_a_terminal(capsys):
    for progress, expected in ((None, ""), (False, ""), (True, "fit 0 %\nfit 10 %\nsave 0 %\n")):
        with Output(progress=progress).stages() as report:
            for stage, done in (("fit", 0.0), ("fit", 0.05), ("fit", 0.11), ("save", 0.0)):
                report(stage, done)
        caught = capsys.readouterr()
        assert (caught.out, caught.err) == ("", expected)


def test_progress_on_a_terminal_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with Output().stages() as report:
        report("fit", 0.5)
    caught = capsys.readouterr()
    assert caught.out == ""
    assert "fit" in caught.err
