from dynamo.core.figures import Count, Figure, Gauge
from dynamo.http.last_minute import LastMinute


class Counted:
    """One count among other figures, and a clock that a test moves on second by second."""

    def __init__(self) -> None:
        self.count = 7
        self.now_s = 1000.0
        figures: list[Figure] = [
            Count("reads", "wanted", lambda: self.count),
            Count("other", "not wanted", lambda: 1),
            Gauge("reads_now", "no count", lambda: 3),
        ]
        self.minute = LastMinute(figures, frozenset({"reads", "reads_now", "unknown"}))

    def pass_by(self, seconds: int) -> None:
        for _ in range(seconds * 20):
            self.now_s += 0.05
            self.minute.look(self.now_s)


def test_what_was_counted_before_the_first_look_is_not_of_the_last_minute() -> None:
    assert Counted().minute.counted() == {"reads": 0}


def test_a_count_is_of_the_last_minute_for_a_minute() -> None:
    counted = Counted()
    counted.pass_by(10)
    counted.count += 5
    assert counted.minute.counted() == {"reads": 5}
    counted.pass_by(30)
    counted.count += 2
    assert counted.minute.counted() == {"reads": 7}
    counted.pass_by(32)
    assert counted.minute.counted() == {"reads": 2}
    counted.pass_by(30)
    assert counted.minute.counted() == {"reads": 0}


def test_looks_are_remembered_for_a_minute_only() -> None:
    counted = Counted()
    counted.pass_by(300)
    assert len(counted.minute._looks) <= 61


def test_what_is_counted_while_nobody_looks_is_taken_to_be_new() -> None:
    counted = Counted()
    counted.pass_by(5)
    counted.count += 9
    counted.now_s += 3600
    counted.pass_by(1)
    assert counted.minute.counted() == {"reads": 9}
    counted.pass_by(60)
    assert counted.minute.counted() == {"reads": 0}
