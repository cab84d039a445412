"""The certificate: a record of what ships and how far it is from what was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from softwood.core import InputError, capability
from softwood.lifecycle._fidelity import Fidelity
from softwood.lifecycle._intervals import Estimate
from softwood.lifecycle._leaves import LeafObserved, listed_from, listed_to

_FORMAT, _VERSION = "softwood-certificate", 2
_ALLOWED_LOSS = 0.01  # of the soft model's loss
_NOISE = 2.0  # standard errors
_RELATIVE, _ABSOLUTE = 1e-6, 1e-12  # what a float32 forward pass may differ by


@dataclass(frozen=True)
class Bound:
    """The provable worst case of ``|soft - plain rounding|`` over the rows, and whether it held.

    Args:
        largest: the largest of the rows' bounds, in units of the output.
        mean: their mean.
        share_zero: share of rows on which the two provably agree.
        holds: no measured difference was larger than its row's bound.
        about_shipped: what ships answers as the plain rounding does on all rows, so the bound is about it too.
        worst_row: the row with the largest bound.

    Example:
        >>> Bound(0.5, 0.01, 0.9, True, True).holds
        True
    """

    largest: float
    mean: float
    share_zero: float
    holds: bool
    about_shipped: bool
    worst_row: int | None = None


@dataclass(frozen=True)
class Paired:
    """A difference of mean losses on the same rows: what ships minus another model.

    Args:
        difference: of the means; above 0 what ships is worse.
        error: its standard error, from the rows' own differences; None for fewer than two rows.

    Example:
        >>> print(Paired(0.01, 0.008))
        +0.01 +- 0.008 (within noise)
    """

    difference: float
    error: float | None

    @property
    def is_noise(self) -> bool:
        """Is the difference smaller than two standard errors?"""
        return self.error is not None and abs(self.difference) < _NOISE * self.error

    def __str__(self) -> str:
        error = "" if self.error is None else f" +- {self.error:.3g}"
        return f"{self.difference:+.3g}{error}{' (within noise)' if self.is_noise else ''}"


@capability(
    "artefact",
    exports=("json",),
    cost="O(1), and O(flips stored)",
    example=lambda: Certificate("a tree", "the test rows", 50, "log_loss", 0.2),
)
@dataclass(frozen=True)
class Certificate:
    """What ships, where it was measured, how far it is from what was trained, and what this does not cover.

    Args:
        ships: what ships.
        rows: which rows it was measured on.
        n: how many.
        loss: name of the loss.
        loss_shipped: its mean over the rows, for what ships.
        loss_soft: for the relaxed model; None where there is none.
        loss_rounded: for its plain rounding; None where there is none.
        agreement: share of rows on which what ships and the soft model agree, with its exact interval.
        agreement_means: what "agree" means here.
        flips: rows on which they do not, the first 1000.
        n_flips: how many there are.
        worst_row: the row with the largest difference of outputs.
        worst_difference: that difference.
        in_band: share of rows inside the soft band, on which the relaxed answer is no clean decision.
        bound: the provable worst case, where there is one.
        score_name: ``"accuracy"`` (rows counted once), ``"R2"``, or None.
        score: its value for what ships, with interval.
        level: confidence of the intervals.
        not_covered: what the certificate says nothing about.
        verified: what holds for every row there can be, in words.
        leaves: of one tree, what each leaf ships and what was observed in it on these rows.
        versus_soft: loss of what ships minus that of the soft model, row by row.
        versus_rounded: the same for the plain rounding.
        fidelity: of a distilled model, how far it is from its teacher.

    Example:
        >>> certificate = Certificate("a tree", "the test rows", 50, "log_loss", 0.2)
        >>> certificate.passed
        True
        >>> Certificate.from_dict(certificate.to_dict()) == certificate
        True
    """

    ships: str
    rows: str
    n: int
    loss: str
    loss_shipped: float
    loss_soft: float | None = None
    loss_rounded: float | None = None
    agreement: Estimate | None = None
    agreement_means: str | None = None
    flips: tuple[int, ...] = ()
    n_flips: int = 0
    worst_row: int | None = None
    worst_difference: float | None = None
    in_band: float | None = None
    bound: Bound | None = None
    score_name: str | None = None
    score: Estimate | None = None
    level: float = 0.95
    not_covered: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()
    leaves: tuple[LeafObserved, ...] = ()
    versus_soft: Paired | None = None
    versus_rounded: Paired | None = None
    fidelity: Fidelity | None = None

    @property
    def gap(self) -> float | None:
        """Relaxed-forward loss minus the loss of what ships; None where there is no soft model."""
        return None if self.loss_soft is None else self.loss_soft - self.loss_shipped

    @property
    def _broken(self) -> list[tuple[str, bool]]:
        """The rules that the measured losses break, and for each whether that is within noise."""
        found = []
        if self.loss_rounded is not None and self.loss_shipped > self.loss_rounded + _slack(self.loss_rounded):
            over = self.loss_shipped - self.loss_rounded
            found.append(("what ships has a larger loss than plain rounding", _noise(over, self.versus_rounded)))
        if self.loss_soft is not None:
            allowed = self.loss_soft + _ALLOWED_LOSS * abs(self.loss_soft)
            if self.loss_shipped > allowed + _slack(self.loss_soft):
                noise = _noise(self.loss_shipped - allowed, self.versus_soft)
                found.append(("what ships has a loss more than 1 % above that of the soft model", noise))
        if self.bound is not None and not self.bound.holds:
            found.append(("a difference is larger than its provable bound", False))
        return found

    @property
    def failures(self) -> tuple[str, ...]:
        """Which of the rules are broken by more than noise.

        What ships may lose nothing against plain rounding and 1 % against the soft model, each up to rounding of
        float32, and no difference may be larger than its provable bound. A rule without its model does not apply.
        """
        return tuple(rule for rule, noise in self._broken if not noise)

    @property
    def within_noise(self) -> tuple[str, ...]:
        """Which of the rules about losses are broken on these rows, by less than two standard errors."""
        return tuple(rule for rule, noise in self._broken if noise)

    @property
    def passed(self) -> bool:
        """Is no rule refuted? See ``failures``.

        The rules are about the loss on all rows that may come, of which these are a sample. Two models that are
        equally good differ on a sample by chance, and each is the worse one half of the time; without an allowance
        a good model would fail by one flipped row of fifty. So a rule counts as refuted where the loss is above what
        it allows by two standard errors of the paired difference, which a model that keeps it does on about one
        sample in forty. What few rows let through is not hidden: ``verdict`` says "not refuted (within noise)", the
        difference and its error are printed, and the error shrinks with the root of the rows.
        """
        return not self.failures

    @property
    def verdict(self) -> str:
        """``"passed"``, ``"not refuted (within noise)"`` or ``"not passed"``."""
        return "not passed" if self.failures else "not refuted (within noise)" if self.within_noise else "passed"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content without NaN.

        Example:
            >>> Certificate("a tree", "the test rows", 50, "squared", 0.2).to_dict()["n"]
            50
        """
        content = asdict(self)
        for name in ("flips", "not_covered", "verified"):
            content[name] = list(content[name])
        content["leaves"] = listed_to(self.leaves)
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "passed": self.passed,
            "verdict": self.verdict,
            "gap": self.gap,
            **content,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Certificate:
        """Read what ``to_dict`` gave. What an older version did not measure yet has its default, mostly None.

        Args:
            content: the JSON content.

        Raises:
            InputError: it is no certificate, it is not whole, or a newer Softwood wrote it.

        Example:
            See the class.
        """
        if not isinstance(content, Mapping) or content.get("format") != _FORMAT:
            raise InputError(
                "this is no certificate",
                got=sorted(map(str, content)) if isinstance(content, Mapping) else type(content).__name__,
                allowed="what Certificate.to_dict() gives", fix="certify again",
            )  # fmt: skip
        version: Any = content.get("version")
        if version not in range(1, _VERSION + 1):
            raise InputError(
                "this certificate is of another version", got=f"version {version!r}",
                allowed=f"1 to {_VERSION}", fix="upgrade softwood, or certify again",
            )  # fmt: skip
        new = {f.name: f.default for f in fields(cls) if f.default is not MISSING} if version < _VERSION else {}
        absent = {f.name for f in fields(cls)} - set(content) - set(new)
        if absent:
            raise InputError(
                "the certificate is not whole", got=f"no {', '.join(sorted(absent))}",
                allowed="what Certificate.to_dict() gives", fix="copy the file again, or certify again",
            )  # fmt: skip
        values = {field.name: content.get(field.name, new.get(field.name)) for field in fields(cls)}
        kinds = {
            "agreement": Estimate, "score": Estimate, "bound": Bound, "versus_soft": Paired, "versus_rounded": Paired,
        }  # fmt: skip
        for name, kind in kinds.items():
            values[name] = None if values[name] is None else kind(**values[name])
        if values["fidelity"] is not None:
            values["fidelity"] = Fidelity.from_dict(values["fidelity"])
        values["leaves"] = listed_from(values["leaves"])
        for name in ("flips", "not_covered", "verified"):
            values[name] = tuple(values[name])
        return cls(**values)

    def __str__(self) -> str:
        lines = [f"What ships: {self.ships}", f"Measured on: {self.rows} ({self.n} rows)", "Does not cover:"]
        lines += [f"  - {text}" for text in self.not_covered]
        if self.verified:
            lines.append(f"Verified for every row: {'; '.join(self.verified)}")
        losses = [f"what ships {self.loss_shipped:.6g}"]
        if self.loss_rounded is not None:
            losses.append(f"plain rounding {self.loss_rounded:.6g}")
        if self.loss_soft is not None:
            losses.append(f"soft {self.loss_soft:.6g} (gap, soft minus what ships: {self.gap:+.3g})")
        lines.append(f"Loss ({self.loss}): {', '.join(losses)}")
        pairs = (("plain rounding", self.versus_rounded), ("soft", self.versus_soft))
        apart = [f"{name} {pair}" for name, pair in pairs if pair is not None]
        if apart:
            lines.append(f"What ships minus the other, with standard error: {'; '.join(apart)}")
        if self.score is not None:
            lines.append(f"{self.score_name}: {self.score} at {self.level:.3g} confidence")
        if self.fidelity is not None:
            lines.append(f"Fidelity to the teacher: {self.fidelity}")
        if self.agreement is not None:
            lines.append(f"Agreement with the soft model: {self.agreement} ({self.agreement_means})")
            flips = "none" if not self.n_flips else f"{self.n_flips}, first row {self.flips[0]}"
            lines.append(f"Flips: {flips}. Largest difference: {self.worst_difference:.4g}, row {self.worst_row}")
        if self.in_band is not None:
            lines.append(f"Inside the soft band: {self.in_band:.1%} of rows")
        if self.bound is not None:
            about = "what ships" if self.bound.about_shipped else "the plain rounding, not what ships"
            lines.append(
                f"Provable difference from soft (of {about}): at most {self.bound.largest:.4g}, mean "
                f"{self.bound.mean:.4g}, zero on {self.bound.share_zero:.1%} of rows"
                + ("" if self.bound.worst_row is None else f", worst in row {self.bound.worst_row}")
            )
        if self.failures:
            lines.append(f"NOT passed: {'; '.join(self.failures)}")
        elif self.within_noise:
            lines.append(f"Not refuted (within noise): {'; '.join(self.within_noise)}, by less than 2 standard errors")
        else:
            lines.append("Passed")
        return "\n".join(lines)


def _noise(over: float, pair: Paired | None) -> bool:
    return pair is not None and pair.error is not None and over < _NOISE * pair.error


def _slack(loss: float) -> float:
    return _RELATIVE * abs(loss) + _ABSOLUTE
