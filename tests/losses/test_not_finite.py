import pytest
import torch

import softwood as sw

SCORES = torch.tensor([[0.1, torch.nan, 0.4, 0.2], [0.1, 0.9, 0.4, 0.3]])
TARGET = torch.tensor([[0, 1, 1, 0], [0, 1, 1, 0]])


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("name", sorted(set(sw.losses.__all__) - {"soft_confusion_matrix"}))
def test_a_nan_makes_the_loss_of_its_list_nan(name, hard):
    more = (2,) if name == "recall_at_k_loss" else ()
    loss = getattr(sw.losses, name)
    each = loss(SCORES, TARGET, *more, hard=hard, reduction="none")
    assert each[0].isnan()
    assert each[1] == loss(SCORES[1:], TARGET[1:], *more, hard=hard, reduction="none")[0]
    assert loss(SCORES, TARGET, *more, hard=hard).isnan()


@pytest.mark.parametrize(
    "loss", [sw.losses.auc_loss, sw.losses.average_precision_loss, sw.losses.ndcg_loss, sw.losses.spearman_loss,
             sw.losses.kendall_loss],
)  # fmt: skip
def test_infinite_scores_stand_at_the_ends(loss):
    scores = torch.tensor([0.3, torch.inf, 0.1, -torch.inf, 0.2], requires_grad=True)
    target = torch.tensor([1, 1, 0, 0, 0])
    soft = loss(scores, target, temperature=0.001)
    soft.backward()
    far = loss(torch.tensor([0.3, 99.0, 0.1, -99.0, 0.2]), target, temperature=0.001)
    torch.testing.assert_close(soft.detach(), far)
    assert scores.grad.isfinite().all()
