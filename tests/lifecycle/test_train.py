import math

import pytest
import torch
from torch import nn

from softwood.core import InputError
from softwood.lifecycle import TrainState, train


class Script:
    """A learner whose metrics are given; its state is the number of steps that it has taken."""

    def __init__(self, *metrics):
        self.metrics, self.taken = metrics, 0

    def step(self, state):
        metric = self.metrics[state.step]
        if metric == "ctrl-c":
            self.taken = -99  # half a step was done
            raise KeyboardInterrupt
        self.taken += 1
        return metric

    def state_dict(self):
        return {"taken": self.taken}

    def load_state_dict(self, state):
        self.taken = state["taken"]


class Regression:
    """A small network with Adam and both sources of randomness."""

    def __init__(self):
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))
        for parameter in self.model.parameters():
            nn.init.constant_(parameter, 0.1)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=0.05)

    def step(self, state):
        x = torch.randn(16, 3, generator=state.generator)
        loss = (self.model(x) - x.sum(1, keepdim=True)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss

    def state_dict(self):
        return {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])

    @property
    def weights(self):
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])


class Clock:
    """A clock that moves on by a second whenever it is read."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


# ---------------------------------------------------------------- steps and seeds


def test_it_takes_all_steps_and_tells_the_learner_where_it_stands():
    seen = []

    class Watch(Script):
        def step(self, state):
            seen.append((state.step, state.total, state.progress))
            return super().step(state)

    learner = Watch(3.0, 1.0, 2.0)
    result = train(learner, steps=3)
    assert seen == [(0, 3, 0.0), (1, 3, 0.5), (2, 3, 1.0)]
    assert (result.steps, result.stopped, result.history, result.best_step) == (3, "completed", (3.0, 1.0, 2.0), 1)
    assert learner.taken == 3


def test_the_only_step_of_one_is_at_the_beginning():
    assert TrainState(0, 1, torch.Generator()).progress == 0.0


def test_a_seed_settles_everything():
    torch.manual_seed(5)
    learners = [Regression() for _ in range(3)]
    first = train(learners[0], steps=5, random_state=1)
    torch.randn(100)
    second = train(learners[1], steps=5, random_state=1)
    third = train(learners[2], steps=5, random_state=2)
    assert first.history == second.history
    assert torch.equal(learners[0].weights, learners[1].weights)
    assert first.history != third.history


def test_a_generator_is_a_seed_too():
    histories = [train(Regression(), steps=3, random_state=torch.Generator().manual_seed(s)).history for s in (7, 7, 8)]
    assert histories[0] == histories[1] != histories[2]


def test_the_global_generator_is_put_back():
    learner = Regression()
    torch.manual_seed(3)
    expected = torch.randn(4)
    torch.manual_seed(3)
    train(learner, steps=3)
    assert torch.equal(torch.randn(4), expected)


# ---------------------------------------------------------------- stopping, and which state remains


def test_without_patience_a_completed_run_ends_in_its_last_state():
    learner = Script(1.0, 2.0, 3.0)
    train(learner, steps=3)
    assert learner.taken == 3


def test_with_patience_it_stops_and_ends_in_the_best_state():
    learner = Script(3.0, 1.0, 1.0, 2.0, 0.0)
    result = train(learner, steps=5, patience=2)
    assert (result.stopped, result.steps, result.best_step) == ("patience", 4, 1)
    assert learner.taken == 2


def test_with_patience_a_completed_run_ends_in_the_best_state_too():
    learner = Script(3.0, 1.0, 2.0)
    assert train(learner, steps=3, patience=2).stopped == "completed"
    assert learner.taken == 2


def test_an_improvement_has_to_be_large_enough():
    learner = Script(3.0, 2.95, 2.8, 2.75, 2.7)
    result = train(learner, steps=5, patience=9, min_improvement=0.125)
    assert result.best_step == 2  # 2.7 is only 0.1 below 2.8
    assert learner.taken == 3


def test_nan_is_never_better():
    learner = Script(math.nan, 2.0, math.nan, 1.0)
    assert train(learner, steps=4, patience=9).best_step == 3
    lost = Script(math.nan, math.nan)
    result = train(lost, steps=2, patience=9)
    assert result.best_step is None
    assert lost.taken == 0  # as it began


def test_ctrl_c_stops_cleanly_with_the_best_so_far():
    learner = Script(3.0, 1.0, 2.0, "ctrl-c")
    result = train(learner, steps=9)
    assert (result.stopped, result.steps, result.history, result.best_step) == ("interrupted", 3, (3.0, 1.0, 2.0), 1)
    assert learner.taken == 2


def test_ctrl_c_in_the_first_step_leaves_the_learner_as_it_began():
    learner = Script("ctrl-c")
    result = train(learner, steps=9)
    assert (result.stopped, result.steps, result.best_step) == ("interrupted", 0, None)
    assert learner.taken == 0


def test_the_time_limit_ends_the_run_with_the_best_so_far():
    learner = Script(3.0, 1.0, 2.0, 0.0, 0.0)
    # the clock is read once at the start, before each step and after it
    result = train(learner, steps=5, time_limit=6.5, clock=Clock())
    assert (result.stopped, result.steps) == ("time_limit", 3)
    assert learner.taken == 2
    assert result.seconds == 6.0


def test_one_step_is_taken_however_short_the_time():
    learner = Script(3.0, 1.0)
    assert train(learner, steps=2, time_limit=1e-6, clock=Clock()).steps == 1


def test_other_errors_go_through():
    with pytest.raises(IndexError):
        train(Script(1.0), steps=2)


def test_progress_is_reported_after_every_step():
    seen = []
    train(Script(3.0, 1.0, 2.0), steps=3, progress=seen.append, clock=Clock())
    assert [(now.step, now.total, now.metric, now.best) for now in seen] == [
        (1, 3, 3.0, 3.0),
        (2, 3, 1.0, 1.0),
        (3, 3, 2.0, 1.0),
    ]
    assert [now.seconds for now in seen] == [2.0, 4.0, 6.0]


def test_ctrl_c_while_progress_is_shown_loses_no_step():
    def stop(now):
        if now.step == 2:
            raise KeyboardInterrupt

    learner = Script(3.0, 1.0, 0.0)
    result = train(learner, steps=3, progress=stop)
    assert (result.stopped, result.steps, learner.taken) == ("interrupted", 2, 2)


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"steps": 2.5},
        {"random_state": -1},
        {"random_state": None},
        {"time_limit": 0},
        {"patience": 0},
        {"min_improvement": -0.1},
        {"checkpoint_every": -1},
    ],
)
def test_parameters_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        train(Script(1.0), **{"steps": 1, **bad})
