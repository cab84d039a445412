"""The gradient by the temperature, beside entries that have none."""

import pytest
import torch

from softwood import ops

RELAXED = {
    **{f"sort {name}": lambda x, t, m=None, d=False, name=name: ops.sort(x, -1, d, relax=name, temperature=t, mask=m)[0]
       for name in ("lapsum", "softsort")},
    **{f"rank {name}": lambda x, t, m=None, d=False, name=name: ops.rank(x, -1, d, relax=name, temperature=t, mask=m)
       for name in ("isotonic-l2", "isotonic-kl", "lapsum", "pairwise")},
    "dense_rank": lambda x, t, m=None, d=False: ops.dense_rank(x, -1, d, temperature=t, mask=m),
}  # fmt: skip


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", RELAXED)
def test_infinities_leave_the_gradient_of_the_temperature_alone(name, descending):
    slopes = []
    for end in (torch.inf, 1e4):
        x = torch.tensor([[end, 1.0, 1.2, -end, 2.0]], dtype=torch.float64)
        t = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
        answer = RELAXED[name](x, t, None, descending)
        inner = answer[:, 1:4] if name.startswith("sort") else answer[:, [1, 2, 4]]
        (inner * torch.tensor([1.0, 2.0, 4.0])).sum().backward()
        slopes.append(t.grad)
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("name", RELAXED)
def test_absent_entries_leave_the_gradient_of_the_temperature_alone(name):
    x = torch.tensor([0.3, torch.nan, 0.1, 0.6], dtype=torch.float64)
    present = ~x.isnan()
    assert torch.autograd.gradcheck(
        lambda t: RELAXED[name](x, t, present), (torch.tensor(0.4, dtype=torch.float64, requires_grad=True),)
    )
