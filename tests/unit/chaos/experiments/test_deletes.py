"""What is concluded of deletions: nothing is shown again, tombstones wait, and go in the end."""

import msgspec
import pytest

from chaos.experiments.deletes import ONE, SLOPPY, STRICT, Deletes
from chaos.experiments.tombstones import BURIED, FORGETS, MISSING, NEVER_SHOWN, SHOWN, WAITS
from chaos.judgement import Findings, Verdict
from chaos.modes import Mode
from chaos.recording import Operation
from chaos.workloads.doomed import LOOK
from tests.unit.chaos.checkers.histories import Told, fault, marks
from tests.unit.chaos.experiments.findings import rule
from tests.unit.chaos.experiments.recordings import recording


class Story:
    """A key is written and deleted while a home is dead; the tombstone is forgotten at 30 s."""

    def __init__(self, mode: Mode = STRICT) -> None:
        self.told = Told(mode=mode)
        self.value = self.told.write("doomed", at=(1.0, 1.1))
        self.told.read(self.value, at=(3.0, 3.1), by="c2")
        self.told.delete(after=self.told.operations[-1], at=(3.2, 3.3), by="c2")
        self.figures = {BURIED: 1.0, MISSING: 0.0}
        self.marks = marks(warm=0.5, healed=10.0, forgotten=30.0, quiet=32.0)

    def read(self, *values: Operation, at: tuple[float, float], note: str = "") -> Operation:
        read = self.told.read(*values, at=at, by="c3")
        if note:
            self.told.operations[-1] = read = _noted(read, note)
        return read

    def concluded(self) -> Findings:
        self.told.head = {
            "modes": (STRICT, SLOPPY, ONE),
            "faults": (fault("kill", 2.0, 5.0, "n1"),),
            "marks": self.marks,
            "figures": self.figures,
        }
        return Deletes().conclude(recording(self.told.take()))


def _noted(operation: Operation, note: str) -> Operation:
    return msgspec.structs.replace(operation, note=note)


def test_what_stays_away_passes_all_rules() -> None:
    story = Story()
    story.read(at=(4.0, 4.1))
    story.read(at=(31.0, 31.1), note=LOOK)
    findings = story.concluded()
    assert [one.said for one in findings.rules if one.verdict is not Verdict.PASS] == []


@pytest.mark.parametrize("at", [(4.0, 4.1), (31.0, 31.1)])
def test_a_strict_quorum_that_shows_what_was_deleted_is_found_out(at: tuple[float, float]) -> None:
    story = Story()
    back = story.read(story.value, at=at)
    outcome = rule(story.concluded(), NEVER_SHOWN)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.evidence == (2, back.index)


def test_a_read_that_began_before_the_deletion_ended_may_show_it() -> None:
    story = Story()
    story.read(story.value, at=(3.25, 3.4))
    story.read(at=(4.0, 4.1))
    assert rule(story.concluded(), NEVER_SHOWN).verdict is Verdict.PASS


def test_a_sloppy_quorum_may_show_what_was_deleted_until_it_is_forgotten() -> None:
    story = Story(SLOPPY)
    story.read(story.value, at=(4.0, 4.1))
    assert rule(story.concluded(), NEVER_SHOWN).verdict is Verdict.PASS
    story.read(story.value, at=(31.0, 31.1))
    assert rule(story.concluded(), NEVER_SHOWN).verdict is Verdict.FAIL


def test_a_value_that_the_deletion_did_not_know_may_be_shown() -> None:
    story = Story()
    beside = story.told.write("beside", at=(3.1, 3.15), by="c4")
    story.told.ends(beside)
    story.read(beside, at=(31.0, 31.1), note=LOOK)
    findings = story.concluded()
    assert rule(findings, NEVER_SHOWN).verdict is Verdict.PASS
    assert rule(findings, SHOWN).verdict is Verdict.PASS


def test_a_node_that_shows_less_than_the_homes_hold_is_found_out() -> None:
    story = Story()
    anew = story.told.write("anew", at=(31.0, 31.1))
    story.told.ends(anew)
    look = story.read(at=(31.5, 31.6), note=LOOK)
    outcome = rule(story.concluded(), SHOWN)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.evidence == (look.index,)


def test_deletions_that_nobody_reads_prove_nothing() -> None:
    assert rule(Story().concluded(), NEVER_SHOWN).verdict is Verdict.INVALID


def test_a_tombstone_that_goes_while_a_home_is_away_is_found_out() -> None:
    story = Story()
    story.figures = {BURIED: 0.0, MISSING: 1.0}
    assert rule(story.concluded(), WAITS).verdict is Verdict.FAIL
    story.figures = {}
    assert rule(story.concluded(), WAITS).verdict is Verdict.INVALID


def test_tombstones_that_are_never_forgotten_are_found_out() -> None:
    story = Story()
    story.marks = marks(warm=0.5, healed=10.0, quiet=32.0)
    assert rule(story.concluded(), FORGETS).verdict is Verdict.FAIL


def test_a_tombstone_that_is_left_on_a_node_is_found_out() -> None:
    story = Story()
    story.told.ends(tombstones=1, on=["n2"])
    outcome = rule(story.concluded(), FORGETS)
    assert outcome.verdict is Verdict.FAIL
    assert "n2 still holds a tombstone of b/k" in outcome.said


def test_a_tombstone_beside_a_value_is_none_to_forget() -> None:
    story = Story()
    beside = story.told.write("beside", at=(3.1, 3.15), by="c4")
    story.told.ends(beside, tombstones=1)
    assert rule(story.concluded(), FORGETS).verdict is Verdict.PASS
