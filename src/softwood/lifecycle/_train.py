"""The training loop: seeds, stopping, checkpoints, resume, progress, time limit. The learner supplies the step."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from softwood.core import capability, check_number, check_replaceable
from softwood.lifecycle._checkpoint import read_checkpoint, write_checkpoint
from softwood.lifecycle._progress import Reporter, TrainProgress, reporter


@dataclass
class TrainState:
    """What a learner's ``step`` is told.

    Args:
        step: this step, from 0.
        total: steps planned.
        generator: source of all randomness of the training; saved and restored with checkpoints.

    Example:
        >>> TrainState(step=5, total=11, generator=torch.Generator()).progress
        0.5
    """

    step: int
    total: int
    generator: torch.Generator

    @property
    def progress(self) -> float:
        """Share of the way: 0 at the first step, 1 at the last."""
        return self.step / max(1, self.total - 1)


class Learner(Protocol):
    """What ``train`` trains.

    Example:
        >>> class Countdown:
        ...     left = 3.0
        ...     def step(self, state): self.left -= 1; return self.left
        ...     def state_dict(self): return {"left": self.left}
        ...     def load_state_dict(self, state): self.left = state["left"]
        >>> train(Countdown(), steps=2).history
        (2.0, 1.0)
    """

    def step(self, state: TrainState) -> float | torch.Tensor:
        """Train one step and return the metric of the state that it leaves; a scalar, lower is better."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later steps depend on, as ``flatten_state`` takes it."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take it back."""


@dataclass(frozen=True)
class TrainResult:
    """How a training went.

    Args:
        steps: steps done, over all resumes.
        stopped: ``"completed"``, ``"patience"``, ``"time_limit"`` or ``"interrupted"``.
        seconds: time spent, over all resumes.
        history: the metric of each step.
        best_step: step of the best metric, from 0; None if none was better than infinity.

    Example:
        >>> TrainResult(2, "completed", 0.1, (0.5, 0.4), 1).stopped
        'completed'
    """

    steps: int
    stopped: str
    seconds: float
    history: tuple[float, ...]
    best_step: int | None


@dataclass
class _Run:
    """Everything that changes while the loop runs."""

    best_state: dict[str, Any]
    history: list[float] = field(default_factory=list)
    best_step: int | None = None
    seconds: float = 0.0

    @property
    def best(self) -> float:
        return math.inf if self.best_step is None else self.history[self.best_step]

    @property
    def stale(self) -> int:
        """Steps since the last better one."""
        return len(self.history) - (0 if self.best_step is None else self.best_step + 1)


@capability("verb", cost="the learner's steps; a copy of its state for each improvement and for each checkpoint")
def train(
    learner: Learner,
    *,
    steps: int,
    random_state: int | torch.Generator = 0,
    time_limit: float | None = None,
    patience: int | None = None,
    min_improvement: float = 0.0,
    checkpoint: str | Path | None = None,
    checkpoint_every: float = 30.0,
    progress: Reporter | bool | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> TrainResult:
    """Run a learner's steps, reproducibly, until they are done or there is a reason to stop.

    A step is *better* if its metric is below that of the last better step by more than ``min_improvement``; NaN
    never is. **Which state remains:** a run without ``patience`` that completes its steps leaves the learner in
    its last state (an annealed model ends cold). Every other run (``patience`` given, time limit, Ctrl-C) leaves
    it in the state after the last better step, or as it began if no step was better.

    Randomness: ``state.generator``, and torch's global CPU generator for learners with dropout and the like, are
    seeded from ``random_state``; the global one is put back at the end.

    Checkpoints hold the learner's state, both generators, the history and the best state, as JSON + safetensors
    (never pickled), written whole or not at all. If ``checkpoint`` exists, the run goes on from there and gives,
    bit for bit, what a run that was never stopped gives. One is written every ``checkpoint_every`` seconds and at
    the end; after Ctrl-C or an error in a step, which may leave a step half done, the last one written counts.

    Args:
        learner: see ``Learner``.
        steps: steps of the whole training, >= 1.
        random_state: seed, or a generator from which one is drawn.
        time_limit: seconds for this call, > 0; the step that runs when they are over is finished, and
            the first step is always taken.
        patience: stop after so many steps in a row that were not better, >= 1.
        min_improvement: see above, >= 0, in units of the metric.
        checkpoint: directory.
        checkpoint_every: seconds, >= 0; at 0 after every step.
        progress: True for a bar on stderr, or a function that gets a ``TrainProgress`` after every step.
        clock: seconds that never go back.

    Raises:
        InputError: a parameter is out of range, the checkpoint is of other settings (learner, steps, seed,
            patience, min_improvement), or the place is taken by something else.
        DamagedFileError: the checkpoint is damaged.

    Example:
        See ``Learner``.
    """
    total = check_number("steps", steps, low=1, integer=True)
    limit = math.inf if time_limit is None else check_number("time_limit", time_limit, low=1e-9)
    patience = None if patience is None else check_number("patience", patience, low=1, integer=True)
    min_improvement = check_number("min_improvement", min_improvement, low=0)
    every = check_number("checkpoint_every", checkpoint_every, low=0)
    seed = _seed(random_state)
    place = None if checkpoint is None else Path(checkpoint)
    settings = {"steps": total, "seed": seed, "patience": patience, "min_improvement": min_improvement}
    settings["learner"] = f"{type(learner).__module__}.{type(learner).__qualname__}"
    if place is not None:
        check_replaceable(place)

    with torch.random.fork_rng(devices=[]), reporter(progress) as report:
        generator = torch.Generator().manual_seed(seed)
        torch.default_generator.manual_seed(seed)
        run = _Run(best_state=copy.deepcopy(learner.state_dict()))
        if place is not None:
            _resume(place, settings, learner, generator, run)
        begun, before = clock(), run.seconds
        saved = begun
        stopped = None
        try:
            while (stopped := _reason(run, total, patience, clock() - begun >= limit)) is None:
                metric = _number(learner.step(TrainState(len(run.history), total, generator)))
                _record(run, metric, min_improvement, learner)
                now = clock()
                run.seconds = before + now - begun
                if place is not None and now - saved >= every:
                    saved = now
                    _save(place, settings, learner, generator, run)
                report(TrainProgress(len(run.history), total, metric, run.best, run.seconds))
            if place is not None:
                _save(place, settings, learner, generator, run)
        except KeyboardInterrupt:
            stopped = "interrupted"
        if patience is not None or stopped != "completed":
            learner.load_state_dict(copy.deepcopy(run.best_state))
    return TrainResult(len(run.history), stopped, run.seconds, tuple(run.history), run.best_step)


def _seed(random_state: int | torch.Generator) -> int:
    if isinstance(random_state, torch.Generator):
        return int(torch.randint(2**62, (), generator=random_state, device=random_state.device))
    return int(check_number("random_state", random_state, low=0, high=2**63 - 1, integer=True))


def _number(metric: float | torch.Tensor) -> float:
    return float(metric.detach() if isinstance(metric, torch.Tensor) else metric)


def _reason(run: _Run, total: int, patience: int | None, out_of_time: bool) -> str | None:
    """Say why the run is over; None while it is not."""
    if len(run.history) >= total:
        return "completed"
    if patience is not None and run.stale >= patience:
        return "patience"
    return "time_limit" if out_of_time and run.history else None


def _record(run: _Run, metric: float, min_improvement: float, learner: Learner) -> None:
    is_better = metric < run.best - min_improvement
    state = copy.deepcopy(learner.state_dict()) if is_better else run.best_state
    run.history.append(metric)
    if is_better:
        run.best_step, run.best_state = len(run.history) - 1, state


def _save(place: Path, settings: dict[str, Any], learner: Learner, generator: torch.Generator, run: _Run) -> None:
    content = {
        "learner": learner.state_dict(),
        "best": run.best_state,
        "best_step": run.best_step,
        "history": torch.tensor(run.history, dtype=torch.float64),
        "seconds": run.seconds,
        "generator": generator.get_state(),
        "global_generator": torch.default_generator.get_state(),
    }
    write_checkpoint(place, settings, content)


def _resume(place: Path, settings: dict[str, Any], learner: Learner, generator: torch.Generator, run: _Run) -> None:
    content = read_checkpoint(place, settings)
    if content is None:
        return
    learner.load_state_dict(content["learner"])
    generator.set_state(content["generator"])
    torch.default_generator.set_state(content["global_generator"])
    run.history = content["history"].tolist()
    run.best_step, run.best_state, run.seconds = content["best_step"], content["best"], content["seconds"]
