"""Losses: metrics with a gradient, each equal to 1 - metric as its temperature goes to 0.

Every loss takes ``temperature=`` (in units of what it is given), ``hard=True`` (the exact 1 - metric forward, the soft
gradient backward; without gradients, simply the metric), ``mask=`` for padded lists, ``dim=`` for the axis of the
list, and ``reduction=``. Counts and ranks take O(n) to O(n log n); none forms a pair unless its docstring says so.
"""

from softwood.losses._auc import auc_loss, average_precision_loss
from softwood.losses._calibration import ece_loss
from softwood.losses._confusion import confusion_loss, soft_confusion_matrix
from softwood.losses._correlation import kendall_loss, spearman_loss
from softwood.losses._masks import dice_loss, iou_loss
from softwood.losses._neural_ndcg import neural_ndcg_loss
from softwood.losses._ranking import mrr_loss, ndcg_loss
from softwood.losses._recall import recall_at_k_loss

__all__ = [
    "auc_loss",
    "average_precision_loss",
    "confusion_loss",
    "dice_loss",
    "ece_loss",
    "iou_loss",
    "kendall_loss",
    "mrr_loss",
    "ndcg_loss",
    "neural_ndcg_loss",
    "recall_at_k_loss",
    "soft_confusion_matrix",
    "spearman_loss",
]
