"""What was concluded from a recording: verdicts, figures, and what to draw.

Made by `experiments` with the help of `checkers` and `predictions`, shown by `report`. All of it is
computed from the recording alone, so a report can be made again from the files of a run.
"""

import enum
from collections.abc import Iterable, Mapping

import msgspec


class Verdict(enum.StrEnum):
    """What may be said of the store."""

    PASS = "pass"
    FAIL = "fail"
    INVALID = "invalid"
    """The lab did not do what it meant to, so nothing may be concluded."""


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """INVALID if anything is: what a broken lab found is worth nothing. Then FAIL, then PASS."""
    found = set(verdicts)
    return next((v for v in (Verdict.INVALID, Verdict.FAIL) if v in found), Verdict.PASS)


class RuleOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one rule in one take.

    Attributes:
        rule: its name, e.g. `no acknowledged write is lost`.
        take: where; "" for the run as a whole.
        said: what was found, with numbers, in one sentence.
        evidence: indexes of operations that show it, few and telling.
    """

    rule: str
    verdict: Verdict
    said: str
    take: str = ""
    evidence: tuple[int, ...] = ()


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number that was measured, beside what was predicted.

    Attributes:
        label: what it is.
        unit: `%`, `ms`, `s`, `keys`, ...; shown after the number.
        predicted: None if nothing was.
        tolerance: how far apart they may be for the rule that holds them together; None if no rule
            does.
    """

    label: str
    measured: float | None
    unit: str = ""
    predicted: float | None = None
    tolerance: float | None = None
    take: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is as near to the prediction as it must be."""
        if self.tolerance is None or self.predicted is None:
            return True
        return self.measured is not None and abs(self.measured - self.predicted) <= self.tolerance


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """What share of requests was answered, in one mode, on one side, while a fault lasted.

    Attributes:
        action: `read`, `write`.
        measured: percent of requests, once the nodes knew of the fault.
        measured_before: percent, from the fault until they knew; None if there was no such time.
        predicted: percent, from the ring, for the keys asked for; None if there is no prediction.
        requests: how many were counted.
        tolerance: points that the two may be apart.
    """

    take: str
    mode: str
    side: str
    action: str
    measured: float
    requests: int
    measured_before: float | None = None
    predicted: float | None = None
    tolerance: float = 3.0

    @property
    def holds(self) -> bool:
        """Whether it is as predicted."""
        return self.predicted is None or abs(self.measured - self.predicted) <= self.tolerance


class StalenessPoint(msgspec.Struct, frozen=True, kw_only=True):
    """How often a read, so long after the acknowledgement, showed the write.

    Attributes:
        after_ms: from the acknowledgement to the read.
        measured: percent consistent.
        predicted: percent consistent, by the model.
        reads: how many were counted.
    """

    after_ms: float
    measured: float
    predicted: float
    reads: int


class StalenessCurve(msgspec.Struct, frozen=True, kw_only=True):
    """One mode's points."""

    mode: str
    points: tuple[StalenessPoint, ...]


class Lanes(msgspec.Struct, frozen=True, kw_only=True):
    """Operations around something worth seeing, to be drawn as a bar each, a lane per client.

    Attributes:
        title: what one sees.
        said: how to read it, step by step.
        operations: indexes into the take's history.
        highlight: those that prove it.
    """

    take: str
    title: str
    said: str
    operations: tuple[int, ...]
    highlight: tuple[int, ...] = ()


class CapDot(msgspec.Struct, frozen=True, kw_only=True):
    """One mode under one fault, on the CAP map.

    Attributes:
        fault: its name; "none" for the quiet cluster, from where the arrow begins.
        unavailable: percent of requests without an answer.
        stale: percent of reads that missed an acknowledged write.
        lost: percent of acknowledged writes that were lost.
    """

    mode: str
    fault: str
    unavailable: float
    stale: float
    lost: float
    requests: int = 0


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Any other numbers, with a sentence that says what they teach."""

    title: str
    said: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment concludes from a recording, before it is put together.

    Attributes:
        observed: what happened, in one sentence with its numbers.
    """

    observed: str
    rules: tuple[RuleOutcome, ...] = ()
    figures: tuple[Figure, ...] = ()
    availability: tuple[Availability, ...] = ()
    staleness: tuple[StalenessCurve, ...] = ()
    lanes: tuple[Lanes, ...] = ()
    cap: tuple[CapDot, ...] = ()
    tables: tuple[Table, ...] = ()


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report says of a run.

    Attributes:
        experiment: its name; `title`, `hypothesis`, `faults`, `must_hold` and `predicted` are its
            own words.
        versions: see `recording.Run`.
    """

    experiment: str
    title: str
    hypothesis: str
    faults: str
    must_hold: str
    predicted: str
    verdict: Verdict
    findings: Findings
    seed: int
    command: str
    started_at: str
    versions: Mapping[str, str]
    takes: tuple[str, ...]
