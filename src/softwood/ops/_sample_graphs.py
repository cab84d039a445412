"""Relaxed samples of trees and graphs."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_choice
from softwood.ops._axes import exact_forward, full_precision
from softwood.ops._sample import standard_noise
from softwood.ops._structured import scaled, working
from softwood.ops._structured_projective import ProjectiveTree
from softwood.ops._structured_trees import Arborescence, SpanningTree

_TREES = {"arborescence": Arborescence, "projective": ProjectiveTree, "spanning": SpanningTree}


@capability("operation", cost="O(n^3) time in n steps, O(n^3) memory", example=lambda: (torch.randn(2, 4, 4),))
@full_precision
def sample_tree(
    scores: Tensor,
    *,
    kind: str = "arborescence",
    temperature: float | Tensor = 1.0,
    hard: bool = False,
    mask: Tensor | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return a relaxed sample of a tree: the marginals at ``scores + Gumbel noise``.

    The best tree of noisy scores is a random tree with a gradient, though not one of probability
    :math:`\propto e^{\text{score}}`: for that ``Arborescence(scores).sample()``, without a gradient, and its
    ``log_prob``, with one.

    Args:
        scores: ``[..., n, n]``, as the structure takes them.
        kind: ``"arborescence"``, ``"projective"`` or ``"spanning"`` (undirected).
        temperature: > 0 in units of the scores; a tensor broadcasts with the batch axes.
        hard: the best tree forward, the gradient of the marginals backward.
        mask: bool ``[..., n]``, True where a node is present.
        noise: standard Gumbel noise in the shape of the scores, to compare two calls at the same draw.
        generator: source of the draw where no noise is given.

    Returns:
        ``[..., n, n]``, weight of each arc (head, dependent), roots on the diagonal; or of each edge.

    Raises:
        InputError: an argument does not fit.

    Limit: as temperature goes to 0, the best tree for ``scores + noise``.

    Example:
        >>> sample_tree(torch.zeros(3, 3), hard=True).sum(0)
        tensor([1., 1., 1.])

    Cost: O(n^3) time in n steps, O(n^3) memory.

    Source: Paulus et al. 2020 (stochastic softmax tricks); Corro and Titov 2019.
    """
    check_choice("kind", kind, _TREES)
    fine = working(scores)
    keys = fine + standard_noise(fine, noise, generator, "gumbel")
    return _TREES[kind](keys, temperature=temperature, mask=mask).marginals(hard=hard).to(scores.dtype)


@capability("operation", cost="O(n^2) time and memory", example=lambda: (torch.randn(2, 4, 4),))
@full_precision
def sample_graph(
    logits: Tensor,
    *,
    directed: bool = False,
    order: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    hard: bool = False,
    mask: Tensor | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return a relaxed sample of a graph whose edges are independent; with ``order``, one without cycles.

    Edge (i, j) is there with probability :math:`\sigma(\ell_{ij})`. With an order o of the nodes its weight is
    multiplied by :math:`\sigma((o_j - o_i) / \tau)`: edges go up only, so that a hard sample has no cycle.

    Args:
        logits: ``[..., n, n]`` (from, to); of an undirected graph the entries above the diagonal count.
        directed: is (i, j) another edge than (j, i)?
        order: ``[..., n]``; makes the graph directed and acyclic.
        temperature: :math:`\tau > 0` in units of the logits and of the order; a tensor broadcasts with the batch axes.
        hard: 0 and 1 forward, the relaxed gradient backward.
        mask: bool ``[..., n]``, True where a node is present.
        noise: standard logistic noise in the shape of the logits, to compare two calls at the same draw.
        generator: source of the draw where no noise is given.

    Returns:
        ``[..., n, n]``, 0 on the diagonal, symmetric where undirected.

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, an edge wherever ``logits + noise`` is positive (and the order rises).

    Example:
        >>> sample_graph(torch.full((3, 3), 50.0), order=torch.tensor([0.0, 2.0, 1.0]), hard=True)
        tensor([[0., 1., 1.],
                [0., 0., 0.],
                [0., 1., 0.]])

    Cost: O(n^2) time and memory.

    Source: Charpentier, Kibler and Günnemann 2022 (differentiable DAG sampling).
    """
    if logits.ndim < 2 or logits.shape[-1] != logits.shape[-2]:
        raise InputError("logits are not of the pairs of a graph", got=tuple(logits.shape), allowed="[..., n, n]",
                         fix="give one logit for each pair of nodes")  # fmt: skip
    n = logits.shape[-1]
    keys = working(logits)
    keys = keys + standard_noise(keys, noise, generator, "logistic")
    edges = torch.sigmoid(scaled(keys, temperature, 2))
    best = (keys > 0).to(edges.dtype)
    present = ~torch.eye(n, dtype=torch.bool, device=logits.device)
    if mask is not None:
        present = present & mask.unsqueeze(-1) & mask.unsqueeze(-2)
    if order is not None:
        rise = working(order).unsqueeze(-2) - working(order).unsqueeze(-1)
        edges = edges * torch.sigmoid(scaled(rise, temperature, 2))
        best = best * (rise > 0)
    elif not directed:
        present = present & present.new_ones(n, n).triu(1)
    if hard:
        edges = exact_forward(best, edges)
    edges = edges.masked_fill(~present, 0.0)
    if order is None and not directed:
        edges = edges + edges.transpose(-1, -2)
    return edges.to(logits.dtype)
