"""Generalized Neural Sorting Networks with Error-Free Differentiable Swap Functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from softwood.data import digit_numbers
from softwood.layers import SetOrdinalEncoder
from softwood.ops import Network, argsort, sort
from softwood.papers import Bar, Evidence, Measure, Paper

PAPER = Paper(
    id="error-free-swap",
    title="Generalized Neural Sorting Networks with Error-Free Differentiable Swap Functions",
    year=2023,
    family="ops",
    kind="system",
    does="Sorting networks that sort exactly and train softly",
    when="The sorted items themselves enter the loss, or their score depends on the other items of the list.",
    api=("softwood.ops.Network", "softwood.layers.SetOrdinalEncoder"),
    claim="Hard swaps forward and soft ones backward leave no softening error, and sort longer lists better.",
    headline="Best or comparable on multi-digit MNIST and SVHN and on 2 x 2 and 3 x 3 jigsaws; the gain grows with n.",
    full="The same check on 4-digit MNIST, n = 3 to 32, 100,000 steps of 100 lists, and on MNIST jigsaws.",
    seconds=240,
)
_STEEPNESS = 10.0


@dataclass(frozen=True)
class _Scale:
    steps: int
    jigsaw_steps: int
    lists: int  # of the test


_SCALES = {"smoke": _Scale(2, 2, 50), "quick": _Scale(2000, 1200, 2000), "full": _Scale(100_000, 50_000, 10_000)}


def check(size: str, seed: int) -> Evidence:
    """Measure the softening error, the signs and the equivariance; learn orders of numbers and of jigsaw pieces."""
    scale = _SCALES[size]
    measures, bars = _exactness(seed)
    found = {name: _numbers(name == "error-free", scale, seed) for name in ("soft network", "error-free")}
    measures += [Measure("lists of 9 in exact order", name, value) for name, value in found.items()]
    puzzle = {name: _jigsaw(name == "Transformer", scale, seed) for name in ("item by item", "Transformer")}
    measures += [Measure("2 x 2 jigsaws solved", name, value) for name, value in puzzle.items()]
    if size != "smoke":
        gain = found["error-free"] - found["soft network"]
        more = puzzle["Transformer"] - puzzle["item by item"]
        bars += [
            Bar("error-free sorts 2 points more lists of 9 than the soft network", gain, 0.02, "at least", "target"),
            Bar("the Transformer solves no fewer jigsaws than scores item by item", more, 0.0, "at least", "target"),
        ]
    line = f"two-digit numbers from digits, n = 9, {scale.steps} steps of 100 lists; digits in 4 pieces"
    return Evidence(tuple(measures), tuple(bars), line)


def softening_error(x: Tensor, network: Network, temperature: float) -> float:
    """Return the largest difference between softly and exactly sorted values."""
    return float((sort(x, relax=network, temperature=temperature)[0] - x.sort(-1).values).abs().max())


def _exactness(seed: int) -> tuple[list[Measure], list[Bar]]:
    generator = torch.Generator().manual_seed(seed)
    soft, exact, lowest = 0.0, 0.0, 0.0
    for n in (5, 8, 16):
        x = torch.randn(200, n, generator=generator, dtype=torch.float64)
        soft = max(soft, softening_error(x, Network("optimal"), 0.1))
        exact = max(exact, softening_error(x, Network("optimal", error_free=True), 0.1))
        x.requires_grad_()
        values = sort(x, relax=Network("optimal", error_free=True), temperature=0.1)[0]
        for one in values.unbind(-1):
            lowest = min(lowest, float(torch.autograd.grad(one.sum(), x, retain_graph=True)[0].min()))
    torch.manual_seed(seed)
    encoder, x = SetOrdinalEncoder(4), torch.randn(8, 9, 4)
    order = torch.randperm(9)
    moved = float((encoder(x[:, order]) - encoder(x)[:, order]).abs().max().detach())
    measures = [
        Measure("softening error of a network", "soft", soft),
        Measure("softening error of a network", "error-free", exact),
        Measure("smallest derivative", "error-free, optimal", lowest),
        Measure("change of scores with the order of items", "Transformer", moved),
    ]
    return measures, [
        Bar("error-free: softening error", exact, 1e-12, "at most", "measured", every=True),
        Bar("soft, as control: softening error", soft, 0.01, "at least", "measured", every=True),
        Bar("error-free: smallest derivative", lowest, -1e-12, "at least", "measured", every=True),
        Bar("Transformer: change of scores with the order of items", moved, 1e-5, "at most", "measured", every=True),
    ]


def _loss(scores: Tensor, items: Tensor, order: Tensor, error_free: bool) -> Tensor:
    """Return the cross-entropy of the soft permutation; error-free, the squared error of the sorted items beside it."""
    truth = nn.functional.one_hot(order, order.shape[-1]).float()
    soft = argsort(scores, relax=Network("optimal"), temperature=1 / (4 * _STEEPNESS)).dense()
    loss = nn.functional.binary_cross_entropy(soft.clamp(1e-6, 1 - 1e-6), truth)
    if not error_free:
        return loss
    hard = argsort(scores, relax=Network("optimal", error_free=True), temperature=1 / (4 * _STEEPNESS))
    return loss + (hard.apply(items) - truth @ items).pow(2).mean()


def _numbers(error_free: bool, scale: _Scale, seed: int) -> float:
    def lists(count: int, part: str) -> tuple[Tensor, Tensor]:
        pictures, numbers = digit_numbers(9 * count, part=part, random_state=seed)
        return torch.from_numpy(pictures).reshape(count, 9, 128), torch.from_numpy(numbers).reshape(count, 9)

    torch.manual_seed(seed)
    layers = nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(-2)
    model = nn.Sequential(*layers)
    items, numbers = lists(100 * min(scale.steps, 300), "train")
    _train(model, items, numbers.argsort(-1), error_free, scale.steps)
    items, numbers = lists(scale.lists, "test")
    with torch.no_grad():
        ordered = numbers.gather(-1, model(items).argsort(-1))
    return float((ordered.diff(dim=-1) >= 0).all(-1).double().mean())


def _train(model: nn.Module, items: Tensor, order: Tensor, error_free: bool, steps: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 10**-3.5)
    batches = list(zip(items.split(100), order.split(100), strict=True))
    for step in range(steps):
        x, truth = batches[step % len(batches)]
        loss = _loss(model(x), x, truth, error_free)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _jigsaw(together: bool, scale: _Scale, seed: int) -> float:
    """Learn to put the 4 quarters of a digit in place, shuffled; return the share of unseen digits that are right."""
    torch.manual_seed(seed)
    images = torch.as_tensor(load_digits().images / 16, dtype=torch.float32)
    pieces = images.unfold(1, 4, 4).unfold(2, 4, 4).reshape(len(images), 4, 16)
    shuffled = torch.rand(len(images), 4).argsort(-1)
    items, order = pieces.gather(1, shuffled.unsqueeze(-1).expand(pieces.shape)), shuffled.argsort(-1)
    alone = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(-2))
    model = SetOrdinalEncoder(16) if together else alone
    _train(model, items[:1400], order[:1400], True, scale.jigsaw_steps)
    with torch.no_grad():
        found = model(items[1400:]).argsort(-1)
    return float((found == order[1400:]).all(-1).double().mean())


def use(data: str | None = None) -> None:
    """Sort items by a score that depends on the whole list, learned from orders.

    Args:
        data: CSV with numbers in the columns ``f0``, ``f1``, ... and ``list`` and ``place``; none makes such lists.
    """
    import pandas as pd

    frame = pd.DataFrame(torch.randn(1200, 2).numpy(), columns=["f0", "f1"]).assign(list=lambda t: t.index // 6)
    frame["place"] = (frame.f0 - frame.groupby("list").f0.transform("mean")).abs().groupby(frame["list"]).rank()
    frame = frame if data is None else pd.read_csv(data)
    size = frame.groupby("list").size().iloc[0]
    names = [name for name in frame if name not in ("list", "place")]
    items = torch.tensor(frame[names].to_numpy()).float().reshape(-1, size, len(names))
    order = torch.tensor(frame["place"].to_numpy()).reshape(-1, size).argsort(-1)
    encoder = SetOrdinalEncoder(len(names), width=32)
    optimizer = torch.optim.Adam(encoder.parameters(), 0.003)
    for _ in range(200):
        permutation = argsort(encoder(items), relax=Network("optimal"), temperature=0.1)
        loss = -permutation.dense().gather(-1, order.unsqueeze(-1)).clamp_min(1e-6).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = (encoder(items).argsort(-1) == order).double().mean()
    print(f"items in their place: {float(right):.3f}, by chance {1 / size:.3f}")  # noqa: T201
