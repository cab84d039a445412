"""``softwood bench estimators``: gradient estimators on four small problems whose truth is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from softwood.gradients import GradientReport

SCHEMA = "softwood bench estimators 1"


def bench_estimators(
    repeats: int = 20_000, seed: int = 0, told: Callable[[str], None] = lambda name: None
) -> dict[str, Any]:
    """Measure every estimator on four problems.

    - ``choices``: three choices of six classes and the cost 1 + sin(w . z); truth by enumeration. The reference table.
    - ``binary``: eight choices of two classes and the cost (w . b - 1)^2; truth by enumeration.
    - ``solver``: the two largest of six scores, and the squared distance to two others; truth of the smoothed loss.
    - ``unroll``: forty steps of the chaotic logistic map; truth of the smoothed function.

    Args:
        repeats: estimates of each on the first two problems, a tenth of it on the others.
        seed: of the estimates; the problems are fixed.
        told: is given the name of each problem before it is measured.

    Returns:
        JSON content as ``schemas/bench_estimators.json`` describes it.
    """
    problems = []
    for name, run in (("choices", _choices), ("binary", _binary), ("solver", _solver), ("unroll", _unroll)):
        told(name)
        begun = time.perf_counter()
        report = run(repeats if name in ("choices", "binary") else max(repeats // 10, 50), seed)
        problems.append({"name": name, **report.to_dict(), "seconds": time.perf_counter() - begun})
    return {"schema": SCHEMA, "repeats": repeats, "seed": seed, "problems": problems}


def _fixed(seed: int, *shape: int) -> torch.Tensor:
    import torch

    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _choices(repeats: int, seed: int) -> GradientReport:
    import torch

    from softwood.gradients import check

    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(3, 6, dtype=torch.float64, generator=generator) / 2
    weight = torch.randn(18, dtype=torch.float64, generator=generator)
    return check(lambda z: 1 + torch.sin(z.flatten(-2) @ weight), logits=logits, repeats=repeats, seed=seed)


def _binary(repeats: int, seed: int) -> GradientReport:
    from softwood.gradients import check

    weight = _fixed(1, 8)
    return check(lambda z: (z[..., 1] @ weight - 1).square(), logits=_fixed(2, 8, 2), repeats=repeats, seed=seed)


def _solver(repeats: int, seed: int) -> GradientReport:
    import torch

    from softwood.gradients import check

    scores = torch.tensor([0.9, 0.8, 0.5, 0.45, 0.3, 0.1], dtype=torch.float64)
    target = torch.tensor([0.0, 0.0, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64)

    def top_two(s: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(s).scatter(-1, s.topk(2, -1).indices, 1.0)

    return check(lambda y: (y - target).square().sum(-1), scores, solver=top_two, sigma=0.3, repeats=repeats, seed=seed)


def _unroll(repeats: int, seed: int) -> GradientReport:
    import torch

    from softwood.gradients import check

    def forty_steps(start: torch.Tensor) -> torch.Tensor:
        at = start[..., 0].clamp(0.0, 1.0)
        for _ in range(40):
            at = 3.9 * at * (1 - at)
        return at

    # the slope of the smoothed function is small here, so the noise is wide
    return check(forty_steps, torch.tensor([0.15], dtype=torch.float64), sigma=0.1, repeats=repeats, seed=seed)


def decimal(value: float) -> str:
    """Return three digits after the point, fewer of a large number."""
    return f"{value:.3f}" if value < 1000 else f"{value:.3g}"


HEADS = ("estimator", "", "bias", "95 % interval", "variance", "cosine", "calls", "us")


def table_rows(problem: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the lines of one problem's table.

    Args:
        problem: one entry of ``problems``.
    """
    lines: list[tuple[str, ...]] = []
    for row in problem["rows"]:
        mark = "unbiased" if row["unbiased"] else ""
        if row["bias"] is None:
            lines.append((row["name"], row["failure"][:60], "", "", "", "", "", ""))
            continue
        lines.append((
            row["name"], row["failure"][:60] or mark, decimal(row["bias"]),
            f"{decimal(row['bias_low'])} to {decimal(row['bias_high'])}", f"{row['variance']:.3g}",
            f"{row['cosine']:.3f}", f"{row['calls']:.3g}", f"{1e6 * row['seconds']:.3g}",
        ))  # fmt: skip
    return lines
