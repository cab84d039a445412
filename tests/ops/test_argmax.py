import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from softwood import ops
from softwood.core import InputError
from softwood.ops import Entmax, PNorm, argmax, argmin, entmax, one_hot

NAMES = ["softmax", "sparsemax", "entmax15", "p-norm", "logsumexp"]
EACH = pytest.mark.parametrize("relax", NAMES)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@EACH
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_as_the_temperature_goes_to_zero_all_agree_with_torch(relax, dim):
    x = drawn(4, 5, 3)
    for ours, theirs in ((ops.max, torch.max), (ops.min, torch.min)):
        wanted = theirs(x, dim)
        values, index = ours(x, dim, relax=relax, temperature=1e-5)
        torch.testing.assert_close(values, wanted.values, atol=1e-9, rtol=0)
        torch.testing.assert_close(index.hard().movedim(-1, dim).squeeze(dim), wanted.indices)
        torch.testing.assert_close(index.apply(x).squeeze(dim), wanted.values, atol=1e-9, rtol=0)
        assert ours(x, dim, True, relax=relax)[0].shape == theirs(x, dim, True).values.shape
    hot = torch.nn.functional.one_hot(x.argmax(dim), x.shape[dim]).movedim(-1, dim).double()
    torch.testing.assert_close(one_hot(x, dim, relax=relax, temperature=1e-5), hot, atol=1e-9, rtol=0)


@EACH
def test_max_is_the_inner_product_with_the_weights_and_hard_changes_only_the_value(relax):
    x = drawn(3, 6).requires_grad_()
    soft, hard = (ops.max(x, relax=relax, temperature=0.7, hard=hard) for hard in (False, True))
    weights = one_hot(x, relax=relax, temperature=0.7)
    if relax == "logsumexp":
        torch.testing.assert_close(soft[0], 0.7 * (x / 0.7).logsumexp(-1))
        torch.testing.assert_close(torch.autograd.grad(soft[0].sum(), x, retain_graph=True)[0], weights)
        assert (soft[0] >= x.amax(-1)).all()
    else:
        torch.testing.assert_close(soft[0], (weights * x).sum(-1))
        assert (soft[0] <= x.amax(-1)).all()
    assert torch.equal(hard[0], x.amax(-1))
    assert torch.equal(one_hot(x, relax=relax, hard=True).sum(-1), torch.ones(3).double())
    assert torch.equal(hard[1].apply(x).squeeze(-1), x.amax(-1))
    upstream = drawn(3, seed=4)
    for one, other in ((soft[0], hard[0]), (soft[1].apply(x)[:, 0], hard[1].apply(x)[:, 0])):
        gradients = [torch.autograd.grad(y, x, upstream, retain_graph=True)[0] for y in (one, other)]
        torch.testing.assert_close(*gradients)
        assert gradients[0].abs().sum() > 0


@EACH
def test_gradients_twice(relax):
    x, t = drawn(2, 5).requires_grad_(), torch.tensor(0.8, dtype=torch.float64, requires_grad=True)

    def every(x, t):
        return (*(f(x, relax=relax, temperature=t)[0] for f in (ops.max, ops.min)), argmin(x, relax=relax).dense())

    assert gradcheck(every, (x, t))
    assert gradgradcheck(every, (x, t))


@EACH
def test_masks_and_infinities(relax):
    x = torch.tensor([[3.0, 9.0, 1.0], [-torch.inf, 2.0, 2.0], [torch.nan, 1.0, 2.0], [5.0, 5.0, 5.0]]).requires_grad_()
    mask = torch.tensor([[True, False, True], [True, True, True], [True, True, True], [False, False, False]])
    values, index = ops.max(x, relax=relax, temperature=1e-3, mask=mask)
    torch.testing.assert_close(values[:2], torch.tensor([3.0, 2.0]), atol=1e-3, rtol=0)
    assert values[2].isnan()
    assert values[3] == (-torch.inf if relax == "logsumexp" else 0)
    assert index.dense()[3].eq(0).all()
    assert one_hot(x, relax=relax, mask=mask, hard=True)[0].tolist() == [1, 0, 0]
    gradient = torch.autograd.grad(values[:2].sum(), x)[0]
    assert gradient[0, 1] == 0
    assert gradient[[0, 1, 3]].isfinite().all()


def test_parameters_of_relaxations():
    x = drawn(3, 6)
    torch.testing.assert_close(one_hot(x, relax=Entmax(1.3), temperature=1.0), entmax(x, alpha=1.3))
    torch.testing.assert_close(one_hot(x, relax=PNorm(2.0)), one_hot(x, relax="sparsemax"))
    y = one_hot(x[0], relax=PNorm(1.5), temperature=1.0)
    for other in (drawn(6, seed=s).softmax(0) for s in range(50)):  # no other point of the simplex is better
        assert y @ x[0] - (y**1.5).sum() / 1.5 >= other @ x[0] - (other**1.5).sum() / 1.5
    log = argmax(x, temperature=1e-3).log_dense()
    torch.testing.assert_close(log, (x / 1e-3).log_softmax(-1).unsqueeze(-2))
    with pytest.raises(InputError, match="softmax"):
        argmax(x, relax="sofmax")
    with pytest.raises(InputError, match="alpha"):
        Entmax(0.5)


def test_half_precision_keeps_its_dtype_and_compiles_whole():
    x = drawn(3, 6).half()
    values, index = ops.max(x, relax="entmax15", temperature=0.5)
    assert values.dtype == torch.float16
    assert index.dense().dtype == torch.float32
    torch.testing.assert_close(values, ops.max(x.double(), relax="entmax15", temperature=0.5)[0].half())
    compiled = torch.compile(lambda x: ops.max(x, 0, relax="sparsemax")[0], backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), ops.max(x, 0, relax="sparsemax")[0])
