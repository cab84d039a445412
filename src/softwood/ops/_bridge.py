"""A numba kernel as an operator of torch: traced, compiled, differentiated and vmapped like torch's own."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softwood.kernels import sort_rows

_LIBRARY: Any = torch.library.Library("softwood", "FRAGMENT")  # type: ignore[no-untyped-call]
_GRAIN = 1 << 15  # entries that are worth a thread


def kernel_operator(
    schema: str,
    kernel: Callable[..., Any],
    *,
    batched: Callable[..., Any],
    fake: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    setup: Callable[..., None] | None = None,
) -> Callable[..., Any]:
    """Register ``softwood::name`` and return it.

    Every tensor that comes in or goes out has rows as first axis (``[rows, n]`` or ``[rows]``), and no row has to do
    with another: that is all that the vmap rule needs.

    Args:
        schema: as torch writes it, for example ``"pav(Tensor y) -> Tensor"``.
        kernel: takes the operator's arguments on the CPU, returns new tensors. It calls ``over_rows``.
        batched: the same function in plain torch, for other devices.
        fake: the same function on shapes and dtypes alone.
        backward: ``(ctx, *gradients) -> one gradient for each argument``, itself made of differentiable operators where
            a second derivative exists. None: no gradient.
        setup: ``(ctx, inputs, output)``, which keeps what ``backward`` needs.

    Example:
        >>> double = kernel_operator("doctest_double(Tensor x) -> Tensor", lambda x: 2 * x, batched=lambda x: 2 * x,
        ...                          fake=torch.empty_like, backward=lambda ctx, g: 2 * g)
        >>> x = torch.ones(1, 2, requires_grad=True)
        >>> torch.autograd.grad(double(x).sum(), x)[0]
        tensor([[2., 2.]])
    """
    name = f"softwood::{schema.partition('(')[0]}"
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, kernel, "CPU")
    _LIBRARY.impl(name, batched, "CUDA")
    torch.library.register_fake(name, fake, lib=_LIBRARY)
    if backward is not None:
        torch.library.register_autograd(name, backward, setup_context=setup or _keep_nothing, lib=_LIBRARY)
    operator = getattr(torch.ops.softwood, name.partition("::")[2]).default
    torch.library.register_vmap(name, functools.partial(_vmapped, operator), lib=_LIBRARY)

    def direct(*args: Any) -> Any:
        """Call the kernel without the dispatcher, where nobody listens there: it costs as much as a short row."""
        plain_tensor = type(args[0]) is Tensor and args[0].device.type == "cpu"
        if (
            plain_tensor
            and not torch._C._are_functorch_transforms_active()
            and not torch._C._len_torch_dispatch_stack()
        ):
            return kernel(*args)
        return operator(*args)

    if backward is None:
        return lambda *args: operator(*args) if torch.compiler.is_compiling() else direct(*args)
    keep = setup or _keep_nothing

    def forward_and_keep(ctx: Any, *args: Any) -> Any:
        output = direct(*args)
        keep(ctx, args, output)
        return output

    # Three ways to one gradient. torch.func (grad, jacrev, vmap of them) needs a Function with a setup of its own,
    # which is slow to call; a plain one is quick; the compiler knows what was registered.
    common = {"backward": staticmethod(backward)}
    split = {"forward": staticmethod(operator), "setup_context": staticmethod(keep), "generate_vmap_rule": True}
    plain: Any = type(
        f"{name}_plain", (torch.autograd.Function,), {**common, "forward": staticmethod(forward_and_keep)}
    )
    transformed: Any = type(f"{name}_transformed", (torch.autograd.Function,), {**common, **split})

    def call(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            return operator(*args)
        if not torch.is_grad_enabled():
            return direct(*args)
        return (transformed if torch._C._are_functorch_transforms_active() else plain).apply(*args)

    return call


def _keep_nothing(ctx: Any, inputs: Any, output: Any) -> None:
    pass


def _vmapped(operator: Any, info: Any, in_dims: Sequence[int | None], *args: Any) -> tuple[Any, Any]:
    """Fold the axis that vmap hides into the rows."""
    size = info.batch_size
    flat = []
    for arg, axis in zip(args, in_dims, strict=True):
        if isinstance(arg, Tensor):
            arg = arg.movedim(axis, 0) if axis is not None else arg.expand(size, *arg.shape)
            arg = arg.flatten(0, 1)
        flat.append(arg)
    found = operator(*flat)
    if isinstance(found, Tensor):
        return found.reshape(size, len(found) // size, *found.shape[1:]), 0
    return tuple(one.reshape(size, len(one) // size, *one.shape[1:]) for one in found), (0,) * len(found)


def array(x: Tensor) -> np.ndarray:
    """Return the memory of a tensor as a contiguous array.

    Example:
        >>> array(torch.ones(2))
        array([1., 1.], dtype=float32)
    """
    return x.detach().contiguous().numpy()


def sort_cpu(x: Tensor, descending: bool = False) -> tuple[Tensor, Tensor]:
    """Return the rows of a float32 or float64 tensor sorted, stably, and their order; a few times quicker than torch.

    Example:
        >>> sort_cpu(torch.tensor([[3.0, 1.0, 2.0]]))
        (tensor([[1., 2., 3.]]), tensor([[1, 2, 0]]))
    """
    unsigned = np.uint32 if x.dtype == torch.float32 else np.uint64
    values = array(x)
    found, order = np.empty_like(values), np.empty(values.shape, np.int64)
    over_rows(sort_rows, values.size, values.view(unsigned), descending, found.view(unsigned), order)
    return torch.from_numpy(found), torch.from_numpy(order)


def over_rows(kernel: Callable[..., None], size: int, *arrays: Any) -> None:
    """Call a kernel on blocks of rows, on as many threads as torch may use.

    Args:
        kernel: writes to its last arrays, releases the interpreter lock (``nogil=True``).
        size: entries of work, all rows together; little work stays on this thread.
        arrays: each with the rows as first axis; anything else is passed on as it is.

    Example:
        >>> out = np.zeros(3)
        >>> over_rows(lambda x, out: np.copyto(out, 2 * x), 3, np.arange(3.0), out)
        >>> out
        array([0., 2., 4.])
    """
    n_rows = next(len(one) for one in arrays if isinstance(one, np.ndarray))
    n_blocks = min(torch.get_num_threads(), n_rows, size // _GRAIN)
    if n_blocks <= 1:
        kernel(*arrays)
        return
    edges = [n_rows * block // n_blocks for block in range(n_blocks + 1)]
    blocks = [
        [one[start:stop] if isinstance(one, np.ndarray) else one for one in arrays]
        for start, stop in itertools.pairwise(edges)
    ]
    waiting = [_pool(os.getpid(), n_blocks - 1).submit(kernel, *block) for block in blocks[1:]]
    kernel(*blocks[0])
    for one in waiting:
        one.result()


@functools.lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the threads of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix="softwood")
