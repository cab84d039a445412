"""Layers that keep less: the same values and derivatives as PyTorch's, and bytes that are really free."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from softwood.layers import convert_to_selective, revert_selective, saved_bytes

LAYERS = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), (2, 4, 9), 0.0),
    "conv2d, groups": (lambda: nn.Conv2d(4, 6, 3, dilation=2, groups=2, bias=False), (2, 4, 9, 8), 0.0),
    "conv2d, same": (lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2), (2, 4, 9, 8), 0.0),
    "conv2d, circular": (lambda: nn.Conv2d(4, 6, 3, padding=2, padding_mode="circular"), (2, 4, 9, 8), 0.0),
    "conv2d, one row": (lambda: nn.Conv2d(4, 6, 3), (4, 9, 8), 0.0),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 4, 5, 4), 0.0),
    "transposed 2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), (2, 4, 5, 6), 0.0),
    "transposed 1d": (lambda: nn.ConvTranspose1d(4, 6, 3), (2, 4, 5), 0.0),
    "norm 1d": (lambda: nn.BatchNorm1d(5).eval(), (30, 5), 0.05),
    "norm 2d, plain": (lambda: nn.BatchNorm2d(5, affine=False).eval(), (2, 5, 8, 8), 0.05),
    "relu": (lambda: nn.ReLU(), (3, 8), 0.125),
    "pool 1d": (lambda: nn.MaxPool1d(3, 2), (2, 3, 11), 0.3),
    "pool 2d, overlap": (lambda: nn.MaxPool2d(3, 1, padding=1), (2, 3, 6, 7), 0.5),
    "pool 2d, ceil": (lambda: nn.MaxPool2d(2, ceil_mode=True), (3, 7, 5), 0.25),
    "pool 3d": (lambda: nn.MaxPool3d(2), (2, 3, 4, 4, 4), 0.1),
    "dropout": (lambda: nn.Dropout(0.3), (4, 8), 0.125),
}  # in units of an input in float64


def pair(name):
    torch.manual_seed(0)
    make, shape, _ = LAYERS[name]
    plain = make().double()
    for key, buffer in plain.named_buffers():
        if key.startswith("running"):
            buffer.uniform_(0.5, 2)
    plain.requires_grad_(False)
    light = convert_to_selective(copy.deepcopy(plain))
    assert type(light) is not type(plain)
    return plain, light, torch.randn(shape, dtype=torch.float64, requires_grad=True)


def seeded(module):
    def call(*inputs):
        torch.manual_seed(3)
        return module(*inputs)

    return call


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_derivatives_of_both_orders_are_pytorchs_and_the_input_is_let_go(name):
    plain, light, x = pair(name)
    found = []
    for module in (plain, light):
        y = seeded(module)(x)
        (first,) = torch.autograd.grad(y.tanh().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        found.append((y, first, second))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(seeded(light), x, atol=1e-6, fast_mode=True)
    assert torch.autograd.gradgradcheck(seeded(light), x, atol=1e-6, fast_mode=True)
    assert saved_bytes(light, x) <= LAYERS[name][2] * x.nbytes
    assert saved_bytes(plain, x) >= 0.99 * x.nbytes


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, as it compiles
@pytest.mark.parametrize("name", ["conv2d, same", "relu", "pool 2d, overlap"])
def test_layers_compile_and_vectorise_to_the_same(name):
    torch._dynamo.reset()
    _, light, x = pair(name)
    compiled = torch.compile(light, backend="aot_eager", fullgraph=True)
    upstream = torch.randn_like(light(x))
    for ours, theirs in zip(
        (compiled(x), *torch.autograd.grad(compiled(x), x, upstream)),
        (light(x), *torch.autograd.grad(light(x), x, upstream)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
    stacked = torch.func.vmap(lambda x: light(x))(torch.stack([x, x + 1]))
    torch.testing.assert_close(stacked[1], light(x + 1))


@pytest.mark.parametrize("name", ["conv2d, same", "norm 2d, plain", "relu", "pool 2d, ceil"])
def test_autocast_and_half_precision_keep_pytorchs_dtypes(name):
    plain, light, x = pair(name)
    plain, light, x = plain.float(), light.float(), x.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = light(x), plain(x)
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)
    (first,), (second,) = (torch.autograd.grad(y.float().sum(), x) for y in (ours, theirs))
    torch.testing.assert_close(first, second, rtol=1e-2, atol=1e-2)
    half = x.detach().bfloat16().requires_grad_()
    assert light.bfloat16()(half).dtype == torch.bfloat16


def test_what_trains_keeps_what_it_needs_and_thawing_is_seen():
    _, light, x = pair("conv2d, groups")
    light.weight.requires_grad_(True)
    assert saved_bytes(light, x) == x.nbytes
    assert torch.autograd.grad(light(x).square().sum(), light.weight)[0].abs().sum() > 0
    norm = convert_to_selective(nn.BatchNorm2d(4).requires_grad_(False))
    x = torch.randn(2, 4, 3, 3, requires_grad=True)
    torch.testing.assert_close(norm(x).mean((0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)  # training mode: its rows
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("name", ["conv2d, same", "transposed 2d", "norm 1d"])
def test_a_bias_alone_may_train(name):
    plain, light, x = pair(name)
    for module in (plain, light):
        module.bias.requires_grad_(True)
    ours, theirs = (torch.autograd.grad(m(x).tanh().sum(), [x, m.bias]) for m in (light, plain))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    assert saved_bytes(light, x) < 0.1 * x.nbytes


def test_special_values_pass_a_relu_as_pytorch_lets_them():
    x = torch.tensor([-1.0, 0.0, 2.0, float("nan"), float("inf"), -float("inf")], requires_grad=True)
    for upstream in (torch.ones(6), torch.full((6,), float("inf"))):
        found = [torch.autograd.grad(m(x), x, upstream)[0] for m in (nn.ReLU(), convert_to_selective(nn.ReLU()))]
        torch.testing.assert_close(*found, equal_nan=True)
    torch.testing.assert_close(convert_to_selective(nn.ReLU())(x), torch.relu(x), equal_nan=True)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_at_its_ends(p):
    x = torch.randn(5, requires_grad=True)
    light = convert_to_selective(nn.Dropout(p))
    (slope,) = torch.autograd.grad(light(x).sum(), x)
    assert slope.tolist() == [1.0 - p] * 5


def test_conversion_shares_parameters_keeps_the_state_and_reverts():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Sequential(nn.MaxPool2d(2)))
    parameters, kinds, keys = list(model.parameters()), [type(m) for m in model.modules()], list(model.state_dict())
    assert convert_to_selective(model) is model
    assert convert_to_selective(model) is model  # twice is once
    assert [type(m) for m in model.modules()] != kinds
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert list(model.state_dict()) == keys
    assert [type(m) for m in revert_selective(model).modules()] == kinds


def test_subclasses_and_options_that_change_the_answer_are_left_alone():
    class Mine(nn.Conv2d):
        pass

    assert type(convert_to_selective(Mine(1, 1, 1))) is Mine
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    value, where = convert_to_selective(nn.MaxPool2d(2, return_indices=True))(x)
    assert value.shape == where.shape == (1, 1, 2, 2)
    widened = convert_to_selective(nn.ConvTranspose2d(1, 1, 3, stride=2).requires_grad_(False))
    assert widened(x, output_size=(10, 10)).shape[-1] == 10


def test_convolutions_alone_save_nothing_as_their_neighbours_hold_the_same_tensor():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8),
        nn.ReLU(), nn.MaxPool2d(2),
    ).eval().requires_grad_(False)  # fmt: skip
    x = torch.randn(2, 3, 16, 16, requires_grad=True)
    before = saved_bytes(model, x)
    for place in (0, 3):
        convert_to_selective(model[place])
    assert saved_bytes(model, x) > 0.9 * before  # all but the image itself, which no neighbour holds
    assert saved_bytes(convert_to_selective(model), x) < 0.35 * before


def test_activations_are_freed_while_the_graph_lives():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 1))
    model = model.eval().requires_grad_(False)
    seen = []
    for module in model[:-1]:
        module.register_forward_hook(lambda m, x, y: seen.append(StorageWeakRef(y.untyped_storage())))
    for change, freed in ((lambda m: m, [False, True, False, False]), (convert_to_selective, [True] * 4)):
        seen.clear()
        answer = change(model)(torch.randn(1, 2, 4, 4, requires_grad=True))
        assert [place.expired() for place in seen] == freed
        assert answer.grad_fn is not None


def test_the_meter_counts_a_storage_once_and_whole():
    x = torch.zeros(100, requires_grad=True)
    weight = nn.Parameter(torch.ones(100))
    assert saved_bytes(lambda: x.exp()) == 400
    assert saved_bytes(lambda: (x.exp() * 2).sin() + x.sin() + x[:3].cos().sum()) == 1200
    assert saved_bytes(lambda: x * weight) == 400  # the parameter is there anyway
    assert saved_bytes(lambda: x.detach() + 1) == 0


def test_a_converted_model_is_saved_whole():
    model = convert_to_selective(nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Dropout(), nn.BatchNorm2d(2)))
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert [type(one) for one in again] == [type(one) for one in model]
    x = torch.randn(1, 2, 3, 3)
    assert torch.equal(again.eval()(x), model.eval()(x))
