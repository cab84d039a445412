"""What the gradient doctor found: a table, a document, a picture, and what to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from softwood.core import write_atomic
from softwood.gradients._draw import draw_report


@dataclass(frozen=True)
class EstimatorRow:
    """One estimator on one problem; numbers are NaN where it failed.

    Args:
        name: of the estimator and its settings.
        unbiased: whether it has no bias by construction.
        bias: norm of (mean estimate - reference) over that of the reference, the noise of the measurement taken off.
        bias_low: lower end of its 95 % interval.
        bias_high: upper end.
        variance: of one estimate, summed over its entries, over the squared norm of the reference.
        cosine: between the mean estimate and the reference.
        calls: of the function for one estimate.
        seconds: for one estimate, when many are made at once.
        failure: what is wrong, or "".

    Example:
        >>> EstimatorRow("ReinMax", False, 0.2, 0.1, 0.3, 6.0, 0.98, 1.0, 1e-5, "").error(calls_per_step=100)
        0.1
    """

    name: str
    unbiased: bool
    bias: float
    bias_low: float
    bias_high: float
    variance: float
    cosine: float
    calls: float
    seconds: float
    failure: str

    def error(self, calls_per_step: float) -> float:
        """Return the mean squared error of a step of so many calls, relative to the squared gradient."""
        bias = 0.0 if self.unbiased else self.bias
        return bias**2 + self.variance * self.calls / calls_per_step


@dataclass(frozen=True)
class GradientReport:
    """What ``check`` found.

    Args:
        problem: what was looked at.
        reference: how the truth was found: ``"enumeration"``, ``"finite differences"``, ``"directional differences"``,
            ``"leave-one-out"`` or ``"smoothed"``.
        reference_detail: the same in words, with what is uncertain about it.
        gradient_norm: of the reference.
        reference_error: standard error of the reference over its norm; 0 where it is exact.
        rows: one for each estimator.
        calls_per_step: what the recommendation spends.
        recommendation: name of a row, or "" where none will do.
        reason: why.
        warnings: what else was seen.

    Example:
        >>> report = GradientReport("f", "enumeration", "", 1.0, 0.0, (), 100, "", "none worked", ())
        >>> report.to_dict()["reason"]
        'none worked'
    """

    problem: str
    reference: str
    reference_detail: str
    gradient_norm: float
    reference_error: float
    rows: tuple[EstimatorRow, ...]
    calls_per_step: int
    recommendation: str
    reason: str
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content; what is NaN here is None there."""
        content = asdict(self)
        content["rows"] = [{name: _plain(value) for name, value in asdict(row).items()} for row in self.rows]
        content["warnings"] = list(self.warnings)
        return {name: _plain(value) for name, value in content.items()}

    def __str__(self) -> str:
        lines = [self.problem, f"reference: {self.reference_detail}"]
        heads = ("estimator", "bias", "95 % interval", "variance", "cosine", "calls", "us", "")
        table = [heads, *(_texts(row) for row in self.rows)]
        widths = [max(len(line[place]) for line in table) for place in range(len(heads))]
        for line in table:
            cells = [
                line[0].ljust(widths[0]),
                *(text.rjust(width) for text, width in zip(line[1:-1], widths[1:-1], strict=True)),
            ]
            lines.append("  ".join([*cells, line[-1]]).rstrip())
        lines += [f"warning: {text}" for text in self.warnings]
        lines.append(f"take: {self.recommendation or 'none of these'}")
        lines.append(self.reason)
        return "\n".join(lines)

    def plot(self, path: str | Path) -> Path:
        """Write the picture as an SVG file: bias with its interval, and variance, for each estimator."""
        return write_atomic(path, draw_report(self.problem, self.rows, self.recommendation))


def decimal(value: float) -> str:
    """Return three digits after the point, fewer of a large number."""
    return f"{value:.3f}" if value < 1000 else f"{value:.3g}"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _texts(row: EstimatorRow) -> Sequence[str]:
    name = row.name + (" *" if row.unbiased else "")
    if math.isnan(row.bias):
        return (name, "-", "-", "-", "-", "-", "-", row.failure)
    return (
        name, decimal(row.bias), f"{decimal(row.bias_low)} to {decimal(row.bias_high)}", f"{row.variance:.3g}",
        f"{row.cosine:.3f}", f"{row.calls:.3g}", f"{1e6 * row.seconds:.3g}", row.failure,
    )  # fmt: skip


def recommend(rows: Sequence[EstimatorRow], calls_per_step: int) -> tuple[str, str]:
    """Return the name of the row with the least squared error at a number of calls, and why.

    Args:
        rows: what was measured.
        calls_per_step: calls of the function that a training step may make.
    """
    usable = [row for row in rows if not row.failure and row.calls <= calls_per_step]
    if not usable:
        return "", "No estimator worked within the calls of a step; see what is wrong with each."
    best = min(usable, key=lambda row: row.error(calls_per_step))
    reason = (
        f"Least squared error with {calls_per_step} calls a step: {best.error(calls_per_step):.3g} of the squared "
        f"gradient, {'no bias' if best.unbiased else f'bias {best.bias:.3g}'}, "
        f"variance {best.variance:.3g} an estimate."
    )
    honest = [row for row in usable if row.unbiased]
    if honest and not best.unbiased:
        other = min(honest, key=lambda row: row.error(calls_per_step))
        reason += f" Without bias: {other.name}, {other.error(calls_per_step):.3g}."
        if best.bias > 0 and other.variance > 0:
            # where bias^2 + var_b c_b / n = var_o c_o / n
            crossing = (other.variance * other.calls - best.variance * best.calls) / best.bias**2
            if crossing > calls_per_step:
                reason += f" It becomes the better one above {crossing:.0f} calls a step."
    return best.name, reason
