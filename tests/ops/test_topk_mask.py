import pytest
import torch
from scipy.optimize import minimize
from torch._dynamo.testing import CompileCounterWithBackend
from torch.autograd import gradcheck, gradgradcheck

from softwood.core import InputError
from softwood.kernels import EXPONENTIAL, LAPLACE, LOGISTIC, POWER
from softwood.ops import Permutahedron, topk_mask
from softwood.ops._threshold import _batched, _threshold
from softwood.ops._topk_mask import MASKS

EACH = pytest.mark.parametrize("relax", MASKS)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(x, k, dim):
    return torch.zeros_like(x).scatter(dim, x.topk(k, dim).indices, 1.0)


@EACH
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_the_limit_is_the_exact_mask_on_every_axis(relax, dim):
    x = drawn(6, 5, 7)
    torch.testing.assert_close(topk_mask(x, 3, dim, relax=relax, temperature=1e-5), exact(x, 3, dim), atol=1e-8, rtol=0)
    small = topk_mask(x, 3, dim, False, relax=relax, temperature=1e-5)
    torch.testing.assert_close(small, exact(-x, 3, dim), atol=1e-8, rtol=0)
    soft, hard = (topk_mask(x, 3, dim, relax=relax, temperature=0.5, hard=hard) for hard in (False, True))
    assert torch.equal(hard, exact(x, 3, dim))
    assert (soft - hard).abs().max() > 0.05


@EACH
def test_the_mask_sums_to_k_for_a_hundred_thousand_values(relax):
    x = drawn(2, 100_000).float()
    for temperature in (1.0, 0.1, 0.003):
        total = topk_mask(x, 1000, relax=relax, temperature=temperature).double().sum(-1)
        torch.testing.assert_close(total, torch.full_like(total, 1000.0), rtol=1e-5, atol=0)


@EACH
def test_gradients_twice_by_everything(relax):
    x, t = drawn(3, 6).requires_grad_(), torch.tensor([[0.5], [0.8], [1.5]], dtype=torch.float64, requires_grad=True)
    k = torch.tensor([1.3, 2.5, 4.2], dtype=torch.float64, requires_grad=True)  # at whole k "budget" has a kink

    def masked(x, t, k):
        return topk_mask(x, k, relax=relax, temperature=t)

    assert gradcheck(masked, (x, t, k))
    assert gradgradcheck(masked, (x, t, k))


def test_the_threshold_has_its_gradient():
    x, k = drawn(2, 5).requires_grad_(), torch.tensor([1.5, 3.2], dtype=torch.float64, requires_grad=True)
    for kind, power in ((LOGISTIC, 1.0), (LAPLACE, 1.0), (EXPONENTIAL, 1.0), (POWER, 3.0)):
        assert gradcheck(lambda x, k, a=kind, b=power: _threshold(x, k, a, b), (x, k))


@EACH
def test_one_k_for_each_row_and_absent_entries(relax):
    x, k = drawn(2, 3, 8).requires_grad_(), torch.tensor([[1, 2, 3], [8, 5, 0]])
    mask = torch.rand(2, 3, 8, generator=torch.Generator().manual_seed(3)) < 0.7
    m = topk_mask(x, k, relax=relax, mask=mask)
    for a in range(2):
        for b in range(3):
            row = topk_mask(x[a, b][mask[a, b]], int(k[a, b]), relax=relax)
            torch.testing.assert_close(m[a, b][mask[a, b]], row)
    assert (m[~mask] == 0).all()
    assert (torch.autograd.grad((m * drawn(2, 3, 8, seed=1)).sum(), x)[0][~mask] == 0).all()
    hard = topk_mask(x, k, relax=relax, mask=mask, hard=True)
    assert torch.equal(hard.sum(-1), torch.minimum(k, mask.sum(-1)).double())


@pytest.mark.parametrize("p", [1.0, 4 / 3, 1.5, 2.0])
def test_the_permutahedron_mask_maximises_its_objective(p):
    x = drawn(6)

    def objective(y):
        y = torch.as_tensor(y).clamp_min(1e-12)
        penalty = torch.special.xlogy(y, y) if p == 1 else y**p / (p * (p - 1))
        return float(penalty.sum() - y @ x)

    whole = {"type": "eq", "fun": lambda y: y.sum() - 2}
    solved = minimize(objective, [1 / 3] * 6, bounds=[(0, 1)] * 6, constraints=whole, options={"ftol": 1e-14})
    ours = topk_mask(x, 2, relax=Permutahedron(p), temperature=1.0)
    torch.testing.assert_close(ours, torch.as_tensor(solved.x), atol=2e-4, rtol=0)


@EACH
def test_ties_infinities_and_nan(relax):
    inf = torch.inf
    x = torch.tensor([[1.0, 1, 1, 1], [inf, 2, -inf, 0], [torch.nan, 1, 2, 3], [inf, inf, 1, 0]]).double()
    m = topk_mask(x, torch.tensor([3, 2, 1, 1]), relax=relax, temperature=1e-3)
    torch.testing.assert_close(m[0], torch.full((4,), 0.75).double())
    torch.testing.assert_close(m[1], torch.tensor([1.0, 1.0, 0.0, 0.0]).double(), atol=1e-6, rtol=0)
    assert m[2:].isnan().all()
    assert topk_mask(x[:, :0], 0, relax=relax).shape == (4, 0)
    assert topk_mask(x[0, :1], 1, relax=relax).tolist() == [1.0]
    assert topk_mask(drawn(5), 7, relax=relax).tolist() == [1.0] * 5


@EACH
def test_compiled_whole_vmapped_and_in_half_precision(relax):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")

    def masked(x, t):
        return topk_mask(x, 2, 0, relax=relax, temperature=t)

    compiled = torch.compile(masked, backend=counter, fullgraph=True)
    for t in (0.3, 1.0, 2.5):
        x, t = drawn(6, 4).float().requires_grad_(), torch.tensor(t, requires_grad=True)
        answers = compiled(x, t), masked(x, t)
        torch.testing.assert_close(*answers)
        torch.testing.assert_close(*(torch.autograd.grad(y, (x, t), drawn(6, 4, seed=3).float()) for y in answers))
    assert counter.frame_count == 1
    x = drawn(3, 2, 6)
    torch.testing.assert_close(torch.vmap(lambda x: topk_mask(x, 2, relax=relax))(x), topk_mask(x, 2, relax=relax))
    half = topk_mask(x.half(), 2, relax=relax)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half, topk_mask(x.half().double(), 2, relax=relax).half())


@pytest.mark.parametrize("power", [1.0, 3.0])
@pytest.mark.parametrize("kind", [LOGISTIC, LAPLACE, EXPONENTIAL, POWER])
def test_the_batched_torch_path_gives_the_same(kind, power):
    x, k = drawn(8, 9, seed=5), torch.tensor([1, 2.5, 9, 0, 3, 1, 1, 2], dtype=torch.float64)
    x[4, 2], x[4, 3], x[5, :2], x[6, 0], x[7, 2:] = -torch.inf, torch.inf, torch.inf, torch.nan, -torch.inf
    ours, theirs = _threshold(x, k, kind, power), _batched(x, k, kind, power)
    torch.testing.assert_close(theirs[0], ours[0], atol=1e-9, rtol=0, equal_nan=True)
    if not (kind == POWER and power == 1.0):  # there a whole k may have many thresholds
        torch.testing.assert_close(theirs[1], ours[1], atol=1e-9, rtol=0, equal_nan=True)


def test_opcheck_and_errors():
    x, k = drawn(2, 5).requires_grad_(), torch.tensor([1.5, 3.2], dtype=torch.float64)
    torch.library.opcheck(torch.ops.softwood.threshold.default, (x, k, LOGISTIC, 1.0))
    with pytest.raises(InputError, match="lapsum"):
        topk_mask(x, 2, relax="laplace")
    with pytest.raises(InputError, match="k is out of range"):
        topk_mask(x, -1)
    with pytest.raises(InputError, match="whole"):
        topk_mask(x, 1.5, hard=True)
