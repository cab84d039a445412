import pytest
import torch
from torch import nn

from softwood.core import InputError
from softwood.layers import SoftModule, soft_modules


class Step(SoftModule):
    def forward(self, x):
        return torch.sigmoid(x / self.temperature)

    def margins(self, x):
        return x

    def harden(self):
        return nn.ReLU()


def test_the_temperature_is_a_float32_scalar_buffer_that_travels_with_the_state():
    module = Step(0.25)
    assert module.temperature.shape == ()
    assert module.temperature.dtype == torch.float32
    assert dict(module.named_buffers())["temperature"] is module.temperature
    assert list(module.parameters()) == []
    other = Step(3.0)
    other.load_state_dict(module.state_dict())
    assert other.temperature.item() == 0.25
    assert module.to(torch.float64).temperature.dtype == torch.float64


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), "0.1", None, True])
def test_a_temperature_that_is_no_positive_number_is_refused(bad):
    with pytest.raises(InputError, match="temperature"):
        Step(bad)


@pytest.mark.parametrize("missing", ["margins", "harden"])
def test_a_soft_module_has_to_say_its_margins_and_how_it_hardens(missing):
    methods = {"margins": Step.margins, "harden": Step.harden}
    del methods[missing]
    with pytest.raises(TypeError, match=missing):
        type("Partial", (SoftModule,), methods)()


def test_soft_modules_are_found_anywhere_each_once_outermost_first():
    shared = Step()
    outer = Step()
    outer.inner = Step()
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(outer, shared), shared)
    assert [name for name, _ in soft_modules(model)] == ["1.0", "1.0.inner", "1.1"]
    assert next(soft_modules(shared)) == ("", shared)
    assert list(soft_modules(nn.Linear(2, 2))) == []


def test_the_temperature_goes_to_the_hard_limit():
    x = torch.tensor([-2.0, -1e-3, 1e-3, 2.0])
    module = Step(1e-6)
    torch.testing.assert_close(module(x), (x > 0).float())


def test_changing_the_temperature_recompiles_nothing():
    module, graphs = Step(), []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(module, backend=backend, fullgraph=True)
    x = torch.linspace(-1, 1, 5)
    for temperature in (1.0, 0.1):
        module.temperature.fill_(temperature)
        torch.testing.assert_close(compiled(x), torch.sigmoid(x / temperature))
    assert len(graphs) == 1
