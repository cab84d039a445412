"""Each loss against its metric (scikit-learn, scipy), its limit, its gradient, padding and weights."""

import functools

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, spearmanr
from sklearn import metrics
from torch.autograd import gradcheck

from softwood.core import InputError
from softwood.losses import (
    auc_loss,
    average_precision_loss,
    confusion_loss,
    dice_loss,
    ece_loss,
    iou_loss,
    kendall_loss,
    mrr_loss,
    ndcg_loss,
    neural_ndcg_loss,
    recall_at_k_loss,
    soft_confusion_matrix,
    spearman_loss,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relevance(*shape, levels=2, seed=1):
    return torch.randint(0, levels, shape, generator=torch.Generator().manual_seed(seed))


def dcg(scores, gains, k):
    order = np.argsort(-scores)[:k]
    return (gains[order] / np.log2(np.arange(2, len(order) + 2))).sum()


def ndcg(scores, y, k=None):
    gains = 2.0**y - 1
    return dcg(scores, gains, k) / dcg(y.astype(float), gains, k)


def reciprocal_rank(scores, y):
    return 1 / (1 + np.flatnonzero(y[np.argsort(-scores)])[0])


def binned_error(p, y, bins=15):
    which = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
    return sum(abs((p - y)[which == b].sum()) for b in range(bins)) / len(p)


LISTS = {
    "auc": (auc_loss, lambda s, y: metrics.roc_auc_score(y, s), 2),
    "average precision": (average_precision_loss, lambda s, y: metrics.average_precision_score(y, s), 2),
    "ndcg": (ndcg_loss, ndcg, 4),
    "ndcg at 3": (functools.partial(ndcg_loss, k=3), lambda s, y: ndcg(s, y, 3), 4),
    "ndcg, linear": (functools.partial(ndcg_loss, gain="linear"), lambda s, y: metrics.ndcg_score(y[None], s[None]), 4),
    "neural ndcg": (neural_ndcg_loss, ndcg, 4),
    "neural ndcg at 3": (functools.partial(neural_ndcg_loss, k=3), lambda s, y: ndcg(s, y, 3), 4),
    "recall at 4": (functools.partial(recall_at_k_loss, k=4), lambda s, y: y[np.argsort(-s)[:4]].sum() / y.sum(), 2),
    "mrr": (mrr_loss, reciprocal_rank, 2),
    "spearman": (spearman_loss, lambda s, y: spearmanr(s, y).statistic, 5),
    "kendall": (kendall_loss, lambda s, y: kendalltau(s, y).statistic, 5),
}
lists = pytest.mark.parametrize("name", LISTS)


@lists
def test_a_list_loss_is_one_minus_its_metric(name):
    loss, metric, levels = LISTS[name]
    scores, y = 3 * draw(20, 12), relevance(20, 12, levels=levels)
    exact = np.array([1 - metric(s, t) for s, t in zip(scores.numpy(), y.numpy(), strict=True)])
    np.testing.assert_allclose(loss(scores, y, reduction="none", hard=True).numpy(), exact, atol=1e-9)
    gaps = [np.abs(loss(scores, y, reduction="none", temperature=t).numpy() - exact).mean() for t in (1, 0.1, 1e-4)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-3
    assert loss(scores, y, hard=True).item() == pytest.approx(exact.mean())


@lists
def test_the_gradient_of_a_list_loss(name):
    loss, _, levels = LISTS[name]
    scores, y = draw(2, 5).requires_grad_(), relevance(2, 5, levels=levels, seed=3)
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda s, t: loss(s, y, temperature=t), (scores, temperature))
    hard, soft = (torch.autograd.grad(loss(scores, y, hard=h, temperature=0.7), scores)[0] for h in (True, False))
    torch.testing.assert_close(hard, soft)
    assert soft.abs().sum() > 1e-3


@lists
def test_padding_changes_nothing_and_any_axis_will_do(name):
    loss, _, levels = LISTS[name]
    scores, y = draw(3, 9), relevance(3, 9, levels=levels, seed=4)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[0, 6:] = False
    padded, target = scores.clone(), y.clone()
    padded[0, 6:], target[0, 6:] = torch.nan, 77
    for hard in (False, True):
        found = loss(padded, target, mask=mask, hard=hard, reduction="none")
        torch.testing.assert_close(found[1:], loss(scores[1:], y[1:], hard=hard, reduction="none"))
        torch.testing.assert_close(found[:1], loss(scores[:1, :6], y[:1, :6], hard=hard, reduction="none"))
        across = loss(padded.T, target.T, dim=0, mask=mask.T, hard=hard, reduction="none")
        torch.testing.assert_close(across, found)
    leaf = padded.clone().requires_grad_()
    gradient = torch.autograd.grad(loss(leaf, target, mask=mask), leaf)[0]
    assert gradient[~mask].abs().sum() == 0
    assert torch.isfinite(gradient).all()


@lists
def test_lists_without_an_answer_do_not_count(name):
    loss, _, levels = LISTS[name]
    scores, y = draw(2, 6).requires_grad_(), relevance(2, 6, levels=levels, seed=5)
    empty = torch.zeros(1, 6, dtype=y.dtype)
    both, both_y = torch.cat([scores, draw(1, 6, seed=7)]), torch.cat([y, empty])
    torch.testing.assert_close(loss(both, both_y), loss(scores, y))
    nothing = loss(scores[:1], empty)
    assert nothing == 0
    assert torch.autograd.grad(nothing, scores)[0].abs().sum() == 0
    assert loss(torch.zeros(2, 0), torch.zeros(2, 0)) == 0
    assert loss(torch.zeros(2, 1), torch.ones(2, 1)).isfinite()


@lists
def test_types_are_kept_wide_and_moving_all_scores_moves_nothing(name):
    loss, _, levels = LISTS[name]
    scores, y = draw(2, 6), relevance(2, 6, levels=levels, seed=5)
    expected = loss(scores, y, temperature=0.5)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        found = loss(scores.to(dtype), y, temperature=0.5)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, atol=0.02, rtol=0.02)
    torch.testing.assert_close(loss(10 * scores - 4, y, temperature=5.0), expected)
    shuffle = torch.tensor([3, 0, 5, 1, 2, 4])
    torch.testing.assert_close(loss(scores[:, shuffle], y[:, shuffle], temperature=0.5), expected)


def test_tied_scores_count_half():
    s, y = torch.tensor([1.0, 1.0, 1.0, 0.0]), torch.tensor([1, 0, 1, 0])
    assert auc_loss(s, y, hard=True).item() == pytest.approx(1 - metrics.roc_auc_score(y, s))
    assert spearman_loss(s, y, hard=True).item() == pytest.approx(1 - spearmanr(s, y).statistic)
    assert kendall_loss(s, y, hard=True).item() == pytest.approx(1 - kendalltau(s, y).statistic)


def test_weights_are_repetitions():
    s, y, w = draw(8), relevance(8, seed=2), torch.tensor([1, 2, 1, 3, 1, 1, 2, 1])
    for hard in (False, True):
        for loss in (auc_loss, ece_loss, confusion_loss, dice_loss, iou_loss):
            x = s if loss is auc_loss else s.sigmoid()
            many = loss(x.repeat_interleave(w), y.repeat_interleave(w), hard=hard)
            torch.testing.assert_close(loss(x, y, weight=w, hard=hard), many)


def test_long_lists_are_exact_and_keep_their_gradient():
    s = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    y = s + torch.randn(200_000, generator=torch.Generator().manual_seed(1)) > 1
    leaf = s.clone().requires_grad_()
    loss = auc_loss(leaf, y, temperature=1e-3)
    assert loss.item() == pytest.approx(1 - metrics.roc_auc_score(y, s), abs=1e-4)
    assert torch.isfinite(torch.autograd.grad(loss, leaf)[0]).all()


def test_neural_ndcg_with_noise_and_without_sinkhorn():
    s, y = draw(4, 6), relevance(4, 6, levels=3)
    noisy = [neural_ndcg_loss(s, y, samples=8, generator=torch.Generator().manual_seed(i)) for i in (0, 0, 1)]
    assert noisy[0] == noisy[1] != noisy[2]
    assert abs(noisy[0] - neural_ndcg_loss(s, y)) < 0.1
    plain = neural_ndcg_loss(s, y, doubly_stochastic=False)
    assert plain != neural_ndcg_loss(s, y)
    # NeuralSort by hand, for one list
    matrix = (s[0, :, None] - s[0]).abs().sum(1)
    place = torch.arange(1, 7)
    p = ((7 - 2 * place)[:, None] * s[0] - matrix).softmax(-1)
    gain, off = torch.exp2(y[0]) - 1.0, 1 / torch.log2(1.0 + place)
    by_hand = 1 - (p @ gain.double() * off).sum() / (gain.sort(descending=True).values * off).sum()
    torch.testing.assert_close(neural_ndcg_loss(s[:1], y[:1], doubly_stochastic=False), by_hand)


SKLEARN = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f_beta": lambda y, p, **k: metrics.f1_score(y, p, **k),
    "iou": metrics.jaccard_score,
    "mcc": metrics.matthews_corrcoef,
    "precision": metrics.precision_score,
    "recall": metrics.recall_score,
    "g_mean": lambda y, p: np.prod(metrics.recall_score(y, p, average=None)) ** (1 / len(np.unique(y))),
}
named = pytest.mark.parametrize("metric", SKLEARN)
MACRO = {"f_beta", "iou", "precision", "recall"}


@named
def test_metrics_of_two_classes(metric):
    p, y = draw(60).sigmoid(), relevance(60)
    exact = 1 - SKLEARN[metric](y.numpy(), (p > 0.5).long().numpy())
    assert confusion_loss(p, y, metric, hard=True).item() == pytest.approx(exact)
    gaps = [abs(confusion_loss(p, y, metric, temperature=t).item() - exact) for t in (0.3, 1 / 73, 1e-5)]
    assert gaps[0] > gaps[2]
    assert gaps[2] < 1e-3
    leaf = p[:10].clone().requires_grad_()
    assert gradcheck(lambda x: confusion_loss(x, y[:10], metric, temperature=0.2), leaf)


@named
def test_metrics_of_several_classes(metric):
    p, y = draw(80, 4).softmax(-1), relevance(80, levels=4)
    options = {"average": "macro"} if metric in MACRO else {}
    exact = 1 - SKLEARN[metric](y.numpy(), p.argmax(-1).numpy(), **options)
    call = functools.partial(confusion_loss, target=y, metric=metric, task="multiclass")
    assert call(p, hard=True).item() == pytest.approx(exact)
    assert call(p, temperature=1e-5).item() == pytest.approx(exact, abs=1e-3)
    small, few = p[:8].clone().requires_grad_(), y[:8]
    assert gradcheck(lambda x: confusion_loss(x, few, metric, task="multiclass", temperature=0.2), small)
    two = torch.stack([1 - p[:, 0], p[:, 0]], -1)
    torch.testing.assert_close(
        confusion_loss(two, (y == 0).long(), metric, task="multiclass"), confusion_loss(p[:, 0], y == 0, metric)
    )


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_metrics_of_several_labels(average):
    p, y = draw(50, 3).sigmoid(), relevance(50, 3)
    exact = 1 - metrics.f1_score(y.numpy(), (p > 0.5).long().numpy(), average=average)
    assert confusion_loss(p, y, dim=0, average=average, hard=True).item() == pytest.approx(exact)


def test_f_beta_has_the_closed_gradient_of_the_paper():
    p, y = draw(30).sigmoid().requires_grad_(), relevance(30).double()
    ours = torch.autograd.grad(confusion_loss(p, y, "f_beta"), p)[0]
    with torch.no_grad():
        a = torch.sigmoid(73 * (p - 0.5))
        slope = 73 * a * (1 - a)
        hits, all_ = (y * a).sum(), (a + y).sum()
        closed = -(2 * y * all_ - 2 * hits) / all_**2 * slope
    torch.testing.assert_close(ours, closed, atol=1e-6, rtol=1e-6)


def test_the_soft_confusion_matrix_adds_up_and_a_mask_takes_out():
    p, y = draw(3, 10).sigmoid(), relevance(3, 10)
    mask = relevance(3, 10, seed=5).bool()
    spoiled = p.masked_fill(~mask, torch.nan)
    found = soft_confusion_matrix(spoiled, y, mask=mask)
    torch.testing.assert_close(found.sum((-1, -2)), mask.sum(-1).double())
    torch.testing.assert_close(found[1], soft_confusion_matrix(p[1][mask[1]], y[1][mask[1]]))
    leaf = spoiled.clone().requires_grad_()
    gradient = torch.autograd.grad(confusion_loss(leaf, y, mask=mask), leaf)[0]
    assert torch.isfinite(gradient).all()
    assert (gradient[~mask] == 0).all()


def test_batches_without_positives_are_no_accident():
    p = torch.rand(5, requires_grad=True)
    for metric in SKLEARN:
        loss = confusion_loss(p, torch.zeros(5), metric)
        assert torch.isfinite(torch.autograd.grad(loss, p)[0]).all()
    with pytest.raises(InputError, match="metric"):
        confusion_loss(p, torch.zeros(5), "f2")
    with pytest.raises(InputError, match="task"):
        confusion_loss(p, torch.zeros(4))


def test_overlap_of_masks():
    p, y = draw(4, 30).sigmoid(), relevance(4, 30)
    said = (p > 0.5).long()
    for loss, metric in ((dice_loss, metrics.f1_score), (iou_loss, metrics.jaccard_score)):
        exact = [1 - metric(t, s) for t, s in zip(y.numpy(), said.numpy(), strict=True)]
        np.testing.assert_allclose(loss(p, y, hard=True, reduction="none").numpy(), exact)
        np.testing.assert_allclose(loss(p, y, temperature=1e-5, reduction="none").numpy(), exact, atol=1e-3)
        np.testing.assert_allclose(loss(said.double(), y, reduction="none").numpy(), exact)
        assert gradcheck(lambda x, loss=loss: loss(x, y[:, :6]), p[:, :6].clone().requires_grad_())
        assert loss(torch.zeros(3), torch.zeros(3)) == 0


def test_calibration_error_in_bins():
    p, y = draw(5, 200).sigmoid(), relevance(5, 200)
    exact = [binned_error(q, t) for q, t in zip(p.numpy(), y.numpy(), strict=True)]
    np.testing.assert_allclose(ece_loss(p, y, hard=True, reduction="none").numpy(), exact)
    np.testing.assert_allclose(ece_loss(p, y, temperature=1e-6, reduction="none").numpy(), exact, atol=1e-3)
    assert gradcheck(lambda x: ece_loss(x, y[:, :6], temperature=0.05), p[:, :6].clone().requires_grad_())
    with pytest.raises(InputError, match="bins"):
        ece_loss(p, y, bins=0)
