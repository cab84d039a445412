"""What the learners of this room share: standardised columns, a small network, batches, descent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from softwood.core import check_number


class Standardised(nn.Module):
    """Columns less their mean, in units of their spread; what does not vary stays 0."""

    mean: Tensor
    scale: Tensor

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        spread = x.std(0, correction=0)
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("scale", torch.where(spread > 1e-12 * self.mean.abs(), spread, torch.inf))

    def forward(self, x: Tensor) -> Tensor:
        """Return the columns."""
        return (x - self.mean) / self.scale


def network(x: Tensor, hidden: tuple[int, ...], n_out: int, seed: int) -> nn.Sequential:
    """Return a network for rows like x, in float64, so that an answer does not depend on the rows beside it."""
    sizes = [x.shape[-1], *(check_number("hidden", units, low=1, integer=True) for units in hidden), n_out]
    layers: list[nn.Module] = [Standardised(x.reshape(-1, x.shape[-1]))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for fan_in, units in pairwise(sizes):
            layers += [nn.Linear(fan_in, units, dtype=torch.float64), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def descend(
    model: nn.Module, loss: Callable[[Tensor], Tensor], batches: Iterator[Tensor], steps: int, rate: float,
    weight_decay: float,
) -> None:  # fmt: skip
    """Train by ``steps`` steps of Adam, its rate falling to 0 on a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=weight_decay)
    cooler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(loss(next(batches)))
        optimizer.step()
        cooler.step()


def stratified(labels: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Deal out all rows again and again in batches of about ``size`` rows that hold every class in its share.

    There are never more batches than rows of the rarest class, so that no batch is without it.
    """
    _, group, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    n_batches = max(1, min(-(-len(labels) // size), int(counts.min())))
    while True:
        shuffled = torch.randperm(len(labels), generator=generator)
        by_class = shuffled[group[shuffled].argsort(stable=True)]
        place = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[group[by_class]]
        batch = place * n_batches // counts[group[by_class]]
        for one in torch.randperm(n_batches, generator=generator):
            yield by_class[batch == one]


def dealt(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Deal out n rows again and again, in a new order each time."""
    while True:
        yield from torch.randperm(n, generator=generator).split(size)  # type: ignore[no-untyped-call]


def as_tensor(x: np.ndarray) -> Tensor:
    """Return an array in float64."""
    return torch.as_tensor(np.array(x, dtype=np.float64))  # a copy: what came may be read-only
