import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from softwood.core import DamagedFileError, InputError
from softwood.lifecycle import train


class Regression:
    """A small network with Adam, dropout from the global generator, and batches from the loop's generator."""

    def __init__(self, stop_at=None, how=RuntimeError):
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))
        for parameter in self.model.parameters():
            nn.init.constant_(parameter, 0.1)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=0.05)
        self.stop_at, self.how, self.taken = stop_at, how, 0

    def step(self, state):
        x = torch.randn(16, 3, generator=state.generator)
        loss = (self.model(x) - x.sum(1, keepdim=True)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        if state.step == self.stop_at:  # half a step is done
            with torch.no_grad():
                self.model[0].weight += 1
            raise self.how
        self.optimiser.step()
        self.taken += 1
        return loss

    def state_dict(self):
        return {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])

    @property
    def weights(self):
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])


def outcome(learner, result):
    return learner.weights.tolist(), result.history, result.best_step, result.steps, result.stopped


@pytest.fixture
def through():
    learner = Regression()
    return outcome(learner, train(learner, steps=12, random_state=4))


@pytest.mark.parametrize("stop_at", [1, 5, 11])
@pytest.mark.parametrize("every", [0, 3.0])
def test_a_run_that_fails_and_resumes_is_bit_for_bit_one_that_ran_through(tmp_path, through, stop_at, every):
    times = iter(range(1000))  # seconds, one for each reading

    def run(learner):
        return train(
            learner, steps=12, random_state=4, checkpoint=tmp_path / "c", checkpoint_every=every, clock=times.__next__
        )

    with pytest.raises(RuntimeError):
        run(Regression(stop_at))
    resumed = Regression()
    assert outcome(resumed, run(resumed)) == through
    if every == 0:
        assert resumed.taken == 12 - stop_at  # it did go on from there


def test_the_best_state_survives_a_stop(tmp_path):
    def run(learner, **options):
        return outcome(learner, train(learner, steps=30, random_state=4, patience=4, **options))

    expected = run(Regression())
    assert expected[-1] == "patience"  # and so the best state is another one than the last
    with pytest.raises(RuntimeError):
        run(Regression(expected[3] - 1), checkpoint=tmp_path / "c", checkpoint_every=0)
    assert run(Regression(), checkpoint=tmp_path / "c") == expected


def test_ctrl_c_can_be_resumed_and_a_time_limit_too(tmp_path, through):
    place = {"checkpoint": tmp_path / "c", "checkpoint_every": 0, "steps": 12, "random_state": 4}
    assert train(Regression(4, KeyboardInterrupt), **place).stopped == "interrupted"
    times = iter(range(1000))
    limited = train(Regression(), **place, time_limit=5, clock=times.__next__)
    assert limited.stopped == "time_limit"
    assert 4 < limited.steps < 12
    last = Regression()
    assert outcome(last, train(last, **place)) == through


def test_a_finished_run_comes_back_without_another_step(tmp_path, through):
    for taken in (12, 0):
        learner = Regression()
        result = train(learner, steps=12, random_state=4, checkpoint=tmp_path / "c")
        assert outcome(learner, result) == through
        assert learner.taken == taken


def test_the_time_of_all_resumes_is_added(tmp_path):
    place = {"checkpoint": tmp_path / "c", "checkpoint_every": 0, "steps": 6}
    times = iter(range(1000))
    with pytest.raises(RuntimeError):
        train(Regression(3), **place, clock=times.__next__)  # 2 readings a step: 6 seconds for 3 steps
    assert train(Regression(), **place, clock=times.__next__).seconds == 12


def test_a_checkpoint_is_written_as_often_as_asked(tmp_path, monkeypatch):
    from softwood.lifecycle import _train as implementation

    written = []
    monkeypatch.setattr(implementation, "_save", lambda *arguments: written.append(len(arguments[-1].history)))
    times = iter(range(1000))
    train(Regression(), steps=10, checkpoint=tmp_path / "c", checkpoint_every=5, clock=times.__next__)
    assert written == [3, 6, 9, 10]  # 2 seconds a step, and one more at the end


@pytest.mark.parametrize(
    "change",
    [{"steps": 13}, {"random_state": 5}, {"patience": 3}, {"min_improvement": 0.5}],
    ids=lambda c: next(iter(c)),
)
def test_a_checkpoint_of_other_settings_is_refused_and_kept(tmp_path, change):
    place = {"steps": 12, "random_state": 4, "checkpoint": tmp_path / "c"}
    train(Regression(), **place)
    before = (tmp_path / "c" / "artifact.json").read_bytes()
    name = {"random_state": "seed"}.get(next(iter(change)), next(iter(change)))
    with pytest.raises(InputError, match=f"other settings: got {name}=.*; allowed: {name}="):
        train(Regression(), **{**place, **change})
    assert (tmp_path / "c" / "artifact.json").read_bytes() == before


def test_a_checkpoint_of_another_learner_is_refused(tmp_path):
    train(Regression(), steps=2, checkpoint=tmp_path / "c")
    with pytest.raises(InputError, match=r"got learner='.*Regression'; allowed: learner='.*Other'"):
        train(type("Other", (Regression,), {})(), steps=2, checkpoint=tmp_path / "c")


def test_a_damaged_checkpoint_is_refused_with_the_way_out(tmp_path):
    train(Regression(), steps=2, checkpoint=tmp_path / "c")
    path = tmp_path / "c" / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"truncated or altered.*delete the checkpoint"):
        train(Regression(), steps=2, checkpoint=tmp_path / "c")


def test_a_folder_of_other_files_is_refused_before_the_first_step(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    learner = Regression()
    with pytest.raises(InputError, match="would replace files"):
        train(learner, steps=2, checkpoint=tmp_path)
    assert learner.taken == 0


def test_nothing_is_written_unless_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(Regression(), steps=2)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_killed_resumes_bit_for_bit(tmp_path, through):
    code = f"""
        import importlib.util, os, signal, sys
        spec = importlib.util.spec_from_file_location("killed", {str(__file__)!r})
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

        class Killed(module.Regression):
            def step(self, state):
                if state.step == 7:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().step(state)

        Killed.__module__, Killed.__qualname__ = {Regression.__module__!r}, "Regression"
        module.torch.set_num_threads(1)
        module.train(Killed(), steps=12, random_state=4, checkpoint={str(tmp_path / "c")!r}, checkpoint_every=0)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, timeout=300
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    resumed = Regression()
    assert outcome(resumed, train(resumed, steps=12, random_state=4, checkpoint=tmp_path / "c")) == through
    assert resumed.taken == 5
