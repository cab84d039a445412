import pytest
import torch

from softwood.gradients import REBAR, RELAX


@pytest.mark.parametrize("estimator", [REBAR(), RELAX()])
def test_a_class_that_cannot_be_drawn_leaves_value_and_gradient_finite(estimator):
    logits = torch.tensor([0.0, 1.0, -torch.inf], requires_grad=True)
    noise = torch.Generator().manual_seed(0)
    value = estimator.estimate(lambda z: z[..., 1] * 3, logits, n_samples=500, generator=noise)
    (found,) = torch.autograd.grad(value, logits)
    p = torch.softmax(logits.detach(), -1)
    assert value.item() == pytest.approx(3 * p[1].item(), abs=0.3)
    torch.testing.assert_close(found, 3 * p[1] * (torch.eye(3)[1] - p), rtol=0, atol=0.15)
