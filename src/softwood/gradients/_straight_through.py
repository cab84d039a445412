"""Hard values forward, soft gradients backward."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import capability


@capability("estimator", cost="O(n) time and memory")
def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    r"""Return ``hard`` as value, with the gradient of ``soft``.

    .. math:: y = \operatorname{stop}(h) + s - \operatorname{stop}(s), \qquad
              y = h, \quad \partial y / \partial s = 1 .

    The value is exactly ``hard``, to the last bit. The gradient is that of ``soft``, whatever the two have to do with
    each other: it is biased. Where ``soft`` is NaN or infinite there is no gradient.

    Args:
        hard: the discrete value, any dtype; it takes part in no gradient.
        soft: the relaxed value, floating; ``hard`` broadcasts to its shape and is cast to its dtype.

    Example:
        >>> x = torch.tensor([0.2, 0.9], requires_grad=True)
        >>> straight_through(x.round(), x).tolist()
        [0.0, 1.0]
        >>> torch.autograd.grad(straight_through(x.round(), x).sum(), x)[0].tolist()
        [1.0, 1.0]

    Limit: as the temperature of ``soft`` goes to 0 its gradient goes to 0 almost everywhere, and so does this one.

    Cost: O(n) time and memory.

    Source: Bengio, Léonard and Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for
    Conditional Computation", 2013.
    """
    value = hard.detach().to(soft.dtype).expand_as(soft)
    # soft - stop(soft) is 0 wherever soft is finite; inf - inf would turn a right value into NaN
    return torch.where(soft.isfinite(), value + (soft - soft.detach()), value)
