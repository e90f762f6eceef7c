"""Availability as it is measured: whose requests, in which window, and what the ring foretells."""

import msgspec
import pytest

from chaos.arrivals import OVERFULL
from chaos.experiments.measuring import (
    TAIL_S,
    asked_everywhere,
    availability,
    availability_in_words,
    percent_ok,
    quantile_ms,
)
from chaos.judgement import Availability, RuleOutcome, Verdict
from chaos.modes import Mode
from chaos.predictions.availability import all_but
from chaos.recording import Action, Outcome, Take
from tests.unit.chaos.checkers.histories import Told
from tests.unit.chaos.experiments.recordings import Cut, recording

GET, PUT, DELETE = Action.GET, Action.PUT, Action.DELETE
STRICT = Mode(r=2, w=2, sloppy=False)
SLOPPY = Mode(r=2, w=2, sloppy=True)

KNOWN = [12.0 + 0.5 * i for i in range(10)]


def rows(cut: Cut) -> dict[tuple[str, str], Availability]:
    return {(row.side, row.action): row for row in availability(recording(cut.take()))}


def test_each_side_is_measured_by_itself() -> None:
    cut = Cut(mode=STRICT)
    cut.asks("A", GET, KNOWN)
    cut.asks("B", GET, KNOWN[:6])
    cut.asks("B", GET, KNOWN[6:], answered=False)
    cut.asks("B", PUT, KNOWN, answered=False)
    found = rows(cut)
    assert found.keys() == {("A", "read"), ("B", "read"), ("B", "write")}
    measured = {which: (row.measured, row.requests) for which, row in found.items()}
    assert measured == {
        ("A", "read"): (100.0, 10),
        ("B", "read"): (60.0, 10),
        ("B", "write"): (0.0, 10),
    }


def test_a_deletion_is_a_write() -> None:
    cut = Cut(mode=STRICT)
    cut.asks("A", PUT, KNOWN[:5])
    cut.asks("A", DELETE, KNOWN[5:], answered=False)
    assert rows(cut)["A", "write"].measured == 50.0


def test_what_was_asked_before_the_fault_was_known_counts_by_itself() -> None:
    cut = Cut(mode=STRICT)
    cut.asks("A", GET, [9.0])  # nothing is broken yet
    cut.asks("A", GET, [10.5, 11.0, 11.5], answered=False)
    cut.asks("A", GET, [11.9])
    cut.asks("A", GET, KNOWN)
    cut.asks("A", GET, [20.0, 25.0], answered=False)  # nothing is broken any more
    row = rows(cut)["A", "read"]
    assert (row.measured_before, row.measured, row.requests) == (25.0, 100.0, 10)


def test_what_may_be_answered_after_the_fault_is_left_out() -> None:
    cut = Cut(mode=STRICT)
    cut.asks("A", GET, KNOWN)
    cut.asks("A", GET, [20.0 - TAIL_S + 0.01], answered=False)
    assert rows(cut)["A", "read"].requests == len(KNOWN)


def test_what_the_lab_did_not_send_says_nothing_of_the_store() -> None:
    cut = Cut(mode=STRICT)
    cut.asks("A", GET, KNOWN)
    cut.asks("A", GET, KNOWN, answered=False, error=OVERFULL)
    assert rows(cut)["A", "read"].measured == 100.0


def test_the_prediction_is_for_the_keys_that_were_asked_for() -> None:
    cut = Cut(mode=STRICT)  # two of three homes are on side A
    for side in ("A", "B"):
        cut.asks(side, GET, KNOWN)
    found = rows(cut)
    assert (found["A", "read"].predicted, found["B", "read"].predicted) == (100.0, 0.0)
    sloppy = Cut(mode=SLOPPY)
    sloppy.asks("B", GET, KNOWN)
    assert rows(sloppy)["B", "read"].predicted == 100.0


def test_roaming_clients_are_a_side_of_their_own() -> None:
    cut = Cut(mode=STRICT)
    cut.asks("roaming", GET, KNOWN)
    assert rows(cut).keys() == {("roaming", "read")}


def test_who_reached_whom_may_be_told() -> None:
    cut = Cut(mode=STRICT)
    cut.asks("A", GET, KNOWN)
    lonely = all_but({("n1", other) for other in ("n2", "n3", "n4", "n5")})
    [row] = availability(recording(cut.take()), lonely)
    assert row.predicted == 0.0


def test_without_a_fault_that_was_known_there_is_no_row() -> None:
    told = Told()
    told.read()
    assert availability(recording(told.take())) == ()


def test_words_weigh_rows_by_their_requests() -> None:
    cut = Cut(mode=STRICT)
    cut.asks("A", GET, KNOWN)
    cut.asks("B", GET, KNOWN + [at_s + 0.1 for at_s in KNOWN] + KNOWN, answered=False)
    words = availability_in_words(availability(recording(cut.take())))
    assert words == (
        "While the fault was known, requests were answered as follows: strict 2/2 25 %;"
        " at most 0.0 points from the predictions."
    )


def test_words_name_the_greatest_distance_from_a_prediction() -> None:
    cut = Cut(mode=STRICT)
    cut.asks("A", GET, KNOWN[:9])
    cut.asks("A", GET, KNOWN[9:], answered=False)
    assert "strict 2/2 90 %; at most 10.0 points" in availability_in_words(
        availability(recording(cut.take()))
    )


def test_words_say_if_nothing_was_measured() -> None:
    assert availability_in_words(()) == "No request was sent while a fault was known."


def test_of_no_requests_there_is_no_share() -> None:
    assert (percent_ok([]), quantile_ms([], 0.5)) == (None, None)


@pytest.mark.parametrize(("share", "ms"), [(0.0, 10), (0.5, 60), (0.99, 100), (1.0, 100)])
def test_a_quantile_is_that_of_answered_requests(share: float, ms: float) -> None:
    told = Told()
    for tenth in range(1, 11):
        told.read(at=(1.0, 1.0 + tenth / 100))
    told.read(at=(1.0, 99.0), outcome=Outcome.INFO)
    assert quantile_ms(told.operations, share) == pytest.approx(ms)


# What nobody asked


def everywhere(take: Take) -> RuleOutcome:
    return asked_everywhere(take, availability(recording(take)))


def on_both_sides() -> Cut:
    cut = Cut(mode=STRICT)
    cut.asks("A", GET, [9.0, *KNOWN])
    cut.asks("B", GET, [9.0, *KNOWN[:7]])
    return cut


def test_a_share_on_each_side_is_enough() -> None:
    outcome = everywhere(on_both_sides().take())
    assert outcome.verdict is Verdict.PASS
    assert outcome.said == "17 requests make up 2 shares, of 7 at least"


def test_a_side_that_asked_only_while_all_was_well_proves_nothing() -> None:
    cut = on_both_sides()
    cut.asks("A", PUT, [9.0, *KNOWN])
    cut.asks("B", PUT, [9.0])
    outcome = everywhere(cut.take())
    assert outcome.verdict is Verdict.INVALID
    assert outcome.said == "no write in mode strict 2/2 on side B"


def test_a_fault_that_was_never_known_proves_nothing() -> None:
    take = on_both_sides().take()
    head = msgspec.structs.replace(take.head, marks=())
    assert everywhere(msgspec.structs.replace(take, head=head)).verdict is Verdict.INVALID


def test_objects_whose_place_is_not_known_prove_nothing() -> None:
    take = on_both_sides().take()
    head = msgspec.structs.replace(take.head, placements=())
    outcome = everywhere(msgspec.structs.replace(take, head=head))
    assert outcome.verdict is Verdict.INVALID
    assert outcome.said == "nothing is predicted for 2 shares of requests"
