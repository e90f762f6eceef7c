"""The detector: what it takes to suspect a peer, and to trust it again."""

from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.detector import Detector, Opinion
from dynamo.core.ids import NodeId

PEER = NodeId("n2")


def _detector() -> Detector:
    return Detector(expected_s=0.5, suspect_phi=8.0, pause_s=1.0)


def _beating(detector: Detector, *, until_s: float, interval_s: float = 0.5) -> None:
    now_s = 0.0
    while now_s <= until_s:
        detector.heartbeat(PEER, now_s)
        now_s += interval_s


def test_node_never_heard_of_is_suspect() -> None:
    assert _detector().opinion(PEER, 5.0) is Opinion.SUSPECT


def test_node_that_answers_is_up() -> None:
    detector = _detector()
    _beating(detector, until_s=10.0)
    assert detector.opinion(PEER, 10.4) is Opinion.UP


def test_silent_node_is_suspected_within_three_seconds() -> None:
    detector = _detector()
    _beating(detector, until_s=10.0)
    assert detector.opinion(PEER, 11.2) is Opinion.UP, "a pause of a second is forgiven"
    assert detector.opinion(PEER, 12.9) is Opinion.SUSPECT


def test_slow_heartbeats_make_the_detector_patient_within_bounds() -> None:
    regular, slow = _detector(), _detector()
    _beating(regular, until_s=60.0)
    _beating(slow, until_s=60.0, interval_s=0.75)
    assert regular.phi(PEER, 62.0) > slow.phi(PEER, 62.0)
    very_slow = _detector()
    _beating(very_slow, until_s=60.0, interval_s=1.5)
    assert very_slow.opinion(PEER, 63.0) is Opinion.SUSPECT


def test_lost_connection_is_suspected_at_once_and_forgotten_at_the_next_sign_of_life() -> None:
    detector = _detector()
    _beating(detector, until_s=10.0)
    detector.lost(PEER, 10.1)
    assert detector.opinion(PEER, 10.1) is Opinion.SUSPECT
    detector.heard(PEER, 10.2)
    assert detector.opinion(PEER, 10.2) is Opinion.UP


def test_long_suspicion_is_called_down_and_ends_like_any_other() -> None:
    detector = _detector()
    _beating(detector, until_s=10.0)
    assert detector.opinion(PEER, 13.0) is Opinion.SUSPECT
    assert detector.opinion(PEER, 42.9) is Opinion.SUSPECT
    assert detector.opinion(PEER, 43.0) is Opinion.DOWN
    detector.heartbeat(PEER, 50.0)
    assert detector.opinion(PEER, 50.5) is Opinion.UP


def test_absence_does_not_stretch_the_usual_interval() -> None:
    detector = _detector()
    _beating(detector, until_s=10.0)
    assert detector.opinion(PEER, 70.0) is Opinion.SUSPECT
    detector.heartbeat(PEER, 70.0)
    detector.heartbeat(PEER, 70.5)
    assert detector.opinion(PEER, 73.4) is Opinion.SUSPECT


def test_absence_that_ends_with_another_sign_of_life_does_not_either() -> None:
    for lost in (True, False):
        detector = _detector()
        _beating(detector, until_s=10.0)
        if lost:
            detector.lost(PEER, 10.1)
        assert detector.opinion(PEER, 70.0) is not Opinion.UP
        detector.heard(PEER, 70.0)
        detector.heartbeat(PEER, 70.1)
        assert detector.opinion(PEER, 73.0) is Opinion.SUSPECT


def test_node_that_stood_still_itself_does_not_blame_the_others() -> None:
    detector = _detector()
    _beating(detector, until_s=10.0)
    detector.stood_still(10.0)
    assert detector.opinion(PEER, 20.4) is Opinion.UP
    assert detector.opinion(PEER, 23.0) is Opinion.SUSPECT, "but it goes on watching"


@given(st.lists(st.floats(0.01, 3.0), max_size=200), st.floats(0, 60), st.floats(0, 60))
def test_phi_grows_with_silence(intervals: list[float], first_s: float, more_s: float) -> None:
    detector = _detector()
    now_s = 0.0
    detector.heartbeat(PEER, now_s)
    for interval_s in intervals:
        now_s += interval_s
        detector.heartbeat(PEER, now_s)
    earlier = detector.phi(PEER, now_s + first_s)
    later = detector.phi(PEER, now_s + first_s + more_s)
    assert 0 <= earlier <= later
