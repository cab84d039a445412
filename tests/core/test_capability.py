import pytest

from softwood.core import Capability, InputError, capabilities, capability, capability_of
from softwood.core import _capability as implementation


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(implementation, "_REGISTRY", {})


def test_a_function_carries_what_it_declares():
    @capability("operation", papers=("a1",), exports=("onnx",), cost="O(n)")
    def work():
        return 3

    entry = capability_of(work)
    assert (entry.kind, entry.papers, entry.exports, entry.cost) == ("operation", ("a1",), ("onnx",), "O(n)")
    assert entry.target is work
    assert work() == 3


def test_a_class_and_its_instances_carry_it_and_a_subclass_does_not():
    @capability("learner", hardens_to="a tree")
    class Base:
        pass

    class Derived(Base):
        pass

    assert capability_of(Base).hardens_to == "a tree"
    assert capability_of(Base()) is capability_of(Base)
    assert capability_of(Derived) is None
    assert capability_of(Derived()) is None


def test_the_list_is_sorted_and_filtered():
    for name, kind in (("b", "verb"), ("a", "verb"), ("c", "loss")):
        made = type(name, (), {})
        capability(kind)(made)
    names = [entry.name.rpartition(".")[2] for entry in capabilities()]
    assert names == ["a", "b", "c"]
    assert [entry.kind for entry in capabilities("loss")] == ["loss"]


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(InputError, match="'estimator', 'soft module'"):
        capability("opration")
    with pytest.raises(InputError, match="did you mean 'verb'"):
        capabilities("verbs")


def test_what_declares_nothing_has_none():
    assert capability_of(len) is None
    assert capability_of(3) is None


def test_the_example_builds_an_instance_and_is_no_part_of_equality():
    assert Capability("x", "verb", example=dict) == Capability("x", "verb", example=list)
    assert Capability("x", "verb", example=dict).example() == {}
