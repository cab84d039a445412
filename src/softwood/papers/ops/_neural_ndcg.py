"""NeuralNDCG: Direct Optimisation of a Ranking Metric via Differentiable Relaxation of Sorting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from softwood.decisions import RankingLearner
from softwood.losses import ndcg_loss, neural_ndcg_loss
from softwood.papers import Bar, Evidence, Measure, Paper

PAPER = Paper(
    id="neural-ndcg",
    title="NeuralNDCG: Direct Optimisation of a Ranking Metric via Differentiable Relaxation of Sorting",
    year=2021,
    family="ops",
    kind="system",
    does="Ranking models trained for NDCG itself",
    when="Lists with graded relevance. Try ListNet first: it is about 50 times cheaper here and as good. Long "
    "lists: the NDCG of soft ranks takes O(n log n).",
    api=("softwood.decisions.RankingLearner", "softwood.losses.neural_ndcg_loss", "softwood.losses.ndcg_loss"),
    claim="NDCG through NeuralSort and Sinkhorn equals NDCG in the limit and trains rankers ahead of ApproxNDCG and of "
    "itself without Sinkhorn, near the best plain losses.",
    headline="WEB30K: NDCG@5 of about 0.50, above ApproxNDCG and near LambdaRank.",
    full="The same check with 3000 lists and 60 epochs; the paper's size is WEB30K with a Transformer scorer.",
    seconds=120,
)


@dataclass(frozen=True)
class _Scale:
    lists: int  # and as many unseen ones for the measure
    epochs: int


_SCALES = {"smoke": _Scale(60, 2), "quick": _Scale(500, 12), "full": _Scale(3000, 60)}
_ITEMS, _FEATURES, _BATCH, _K = 30, 16, 16, 5
_NOISE = 1.0  # of relevance, beside a signal of spread 1.5
ListLoss = Callable[..., Tensor]


def check(size: str, seed: int) -> Evidence:
    """Compare losses on the same lists with the same scorer; say what each takes."""
    scale = _SCALES[size]
    gap, counted_twice = _limit(seed)
    measures = [Measure("largest |loss - (1 - NDCG)| at temperature 0.01", "NeuralNDCG", gap),
                Measure("largest sum of a column of P", "without Sinkhorn", counted_twice)]  # fmt: skip
    bars = [Bar("|loss - (1 - NDCG)| at temperature 0.01", gap, 1e-3, "at most", "measured", every=True)]
    x, y, groups = _lists(2 * scale.lists, seed)
    train = groups < scale.lists
    losses: dict[str, ListLoss] = {
        "NeuralNDCG": neural_ndcg_loss,
        "NeuralNDCG without Sinkhorn": partial(neural_ndcg_loss, doubly_stochastic=False),
        "ApproxNDCG": approx_ndcg,
        "soft-rank NDCG, O(n log n)": ndcg_loss,
        "RMSE": squared,
        "ListNet": list_net,
        "LambdaRank": lambda_rank,
    }
    found, seconds = {}, {}
    steps = scale.epochs * -(-scale.lists // _BATCH)
    for name, loss in losses.items():
        learner = RankingLearner(loss, k=_K, hidden=(64, 32), max_iter=steps, batch_size=_BATCH, random_state=seed)
        begun = time.process_time()
        learner.fit(x[train], y[train], groups=groups[train])
        seconds[name] = time.process_time() - begun
        found[name] = learner.score(x[~train], y[~train], groups=groups[~train])
    measures += [Measure(f"NDCG@{_K} on unseen lists", name, value) for name, value in found.items()]
    measures += [Measure("time to train", name, value, "s") for name, value in seconds.items()]
    dearer = seconds["NeuralNDCG"] / seconds["ListNet"]
    measures.append(Measure("time to train over that of ListNet", "NeuralNDCG", dearer, "times"))
    if size != "smoke":
        ours = found["NeuralNDCG"]
        gain, kept = ours - found["ApproxNDCG"], ours - found["NeuralNDCG without Sinkhorn"]
        bars += [
            Bar("ahead of ApproxNDCG by 1.5 points", gain, 0.015, "at least", "measured"),
            Bar("ahead of itself without Sinkhorn by 1 point", kept, 0.01, "at least", "measured"),
            Bar("within 1 point of the best", max(found.values()) - ours, 0.01, "at most", "measured"),
        ]
    return Evidence(tuple(measures), tuple(bars), f"{scale.lists} lists, as many unseen, of {_ITEMS} items, "
                                                  f"{_FEATURES} features, {scale.epochs} epochs")  # fmt: skip


def _limit(seed: int) -> tuple[float, float]:
    """Return how far the loss at temperature 0.01 is from NDCG, on lists with padding, and what a gain may count."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(200, 12, generator=generator, dtype=torch.float64).argsort(-1)
    scores = order + 0.2 * torch.rand(200, 12, generator=generator, dtype=torch.float64)  # no two are close
    target = torch.randint(0, 5, (200, 12), generator=generator)
    mask = torch.arange(12) < torch.randint(2, 13, (200, 1), generator=generator)
    soft, hard = (
        loss(scores, target, k=_K, mask=mask, reduction="none", **how)
        for loss, how in ((neural_ndcg_loss, {"temperature": 0.01}), (ndcg_loss, {"hard": True}))
    )
    close = torch.randn(200, 12, generator=generator, dtype=torch.float64)
    place = torch.arange(1, 13)
    total = (close.unsqueeze(-1) - close.unsqueeze(-2)).abs().sum(-1)
    rows = ((13 - 2 * place).unsqueeze(-1) * close.unsqueeze(-2) - total.unsqueeze(-2)).softmax(-1)
    return float((soft - hard).abs().max()), float(rows.sum(-2).max())


def _lists(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return items with a nonlinear relevance from 0 to 4, of which few are high, and their lists."""
    rng = np.random.default_rng(seed)
    teacher = np.random.default_rng(7)  # the same question for every seed, other lists
    x = rng.normal(size=(n, _ITEMS, _FEATURES)) + 0.5 * rng.normal(size=(n, 1, _FEATURES))
    first, second = teacher.normal(size=(_FEATURES, 8)) / 4, teacher.normal(size=8)
    worth = np.tanh(x @ first) @ second + 0.6 * x[..., 0] * x[..., 1] + _NOISE * rng.normal(size=(n, _ITEMS))
    worth = (worth - worth.mean(1, keepdims=True)) / worth.std()
    y = np.digitize(worth, [-0.3, 0.5, 1.1, 1.7])
    return x.reshape(-1, _FEATURES), y.reshape(-1), np.repeat(np.arange(n), _ITEMS)


def approx_ndcg(scores: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return 1 - NDCG from ranks by pairwise sigmoids, the usual O(n^2) one at temperature 1."""
    pairs = torch.sigmoid(scores.unsqueeze(-2) - scores.unsqueeze(-1)) * mask.unsqueeze(-2)
    rank = 1 + pairs.sum(-1) - 0.5
    gain = (torch.exp2(target) - 1) * mask
    return 1 - ((gain / torch.log2(1 + rank)).sum(-1) / _ideal(gain, None)).mean()


def squared(scores: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the root of the mean squared error of relevance."""
    return (scores - target)[mask].square().mean().sqrt()


def list_net(scores: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the cross-entropy between the softmax of relevance and that of scores."""
    there = torch.where(mask, 0.0, -1e9)
    return -((target + there).softmax(-1) * (scores + there).log_softmax(-1)).sum(-1).mean()


def lambda_rank(scores: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return pairwise logistic losses, each weighed by what a swap of the pair changes in NDCG@k."""
    gain = (torch.exp2(target) - 1) * mask
    with torch.no_grad():
        rank = scores.masked_fill(~mask, -torch.inf).argsort(-1, descending=True).argsort(-1) + 1.0
        worth = torch.where(rank <= _K, 1 / torch.log2(1 + rank), 0.0)
        swap = ((gain.unsqueeze(-1) - gain.unsqueeze(-2)) * (worth.unsqueeze(-1) - worth.unsqueeze(-2))).abs()
        better = (target.unsqueeze(-1) > target.unsqueeze(-2)) & mask.unsqueeze(-1) & mask.unsqueeze(-2)
        weight = better * swap / _ideal(gain, _K).unsqueeze(-1).unsqueeze(-1)
    ahead = torch.nn.functional.softplus(scores.unsqueeze(-2) - scores.unsqueeze(-1))
    return (weight * ahead).sum((-1, -2)).mean()


def _ideal(gain: Tensor, k: int | None) -> Tensor:
    best = gain.sort(-1, descending=True).values[..., :k]
    return (best / torch.log2(torch.arange(2, best.shape[-1] + 2))).sum(-1).clamp_min(1e-9)


def use(data: str | None = None) -> None:
    """Train rankers for NDCG@5 and print the order of one list.

    Args:
        data: CSV with numbers, a column ``relevance`` and a column ``list``; none makes 120 lists.
    """
    import pandas as pd

    if data is None:
        rng = np.random.default_rng(0)
        x, groups = rng.normal(size=(2400, 8)), np.repeat(np.arange(120), 20)
        y = np.digitize(x[:, 0] + np.abs(x[:, 1]) + 0.3 * rng.normal(size=2400), [0.5, 1.5, 2.5])
    else:
        table = pd.read_csv(data)
        x = table.drop(columns=["relevance", "list"]).to_numpy(float)
        y, groups = table["relevance"].to_numpy(), pd.factorize(table["list"])[0]
    train = groups < groups.max() * 0.75
    for loss in ("ndcg", "neural_ndcg"):
        model = RankingLearner(loss, k=5, max_iter=150).fit(x[train], y[train], groups=groups[train])
        print(loss, "NDCG@5", round(model.score(x[~train], y[~train], groups=groups[~train]), 3))  # noqa: T201
    last = groups == groups.max()
    print("ranks of the last list:", model.rank(x[last]).tolist(), "relevance:", y[last].tolist())  # noqa: T201
