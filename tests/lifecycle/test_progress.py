from softwood.lifecycle import TrainProgress
from softwood.lifecycle._progress import reporter

NOW = TrainProgress(step=3, total=10, metric=0.5, best=0.25, seconds=1.0)


def test_a_function_is_passed_through():
    seen = []
    with reporter(seen.append) as report:
        report(NOW)
    assert seen == [NOW]


def test_nothing_is_shown_unless_asked_for(capfd):
    for quiet in (None, False):
        with reporter(quiet) as report:
            report(NOW)
    assert capfd.readouterr() == ("", "")


def test_the_bar_goes_to_stderr(capfd):
    with reporter(True) as report:
        report(NOW)
    out, err = capfd.readouterr()
    assert out == ""
    assert "3/10 steps, best 0.25" in err
