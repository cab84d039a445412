import pytest
import torch

from softwood.core import InputError
from softwood.ops._axes import full_precision, mask_last, move_back, move_last, temperature_last


@pytest.mark.parametrize(
    ("given", "computed"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float32, torch.float32),
     (torch.float64, torch.float64)],
)  # fmt: skip
def test_an_axis_goes_last_and_comes_back_in_its_dtype(given, computed):
    x = torch.arange(24).reshape(2, 3, 4).to(given)
    for dim in (-3, -2, -1, 0, 1, 2):
        moved = move_last(x, dim)
        assert moved.dtype == computed
        assert moved.shape[-1] == x.shape[dim]
        assert torch.equal(move_back(moved, dim, given), x)


@pytest.mark.parametrize(
    ("x", "dim", "words"),
    [(torch.ones(2, dtype=torch.int64), 0, "not a floating tensor"), ([1.0], 0, "not a floating tensor"),
     (torch.tensor(1.0), 0, "no axis"), (torch.ones(2), 1, "dim is out of range"), (torch.ones(2), -2, "dim is out")],
)  # fmt: skip
def test_what_has_no_such_axis_is_refused(x, dim, words):
    with pytest.raises(InputError, match=words):
        move_last(x, dim)


def test_a_mask_broadcasts_and_moves_with_x():
    x = torch.zeros(2, 3, 4)
    mask = torch.tensor([[True], [False], [True]])
    assert mask_last(None, x, 1) is None
    moved = mask_last(mask, x, 1)
    assert moved.shape == (2, 4, 3)
    assert moved[0, 0].tolist() == [True, False, True]
    for wrong in (mask.float(), torch.ones(2, dtype=torch.bool), torch.ones(1, 2, 3, 4, dtype=torch.bool)):
        with pytest.raises(InputError, match="mask does not fit x"):
            mask_last(wrong, x, 1)


def test_a_temperature_is_a_number_above_zero_or_one_for_each_row():
    x = torch.zeros(2, 3, dtype=torch.float64)
    assert temperature_last(2, x) == 2.0
    for wrong in (0.0, -1.0, float("nan"), "warm", True):
        with pytest.raises(InputError, match="temperature is"):
            temperature_last(wrong, x)
    for shape in ((), (1,), (2, 1), (1, 1)):
        assert temperature_last(torch.full(shape, 0.5), x).dtype == torch.float64
    for shape in ((3,), (2,), (2, 3), (1, 2, 1)):
        with pytest.raises(InputError, match="temperature does not fit x"):
            temperature_last(torch.full(shape, 0.5), x)
    assert temperature_last(torch.tensor([[-1.0], [0.0]]), x).isnan().all()


def test_a_temperature_tensor_keeps_its_gradient():
    temperature = torch.tensor(0.5, requires_grad=True)
    (torch.ones(3) / temperature_last(temperature, torch.ones(3))).sum().backward()
    assert temperature.grad.item() == pytest.approx(-12.0)


def test_products_stay_in_float32_under_autocast():
    x = torch.full((2, 2), 1.001)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        assert torch.equal(full_precision(torch.matmul)(x, x), torch.full((2, 2), 2 * 1.001**2))
