"""Layers that keep for the backward pass only what it will ask for, where parameters are frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from softwood.core import capability

_Model = TypeVar("_Model", bound=nn.Module)
_Light = Callable[[Any, Tensor], Tensor]


@capability("verb", papers=("selective-memory",), cost="one walk over the modules; no parameter is copied")
def convert_to_selective(model: _Model) -> _Model:
    r"""Make a model's layers store no activation that frozen parameters make superfluous; in place.

    A convolution asks for its input only to find the gradient of its weight, but PyTorch keeps it where the weight is
    frozen too. After the conversion the layers keep, in bytes of a float32 input:

    ==================================  ======  =========
    layer                               before  after
    ==================================  ======  =========
    ``Conv``, ``ConvTranspose``, 1-3d   1       0 where the weight is frozen
    ``BatchNorm`` in eval mode          1       0 where the weight is frozen
    ``ReLU``                            1       1/4: a mask
    ``MaxPool2d`` by 2                  1.5     1/4: indices of 32 bits
    ``Dropout`` (CPU)                   1       1/4: a mask
    ==================================  ======  =========

    Convolutions alone save next to nothing, as the batch norm or ReLU beside them holds the same tensor: the whole
    chain has to let go of it. Batch norm in training mode and layer norm need their input and stay; ``Linear`` drops it
    already. What is decided at each call follows ``requires_grad``, so freezing and thawing later is seen. A ReLU right
    before a layer that trains costs a quarter more than before, since that layer keeps its input anyway.

    Modules keep their parameters, buffers, hooks and names; only their class changes. Subclasses of these layers, and
    functions that a ``forward`` calls (``functional.relu``), are left alone. No forward-mode derivatives.

    Args:
        model: any module.

    Returns:
        The same model.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).requires_grad_(False)
        >>> x = torch.zeros(1, 3, 8, 8, requires_grad=True)
        >>> saved_bytes(model, x), saved_bytes(convert_to_selective(model), x)
        (1536, 192)

    Source: Bhatia and Dangel, "Lowering PyTorch's Memory Consumption for Selective Differentiation", 2024.
    """
    for module in model.modules():
        module.__class__ = _TWINS.get(type(module), type(module))
    return model


@capability("verb", papers=("selective-memory",), cost="one walk over the modules")
def revert_selective(model: _Model) -> _Model:
    """Undo ``convert_to_selective``, in place.

    Args:
        model: any module.

    Returns:
        The same model.

    Example:
        >>> type(revert_selective(convert_to_selective(nn.ReLU())))
        <class 'torch.nn.modules.activation.ReLU'>
    """
    for module in model.modules():
        module.__class__ = _PLAIN.get(type(module), type(module))
    return model


@capability("verb", papers=("selective-memory",), cost="one call; holds what it saved until it returns")
def saved_bytes(fn: Callable[..., Any], *inputs: Any) -> int:
    """Return the bytes that a call stores for its backward pass.

    Each storage counts once and whole, however many layers hold it or a view of it. Parameters do not count, nor do
    buffers where ``fn`` is a module: they are there anyway. Inputs do.

    Args:
        fn: what is called.
        inputs: its arguments.

    Example:
        >>> x = torch.zeros(10, requires_grad=True)
        >>> saved_bytes(torch.exp, x), saved_bytes(lambda x: x + 1, x)
        (40, 0)
    """
    held: dict[int, Tensor] = {}  # alive until the end: a freed place could be taken again and count as the same

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answer = fn(*inputs)
    known = [*fn.parameters(), *fn.buffers()] if isinstance(fn, nn.Module) else []
    for tensor in known:
        held.pop(tensor.untyped_storage().data_ptr(), None)
    del answer
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


class _FrozenConvolution(torch.autograd.Function):
    """A convolution by a weight without gradient: linear in x, so x itself is never asked for."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        return torch.ops.aten.convolution(x, weight, bias, *how)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, *ctx.how = inputs
        ctx.shape, ctx.bias_shape = x.shape, None if bias is None else list(bias.shape)
        ctx.save_for_backward(weight)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), (above,) = ctx.saved_tensors, upstream
        anything = above.new_empty(ctx.shape)  # only its shape is read
        asked = [ctx.needs_input_grad[0], False, ctx.needs_input_grad[2]]
        by_x, _, by_bias = torch.ops.aten.convolution_backward(
            above, anything, weight, ctx.bias_shape, *ctx.how, asked
        )  # fmt: skip
        return by_x, None, by_bias, *[None] * len(ctx.how)


class _ReluByMask(torch.autograd.Function):
    """A ReLU that keeps where it let through, and not what."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        value = torch.relu(x)
        return value, value.bool()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        (passed,), above = ctx.saved_tensors, upstream[0]
        mask = passed.view(torch.uint8).to(above.dtype)  # bytes become numbers ten times faster than booleans do
        step = torch.ops.aten.threshold_backward
        if torch.is_grad_enabled():  # there will be a second derivative
            return step(above, mask, 0)
        return step.grad_input(above, mask, 0, grad_input=mask)


class _PoolByIndices(torch.autograd.Function):
    """Max-pooling that keeps which entries won, and not the entries."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, pool: Callable[..., tuple[Tensor, Tensor]], axes: int) -> tuple[Tensor, Tensor]:
        value, winners = pool(x)
        return value, winners if x[0].numel() >= 2**31 else winners.int()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.shape, ctx.axes = inputs[0].shape, inputs[2]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (winners,), above = ctx.saved_tensors, upstream[0]
        flat = above.new_zeros(ctx.shape).flatten(-ctx.axes)
        # windows may overlap: an entry that won twice gets both gradients
        summed = flat.scatter_add(-1, winners.long().flatten(-ctx.axes), above.flatten(-ctx.axes))
        return summed.reshape(ctx.shape), None, None


def _frozen(module: Any, x: Tensor) -> bool:
    return _tracked(module, x) and (module.weight is None or not module.weight.requires_grad)


def _frozen_in_eval(module: Any, x: Tensor) -> bool:
    return _frozen(module, x) and not module.training and module.running_var is not None


def _tracked(module: Any, x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def _tracked_without_indices(module: Any, x: Tensor) -> bool:
    return _tracked(module, x) and not module.return_indices


def _drops(module: Any, x: Tensor) -> bool:
    # elsewhere PyTorch's own kernel keeps a mask already
    return _tracked(module, x) and module.training and not module.inplace and x.device.type == "cpu"


def _convolution(module: Any, x: Tensor) -> Tensor:
    weight, bias, padding = module.weight, module.bias, module.padding
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if isinstance(padding, str) or module.padding_mode != "zeros":
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        x, padding = functional.pad(x, module._reversed_padding_repeated_twice, mode), (0,) * (weight.ndim - 2)
    how = (module.stride, padding, module.dilation, module.transposed, module.output_padding, module.groups)
    if x.ndim < weight.ndim:
        return _FrozenConvolution.apply(x.unsqueeze(0), weight, bias, *how).squeeze(0)  # type: ignore
    return _FrozenConvolution.apply(x, weight, bias, *how)  # type: ignore


def _batch_norm(module: Any, x: Tensor) -> Tensor:
    # a product keeps a factor only for the other one's gradient, and scale has none: no function of our own is needed
    scale = torch.rsqrt(module.running_var + module.eps)
    scale = scale if module.weight is None else scale * module.weight
    shift = -module.running_mean * scale
    shift = shift if module.bias is None else shift + module.bias
    shape = [-1] + [1] * (x.ndim - 2)
    return (x * scale.reshape(shape)).add_(shift.reshape(shape)).to(x.dtype)


def _relu(module: Any, x: Tensor) -> Tensor:
    return _ReluByMask.apply(x)[0]  # type: ignore


def _max_pool(module: Any, x: Tensor) -> Tensor:
    axes = int(type(module).__name__[-2])
    pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[axes - 1]

    def pooled(x: Tensor) -> Any:
        return pool(
            x, module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode, return_indices=True
        )

    return _PoolByIndices.apply(x, pooled, axes)[0]  # type: ignore


def _dropout(module: Any, x: Tensor) -> Tensor:
    kept = torch.empty_like(x).bernoulli_(1 - module.p)  # as PyTorch draws, so that a seed means the same
    return x * kept.to(torch.uint8) * (1 / (1 - module.p) if module.p < 1 else 0.0)


def _twin(kind: type[nn.Module], applies: Callable[[Any, Tensor], bool], light: _Light) -> type[nn.Module]:
    def forward(self: Any, x: Tensor, *more: Any, **options: Any) -> Any:
        asked = not more and not options and applies(self, x)
        return light(self, x) if asked else kind.forward(self, x, *more, **options)

    return type(f"Selective{kind.__name__}", (kind,), {"forward": forward, "__module__": __name__})


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TWINS: dict[type[nn.Module], type[nn.Module]] = {
    **{kind: _twin(kind, _frozen, _convolution) for kind in _CONVOLUTIONS},
    **{kind: _twin(kind, _frozen_in_eval, _batch_norm) for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)},
    **{kind: _twin(kind, _tracked_without_indices, _max_pool) for kind in (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)},
    nn.ReLU: _twin(nn.ReLU, _tracked, _relu),
    nn.Dropout: _twin(nn.Dropout, _drops, _dropout),
}
_PLAIN = {twin: kind for kind, twin in _TWINS.items()}
globals().update({twin.__name__: twin for twin in _PLAIN})  # by name, as pickling and torch.save find a class
