"""Between torch modules on raw numbers and artefacts: ``to_artifact`` and ``sw.soften``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from softwood.artifacts import Column, HardEnsemble
from softwood.core import InputError, UnsupportedError
from softwood.data import LARGEST
from softwood.lifecycle import soften
from softwood.trees._soft_forest import SoftForest
from softwood.trees._soft_tree import MAX_DEPTH, SoftTree

_CERTAIN = 30.0  # a logit whose softmax or sigmoid is 1 in float32


def complete_trees(
    feature: Tensor, threshold: Tensor, missing_left: Tensor, leaf: Tensor, base: Tensor, width: int,
    columns: Sequence[Column] | None,
) -> HardEnsemble:  # fmt: skip
    """Return complete trees on raw numbers as an artefact that answers the same.

    A node with the threshold +inf and missing on the left decides nothing and is dropped.

    Args:
        feature: integer ``[T, 2^D - 1]``.
        threshold: ``[T, 2^D - 1]``.
        missing_left: bool ``[T, 2^D - 1]``.
        leaf: ``[T, 2^D, K]``.
        base: ``[K]``.
        width: F, inputs.
        columns: F raw columns, or None for numbers ``x0, x1, ...``.
    """
    columns = tuple(columns or (Column(f"x{i}", "number") for i in range(width)))
    if len(columns) < width or any(column.kind == "category" for column in columns[:width]):
        raise InputError(
            "these columns do not fit the tree", got=f"{len(columns)} columns",
            allowed=f"at least {width}, no category", fix="name one number or boolean column for each input",
        )  # fmt: skip
    inner = feature.shape[1]
    thresholds, missing = threshold.detach().cpu().double().numpy(), missing_left.cpu().numpy()
    decides = ~(np.isposinf(thresholds) & missing)
    kept: list[tuple[int, int]] = []  # tree and place in the complete tree, parents first
    children: list[tuple[int, int]] = []

    def emit(tree: int, place: int) -> int:
        while place < inner and not decides[tree, place]:
            place = 2 * place + 1
        index = len(kept)
        kept.append((tree, place))
        children.append((0, 0))
        if place < inner:
            children[index] = emit(tree, 2 * place + 1), emit(tree, 2 * place + 2)
        return index

    roots = [emit(tree, 0) for tree in range(len(feature))]
    tree, node = np.array(kept).T
    is_leaf = node >= inner
    at = tree, np.where(is_leaf, 0, node)
    left, right = np.array(children).T
    values = leaf.detach().cpu().double().numpy()[tree[is_leaf], node[is_leaf] - inner]
    return HardEnsemble(
        columns, tuple(f"y{k}" for k in range(values.shape[1])), "identity", None,
        np.where(is_leaf, -1, feature.cpu().numpy()[at]),
        np.where(is_leaf, np.nan, thresholds[at].clip(-LARGEST, LARGEST)), missing[at] & ~is_leaf, left, right,
        np.full(len(node), -1), np.zeros((0, 0), bool), np.where(is_leaf, np.cumsum(is_leaf) - 1, -1), values,
        np.zeros(len(values)), np.array(roots), base.detach().cpu().double().numpy(),
    )  # fmt: skip


@soften.register
def soften_ensemble(
    thing: HardEnsemble, *, temperature: float = 0.1, gate: str = "smooth_step", dtype: torch.dtype = torch.float32
) -> SoftTree | SoftForest:
    """Return the soft copy of an ensemble on raw numbers; its plain rounding answers the same.

    One tree becomes a ``SoftTree``, several an axis-aligned ``SoftForest``. Its answer is the sum before the link.
    Thresholds are rounded down to ``dtype``, so that every row of that type goes where it went before.

    Args:
        thing: trees on number and boolean columns, at most 10 levels deep.
        temperature: in units of the columns; ``sw.calibrate`` sets it from data.
        gate: see ``SoftTree``.
        dtype: of the parameters.

    Raises:
        UnsupportedError: a category node, no tree, or too deep.
    """
    inner = thing.feature >= 0
    if thing.n_trees < 1 or (thing.level_set[inner] >= 0).any() or thing.depth > MAX_DEPTH:
        raise UnsupportedError(
            f"soften takes trees on numbers with at most {MAX_DEPTH} levels, and this is {thing!r}; "
            "encode categories as numbers, or let a learner tune it with init="
        )
    count, depth, width = thing.n_trees, max(thing.depth, 1), len(thing.columns)
    nodes = 2**depth - 1
    feature, threshold = np.zeros((count, nodes), np.int64), np.full((count, nodes), LARGEST)
    missing_left, leaf = np.ones((count, nodes), bool), np.zeros((count, nodes + 1, thing.n_outputs))

    def place(tree: int, source: int, target: int) -> None:
        """Copy the subtree at ``source``; a leaf above the last level fills every place below it."""
        if target >= nodes:
            leaf[tree, target - nodes] = thing.values[thing.leaf[source]]
            return
        left = right = source
        if thing.feature[source] >= 0:
            feature[tree, target], threshold[tree, target] = thing.feature[source], thing.threshold[source]
            missing_left[tree, target] = thing.missing_left[source]
            left, right = thing.left[source], thing.right[source]
        place(tree, int(left), 2 * target + 1)
        place(tree, int(right), 2 * target + 2)

    for tree, root in enumerate(thing.roots):
        place(tree, int(root), 0)
    soft: SoftTree | SoftForest
    if count == 1:
        leaf += thing.base
        soft = SoftTree(width, thing.n_outputs, depth, gate=gate, temperature=temperature).to(dtype)
        tests = feature[0], threshold[0], missing_left[0], leaf[0]
    else:
        soft = SoftForest(width, thing.n_outputs, count, depth, gate=gate, temperature=temperature).to(dtype)
        tests = feature, threshold, missing_left, leaf
    chosen, at, goes_left, values = (torch.from_numpy(part) for part in tests)
    with torch.no_grad():
        soft.feature_logits.copy_(_CERTAIN * torch.nn.functional.one_hot(chosen, width))
        soft.threshold.copy_(rounded_down(at, dtype)[..., None].expand_as(soft.threshold))
        soft.missing_logit.copy_(torch.where(goes_left, _CERTAIN, -_CERTAIN))
        soft.leaf.copy_(values)
        if isinstance(soft, SoftForest):
            soft.base.copy_(torch.from_numpy(thing.base.copy()))
    return soft


def rounded_down(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the largest finite numbers of ``dtype`` that are not above ``values`` (or the smallest there is).

    Args:
        values: float64.
        dtype: a floating type.

    Example:
        >>> float(rounded_down(torch.tensor([0.1], dtype=torch.float64), torch.float32)) < 0.1
        True
    """
    largest = torch.finfo(dtype).max  # infinity times the zero weight of a feature is NaN
    near = values.clamp(-largest, largest).to(dtype)
    below = torch.nextafter(near, torch.full_like(near, -torch.inf)).clamp(min=-largest)
    return torch.where(near.double() > values, below, near)
