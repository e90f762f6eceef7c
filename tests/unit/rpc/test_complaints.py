import logging

import pytest

from dynamo.rpc.connection import COMPLAINERS_MAX, COMPLAINT_PAUSE_S, Complaints


def complain(complaints: Complaints, peer: str, now_s: float) -> None:
    complaints.log("refused", peer=peer, address="10.0.0.1:5", reason="stranger", now_s=now_s)


def test_a_peer_is_complained_about_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for now_s in (0.0, 1.0, COMPLAINT_PAUSE_S - 1, COMPLAINT_PAUSE_S, COMPLAINT_PAUSE_S + 1):
        complain(complaints, "n1", now_s)
    complain(complaints, "n2", COMPLAINT_PAUSE_S + 1)
    assert [(r.levelno, r.__dict__["peer"]) for r in caplog.records] == [
        (logging.WARNING, "n1"),
        (logging.WARNING, "n1"),
        (logging.WARNING, "n2"),
    ]
    assert caplog.records[0].__dict__["reason"] == "stranger"
    assert caplog.records[0].__dict__["address"] == "10.0.0.1:5"


def test_ever_new_names_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for number in range(2 * COMPLAINERS_MAX):
        complain(complaints, f"stranger{number}", 1.0)
    assert len(caplog.records) == COMPLAINERS_MAX
    complain(complaints, "n1", 1.0 + COMPLAINT_PAUSE_S)
    assert len(caplog.records) == COMPLAINERS_MAX + 1
