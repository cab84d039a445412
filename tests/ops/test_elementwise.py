import functools

import pytest
import torch
from torch.autograd import gradcheck

from softwood import ops
from softwood.core import InputError
from softwood.ops._steps import STEPS, smooth_ramp, smooth_step

LEVELS = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
PAIRS = {
    "abs": (ops.abs, torch.abs),
    "sign": (ops.sign, torch.sign),
    "heaviside": (ops.heaviside, lambda x: torch.heaviside(x, x.new_tensor(0.5))),
    "relu": (ops.relu, torch.relu),
    "clamp": (functools.partial(ops.clamp, low=-0.5, high=0.75), lambda x: x.clamp(-0.5, 0.75)),
    "floor": (ops.floor, torch.floor),
    "ceil": (ops.ceil, torch.ceil),
    "round": (ops.round, torch.round),
    "quantize": (
        functools.partial(ops.quantize, levels=LEVELS),
        lambda x: LEVELS.to(x.dtype)[(x.clamp(-9, 9).unsqueeze(-1) - LEVELS.to(x.dtype)).abs().argmin(-1)],
    ),
    "gt": (functools.partial(ops.gt, y=0.3), lambda x: (x > 0.3).to(x.dtype)),
    "ge": (functools.partial(ops.ge, y=0.3), lambda x: (x >= 0.3).to(x.dtype)),
    "lt": (functools.partial(ops.lt, y=0.3), lambda x: (x < 0.3).to(x.dtype)),
    "le": (functools.partial(ops.le, y=0.3), lambda x: (x <= 0.3).to(x.dtype)),
    "eq": (functools.partial(ops.eq, y=0.3), lambda x: (x == 0.3).to(x.dtype)),
    "isclose": (functools.partial(ops.isclose, y=0.3, tolerance=0.4), lambda x: ((x - 0.3).abs() <= 0.4).to(x.dtype)),
}
EACH = pytest.mark.parametrize(("soft", "exact"), PAIRS.values(), ids=PAIRS)
STEP = pytest.mark.parametrize("relax", STEPS)


def drawn(*shape, seed=0):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@EACH
@STEP
def test_limit_hard_value_and_gradient(soft, exact, relax):
    x = drawn(4, 25).requires_grad_()
    torch.testing.assert_close(soft(x, relax=relax, temperature=1e-6), exact(x), atol=1e-4, rtol=0)
    smooth, hard = (soft(x, relax=relax, temperature=0.3, hard=hard) for hard in (False, True))
    assert torch.equal(hard, exact(x))
    assert (smooth - hard).abs().max() > 1e-3
    gradients = [torch.autograd.grad(y.sum(), x)[0] for y in (smooth, hard)]
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0


@EACH
@pytest.mark.parametrize("relax", ["sigmoid", "gaussian", "c1", "c2"])
def test_gradients_by_x_and_temperature(soft, exact, relax):
    x, t = drawn(2, 5).requires_grad_(), torch.tensor([[0.4], [0.7]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, t: soft(x, relax=relax, temperature=t), (x, t))


@STEP
def test_a_step_is_symmetric_rises_from_0_to_1_and_is_the_derivative_of_the_ramp(relax):
    u = torch.linspace(-3, 3, 301, dtype=torch.float64).requires_grad_()
    step = smooth_step(u, relax)
    torch.testing.assert_close(step + smooth_step(-u, relax), torch.ones_like(u))
    assert (step.diff() >= 0).all()
    torch.testing.assert_close(torch.autograd.grad(smooth_ramp(u, relax).sum(), u)[0], step)
    if relax.startswith("c"):  # exact beyond 1/2, and as smooth there as the name says
        assert step[u < -0.5].eq(0).all()
        torch.testing.assert_close(smooth_ramp(u, relax)[u.abs() > 0.5], torch.relu(u)[u.abs() > 0.5])
        end = torch.tensor(0.5 - 1e-6, dtype=torch.float64, requires_grad=True)
        value = smooth_step(end, relax)
        for order in range(int(relax[1]) + 1):
            assert abs(value.item() - (order == 0)) < 1e-3
            value = torch.autograd.grad(value, end, create_graph=True)[0]
        assert abs(value.item()) > 0.5


def test_the_gaussian_relu_is_the_convolution():
    x, z = torch.tensor(0.2, dtype=torch.float64), torch.linspace(-8, 8, 20001, dtype=torch.float64)
    density = (-0.5 * z * z).exp() / (2 * torch.pi) ** 0.5
    wanted = torch.trapezoid(torch.relu(x + 0.5 * z) * density, z)
    torch.testing.assert_close(ops.relu(x, relax="gaussian", temperature=0.5), wanted, atol=1e-7, rtol=0)


@EACH
@STEP
def test_ends_nan_and_dtypes(soft, exact, relax):
    x = torch.tensor([torch.nan, -torch.inf, torch.inf, 1e6, -1e6]).double()
    y = soft(x, relax=relax)
    assert y[0].isnan()
    if exact not in (torch.floor, torch.ceil, torch.round):  # a staircase has no end
        torch.testing.assert_close(y[1:], exact(x)[1:])
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        z = drawn(9).to(dtype)
        answer = soft(z, relax=relax, temperature=0.5)
        assert answer.dtype == dtype
        torch.testing.assert_close(
            answer, soft(z.double(), relax=relax, temperature=0.5).to(dtype), atol=2e-2, rtol=1e-2
        )
    assert soft(x[:0], relax=relax).shape == (0,)


@EACH
def test_compiled_whole_and_vmapped(soft, exact):
    torch._dynamo.reset()
    x = drawn(3, 4)
    compiled = torch.compile(lambda x, t: soft(x, temperature=t), backend="aot_eager", fullgraph=True)
    t = torch.tensor(0.4)
    torch.testing.assert_close(compiled(x, t), soft(x, temperature=t))
    torch.testing.assert_close(torch.vmap(soft)(x), soft(x))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="gaussian"):
        ops.relu(torch.zeros(2), relax="gauss")
    with pytest.raises(InputError, match="temperature"):
        ops.gt(torch.zeros(2), 0.0, temperature=-1.0)
    with pytest.raises(InputError, match="levels"):
        ops.quantize(torch.zeros(2), torch.zeros(2, 2))
