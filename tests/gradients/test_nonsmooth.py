"""What a constant step does at kinks, and where there are none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from softwood.core import InputError
from softwood.gradients import nonsmooth_report


def problem():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(40, 10, generator=generator, dtype=torch.float64)
    w = torch.randn(10, generator=generator, dtype=torch.float64).requires_grad_()
    return a, a[:, :3].sum(1), w


def test_a_lasso_stalls_at_a_height_that_follows_the_step():
    a, b, w = problem()
    start = w.detach().clone()
    report = nonsmooth_report(lambda: (a @ w - b).square().mean() / 2 + 0.5 * w.abs().sum(), w, 0.1, steps=400)
    assert report.verdict == "nonsmooth"
    assert torch.equal(w, start)  # it is put back
    high, middle, low = (stall.loss for stall in report.stalls)
    assert high > middle > low
    assert (high - middle) / (middle - low) == pytest.approx(4, rel=0.5)  # as the steps: proportional
    assert report.zeros == 0
    assert report.stalls[-1].flips > 0.3
    for stall in report.stalls:
        assert 1 < stall.sharpness * stall.step < 2.5  # whatever the step
    assert "ProxSGD" in str(report)


def test_smooth_losses_have_one_sharpness_at_all_steps():
    a, b, w = problem()
    report = nonsmooth_report(lambda: (a @ w - b).square().mean() / 2, w, 0.2, steps=40)
    assert report.verdict == "smooth"
    spectrum = torch.linalg.eigvalsh(a.T @ a / 40)
    for stall in report.stalls:
        assert spectrum[0] <= stall.sharpness + 1e-9
        assert stall.sharpness <= spectrum[-1] + 1e-9
    round_ = nonsmooth_report(lambda: 1.5 * w.square().sum(), w, 0.2, steps=20)
    assert [stall.sharpness for stall in round_.stalls] == pytest.approx([3.0] * 3)
    assert "do not" not in report.advice


def test_networks_and_what_is_refused():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.randn(30, 4)
    report = nonsmooth_report(lambda: model(x).square().mean(), model.parameters(), 0.05, steps=40)
    assert report.verdict == "smooth"
    with pytest.raises(InputError, match="nothing can be moved"):
        nonsmooth_report(lambda: torch.ones(()), torch.zeros(2), 0.1)
    w = torch.ones(1, requires_grad=True)
    with pytest.raises(InputError, match="runs away"):
        nonsmooth_report(lambda: (w**4).sum(), w, 10.0)
    assert w.item() == 1.0
