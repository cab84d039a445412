import pytest
from torch import nn

from softwood.core import InputError
from softwood.layers import SoftModule
from softwood.lifecycle import _soften as implementation
from softwood.lifecycle import soften


class SoftStump(SoftModule):
    def __init__(self, depth):
        super().__init__()
        self.depth = depth

    def margins(self, x):
        return x

    def harden(self):
        return nn.ReLU()


@pytest.fixture
def stump():
    return type("Stump", (), {})


def test_an_unknown_type_is_refused_with_what_can_be_softened(stump):
    class Known:
        pass

    soften.register(Known, lambda thing: SoftStump(1))
    with pytest.raises(InputError, match=r"this cannot be softened: got a .*\.Stump; allowed: .*Known") as caught:
        soften(stump())
    assert "builtins.object" not in caught.value.allowed


def test_a_registered_type_and_its_subclasses_are_softened_with_the_options(stump):
    soften.register(stump, lambda thing, *, depth: SoftStump(depth))
    assert soften(stump(), depth=3).depth == 3
    assert soften(type("Twig", (stump,), {})(), depth=2).depth == 2


def test_the_rooms_are_asked_before_an_unknown_type_is_refused(stump, monkeypatch):
    asked = []

    def load(room):
        asked.append(room)
        soften.register(stump, lambda thing: SoftStump(5))

    monkeypatch.setattr(implementation.importlib, "import_module", load)
    assert soften(stump()).depth == 5
    assert soften(stump()).depth == 5
    assert asked == ["softwood.trees"]
