"""Optimizing Millions of Hyperparameters by Implicit Differentiation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

from softwood.gradients import BilevelTrainer, ConjugateGradient, ExactSolve, Neumann, hypergradient, stationarity
from softwood.papers import Bar, Evidence, Measure, Paper

PAPER = Paper(
    id="ift-hyper",
    title="Optimizing Millions of Hyperparameters by Implicit Differentiation",
    year=2019,
    family="ops",
    kind="system",
    does="As many tuned hyperparameters as weights",
    when="Many hyperparameters enter the training loss: decays, weights of rows, augmentations. Not for step sizes, "
    "and not to report the validation rows that tuned them.",
    api=(
        "softwood.gradients.hypergradient",
        "softwood.gradients.BilevelTrainer",
        "softwood.gradients.stationarity",
        "softwood.gradients.Neumann",
        "softwood.gradients.ConjugateGradient",
    ),
    claim="Hypergradients of 640 decays agree with the exact Hessian's; they fit the validation rows, and a few "
    "grouped decays beat the best single one on rows that nobody has seen.",
    headline="One decay for each weight fits a small validation set perfectly; learned augmentation and distilled "
    "data; a few times the cost of training.",
    full="The same check with one augmentation network for an image classifier; hyperparameters in the millions.",
    seconds=60,
)

_TERMS = {"smoke": (0, 5, 20), "quick": (0, 5, 20, 100, 500), "full": (0, 5, 20, 100, 500)}
_ROUNDS = {"smoke": 0, "quick": 120, "full": 400}
_GRID = (-9.0, -8.0, -7.0, -6.0, -5.0, -4.5, -4.0, -3.5, -3.0, -2.0)  # logarithms of a single decay

Loss = Callable[[Tensor, Tensor], Tensor]


def check(size: str, seed: int) -> Evidence:
    """Compare solvers with the exact Hessian, tune 640 decays, then 11 for a table with noisy columns."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    rows, digits = torch.tensor(x / 16.0)[order], torch.tensor(y)[order]
    measures, bars = _against_exact(rows, digits, size)
    if size != "smoke":
        for part in (_tuned(rows, digits, _ROUNDS[size]), _grouped(rows, digits, _ROUNDS[size], seed)):
            measures, bars = measures + part[0], bars + part[1]
    return Evidence(tuple(measures), tuple(bars), f"digits, 64 x 10 weights, {_ROUNDS[size]} rounds")


def _losses(x: Tensor, y: Tensor, train: slice, held: slice, spread: Callable[[Tensor], Tensor]) -> tuple[Loss, Loss]:
    """Return training and validation loss; ``spread`` makes the logarithm of each weight's decay of h."""

    def training(w: Tensor, h: Tensor) -> Tensor:
        return functional.cross_entropy(x[train] @ w, y[train]) + (spread(h).exp() * w.square()).sum() / 2

    def validation(w: Tensor, h: Tensor) -> Tensor:
        return functional.cross_entropy(x[held] @ w, y[held])

    return training, validation


def _minimum(training: Loss, h: Tensor, shape: tuple[int, int]) -> Tensor:
    w = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=600, tolerance_grad=1e-9, history_size=50,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def closure() -> float:
        optimizer.zero_grad()
        loss = training(w, h)
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)
    return w.detach()


def _against_exact(x: Tensor, y: Tensor, size: str) -> tuple[list[Measure], list[Bar]]:
    training, validation = _losses(x, y, slice(0, 600), slice(600, 1200), lambda h: h)
    h = torch.full((64, 10), -6.0, dtype=torch.float64)
    w = _minimum(training, h, (64, 10))
    truth = hypergradient(validation, training, w, h, linear=ExactSolve()).gradients[0]

    def near(linear: Neumann | ConjugateGradient) -> float:
        found = hypergradient(validation, training, w, h, linear=linear).gradients[0]
        return float(functional.cosine_similarity(found.flatten(), truth.flatten(), dim=0))

    series = [near(Neumann(terms)) for terms in _TERMS[size]]
    solved = near(ConjugateGradient(20))
    distance = stationarity(training, w, h, linear=ConjugateGradient(100)).distance
    measures = [
        Measure("cosine to the exact hypergradient", f"Neumann, {terms} terms", value)
        for terms, value in zip(_TERMS[size], series, strict=True)
    ]
    measures += [
        Measure("cosine to the exact hypergradient", "conjugate gradients, 20 steps", solved),
        Measure("distance to the training minimum", "weights used", distance),
    ]
    return measures, [
        Bar("conjugate gradients, 20 steps: cosine to the exact hypergradient", solved, 0.999, "at least", "measured"),
        Bar("Neumann: smallest gain of cosine from more terms", min(b - a for a, b in pairwise(series)), 0.0,
            "at least", "measured"),
        Bar("weights are at a minimum: relative distance", distance, 1e-2, "at most", "target"),
    ]  # fmt: skip


def _tuned(x: Tensor, y: Tensor, rounds: int) -> tuple[list[Measure], list[Bar]]:
    """One decay for each weight: the validation rows are fitted, which says nothing about others."""
    training, validation = _losses(x, y, slice(0, 600), slice(600, 1200), lambda h: h)
    h = torch.full((64, 10), -6.0, dtype=torch.float64)
    w = _minimum(training, h, (64, 10))
    before = float(validation(w, h)), float(functional.cross_entropy(x[1200:] @ w, y[1200:]))
    trainer = BilevelTrainer(training, validation, w, h, hyper_optimizer=lambda h: torch.optim.Adam(h, 0.3))
    found = trainer.run(rounds)
    w = w.detach()
    after = float(validation(w, h).detach()), float(functional.cross_entropy(x[1200:] @ w, y[1200:]))
    names = ("validation cross-entropy, 640 decays", "test cross-entropy, 640 decays")
    measures = [Measure(name, "one decay for all", value) for name, value in zip(names, before, strict=True)]
    measures += [Measure(name, "tuned by hypergradients", value) for name, value in zip(names, after, strict=True)]
    right = float(((x[600:1200] @ w).argmax(-1) == y[600:1200]).double().mean())
    measures += [
        Measure("validation accuracy, 640 decays", "tuned by hypergradients", right),
        Measure("stationarity while tuning, largest", "tuned by hypergradients", max(f.stationarity for f in found)),
    ]
    says = "640 decays: validation cross-entropy (which they were tuned on)"
    return measures, [Bar(says, after[0], 0.05, "at most", "measured")]


def _grouped(x: Tensor, y: Tensor, rounds: int, seed: int) -> tuple[list[Measure], list[Bar]]:
    """One decay for each of 8 pixel rows and of 3 blocks of noise, against the best single decay."""
    noise = torch.randn(len(x), 3 * 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    wide = torch.cat([x, 0.5 * noise], 1)
    block = torch.cat([torch.arange(64) // 8, 8 + torch.arange(96) // 32])
    shape = (wide.shape[1], 10)

    def test(w: Tensor) -> float:
        return float(functional.cross_entropy(wide[900:] @ w, y[900:]))

    training, validation = _losses(wide, y, slice(0, 300), slice(300, 900), lambda h: h[block].unsqueeze(-1))
    single = []
    for decay in _GRID:
        h = torch.full((11,), decay, dtype=torch.float64)
        w = _minimum(training, h, shape)
        single.append((float(validation(w, h)), test(w), decay))
    chosen, best = min(single), min(row[1] for row in single)
    h = torch.full((11,), chosen[2], dtype=torch.float64)
    w = _minimum(training, h, shape)
    BilevelTrainer(training, validation, w, h).run(rounds)
    ours, kept = test(w.detach()), h.detach().exp()
    measures = [
        Measure("test cross-entropy, 3 noisy blocks", "11 decays by hypergradients", ours),
        Measure("test cross-entropy, 3 noisy blocks", "single decay, chosen on validation", chosen[1]),
        Measure("test cross-entropy, 3 noisy blocks", "single decay, best on test", best),
        Measure("decay of noise over decay of pixels", "11 decays by hypergradients",
                float(kept[8:].mean() / kept[:8].mean())),
        Measure("logarithm of the single decay", "single decay, chosen on validation", chosen[2]),
    ]  # fmt: skip
    says = "11 decays, 3 noisy blocks: test cross-entropy below that of the best single decay by"
    return measures, [Bar(says, best - ours, 1e-9, "at least", "target")]


def use(data: str | None = None) -> None:
    """Learn how much to shrink the weight of each column of a linear model.

    Args:
        data: CSV of numbers whose last column is what to predict; none takes scikit-learn's diabetes table.
    """
    import pandas as pd
    from sklearn.datasets import load_diabetes

    table = load_diabetes(as_frame=True).frame if data is None else pd.read_csv(data)
    values = torch.as_tensor(((table - table.mean()) / table.std()).to_numpy())
    values = values[torch.randperm(len(values), generator=torch.Generator().manual_seed(0))]
    x, y = values[:, :-1], values[:, -1]
    a, b = len(x) // 2, 3 * len(x) // 4  # training, validation, and rows that neither sees
    weight, decay = torch.zeros(x.shape[1]).double(), torch.zeros(x.shape[1]).double() - 3
    trainer = BilevelTrainer(
        lambda w, h: (x[:a] @ w - y[:a]).square().mean() + (h.exp() * w.square()).sum(),
        lambda w, h: (x[a:b] @ w - y[a:b]).square().mean(),
        weight,
        decay,
    )
    rounds = trainer.run(100)
    print(f"validation error {rounds[0].validation:.4f} -> {rounds[-1].validation:.4f}")  # noqa: T201
    print(f"error on unseen rows {float((x[b:] @ weight.detach() - y[b:]).square().mean()):.4f}")  # noqa: T201
    for name, value in zip(table.columns, decay.exp().tolist(), strict=False):
        print(f"decay of {name}: {value:.3g}")  # noqa: T201
