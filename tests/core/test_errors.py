import pickle

import pytest

from softwood.core import DamagedFileError, InputError, MissingExtraError, SoftwoodError, UnsupportedError

ERRORS = [
    InputError("x is too small", got=0, allowed="a number >= 1", fix="pass x=1"),
    DamagedFileError("model", "it is cut off", "copy it again"),
    MissingExtraError("onnx", "export"),
    UnsupportedError("no predict_proba here"),
]


def test_an_input_error_says_what_came_what_is_allowed_and_what_to_do():
    assert str(ERRORS[0]) == "x is too small: got 0; allowed: a number >= 1; to fix: pass x=1"


def test_a_damaged_file_error_names_the_file_and_the_way_out():
    assert str(ERRORS[1]) == "cannot read model: it is cut off; to fix: copy it again"


def test_a_missing_extra_error_gives_the_command():
    assert str(ERRORS[2]) == 'onnx is not installed; to fix: pip install "softwood[export]"'


def test_long_values_are_cut_so_that_the_message_can_be_read():
    text = str(InputError("x is wrong", got=list(range(10_000)), allowed="few", fix="pass less"))
    assert len(text) < 500
    assert text.endswith("...; allowed: few; to fix: pass less")


@pytest.mark.parametrize(
    ("kind", "builtin"), [(InputError, ValueError), (MissingExtraError, ImportError), (DamagedFileError, Exception)]
)
def test_each_error_is_ours_and_can_be_caught_as_what_python_has(kind, builtin):
    assert issubclass(kind, SoftwoodError)
    assert issubclass(kind, builtin)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_of_worker_processes_come_home_whole(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
