"""The tallies: tables for the rules that are easy to get wrong, and models for the rest."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.quorum import ReadQuorum, ReadTally, Verdict, WriteQuorum, WriteTally


def _verdict(tally: WriteTally | ReadTally) -> Verdict:
    """The verdict now; a call, since a property would be taken to stay what it was."""
    return tally.verdict


def _write_tally(primaries: int, stand_ins: int = 0, **quorum: int) -> WriteTally:
    needed = WriteQuorum(n=3, **{"w": 2, **quorum})  # type: ignore[arg-type]
    tally = WriteTally(needed)
    for _ in range(primaries):
        tally.asked(primary=True)
    for _ in range(stand_ins):
        tally.asked(primary=False)
    return tally


def _read_tally(primaries: int, stand_ins: int = 0, **quorum: int | bool) -> ReadTally:
    tally = ReadTally(ReadQuorum(n=3, **{"r": 2, **quorum}))  # type: ignore[arg-type]
    for _ in range(primaries):
        tally.asked(primary=True)
    for _ in range(stand_ins):
        tally.asked(primary=False)
    return tally


def test_write_is_met_at_the_wth_copy_and_not_before() -> None:
    tally = _write_tally(3)
    assert _verdict(tally) is Verdict.PENDING
    tally.stored(primary=True)
    assert _verdict(tally) is Verdict.PENDING
    tally.stored(primary=True)
    assert _verdict(tally) is Verdict.MET


def test_write_is_lost_as_soon_as_the_silent_cannot_save_it() -> None:
    tally = _write_tally(3, w=3)
    tally.failed(primary=True)
    assert _verdict(tally) is Verdict.LOST
    assert tally.shortfall() == ("W", 3, 0)


def test_a_stand_in_asked_before_the_failure_is_counted_keeps_a_write_alive() -> None:
    tally = _write_tally(3, w=3)
    tally.asked(primary=False)
    tally.failed(primary=True)
    assert _verdict(tally) is Verdict.PENDING
    for primary in (True, True, False):
        tally.stored(primary=primary)
    assert _verdict(tally) is Verdict.MET


def test_stand_in_does_not_count_as_primary() -> None:
    tally = _write_tally(2, stand_ins=1, pw=2, w=2)
    tally.stored(primary=False)
    tally.stored(primary=True)
    assert _verdict(tally) is Verdict.PENDING
    tally.failed(primary=True)
    assert _verdict(tally) is Verdict.LOST
    assert tally.shortfall() == ("PW", 2, 1)


@pytest.mark.parametrize("quorum", [{"w": 1, "dw": 2}, {"w": 1, "node_confirms": 2}, {"w": 2}])
def test_write_needs_the_greatest_of_its_counts(quorum: dict[str, int]) -> None:
    tally = _write_tally(3, **quorum)
    tally.stored(primary=True)
    assert _verdict(tally) is Verdict.PENDING
    tally.stored(primary=True)
    assert _verdict(tally) is Verdict.MET


def test_write_without_any_quorum_still_needs_one_copy() -> None:
    tally = _write_tally(3, w=0)
    assert _verdict(tally) is Verdict.PENDING
    tally.stored(primary=True)
    assert _verdict(tally) is Verdict.MET


@pytest.mark.parametrize(
    ("quorum", "primaries", "stand_ins", "blamed"),
    [
        ({"w": 2, "pw": 2}, 1, 2, ("PW", 2, 1)),
        ({"w": 2, "node_confirms": 3}, 2, 0, ("node_confirms", 3, 2)),
        ({"w": 3}, 2, 0, ("W", 3, 2)),
        ({"w": 1, "dw": 3}, 2, 0, ("DW", 3, 2)),
    ],
)
def test_doomed_write_is_blamed_before_anything_is_sent(
    quorum: dict[str, int], primaries: int, stand_ins: int, blamed: tuple[str, int, int]
) -> None:
    tally = _write_tally(primaries, stand_ins, **quorum)
    assert _verdict(tally) is Verdict.LOST
    assert tally.shortfall(before_sending=True) == blamed


def test_read_is_met_at_the_rth_answer() -> None:
    tally = _read_tally(3)
    tally.found(primary=True)
    assert _verdict(tally) is Verdict.PENDING
    tally.missing(primary=True)
    assert _verdict(tally) is Verdict.MET


def test_missing_is_no_good_answer_unless_notfound_is_ok() -> None:
    tally = _read_tally(3, notfound_ok=False)
    tally.missing(primary=True)
    tally.missing(primary=True)
    assert _verdict(tally) is Verdict.PENDING, "the third may have it"
    tally.missing(primary=True)
    assert _verdict(tally) is Verdict.LOST
    assert tally.only_not_found


def test_basic_quorum_gives_up_at_a_majority_without_the_key() -> None:
    patient = _read_tally(3, r=1, notfound_ok=False)
    hasty = _read_tally(3, r=1, notfound_ok=False, basic_quorum=True)
    for tally in (patient, hasty):
        tally.missing(primary=True)
        tally.missing(primary=True)
    assert _verdict(patient) is Verdict.PENDING
    assert _verdict(hasty) is Verdict.LOST


def test_failure_among_missing_answers_is_not_only_not_found() -> None:
    tally = _read_tally(3, notfound_ok=False)
    tally.missing(primary=True)
    tally.failed(primary=True)
    assert _verdict(tally) is Verdict.LOST
    assert not tally.only_not_found


def test_empty_stand_ins_do_not_outvote_the_primary_that_is_still_silent() -> None:
    tally = _read_tally(1, stand_ins=2)
    tally.missing(primary=False)
    tally.missing(primary=False)
    assert _verdict(tally) is Verdict.PENDING
    tally.found(primary=True)
    assert _verdict(tally) is Verdict.MET


def test_empty_stand_ins_count_once_no_primary_is_awaited() -> None:
    tally = _read_tally(1, stand_ins=2)
    tally.missing(primary=False)
    tally.missing(primary=False)
    tally.failed(primary=True)
    assert _verdict(tally) is Verdict.MET


def test_stand_in_with_the_key_counts_at_once() -> None:
    tally = _read_tally(2, stand_ins=1)
    tally.found(primary=False)
    tally.found(primary=True)
    assert _verdict(tally) is Verdict.MET


def test_retracted_answer_no_longer_counts() -> None:
    tally = _read_tally(2)
    tally.found(primary=True)
    tally.found(primary=True)
    tally.retracted(primary=True)
    assert _verdict(tally) is Verdict.LOST
    assert tally.shortfall() == ("R", 2, 1)


@pytest.mark.parametrize(
    ("r", "pr", "primaries", "stand_ins", "blamed"),
    [
        (2, 3, 2, 1, ("PR", 3, 2)),
        (1, 3, 2, 0, ("PR", 3, 2)),
        (3, 2, 1, 0, ("R", 3, 1)),
        (3, 0, 2, 0, ("R", 3, 2)),
    ],
)
def test_doomed_read_is_blamed_on_primaries_or_on_all(
    r: int, pr: int, primaries: int, stand_ins: int, blamed: tuple[str, int, int]
) -> None:
    tally = _read_tally(primaries, stand_ins, r=r, pr=pr)
    assert _verdict(tally) is Verdict.LOST
    assert tally.shortfall(before_sending=True) == blamed


@dataclass
class _WriteModel:
    """Every node by name; the rules spelled out over sets."""

    quorum: WriteQuorum
    primaries: set[int]
    silent: set[int]
    acked: set[int] = field(default_factory=set)

    def verdict(self) -> Verdict:
        def enough(nodes: set[int]) -> bool:
            quorum = self.quorum
            return (
                len(nodes) >= max(1, quorum.w)
                and len(nodes) >= quorum.dw
                and len(nodes) >= quorum.node_confirms
                and len(nodes & self.primaries) >= quorum.pw
            )

        if enough(self.acked):
            return Verdict.MET
        return Verdict.PENDING if enough(self.acked | self.silent) else Verdict.LOST


_COUNT = st.integers(0, 5)


@given(
    st.tuples(_COUNT, _COUNT, _COUNT, _COUNT),
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=5),
)
def test_write_tally_agrees_with_the_rules_spelled_out(
    counts: tuple[int, int, int, int], nodes: list[tuple[bool, bool]]
) -> None:
    w, pw, dw, node_confirms = counts
    quorum = WriteQuorum(n=5, w=w, pw=pw, dw=dw, node_confirms=node_confirms)
    tally = WriteTally(quorum)
    model = _WriteModel(
        quorum,
        primaries={i for i, (primary, _) in enumerate(nodes) if primary},
        silent=set(range(len(nodes))),
    )
    for primary, _ in nodes:
        tally.asked(primary=primary)
    assert _verdict(tally) is model.verdict()
    for i, (primary, stores) in enumerate(nodes):
        model.silent.discard(i)
        if stores:
            model.acked.add(i)
            tally.stored(primary=primary)
        else:
            tally.failed(primary=primary)
        assert _verdict(tally) is model.verdict()
    assert tally.settled
    assert _verdict(tally) is not Verdict.PENDING


@given(
    st.integers(1, 4),
    st.integers(0, 4),
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from(["found", "missing", "failed"]), min_size=1, max_size=4),
)
def test_read_of_primaries_only_is_met_by_good_answers_and_settles(
    r: int, pr: int, notfound_ok: bool, basic_quorum: bool, answers: list[str]
) -> None:
    quorum = ReadQuorum(n=4, r=r, pr=pr, notfound_ok=notfound_ok, basic_quorum=basic_quorum)
    tally = ReadTally(quorum)
    for _ in answers:
        tally.asked(primary=True)
    good = 0
    final = tally.verdict
    for answer in answers:
        getattr(tally, answer)(primary=True)
        good += answer == "found" or (answer == "missing" and notfound_ok)
        assert (_verdict(tally) is Verdict.MET) == (good >= max(r, pr))
        if final is Verdict.LOST and not basic_quorum:
            assert _verdict(tally) is Verdict.LOST, "lost is final"
        final = tally.verdict
    assert final is not Verdict.PENDING


def test_lost_read_that_found_something_is_not_only_not_found() -> None:
    tally = _read_tally(3, notfound_ok=False)
    tally.found(primary=True)
    tally.missing(primary=True)
    tally.missing(primary=True)
    assert _verdict(tally) is Verdict.LOST
    assert not tally.only_not_found
