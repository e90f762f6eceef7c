"""What came of the requests: latencies, statuses, failures, second by second. Pure.

It is written once a request on the machine under load, so it appends to arrays and counts; the
histograms are made at the end (recording into one costs 0.9 us, an append 0.05).
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from math import inf

from dynamo.bench.plan import Operation

_FOLD_AT = 1 << 17  # latencies kept one by one before equal ones are counted together
_STATUS_MAX = 1000


class OperationTally:
    """The answers to one kind of request.

    Attributes:
        late: answers that would have been successes, had they come in time.
    """

    def __init__(self) -> None:
        self.late = 0
        self.latencies_us = array("L")
        self.statuses = [0] * _STATUS_MAX
        self.failures: Counter[str] = Counter()
        self._folded: Counter[int] = Counter()

    def fold(self) -> None:
        """Count equal latencies together, so that a long run needs no more memory."""
        self._folded.update(self.latencies_us)
        del self.latencies_us[:]

    def latency_counts(self) -> dict[int, int]:
        """How many successful requests took how many microseconds."""
        self.fold()
        return dict(self._folded)


class Tally:
    """All that happened from `start_s` on; what began before is warm-up and does not count.

    Attributes:
        deadline_s: what takes longer than this is late.
        ok: requests that succeeded so far, warm-up included.
        ok_by_second: how many succeeded in each second after the start.
        failed_by_second: how many failed.
        dials_failed: connections that did not come about, by reason. Nothing was sent on them, so
            they are no failed requests.
    """

    def __init__(self, *, start_s: float, deadline_s: float = inf) -> None:
        self.start_s = start_s
        self.deadline_s = deadline_s
        self.ok = 0
        self.ok_by_second: Counter[int] = Counter()
        self.failed_by_second: Counter[int] = Counter()
        self.dials_failed: Counter[str] = Counter()
        self._operations = (OperationTally(), OperationTally())

    def ended(self, is_write: bool, status: int, began_s: float, now_s: float) -> bool:
        """Take note of an answer and say whether it is a success.

        A read may find nothing (404) or siblings (300): the cluster did its work.
        """
        ok = 200 <= status < 300 or status == 300 or (status == 404 and not is_write)
        self.ok += ok
        if began_s < self.start_s:
            return ok
        operation = self._operations[is_write]
        operation.statuses[status] += 1
        if ok and now_s - began_s > self.deadline_s:
            operation.late += 1
        elif ok:
            operation.latencies_us.append(int((now_s - began_s) * 1e6))
            self.ok_by_second[int(now_s - self.start_s)] += 1
        else:
            self.failed_by_second[int(now_s - self.start_s)] += 1
        return ok

    def broke(self, is_write: bool, reason: str, began_s: float, now_s: float) -> None:
        """Take note of a request that got no answer."""
        if began_s >= self.start_s:
            self._operations[is_write].failures[reason] += 1
            self.failed_by_second[int(now_s - self.start_s)] += 1

    def fold(self) -> None:
        """Keep memory bounded; to be called now and then."""
        for operation in self._operations:
            if len(operation.latencies_us) > _FOLD_AT:
                operation.fold()

    def blame(self) -> str:
        """What went wrong and how often, in a few words; "" if nothing did."""
        reasons = Counter(self.dials_failed)
        for _, answers in self.operations():
            reasons.update(answers.failures)
            for status, count in enumerate(answers.statuses):
                if count and status > 300:
                    reasons[f"status {status}"] += count
        return ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())

    def operations(self) -> Iterator[tuple[Operation, OperationTally]]:
        """Each kind of request with its answers."""
        yield Operation.READ, self._operations[False]
        yield Operation.WRITE, self._operations[True]
