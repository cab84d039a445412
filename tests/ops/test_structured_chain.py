"""Long chains: the same answers as short ones, in memory that does not grow with the square of the labels."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from softwood.ops import LinearChain, _structured_chain


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_long_chains_give_the_answers_of_short_ones(monkeypatch, per_step, masked):
    unary, transition = draw(3, 7, 4), draw(6, 4, 4, seed=1) if per_step else draw(4, 4, seed=1)
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[0, 4:] = mask[1] = False
    options = {"per_step": per_step, "mask": mask if masked else None, "temperature": 0.7}
    leaves = [unary.requires_grad_(), transition.requires_grad_()]
    labels = draw(3, 7, seed=2).mul(10).long().remainder(4)
    results = []
    for long in (256, 2):
        monkeypatch.setattr(_structured_chain, "_LONG", long)
        chain = LinearChain(*leaves, **options)
        loss = chain.log_prob(labels) @ draw(3, seed=3)
        gradients = torch.autograd.grad(loss, leaves)
        with torch.no_grad():
            marginals = LinearChain(*leaves, **options).marginals()
            moves = LinearChain(*leaves, **options).transition_marginals()
        results.append((chain.log_partition(), marginals, moves, *gradients))
    for short, lean in zip(*results, strict=True):
        torch.testing.assert_close(lean, short)


def test_derivatives_of_a_long_chain(monkeypatch):
    monkeypatch.setattr(_structured_chain, "_LONG", 2)
    unary, transition = draw(2, 5, 3).requires_grad_(), draw(3, 3, seed=1).requires_grad_()
    assert gradcheck(lambda u, t: LinearChain(u, t).log_partition(), (unary, transition))
    assert gradgradcheck(lambda u, t: LinearChain(u, t).log_partition(), (unary, transition))


def test_training_on_a_long_chain_keeps_no_square_of_the_labels():
    saved = []

    def pack(tensor):
        saved.append(tensor.numel())
        return tensor

    unary, transition = draw(1000, 12).requires_grad_(), draw(12, 12).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        total = LinearChain(unary, transition).log_partition()
    assert sum(saved) < 5 * unary.numel()
    gradient = torch.autograd.grad(total, unary)[0]
    torch.testing.assert_close(gradient.sum(-1), torch.ones(1000, dtype=torch.float64))
