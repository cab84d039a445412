import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softwood.core import InputError
from softwood.lifecycle import Bound, Certificate, Estimate, LeafObserved, measure_fidelity
from softwood.lifecycle._certificate import Paired

FULL = Certificate(
    ships="a tree with 7 leaves",
    rows="the 40 test rows",
    n=40,
    loss="log_loss",
    loss_shipped=0.2,
    loss_soft=0.21,
    loss_rounded=0.25,
    agreement=Estimate(0.95, 0.83, 0.99),
    agreement_means="the same label",
    flips=(3, 17),
    n_flips=2,
    worst_row=17,
    worst_difference=0.6,
    in_band=0.125,
    bound=Bound(0.7, 0.1, 0.5, True, False),
    score_name="accuracy",
    score=Estimate(0.9, 0.76, 0.97),
    level=0.95,
    not_covered=("rows from another distribution than these",),
)
finite = st.floats(allow_nan=False, allow_infinity=False)
estimates = st.none() | st.builds(Estimate, finite, finite, finite)
leaves = st.builds(LeafObserved, st.integers(0), st.integers(0), st.text(), finite, estimates)
certificates = st.builds(
    Certificate,
    ships=st.text(),
    rows=st.text(),
    n=st.integers(1),
    loss=st.text(),
    loss_shipped=finite,
    loss_soft=st.none() | finite,
    loss_rounded=st.none() | finite,
    versus_soft=st.none() | st.builds(Paired, finite, st.none() | finite),
    leaves=st.lists(leaves, max_size=2).map(tuple),
    agreement=estimates,
    flips=st.lists(st.integers(0), max_size=3).map(tuple),
    bound=st.none() | st.builds(Bound, finite, finite, finite, st.booleans(), st.booleans()),
    score=estimates,
    not_covered=st.lists(st.text(), max_size=3).map(tuple),
)


@given(certificates)
def test_it_goes_through_json_and_back_unchanged(certificate):
    text = json.dumps(certificate.to_dict(), allow_nan=False)
    assert Certificate.from_dict(json.loads(text)) == certificate


def test_json_holds_the_verdict_and_the_gap():
    content = FULL.to_dict()
    assert content["passed"] is True
    assert content["gap"] == pytest.approx(0.01)
    assert content["agreement"] == {"value": 0.95, "low": 0.83, "high": 0.99}


@pytest.mark.parametrize("bad", [{}, [], None, {"format": "other"}])
def test_what_is_no_certificate_is_refused(bad):
    with pytest.raises(InputError, match="this is no certificate"):
        Certificate.from_dict(bad)
    short = FULL.to_dict()
    del short["score"]
    with pytest.raises(InputError, match=r"not whole.*no score"):
        Certificate.from_dict(short)


def test_older_certificates_are_read_and_newer_ones_refused():
    """Version 1 was written with fewer and fewer fields, the further back."""
    first = {name: part for name, part in FULL.to_dict().items() if name not in ("versus_soft", "leaves", "fidelity")}
    read = Certificate.from_dict({**first, "version": 1})
    assert read == replace(FULL, versus_soft=None, leaves=(), fidelity=None)
    del first["loss_shipped"]
    with pytest.raises(InputError, match=r"not whole.*no loss_shipped"):
        Certificate.from_dict({**first, "version": 1})
    for version in (3, None, "2", 0):
        with pytest.raises(InputError, match="another version"):
            Certificate.from_dict({**FULL.to_dict(), "version": version})


def test_fidelity_is_printed_and_kept():
    fidelity = measure_fidelity(np.eye(3), np.roll(np.eye(3), 1, 0), "a network", classes=True)
    assert (fidelity.agreement.value, fidelity.difference, fidelity.largest) == (0.0, pytest.approx(2 / 3), 1.0)
    near = measure_fidelity(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.05, 3.0]), "f", classes=False)
    assert near.agreement.value == pytest.approx(2 / 3)
    assert near.worst_row == 2
    certificate = replace(FULL, fidelity=fidelity)
    assert Certificate.from_dict(json.loads(json.dumps(certificate.to_dict()))) == certificate
    assert "Fidelity to the teacher: 0 [0, 0.7076] agree with a network" in str(certificate)
    with pytest.raises(InputError, match="different shapes"):
        measure_fidelity(np.eye(3), np.eye(2), "f", classes=True)


@pytest.mark.parametrize(
    ("shipped", "rounded", "soft", "passed"),
    [
        (0.2, None, None, True),
        (0.2, 0.2, 0.2, True),
        (0.2, 0.2, 0.199, True),  # within 1 % of soft
        (0.2, 0.2, 0.197, False),
        (0.2, 0.1999, 0.2, False),  # nothing may be lost against plain rounding
        (0.2, 0.2 * (1 - 1e-7), 0.2, True),  # but for rounding of float32
        (0.0, 0.0, 0.0, True),
        (-1.0, -1.0, -1.005, True),  # a negative loss: 1 % of its size
        (-1.0, -1.0, -1.02, False),
        (1e-9, 0.5e-9, 1e-9, False),  # the tolerance is relative: small units do not hide a loss
    ],
)
def test_the_rule(shipped, rounded, soft, passed):
    certificate = Certificate("t", "r", 9, "squared", shipped, loss_rounded=rounded, loss_soft=soft)
    assert certificate.passed is passed
    assert bool(certificate.failures) is not passed
    assert ("NOT passed" in str(certificate)) is not passed


@pytest.mark.parametrize(
    ("over", "error", "verdict"),
    [
        (0.01, None, "not passed"),  # nothing is known of the noise
        (0.01, 0.004, "not passed"),
        (0.01, 0.006, "not refuted (within noise)"),
        (-0.01, 0.006, "passed"),
    ],
)
@pytest.mark.parametrize("other", ["soft", "rounded"])
def test_a_loss_above_the_rule_by_less_than_two_paired_errors_is_not_refuted(other, over, error, verdict):
    allowed = 0.2 if other == "rounded" else 0.2 / 1.01
    pair = Paired(over, error)
    certificate = Certificate("t", "r", 9, "squared", 0.2 + over, **{f"loss_{other}": allowed, f"versus_{other}": pair})
    assert certificate.verdict == verdict
    assert certificate.passed is (verdict != "not passed")
    assert certificate.to_dict()["verdict"] == verdict
    assert str(pair) in str(certificate)
    last = str(certificate).splitlines()[-1]
    assert last.lower().startswith(verdict)
    assert len(certificate.within_noise) == (verdict == "not refuted (within noise)")


def test_a_broken_bound_does_not_pass():
    certificate = Certificate("t", "r", 9, "squared", 0.1, bound=Bound(0.5, 0.1, 0.0, False, True))
    assert certificate.failures == ("a difference is larger than its provable bound",)


def test_the_gap_is_soft_minus_shipped():
    assert FULL.gap == pytest.approx(0.01)
    assert Certificate("t", "r", 9, "squared", 0.1).gap is None


def test_it_says_first_what_ships_where_it_was_measured_and_what_it_does_not_cover():
    assert str(FULL) == (
        "What ships: a tree with 7 leaves\n"
        "Measured on: the 40 test rows (40 rows)\n"
        "Does not cover:\n"
        "  - rows from another distribution than these\n"
        "Loss (log_loss): what ships 0.2, plain rounding 0.25, soft 0.21 (gap, soft minus what ships: +0.01)\n"
        "accuracy: 0.9 [0.76, 0.97] at 0.95 confidence\n"
        "Agreement with the soft model: 0.95 [0.83, 0.99] (the same label)\n"
        "Flips: 2, first row 3. Largest difference: 0.6, row 17\n"
        "Inside the soft band: 12.5% of rows\n"
        "Provable difference from soft (of the plain rounding, not what ships): at most 0.7, mean 0.1, zero on 50.0% "
        "of rows\n"
        "Passed"
    )
