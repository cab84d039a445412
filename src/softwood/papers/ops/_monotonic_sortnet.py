"""Monotonic Differentiable Sorting Networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from softwood.data import digit_numbers
from softwood.ops import Network, NeuralSort, argsort, sinkhorn, sort
from softwood.papers import Bar, Evidence, Measure, Paper

PAPER = Paper(
    id="monotonic-sortnet",
    title="Monotonic Differentiable Sorting Networks",
    year=2022,
    family="ops",
    kind="system",
    does="Sorting with gradients that never have the wrong sign",
    when="Scores are learned from orders alone, in lists of up to some hundred. For longer ones take isotonic sorts.",
    api=("softwood.ops.Network", "softwood.ops.sort", "softwood.ops.argsort"),
    claim="With monotone swaps no output falls when an input rises, and scores learned from orders sort better.",
    headline="4-digit MNIST, exact match at n = 5: about 77 % (logistic), 81 % (Sinkhorn), 85 % (optimal).",
    full="The same check on 4-digit MNIST numbers, n = 3 to 15, 100,000 steps.",
    seconds=170,
)
MONOTONE = ("reciprocal", "cauchy", "optimal")
_STEEPNESS = 10.0  # slope of every swap at a tie; the family's own scales differ there


@dataclass(frozen=True)
class _Scale:
    steps: int
    lists: int  # of the test


_SCALES = {"smoke": _Scale(3, 50), "quick": _Scale(2500, 2000), "full": _Scale(100_000, 10_000)}


def check(size: str, seed: int) -> Evidence:
    """Count gradients of the wrong sign, measure the error at equal steepness, and learn scores from orders."""
    scale = _SCALES[size]
    measures, bars = _signs_and_errors(seed)
    found = {name: _exact_match(name, scale, seed) for name in ("logistic", *MONOTONE, "NeuralSort", "Sinkhorn")}
    measures += [Measure("lists of 5 in exact order", name, value) for name, value in found.items()]
    if size != "smoke":
        gain = max(found[name] for name in MONOTONE) - found["logistic"]
        bars.append(Bar("best monotone swap sorts 3 points more lists than logistic", gain, 0.03, "at least", "target"))
    line = f"200 random lists of 5, 8 and 16; two-digit numbers from digits, n = 5, {scale.steps} steps of 100 lists"
    return Evidence(tuple(measures), tuple(bars), line)


def _signs_and_errors(seed: int) -> tuple[list[Measure], list[Bar]]:
    generator = torch.Generator().manual_seed(seed)
    measures, bars, errors = [], [], {}
    for name in ("logistic", *MONOTONE):
        wrong = []
        for n in (5, 8, 16):
            x = torch.randn(200, n, generator=generator, dtype=torch.float64)
            for steepness in (1.0, 4.0, 16.0):
                slopes = _jacobian(x, name, steepness)
                wrong.append((slopes < -1e-12).double().mean())
        share = float(torch.stack(wrong).mean())
        x = torch.randn(2000, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        errors[name] = float((_soft(x, name, 4.0) - x.sort(-1).values).abs().mean())
        measures += [
            Measure("share of negative derivatives", name, share),
            Measure("error of sorted values, n = 5, steepness 4", name, errors[name]),
        ]
        if name == "logistic":
            bars.append(Bar("logistic swaps, as control: negative derivatives", share, 0.1, "at least", "measured"))
        else:
            bars.append(Bar(f"{name}: negative derivatives", share, 0.0, "at most", "measured", every=True))
    for better, worse in (("optimal", "cauchy"), ("cauchy", "reciprocal")):
        gap = errors[better] - errors[worse]
        bars.append(Bar(f"error of {better} less that of {worse}", gap, 0.0, "at most", "measured"))
    return measures, bars


def _soft(x: Tensor, name: str, steepness: float) -> Tensor:
    return sort(x, relax=Network(name, "odd-even"), temperature=1 / (4 * steepness))[0]


def _jacobian(x: Tensor, name: str, steepness: float) -> Tensor:
    """Return the derivatives of every output by every input, ``[rows, n, n]``."""
    n = x.shape[-1]
    copies = x.expand(n, *x.shape).clone().requires_grad_()  # copy i is differentiated by output i
    outputs = _soft(copies, name, steepness).diagonal(dim1=0, dim2=-1)
    return torch.autograd.grad(outputs.sum(), copies)[0].transpose(0, 1)


def _lists(count: int, part: str, seed: int) -> tuple[Tensor, Tensor]:
    """Return lists of 5 pictures ``[count, 5, 128]`` and their numbers ``[count, 5]``."""
    pictures, numbers = digit_numbers(5 * count, part=part, random_state=seed)
    return torch.from_numpy(pictures).reshape(count, 5, 128), torch.from_numpy(numbers).reshape(count, 5)


def soft_permutation(scores: Tensor, method: str) -> Tensor:
    """Return the soft permutation that sorts upward, ``[..., n, n]``."""
    if method == "NeuralSort":
        return argsort(scores, relax=NeuralSort(), temperature=1.0).dense()
    if method == "Sinkhorn":
        places = torch.linspace(-1, 1, scores.shape[-1])
        standard = (scores - scores.mean(-1, keepdim=True)) / (scores.std(-1, keepdim=True) + 1e-6)
        return sinkhorn(places.unsqueeze(-1) * standard.unsqueeze(-2), temperature=0.1, iterations=50, tolerance=1e-4)
    return argsort(scores, relax=Network(method, "odd-even"), temperature=1 / (4 * _STEEPNESS)).dense()


def _exact_match(method: str, scale: _Scale, seed: int) -> float:
    """Learn a score from orders, and return the share of unseen lists that it sorts."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(-2)
    )
    optimizer = torch.optim.Adam(model.parameters(), 10**-3.5)
    pictures, numbers = _lists(100 * min(scale.steps, 500), "train", seed)
    n_batches = len(pictures) // 100
    for step in range(scale.steps):
        at = slice(100 * (step % n_batches), 100 * (step % n_batches) + 100)
        truth = nn.functional.one_hot(numbers[at].argsort(-1), 5).float()
        soft = soft_permutation(model(pictures[at]), method).clamp(1e-6, 1 - 1e-6)
        loss = nn.functional.binary_cross_entropy(soft, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pictures, numbers = _lists(scale.lists, "test", seed)
    with torch.no_grad():
        ordered = numbers.gather(-1, model(pictures).argsort(-1))
    return float((ordered.diff(dim=-1) >= 0).all(-1).double().mean())


def use(data: str | None = None) -> None:
    """Learn to score items from lists whose order is known, and sort a new list.

    Args:
        data: CSV with numbers in the columns ``f0``, ``f1``, ... and ``list`` and ``place``; none makes such lists.
    """
    import pandas as pd

    frame = pd.DataFrame(torch.randn(600, 4).numpy(), columns=["f0", "f1", "f2", "f3"]).assign(
        list=lambda t: t.index // 6
    )
    frame["place"] = (frame.f0 - 2 * frame.f1).groupby(frame["list"]).rank()
    frame = frame if data is None else pd.read_csv(data)
    size = frame.groupby("list").size().iloc[0]
    names = [name for name in frame if name not in ("list", "place")]
    items = torch.tensor(frame[names].to_numpy()).float().reshape(-1, size, len(names))
    order = torch.tensor(frame["place"].to_numpy()).reshape(-1, size).argsort(-1)
    score = torch.nn.Linear(len(names), 1)
    optimizer = torch.optim.Adam(score.parameters(), 0.01)
    for _ in range(200):
        permutation = argsort(score(items).squeeze(-1), relax=Network("optimal"), temperature=0.1)
        loss = -permutation.dense().gather(-1, order.unsqueeze(-1)).clamp_min(1e-6).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = score(items).squeeze(-1).argsort(-1)
    print("score:", [round(w, 2) for w in score.weight[0].tolist()], "of", names)  # noqa: T201
    print(f"lists in exact order: {float((found == order).all(-1).double().mean()):.3f}")  # noqa: T201
