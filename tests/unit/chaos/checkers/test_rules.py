"""Which rules a take is held to, by what it contains."""

from chaos.checkers import hints, last_write_wins, lost_writes
from chaos.checkers.rules import standard
from chaos.judgement import Verdict, overall
from chaos.recording import Sample
from tests.unit.chaos.checkers.histories import LWW, Told, fault, sample, stamped


def test_objects_with_siblings_and_such_where_the_last_write_wins_have_rules_of_their_own() -> None:
    told = Told()
    told.ends(told.write("x"))
    names = [outcome.rule for outcome in standard(told.take())]
    assert lost_writes.RULE in names
    assert last_write_wins.RULE not in names
    told.mode = LWW
    told.ends(stamped(told.write("y", key="l"), 1), key="l")
    names = [outcome.rule for outcome in standard(told.take())]
    assert lost_writes.RULE in names
    assert last_write_wins.RULE in names
    assert len(names) == len(set(names))


def test_a_good_take_passes_every_rule_and_says_its_name() -> None:
    told = Told()
    told.ends(told.write("x"))
    outcomes = standard(told.take())
    assert overall(outcome.verdict for outcome in outcomes) is Verdict.PASS
    assert all(outcome.take == "t" and outcome.said for outcome in outcomes)


def test_hints_that_went_with_a_disk_are_no_breach_and_hints_that_vanished_are() -> None:
    told = Told(head={"hints": {"stored": 3, **dict.fromkeys(_OTHERS, 0)}})
    told.ends(told.write("x"))
    assert _of(told, hints.RULE) is Verdict.FAIL
    told.head["faults"] = (fault("wipe", 1.0, 2.0, "n1"),)
    told.samples = [sample(1.0), Sample(at_s=3.0, nodes={}, watched=9, divergent=1)]
    assert _of(told, hints.RULE) is Verdict.PASS


_OTHERS = ("delivered", "superseded", "expired", "held")


def _of(told: Told, rule: str) -> Verdict:
    return next(outcome.verdict for outcome in standard(told.take()) if outcome.rule == rule)
