from collections.abc import Collection

import pytest

from tests.simulation.checks import Outcome, Read, Write, check

OK, FAIL, INFO = Outcome.ACKNOWLEDGED, Outcome.FAILED, Outcome.UNKNOWN


def write(value: str, saw: str = "", outcome: Outcome = OK, key: str = "k") -> Write:
    return Write(key=key, value=value, saw=frozenset(saw.split()), outcome=outcome)


def delete(name: str, saw: str, outcome: Outcome = OK, key: str = "k") -> Write:
    return Write(key=key, value=name, saw=frozenset(saw.split()), outcome=outcome, deletes=True)


def rules(
    writes: list[Write],
    final: str,
    reads: Collection[str] = (),
    key: str = "k",
    *,
    copies_may_go: bool = False,
) -> list[tuple[str, str]]:
    """The rules broken, each with the value (or first word) that it names."""
    shown = [Read(key=key, values=frozenset(read.split())) for read in reads]
    violations = check(writes, shown, {key: final.split()}, copies_may_go=copies_may_go)
    return [(violation.rule, violation.text.split()[0]) for violation in violations]


# -- good ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("writes", "final"),
    [
        ([], ""),
        ([write("a")], "a"),
        ([write("a"), write("b")], "a b"),
        ([write("a"), write("b", "a")], "b"),
        ([write("a"), write("b", "a"), write("c", "a")], "b c"),
        ([write("a"), write("b", "a"), write("c", "b")], "c"),
        ([write("a"), write("b"), write("c", "a b")], "c"),
        ([write("a"), write("b"), write("c", "a")], "b c"),
        ([write("a", outcome=FAIL)], ""),
        ([write("a", outcome=FAIL), write("b")], "b"),
    ],
)
def test_a_good_history_passes(writes: list[Write], final: str) -> None:
    assert rules(writes, final) == []


@pytest.mark.parametrize("final", ["a", "b"])
def test_an_unknown_write_may_have_happened_or_not(final: str) -> None:
    assert rules([write("a"), write("b", "a", INFO)], final) == []


def test_an_unknown_write_may_be_superseded_by_what_saw_it() -> None:
    writes = [write("a"), write("b", "a", INFO), write("c", "b")]
    assert rules(writes, "c", ["a", "b"]) == []


def test_an_unknown_write_that_nobody_saw_leaves_what_it_meant_to_replace() -> None:
    writes = [write("a"), write("b", "a", INFO), write("c", "a")]
    assert rules(writes, "c") == []
    assert rules(writes, "b c") == []


@pytest.mark.parametrize(
    ("writes", "final"),
    [
        ([write("a"), delete("d", "a")], ""),
        ([delete("d", "")], ""),
        ([write("a"), delete("d", "a"), write("b")], "b"),
        ([write("a"), write("b"), delete("d", "a")], "b"),
        ([write("a"), write("b", "a"), delete("d", "b")], ""),
        ([write("a"), delete("d", "a"), delete("e", "a")], ""),
        ([write("a"), delete("d", "a"), write("b", "a")], "b"),
        ([write("a"), delete("d", "a", FAIL)], "a"),
        ([write("a", outcome=INFO), delete("d", "a")], ""),
    ],
)
def test_a_good_history_with_deletes_passes(writes: list[Write], final: str) -> None:
    assert rules(writes, final) == []


@pytest.mark.parametrize("final", ["", "a"])
def test_an_unknown_delete_may_have_happened_or_not(final: str) -> None:
    assert rules([write("a"), delete("d", "a", INFO)], final) == []


def test_a_write_over_a_tombstone_comes_after_what_the_delete_took_away() -> None:
    """Its client saw no value, and no delete by name; the delete may have been anybody's."""
    writes = [write("a"), delete("d", "a", INFO), write("b", "")]
    assert rules(writes, "b") == []
    assert rules(writes, "a b") == []


def test_what_was_read_may_go_with_the_one_disk_that_held_it() -> None:
    writes = [write("a"), write("b", "a", INFO)]
    assert rules(writes, "a", ["b"], copies_may_go=True) == []


def test_keys_are_judged_apart() -> None:
    writes = [write("a"), write("b", key="l")]
    assert check(writes, [], {"k": ["a"], "l": ["b"]}) == []


# -- bad -----------------------------------------------------------------------------------------


def test_an_acknowledged_write_that_is_gone_is_lost() -> None:
    assert rules([write("a")], "") == [("lost", "a")]
    assert rules([write("a"), write("b")], "b") == [("lost", "a")]


def test_a_key_that_is_missing_in_the_end_is_empty() -> None:
    violations = check([write("a")], [], {})
    assert [violation.rule for violation in violations] == ["lost"]
    assert str(violations[0]) == "lost: key k: a was acknowledged; in the end there is []"


def test_a_blind_write_supersedes_nothing() -> None:
    """A server that covers more with a context than it showed loses the write beside it."""
    assert rules([write("a"), write("b"), write("c", "a")], "c") == [("lost", "b")]


def test_a_write_lost_with_its_successor_is_lost_too() -> None:
    writes = [write("a"), write("b", "a"), write("c")]
    assert rules(writes, "c") == [("lost", "a"), ("lost", "b")]


def test_an_acknowledged_write_under_an_unknown_one_that_vanished_is_lost() -> None:
    assert rules([write("a"), write("b", "a", INFO)], "") == [("lost", "a")]


def test_a_superseded_value_that_is_a_sibling_again_is_resurrected() -> None:
    writes = [write("a"), write("b", "a"), write("c", "b")]
    assert rules(writes, "b c") == [("resurrected", "b")]
    assert rules(writes, "a c") == [("resurrected", "a")]


def test_what_somebody_read_supersedes_even_if_its_writer_never_knew() -> None:
    writes = [write("a"), write("b", "a", INFO)]
    assert rules(writes, "a", ["b"]) == [("resurrected", "a")]


def test_a_deleted_value_that_is_back_is_resurrected() -> None:
    assert rules([write("a"), delete("d", "a")], "a") == [("resurrected", "a")]
    writes = [write("a"), write("b", "a"), delete("d", "b")]
    assert rules(writes, "a") == [("resurrected", "a")]


def test_a_deleted_value_beside_what_was_written_later_is_resurrected() -> None:
    writes = [write("a"), delete("d", "a"), write("b", "")]
    assert rules(writes, "a b") == [("resurrected", "a")]


def test_a_delete_that_takes_away_what_it_did_not_see_loses_it() -> None:
    writes = [write("a"), write("b"), delete("d", "a")]
    assert rules(writes, "") == [("lost", "b")]


def test_a_failed_delete_takes_nothing_away() -> None:
    assert rules([write("a"), delete("d", "a", FAIL)], "") == [("lost", "a")]


def test_an_unknown_delete_happened_as_a_whole_or_not_at_all() -> None:
    writes = [write("a"), write("b"), delete("d", "a b", INFO)]
    assert rules(writes, "a") == [("lost", "b")]


def test_an_unknown_write_that_a_delete_took_away_stays_away() -> None:
    writes = [write("a", outcome=INFO), delete("d", "a")]
    assert rules(writes, "a") == [("resurrected", "a")]


def test_what_several_machines_acknowledged_does_not_go_with_a_disk() -> None:
    writes = [write("a"), write("b", "a")]
    assert rules(writes, "a", ["b"], copies_may_go=True) == [("lost", "b"), ("resurrected", "a")]


def test_a_failed_write_may_be_seen_by_nobody() -> None:
    writes = [write("a"), write("b", outcome=FAIL)]
    assert rules(writes, "a b") == [("failed", "b")]
    assert rules(writes, "a", ["a b"]) == [("failed", "b")]


def test_a_value_that_nobody_wrote_here_is_a_stranger() -> None:
    writes = [write("a"), write("b", key="l")]
    shown = [Read(key="k", values=frozenset({"b"}))]
    violations = check(writes, shown, {"k": ["a"], "l": ["b"]})
    assert [(violation.rule, violation.key) for violation in violations] == [("stranger", "k")]
    assert rules([write("a")], "a z") == [("stranger", "z")]


def test_an_unknown_write_beside_what_it_replaced_is_no_sibling() -> None:
    writes = [write("a", outcome=INFO), write("b", "a", INFO)]
    assert rules(writes, "a b") == [("siblings", "siblings")]


def test_each_broken_key_is_named() -> None:
    violations = check([write("a"), write("b", key="l"), write("c", key="m")], [], {"l": ["b"]})
    assert [violation.key for violation in violations] == ["k", "m"]


def test_values_that_are_not_unique_are_the_callers_mistake() -> None:
    with pytest.raises(AssertionError, match="not unique"):
        check([write("a"), write("a")], [], {})
    with pytest.raises(AssertionError, match="not unique"):
        check([write("a"), delete("a", "")], [], {})
