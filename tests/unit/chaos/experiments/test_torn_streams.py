"""What is concluded of torn streams: that requests end, and connections come back."""

from collections import Counter
from random import Random

import msgspec
import pytest

from chaos.clients import NEVER_RETURNED
from chaos.experiments.torn_streams import (
    AFTERWARDS,
    BEFORE,
    CLASSIFIED,
    CLOSED,
    RECOVERS,
    STRICT,
    TURNS,
    TornStreams,
    kind_of,
    turns,
)
from chaos.judgement import Findings, Verdict
from chaos.links import Link
from chaos.recording import Operation, Outcome
from tests.unit.chaos.checkers.histories import FAIL, INFO, NODES, OK, Told, fault, marks
from tests.unit.chaos.experiments.findings import looked, rule
from tests.unit.chaos.experiments.recordings import recording


def concluded(
    *,
    error: str = "the connection ended",
    status: int | None = None,
    after: Outcome = OK,
    peers: float = 4.0,
    files: float | None = 20.0,
) -> Findings:
    """Streams are torn from 2 to 10 s, and a request fails; two follow when all is over."""
    told = Told(mode=STRICT)
    torn = told.write("torn", at=(3.0, 3.1), outcome=INFO)
    told.read(at=(14.0, 14.1))
    told.read(at=(15.0, 15.1), outcome=after)
    told.operations[torn.index] = msgspec.structs.replace(torn, error=error, status=status)
    told.operations = [_explained(operation) for operation in told.operations]
    figures = {} if files is None else {f"{BEFORE}n1": 20.0, f"{AFTERWARDS}n1": files}
    told.head = {
        "modes": (STRICT,),
        "faults": (fault("torn", 2.0, 10.0, "n1>n2"),),
        "marks": marks(warm=0.5, healed=10.0, quiet=16.0),
        "figures": figures,
    }
    told.samples = [looked(1.0), looked(16.0, n2={"peers_connected": peers})]
    return TornStreams().conclude(recording(told.take()))


def _explained(operation: Operation) -> Operation:
    if operation.outcome is OK or operation.error is not None:
        return operation
    return msgspec.structs.replace(operation, error="the request timed out")


def test_requests_that_end_and_connections_that_return_are_well() -> None:
    assert {outcome.verdict for outcome in concluded().rules} == {Verdict.PASS}


@pytest.mark.parametrize(
    ("error", "status"), [(NEVER_RETURNED, None), ("", None), ("it broke", 500)]
)
def test_a_request_that_ends_without_saying_what_is_known_is_found_out(
    error: str, status: int | None
) -> None:
    outcome = rule(concluded(error=error, status=status), CLASSIFIED)
    assert (outcome.verdict, outcome.evidence) == (Verdict.FAIL, (0,))


def test_requests_that_still_fail_afterwards_are_found_out() -> None:
    outcome = rule(concluded(after=FAIL), RECOVERS)
    assert (outcome.verdict, outcome.evidence) == (Verdict.FAIL, (2,))


def test_a_peer_that_is_not_dialled_again_is_found_out() -> None:
    outcome = rule(concluded(peers=3.0), RECOVERS)
    assert outcome.verdict is Verdict.FAIL
    assert "n2 was connected to 3 of 4 peers" in outcome.said


def test_files_that_stay_open_are_found_out() -> None:
    assert rule(concluded(files=45.0), CLOSED).verdict is Verdict.FAIL


def test_where_the_system_does_not_tell_of_files_there_is_no_rule_about_them() -> None:
    assert CLOSED not in {outcome.rule for outcome in concluded(files=None).rules}


def test_each_turn_concerns_half_of_the_links_and_kinds_are_evenly_many() -> None:
    among = [Link(a, b) for a in NODES for b in NODES if a != b]
    of_clients = [Link("c1", node) for node in NODES]
    drawn = [*turns(Random(1), among, of_clients)]
    assert len(drawn) == TURNS
    assert {len(turn.toxics) for turn in drawn} == {len(among) // 2 + len(of_clients) // 2}
    assert Counter(turn.kind for turn in drawn) == {"torn": 6, "reset": 3}


def test_the_same_seed_draws_the_same_turns() -> None:
    links = [Link("n1", "n2"), Link("n2", "n1")]
    assert [*turns(Random(7), links, links)] == [*turns(Random(7), links, links)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("n1: 2 of 3 replicas failed", "a node: # of # replicas failed"),
        ("n2: 1 of 3 replicas failed", "a node: # of # replicas failed"),
        ("the connection to http://127.0.0.1:80 ended: Server disconnected", None),
        ("the connection to http://127.0.0.1:99 ended: Server disconnected", None),
    ],
)
def test_errors_are_of_one_kind_whatever_node_and_number_they_name(
    error: str, kind: str | None
) -> None:
    failed = msgspec.structs.replace(Told().read(outcome=FAIL), error=error)
    assert kind_of(failed) == (kind or "connection ended before the answer")


def test_failed_writes_are_told_apart_from_unknown_ones() -> None:
    [table] = concluded().tables
    assert table.rows == (("the connection ended", "none", "0", "0", "1"),)
