"""Transport plans and assignments, relaxed by entropy."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import pad

from softwood.core import InputError, capability, check_choice, check_number
from softwood.gradients import straight_through
from softwood.ops._birkhoff import birkhoff_potentials
from softwood.ops._sinkhorn_kernel import rows_then_columns, sinkhorn_potentials
from softwood.ops._structured import NEVER, scaled, working

BACKWARDS = ("implicit", "unrolled")
RELAXATIONS = ("sinkhorn", "birkhoff")


def _potentials(
    scores: Tensor, log_a: Tensor, log_b: Tensor, iterations: int, tolerance: float, backward: str
) -> tuple[Tensor, Tensor]:
    check_choice("backward", backward, BACKWARDS)
    iterations = check_number("iterations", iterations, low=1, integer=True)
    if backward == "implicit":
        return sinkhorn_potentials(scores, log_a, log_b, iterations, check_number("tolerance", tolerance, low=0))
    f, g = torch.zeros_like(log_a), torch.zeros_like(log_b)
    for _ in range(iterations):
        f, g = rows_then_columns(scores, log_a, log_b, g)
    return f, g


def _log_mass(mass: Tensor | None, size: int, scores: Tensor) -> Tensor:
    """Return log-masses in the batch shape of the scores: 1 / size by default, NEVER for none."""
    if mass is None:
        mass = scores.new_full((size,), 1.0 / max(size, 1))
    mass = mass.to(scores.dtype)
    log = torch.where(mass > 0, torch.where(mass > 0, mass, 1.0).log(), NEVER)
    return torch.where(mass.isnan(), mass, log).expand(*scores.shape[:-2], size)


@capability(
    "operation",
    cost="O(n m) time an iteration; O(n m) memory (implicit), O(n m iterations) (unrolled)",
    example=lambda: (torch.randn(2, 3, 4),),
)
def sinkhorn(
    scores: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    temperature: float | Tensor = 0.1,
    mask: Tensor | None = None,
    iterations: int = 1000,
    tolerance: float = 1e-6,
    backward: str = "implicit",
) -> Tensor:
    r"""Return the transport plan between masses a and b that maximises score and entropy.

    :math:`P = \arg\max_P \langle P, S \rangle - \tau \sum_{ij} P_{ij} (\log P_{ij} - 1)` with
    :math:`P 1 = a,\ P^\top 1 = b`; for a cost C pass ``-C``. In log space, with epsilon scaling, until the row sums
    are off by at most ``tolerance`` of the mass (the column sums are exact). Computed in float64: at low temperatures
    potentials are large.

    Args:
        scores: ``[..., n, m]``, worth of moving a unit from i to j; -inf forbids.
        a: masses >= 0 ``[..., n]``, 1 / n each by default.
        b: masses >= 0 ``[..., m]`` of the same sum, 1 / m each by default.
        temperature: :math:`\tau > 0` in units of the scores; a tensor broadcasts with the batch axes.
        mask: bool ``[..., n, m]``, True where a pair is present.
        iterations: at most so many.
        tolerance: share of the mass; ``unrolled`` does not look at it.
        backward: ``"implicit"`` solves the linear system of the optimum (memory O(n m), derivatives of any order);
            ``"unrolled"`` differentiates all iterations. On CUDA, ``implicit`` waits for the device every ten.

    Returns:
        ``[..., n, m]`` in the type of the scores. A ``SoftwoodWarning`` says where the tolerance was not reached.

    Raises:
        InputError: a parameter is out of range or unknown.

    Limit: as :math:`\tau \to 0` the best transport plan, where it is unique; then iterations grow as 1 / tau.

    Example:
        >>> cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> sinkhorn(-cost, temperature=0.05).round(decimals=2)
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])

    Cost: O(n m) time an iteration; O(n m) memory (implicit), O(n m iterations) (unrolled).

    Source: Cuturi 2013; Schmitzer 2019 (log space, epsilon scaling); Luise et al. 2018 (implicit).
    """
    ready = scaled(scores.double(), temperature, 2)
    if mask is not None:
        ready = ready.masked_fill(~mask, NEVER)
    n, m = ready.shape[-2:]
    log_a, log_b = _log_mass(a, n, ready), _log_mass(b, m, ready)
    f, g = _potentials(ready, log_a, log_b, iterations, tolerance, backward)
    return (ready + f.unsqueeze(-1) + g.unsqueeze(-2)).exp().to(scores.dtype)


@torch.library.custom_op("softwood::linear_assignment", mutates_args=())
def _best_assignment(scores: Tensor) -> Tensor:
    """Return the 0/1 matrix of the best assignment; through the host; 0 where a score is NaN."""
    flat = scores.detach().double().cpu().reshape(-1, *scores.shape[-2:]).numpy()
    answer = torch.zeros(flat.shape)
    for index, member in enumerate(flat):
        if member.size and member.min() > -torch.inf and not (member != member).any():
            rows, columns = linear_sum_assignment(member, maximize=True)
            answer[index, rows, columns] = 1
    return answer.reshape(scores.shape).to(scores)


@_best_assignment.register_fake
def _(scores: Tensor) -> Tensor:
    return torch.empty_like(scores)


@capability(
    "operation",
    cost="O(n m) time an iteration, O(n m) memory; hard: O(n^3) on the host",
    example=lambda: (torch.randn(2, 4, 4),),
)
def assignment(
    scores: Tensor,
    *,
    relax: str = "sinkhorn",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
    iterations: int = 1000,
    tolerance: float = 1e-6,
    backward: str = "implicit",
) -> Tensor:
    r"""Return the assignment of rows to columns with the best total score, relaxed.

    Each row gets one column and no column more than one row (the other way round where there are more rows than
    columns): :math:`P = \arg\max_P \langle P, S \rangle + \tau H(P)` over such matrices with entries in [0, 1].
    With as many rows as columns P is doubly stochastic. ``"birkhoff"`` has :math:`-\tfrac12 \lVert P \rVert^2` in place
    of the entropy: the doubly stochastic matrix nearest to :math:`S / \tau`, which is sparse, and exactly the best
    assignment below some temperature. Computed in float64.

    Args:
        scores: ``[..., n, m]``, worth of assigning i to j; -inf forbids.
        relax: ``"sinkhorn"`` (entropy), or ``"birkhoff"`` (squares; n = m, nothing masked or forbidden).
        temperature: :math:`\tau > 0` in units of the scores; a tensor broadcasts with the batch axes.
        hard: the best assignment forward (Hungarian method, on the host), the relaxed gradient backward.
        mask: bool ``[..., n, m]``, True where a pair is present; rows and columns without any are left out.
        iterations: see ``sinkhorn``.
        tolerance: see ``sinkhorn``.
        backward: see ``sinkhorn``.

    Returns:
        ``[..., n, m]`` in the type of the scores.

    Raises:
        InputError: a parameter is out of range or unknown.

    Limit: as :math:`\tau \to 0` the best assignment, where it is unique.

    Example:
        >>> assignment(torch.tensor([[1.0, 2.0, 0.0], [0.0, 3.0, 1.0]]), hard=True)
        tensor([[1., 0., 0.],
                [0., 1., 0.]])

    Cost: O(n m) time an iteration, O(n m) memory; hard: O(n^3) on the host.

    Source: Kosowsky and Yuille 1994; Mena et al. 2018; Blondel, Seguy and Rolet 2018 (squares); hard: Crouse 2016.
    """
    check_choice("relax", relax, RELAXATIONS)
    ready = scaled(scores.double(), temperature, 2)
    n, m = ready.shape[-2:]
    if relax == "birkhoff" and (n != m or mask is not None):
        raise InputError("birkhoff needs as many rows as columns, and all of them", got=(n, m),
                         allowed="[..., n, n] without mask", fix='pass relax="sinkhorn"')  # fmt: skip
    if mask is not None:
        ready = ready.masked_fill(~mask, NEVER)
    allowed = ready > NEVER / 2
    square = mask is None and n == m
    if square:
        rows, columns = allowed.new_ones(n), allowed.new_ones(m)
        full = ready
    else:  # what is left over on the longer side goes to one more row and one more column, at no score
        rows, columns = allowed.any(-1) | ready.isnan().any(-1), allowed.any(-2) | ready.isnan().any(-2)
        full = pad(ready, (0, 1, 0, 1))
    a, b = rows.to(ready.dtype), columns.to(ready.dtype)
    if not square:
        more = a.sum(-1, keepdim=True) - b.sum(-1, keepdim=True)
        a, b = torch.cat([a, (-more).clamp_min(0)], -1), torch.cat([b, more.clamp_min(0)], -1)
    if relax == "birkhoff":
        u, v = birkhoff_potentials(ready, check_number("iterations", iterations, low=1, integer=True), tolerance)
        plan = (ready + u.unsqueeze(-1) + v.unsqueeze(-2)).relu()
    else:
        log_a, log_b = _log_mass(a, a.shape[-1], full), _log_mass(b, b.shape[-1], full)
        f, g = _potentials(full, log_a, log_b, iterations, tolerance, backward)
        plan = (full + f.unsqueeze(-1) + g.unsqueeze(-2)).exp()[..., :n, :m]
    if hard:
        best = hard_assignment(working(scores).detach(), allowed)
        plan = torch.where(plan.isnan() | best.isnan(), torch.nan, straight_through(best, plan))
    return plan.to(scores.dtype)


def hard_assignment(scores: Tensor, allowed: Tensor) -> Tensor:
    """Return the best 0/1 assignment of what is allowed; NaN where that leaves a row or column out."""
    n, m = scores.shape[-2:]
    lowest = scores.masked_fill(~allowed, torch.inf).amin((-1, -2), keepdim=True) if n * m else scores
    highest = scores.masked_fill(~allowed, -torch.inf).amax((-1, -2), keepdim=True) if n * m else scores
    floor = lowest - (highest - lowest + 1) * max(n, m)
    floor = torch.where(floor.isfinite(), floor, 0.0)
    chosen = _best_assignment(torch.where(allowed | scores.isnan(), scores, floor)) * allowed
    wanted = torch.minimum(allowed.any(-1).sum(-1), allowed.any(-2).sum(-1))
    complete = (chosen.sum((-1, -2)) == wanted)[..., None, None]
    return torch.where(complete, chosen, torch.nan)
