"""From the soft model to the discrete one: an optimisation over roundings, not a bare argmax."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from softwood.core import Budget, InputError, UnsupportedError, capability
from softwood.layers import SoftModule
from softwood.lifecycle._calibrate import as_inputs, measuring

_PLAIN = "plain rounding"


@dataclass(frozen=True)
class HardenStep:
    """One discrete candidate for one soft module.

    Args:
        module: name of the soft module in the model; ``""`` is the model itself.
        name: the candidate, such as ``"plain rounding"``.
        loss: loss of the whole model with it, all other modules at their best so far; None where no data came.
        kept: is this candidate in the model that was returned?

    Example:
        >>> HardenStep("gate", "plain rounding", 0.25, True).kept
        True
    """

    module: str
    name: str
    loss: float | None
    kept: bool


@dataclass(frozen=True, eq=False)
class HardenResult:
    """The discrete model, and how it came about.

    Args:
        model: a deep copy of the soft model in which every soft module is discrete.
        steps: every candidate that was tried, in order.

    Example:
        >>> print(HardenResult(nn.Identity(), (HardenStep("gate", "plain rounding", 0.25, True),)))
        hardened 1 soft module
        * gate: plain rounding, loss 0.25
    """

    model: nn.Module
    steps: tuple[HardenStep, ...]

    def __str__(self) -> str:
        count = len({step.module for step in self.steps})
        lines = [f"hardened {count} soft module{'' if count == 1 else 's'}"]
        for step in self.steps:
            loss = "" if step.loss is None else f", loss {step.loss:.6g}"
            lines.append(f"{'*' if step.kept else ' '} {step.module or 'the model'}: {step.name}{loss}")
        return "\n".join(lines)


@capability("verb", cost="one forward pass for each candidate, and what the candidates themselves cost")
def harden(
    model: nn.Module,
    data: tuple[Any, Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    budget: int | Budget | None = None,
) -> HardenResult:
    """Replace every soft module of a model by the best discrete one that can be found for it.

    All are rounded plainly first. Then each module in turn offers its further candidates (``roundings``: other
    roundings, repairs, re-fits, prunings), evaluated in the whole model with the others at their best so far; a
    candidate is taken if the loss on ``data`` is strictly lower, so the result is never worse there than plain
    rounding. Without ``data`` there is plain rounding only. The model that came is left as it was, and modules
    that are not soft are copied unchanged.

    With a ``budget``, fitting it goes before the loss: among candidates that fit, the best one wins, and one that
    does not fit is taken only on the way to one that does. Discrete modules then have to say how much they use
    with ``size() -> int``, in the unit of their room; the sizes of all modules are added.

    Args:
        model: any network, or a soft module itself. A soft module inside another one is the outer one's matter.
        data: ``(inputs, targets)``; inputs is the model's input or the tuple of its positional inputs.
        loss: ``(output, target)`` -> scalar; evaluated in evaluation mode, without gradients. NaN never wins.
        budget: largest size of what ships.

    Raises:
        InputError: one of ``data`` and ``loss`` came without the other, or nothing that was tried fits ``budget``.
        UnsupportedError: there is a budget and a discrete module cannot say its size.

    Example:
        >>> class Step(SoftModule):
        ...     def margins(self, x): return x
        ...     def forward(self, x): return torch.sigmoid(x / self.temperature)
        ...     def harden(self): return nn.ReLU()
        ...     def roundings(self, x, y, budget): yield "identity", nn.Identity()
        >>> x = torch.tensor([-1.0, 1.0])
        >>> print(harden(nn.Sequential(Step()), (x, x), nn.functional.mse_loss))
        hardened 1 soft module
          0: plain rounding, loss 0.5
        * 0: identity, loss 0
    """
    if (data is None) != (loss is None):
        raise InputError(
            "harden needs data and loss together",
            got=f"data={'None' if data is None else 'given'}, loss={'None' if loss is None else 'given'}",
            allowed="both or neither",
            fix="pass loss=torch.nn.functional.mse_loss or the like, and data=(inputs, targets)",
        )
    search = _Search(copy.deepcopy(model), data, loss, Budget(budget, "units") if isinstance(budget, int) else budget)
    search.round_plainly()
    if data is not None:
        search.improve()
    if search.budget is not None:
        search.budget.check(search.size())
    return HardenResult(search.model, tuple(search.steps()))


class _Search:
    """The model with its best candidates so far in place, and the record of what was tried."""

    def __init__(self, model: nn.Module, data: Any, loss: Any, budget: Budget | None) -> None:
        self.model, self.data, self.loss, self.budget = model, data, loss, budget
        self.soft = list(_outermost(model))
        self.tried: list[list[tuple[str, float | None]]] = []
        self.best: list[int] = []
        self.now: list[nn.Module] = []

    def round_plainly(self) -> None:
        for paths, soft in self.soft:
            hard = soft.harden().train(soft.training)
            self.install(paths, hard)
            self.now.append(hard)
        self.rank = self.measure()
        loss = None if self.data is None else self.rank[1]
        self.tried = [[(_PLAIN, loss)] for _ in self.soft]
        self.best = [0] * len(self.soft)

    def improve(self) -> None:
        for index, (paths, soft) in enumerate(self.soft):
            offer = getattr(soft, "roundings", None)
            reached = self.inputs_of(index) if offer else None
            if offer is None or reached is None:
                continue
            target = self.data[1] if paths == [""] else None
            for name, candidate in offer(reached, target, self.budget):
                self.consider(index, name, candidate.train(soft.training))

    def consider(self, index: int, name: str, candidate: nn.Module) -> None:
        paths, before = self.soft[index][0], self.now[index]
        self.install(paths, candidate)
        self.now[index] = candidate
        rank = self.measure()
        self.tried[index].append((name, rank[1]))
        if rank < self.rank:
            self.rank, self.best[index] = rank, len(self.tried[index]) - 1
        else:
            self.install(paths, before)
            self.now[index] = before

    def install(self, paths: list[str], hard: nn.Module) -> None:
        for path in paths:
            if path == "":
                self.model = hard
                continue
            parent, _, name = path.rpartition(".")
            setattr(self.model.get_submodule(parent), name, hard)

    def measure(self) -> tuple[int, float]:
        """Return (size over budget, loss): smaller is better, the budget first."""
        excess = 0 if self.budget is None else max(0, self.size() - self.budget.limit)
        if self.data is None:
            return excess, math.inf
        with measuring(self.model):
            loss = float(self.loss(self.model(*as_inputs(self.data[0])), self.data[1]))
        return excess, math.inf if math.isnan(loss) else loss

    def size(self) -> int:
        total = 0
        for hard in self.now:
            size = getattr(hard, "size", None)
            if not callable(size):
                raise UnsupportedError(
                    f"harden cannot hold a budget: {type(hard).__name__} does not say its size; to fix: give it a "
                    "method size() -> int, or leave out budget"
                )
            total += int(size())
        return total

    def inputs_of(self, index: int) -> tuple[Any, ...] | None:
        """Return what reaches a module in the discrete model, over all its calls; None if nothing does."""
        calls: list[tuple[Any, ...]] = []
        hook = self.now[index].register_forward_pre_hook(lambda _, args: calls.append(args))
        try:
            with measuring(self.model):
                self.model(*as_inputs(self.data[0]))
        finally:
            hook.remove()
        if len(calls) <= 1:
            return calls[0] if calls else None
        by_argument = zip(*calls, strict=True)
        return tuple(torch.cat(parts) if isinstance(parts[0], Tensor) else parts[0] for parts in by_argument)

    def steps(self) -> Iterator[HardenStep]:
        for (paths, _), tried, best in zip(self.soft, self.tried, self.best, strict=True):
            for position, (name, loss) in enumerate(tried):
                yield HardenStep(paths[0], name, loss, kept=position == best)


def _outermost(model: nn.Module) -> Iterator[tuple[list[str], SoftModule]]:
    """Yield each soft module that is not inside another one, with every place where it is used."""
    places: dict[SoftModule, list[str]] = {}
    inside: list[str] = []
    for path, module in model.named_modules(remove_duplicate=False):
        if any(path.startswith(prefix) for prefix in inside):
            continue
        if isinstance(module, SoftModule):
            places.setdefault(module, []).append(path)
            inside.append(f"{path}." if path else "")
    for module, paths in places.items():
        yield paths, module
