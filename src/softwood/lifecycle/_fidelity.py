"""How far what ships and the teacher that it was distilled from disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from softwood.core import InputError
from softwood.lifecycle._intervals import Estimate, clopper_pearson

_NEAR = 0.1  # of the deviation of the teacher's values


@dataclass(frozen=True)
class Fidelity:
    """What ships beside its teacher, on the certificate's rows.

    Args:
        teacher: what it is, in words.
        agreement: share of rows on which the two agree, with its exact interval.
        agreement_means: what "agree" means here.
        difference: mean absolute difference of their answers, over rows and outputs.
        largest: the largest difference.
        worst_row: where that is.

    Example:
        >>> print(Fidelity("a network", Estimate(0.9, 0.8, 0.95), "the same label", 0.05, 0.7, 3))
        0.9 [0.8, 0.95] agree with a network (the same label); mean difference 0.05, largest 0.7 in row 3
    """

    teacher: str
    agreement: Estimate
    agreement_means: str
    difference: float
    largest: float
    worst_row: int

    def __str__(self) -> str:
        return (
            f"{self.agreement} agree with {self.teacher} ({self.agreement_means}); mean difference "
            f"{self.difference:.4g}, largest {self.largest:.4g} in row {self.worst_row}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Fidelity:
        """Read what ``to_dict`` gave."""
        return cls(**{**content, "agreement": Estimate(**content["agreement"])})


def measure_fidelity(
    shipped: np.ndarray, taught: np.ndarray, teacher: str, *, classes: bool, level: float = 0.95
) -> Fidelity:
    """Compare answers on the same rows.

    Classes agree where both put the same one first; values where they differ by at most a tenth of the standard
    deviation of the teacher's.

    Args:
        shipped: probabilities ``[n, K]``, or values ``[n]`` or ``[n, K]``.
        taught: the teacher's, of the same shape.
        teacher: what it is, in words.
        classes: are these probabilities?
        level: confidence of the interval.

    Raises:
        InputError: the shapes clash.

    Example:
        >>> measure_fidelity(np.eye(2), np.eye(2), "itself", classes=True).agreement.value
        1.0
    """
    if shipped.shape != taught.shape or not len(shipped):
        raise InputError(
            "what ships and its teacher answer in different shapes", got=f"{shipped.shape} and {taught.shape}",
            allowed="the same rows and outputs", fix="pass both answers for the same rows",
        )  # fmt: skip
    apart = np.abs(shipped - taught).reshape(len(shipped), -1)
    if classes:
        agree, means = shipped.argmax(1) == taught.argmax(1), "the same label"
    else:
        near = _NEAR * taught.reshape(len(taught), -1).std(0)
        agree = (apart <= near).all(1)
        told = ", ".join(f"{part:.4g}" for part in near)
        means = f"a difference of at most {told}, a tenth of the deviation of the teacher's values"
    worst = int(apart.max(1).argmax())
    return Fidelity(
        teacher, clopper_pearson(int(agree.sum()), len(agree), level), means, float(apart.mean()),
        float(apart[worst].max()), worst,
    )  # fmt: skip
