"""Any metric of the confusion matrix as a loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from softwood.core import InputError, capability, check_choice, check_number
from softwood.gradients import straight_through
from softwood.losses._lists import divided, reduced
from softwood.ops._axes import exact_forward, full_precision, move_last, temperature_last

TASKS = ("binary", "multiclass")
SHARPNESS = 73.0
"""The amplifier L of AnyLoss: a probability 0.06 from the threshold counts as 0.99."""


def _example() -> tuple[Tensor, Tensor]:
    return torch.rand(3, 8), torch.arange(24).reshape(3, 8) % 3 == 0


@capability("loss", papers=("anyloss",), cost="O(n C) time and memory, C classes", example=_example)
@full_precision
def soft_confusion_matrix(
    probability: Tensor,
    target: Tensor,
    *,
    task: str = "binary",
    dim: int = -1,
    temperature: float | Tensor = 1 / SHARPNESS,
    hard: bool = False,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Return the counts of (true class, predicted class), with probabilities amplified towards 0 and 1.

    Binary: an example counts as positive by :math:`A(p) = \sigma((p - \tfrac12) / \tau)`. Several classes: by
    :math:`\operatorname{softmax}(p / 2 \tau)`, which is the same for two.

    Args:
        probability: binary: p ``[..., n, ...]``. Several classes: ``[..., n, ..., C]``, the classes last.
        target: binary: 0 or 1 (or bool) in the shape of p. Several classes: int64 without the last axis.
        task: ``"binary"`` or ``"multiclass"``.
        dim: the axis of the examples in ``target``.
        temperature: :math:`\tau > 0`, a probability; 1 / 73 by default.
        hard: counts of the threshold 1/2 or of the likeliest class forward, the soft gradient backward.
        mask: bool in the shape of the target, True where an example is present.
        weight: >= 0 of each example.

    Returns:
        ``[..., C, C]``, C = 2 for binary (class 1 the positive one).

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, the confusion matrix.

    Example:
        >>> soft_confusion_matrix(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 0, 0]), hard=True)
        tensor([[1., 1.],
                [0., 1.]])

    Cost: O(n C) time, O(n C) memory.

    Source: Han, Moon and Kim 2024 (AnyLoss); several classes: ours.
    """
    check_choice("task", task, TASKS)
    several = task == "multiclass"
    if probability.shape[: probability.ndim - several] != target.shape or target.ndim == 0:
        allowed = "probabilities [..., C] and target [...]" if several else "two equal shapes"
        raise InputError("target does not fit the probabilities", got=(tuple(probability.shape), tuple(target.shape)),
                         allowed=allowed, fix="check task=, and that target has one class for each")  # fmt: skip
    if not -target.ndim <= dim < target.ndim:
        raise InputError("dim is out of range", got=dim, allowed=f"-{target.ndim} to {target.ndim - 1}",
                         fix="pass an axis that target has")  # fmt: skip
    axis = dim % target.ndim
    y = target.movedim(axis, -1)
    if mask is not None:  # what is absent may hold anything, NaN too
        shown = mask.expand(target.shape)
        probability = torch.where(shown.unsqueeze(-1) if several else shown, probability, 0.5)
        y = torch.where(shown.movedim(axis, -1), y, 0)
    if several:
        p = move_last(probability.movedim(axis, -2), -1)
        classes = torch.nn.functional.one_hot(y.long(), p.shape[-1]).to(p.dtype)
        scale = temperature_last(temperature, p)
        soft = (p / (2 * scale)).softmax(-1)
        best = torch.nn.functional.one_hot(p.argmax(-1), p.shape[-1])
    else:
        p = move_last(probability, axis).unsqueeze(-1)
        yes = y.to(p.dtype)
        classes = torch.stack([1 - yes, yes], -1)
        scale = temperature_last(temperature, p.squeeze(-1))
        scale = scale.unsqueeze(-1) if isinstance(scale, Tensor) else scale
        positive = torch.sigmoid((p - 0.5) / scale)
        soft = torch.cat([1 - positive, positive], -1)
        best = torch.cat([p <= 0.5, p > 0.5], -1)
    if hard:
        soft = exact_forward(best, soft)
    w = torch.ones_like(y, dtype=p.dtype)
    if weight is not None:
        w = weight.expand(target.shape).movedim(axis, -1).to(p.dtype)
    if mask is not None:
        w = torch.where(shown.movedim(axis, -1), w, 0.0)
    return (classes * w.unsqueeze(-1)).mT @ soft


def _recall(m: Tensor) -> tuple[Tensor, Tensor]:
    """Return the recall of each class, and which classes are there."""
    support = m.sum(-1)
    return divided(m.diagonal(dim1=-2, dim2=-1), support), support > 0


def _mean_of(values: Tensor, there: Tensor) -> Tensor:
    return divided((values * there).sum(-1), there.sum(-1).to(values.dtype))


def _accuracy(m: Tensor, beta: float) -> Tensor:
    return divided(m.diagonal(dim1=-2, dim2=-1).sum(-1), m.sum((-1, -2)))


def _balanced_accuracy(m: Tensor, beta: float) -> Tensor:
    return _mean_of(*_recall(m))


def _g_mean(m: Tensor, beta: float) -> Tensor:
    recall, there = _recall(m)
    mean = _mean_of(recall.clamp_min(torch.finfo(m.dtype).tiny).log(), there).exp()
    return torch.where(((recall <= 0) & there).any(-1), 0.0, mean)


def _of_positives(m: Tensor, values: Tensor) -> Tensor:
    """Return the value of class 1 of two, or the mean over the classes that are there."""
    if m.shape[-1] == 2:
        return values[..., 1]
    return _mean_of(values, (m.sum(-1) + m.sum(-2)) > 0)


def _f_beta(m: Tensor, beta: float) -> Tensor:
    hits = m.diagonal(dim1=-2, dim2=-1)
    square = beta * beta
    return _of_positives(m, divided((1 + square) * hits, square * m.sum(-1) + m.sum(-2)))


def _iou(m: Tensor, beta: float) -> Tensor:
    hits = m.diagonal(dim1=-2, dim2=-1)
    return _of_positives(m, divided(hits, m.sum(-1) + m.sum(-2) - hits))


def _precision(m: Tensor, beta: float) -> Tensor:
    return _of_positives(m, divided(m.diagonal(dim1=-2, dim2=-1), m.sum(-2)))


def _sensitivity(m: Tensor, beta: float) -> Tensor:
    return _of_positives(m, _recall(m)[0])


def _mcc(m: Tensor, beta: float) -> Tensor:
    hits, total = m.diagonal(dim1=-2, dim2=-1).sum(-1), m.sum((-1, -2))
    true, said = m.sum(-1), m.sum(-2)
    power = (total**2 - (true**2).sum(-1)) * (total**2 - (said**2).sum(-1))
    some = ~(power <= 0)  # NaN stays
    root = torch.where(some, power, 1.0).sqrt()
    return torch.where(some, (hits * total - (true * said).sum(-1)) / root, 0.0)


METRICS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f_beta": _f_beta,
    "g_mean": _g_mean,
    "iou": _iou,
    "mcc": _mcc,
    "precision": _precision,
    "recall": _sensitivity,
}


@capability("loss", papers=("anyloss",), cost="O(n C) time and memory, C classes", example=_example)
@full_precision
def confusion_loss(
    probability: Tensor,
    target: Tensor,
    metric: str = "f_beta",
    *,
    beta: float = 1.0,
    task: str = "binary",
    dim: int = -1,
    average: str = "macro",
    temperature: float | Tensor = 1 / SHARPNESS,
    hard: bool = False,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - a metric of the confusion matrix, from soft counts; see ``soft_confusion_matrix``.

    ``accuracy``, ``balanced_accuracy`` (mean recall), ``g_mean`` (geometric mean of the recalls), ``mcc``; ``f_beta``,
    ``iou``, ``precision`` and ``recall`` of the positive class, or their mean over the classes where there are more
    than two. A share of nothing is 0.

    Several labels for each example are several binary problems: ``probability`` ``[n, L]`` with ``dim=0``.
    Use large or stratified batches: the mean of the F of small batches is not the F of the whole.

    Args:
        probability: as in ``soft_confusion_matrix``.
        target: as there.
        metric: one of those above.
        beta: weight of recall in ``f_beta``, > 0.
        task: ``"binary"`` or ``"multiclass"``.
        dim: the axis of the examples in ``target``.
        average: over the other axes: ``"macro"`` takes the metric of each and their mean, ``"micro"`` adds up the
            counts first.
        temperature: :math:`\tau > 0`, a probability; 1 / 73 by default. Much smaller ones have no gradient left.
        hard: the exact value forward, the soft gradient backward.
        mask: bool in the shape of the target, True where an example is present.
        weight: >= 0 of each example.
        reduction: ``"mean"``, or ``"none"`` for one loss for each of the other axes.

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, 1 - the metric of the predictions at the threshold 1/2.

    Example:
        >>> p, y = torch.tensor([0.9, 0.8, 0.1, 0.4]), torch.tensor([1, 0, 0, 1])
        >>> confusion_loss(p, y, "f_beta", hard=True), confusion_loss(p, y, "accuracy", hard=True)
        (tensor(0.5000), tensor(0.5000))

    Cost: O(n C) time, O(n C) memory.

    Source: Han, Moon and Kim 2024 (AnyLoss); several classes and labels: ours.
    """
    check_choice("metric", metric, METRICS)
    check_choice("average", average, ("macro", "micro"))
    beta = check_number("beta", beta, low=1e-6)

    def value(exact: bool) -> Tensor:
        m = soft_confusion_matrix(
            probability, target, task=task, dim=dim, temperature=temperature, hard=exact, mask=mask, weight=weight
        )
        m = m.flatten(0, -3).sum(0) if average == "micro" and m.ndim > 2 else m
        return 1 - METRICS[metric](m, beta)

    loss = value(False)
    loss = straight_through(value(True), loss) if hard else loss
    return reduced(loss, torch.ones_like(loss, dtype=torch.bool), reduction)
