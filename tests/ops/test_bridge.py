"""One small kernel through the bridge: cumulative products of rows, whose backward is written by hand."""

import os
import threading

import numpy as np
import pytest
import torch
from numba import njit
from torch._dynamo.testing import CompileCounterWithBackend

from softwood.ops._bridge import array, kernel_operator, over_rows


@njit(nogil=True)
def _cubes(x, scale, out):
    for row in range(x.shape[0]):
        for place in range(x.shape[1]):
            out[row, place] = scale[row] * x[row, place] ** 3


def _run(x, scale):
    out = torch.empty(x.shape, dtype=x.dtype)
    over_rows(_cubes, x.numel(), array(x), array(scale), array(out))
    return out


def _backward(ctx, gradient):
    x, scale = ctx.saved_tensors
    return 3 * gradient * scale[:, None] * x**2, (gradient * x**3).sum(1)


cubes = kernel_operator(
    "test_cubes(Tensor x, Tensor scale) -> Tensor",
    _run,
    batched=lambda x, scale: scale[:, None] * x**3,
    fake=lambda x, scale: torch.empty_like(x, memory_format=torch.contiguous_format),
    backward=_backward,
    setup=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


def inputs(rows=3, n=4):
    g = torch.Generator().manual_seed(0)
    x, scale = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((rows, n), (rows,)))
    return x.requires_grad_(), scale.requires_grad_()


def test_an_operator_passes_opcheck_and_gradcheck():
    torch.library.opcheck(torch.ops.softwood.test_cubes.default, inputs())
    assert torch.autograd.gradcheck(cubes, inputs())
    assert torch.autograd.gradgradcheck(cubes, inputs())


def test_a_tensor_with_gaps_is_read_in_its_order():
    x, scale = inputs(4, 3)
    torch.testing.assert_close(cubes(x.detach().T, scale[:3]), scale[:3, None] * x.detach().T ** 3)


@pytest.mark.parametrize("dims", [(0, 0), (0, None), (None, 0), (2, 1)])
def test_vmap_folds_its_axis_into_the_rows(dims):
    x, scale = (torch.randn(*shape, dtype=torch.float64) for shape in ((5, 3, 4), (5, 3)))
    given = [one[0] if dim is None else one.movedim(0, dim) for one, dim in zip((x, scale), dims, strict=True)]
    batches = [
        one if dim is not None else one[:1].expand(5, *one.shape[1:]) for one, dim in zip((x, scale), dims, strict=True)
    ]
    expected = torch.stack([cubes(a, b) for a, b in zip(*batches, strict=True)])
    torch.testing.assert_close(torch.vmap(cubes, in_dims=dims)(*given), expected)
    gradient = torch.func.grad(lambda a, b: cubes(a, b).sum())
    pairs = [gradient(a, b) for a, b in zip(*batches, strict=True)]
    torch.testing.assert_close(torch.vmap(gradient, in_dims=dims)(*given), torch.stack(pairs))


def test_compiled_whole_it_gives_the_same():
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda x, scale: 2 * cubes(x, scale), backend=counter, fullgraph=True)
    x, scale = inputs()
    torch.testing.assert_close(compiled(x, scale), 2 * cubes(x, scale))
    pair = [torch.autograd.grad(call(x, scale).sum(), (x, scale)) for call in (compiled, lambda x, s: 2 * cubes(x, s))]
    torch.testing.assert_close(*pair)
    assert counter.frame_count == 1
    torch._dynamo.reset()


def test_rows_are_shared_among_as_many_threads_as_torch_may_use():
    before = torch.get_num_threads()
    seen = []

    def kernel(x, factor, out):
        seen.append(threading.get_ident())
        np.multiply(x, factor, out=out)

    x, out = np.random.default_rng(0).random((10, 20_000)), np.zeros((10, 20_000))
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            seen.clear()
            over_rows(kernel, x.size, x, 3.0, out)
            assert len(seen) == threads
            np.testing.assert_array_equal(out, 3.0 * x)
        seen.clear()
        over_rows(kernel, 100, x[:, :10], 3.0, out[:, :10])
        assert len(seen) == 1  # so little is not worth a second thread
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_thread_is_not_lost():
    before = torch.get_num_threads()

    def kernel(x):
        if x[0] > 0:
            raise ValueError("here")

    try:
        torch.set_num_threads(2)
        with pytest.raises(ValueError, match="here"):
            over_rows(kernel, 1 << 20, np.arange(4.0))
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_starts_its_own_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        over_rows(lambda x: None, 1 << 20, np.arange(4.0))
        child = os.fork()
        if child == 0:
            over_rows(lambda x: None, 1 << 20, np.arange(4.0))
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    finally:
        torch.set_num_threads(before)
