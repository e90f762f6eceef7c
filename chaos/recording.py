"""What a run leaves behind: plain data, from which everything else can be computed again.

A *run* is one experiment (or a matrix, or a soak) with one seed; it has one or more *takes*, each
with a cluster of its own. All instants are seconds since the take began, by one monotonic clock.

    RUN/run.json                 Run
    RUN/TAKE/take.json           TakeHead: marks, faults, placements, probes
    RUN/TAKE/history.jsonl       Operation, a line each, in the order in which they returned
    RUN/TAKE/samples.jsonl       Sample, a line each
    RUN/TAKE/final.jsonl         ReplicaState, a line each: what every node held in the end
    RUN/TAKE/nodes/n1/...        logs and settings of the nodes
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from chaos.errors import RecordingError
from chaos.modes import Mode

FORMAT = 1
"""Rises when an older recording can no longer be read."""

LATE = "sent late, at most, s"
"""The figure of a take that says how far the lab lagged behind its plan."""


class Outcome(enum.StrEnum):
    """What a client may conclude from what came back."""

    OK = "ok"
    FAIL = "fail"
    """Certainly not applied, now or ever."""

    INFO = "info"
    """Unknown: it may have been applied, or may be yet."""


class Action(enum.StrEnum):
    """What a client did."""

    GET = "get"
    PUT = "put"
    DELETE = "delete"


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request of one client, and what came of it.

    Attributes:
        index: unique in the take; operations are numbered as they are invoked.
        workload: what it is part of, e.g. `set-add`.
        mode: the name of its mode.
        client: who asked; a client has one operation at a time within a bucket.
        side: where the client stands in the experiment's cut: `A`, `B`, ... or `roaming`.
        node: who was asked.
        bucket: see `key`; bucket and key together name the object.
        key: what was asked for.
        intended_s: when it should have begun; latency counts from here (open loop).
        invoked_s: when it was sent.
        returned_s: when its outcome was known.
        status: HTTP status; None if none came.
        error: in words, if the outcome is not `ok`.
        acks: replicas known to hold a write that failed or is unknown.
        written: the whole text stored by a PUT; for a DELETE, a name of its own that no value has.
        based_on: index of the operation whose context was sent along; None for a blind write.
        shown: values shown by a successful GET, or by a PUT or DELETE that shows what is there
            after it; None if it showed nothing (that is not the same as "nothing there": `()`).
        shown_deleted: what it showed came with the context of a deleted key.
        note: an experiment's own remark, e.g. `preload`, `final`, `lag_ms=5`.
    """

    index: int
    workload: str
    mode: str
    client: str
    side: str
    node: str
    action: Action
    bucket: str
    key: str
    intended_s: float
    invoked_s: float
    returned_s: float
    outcome: Outcome
    status: int | None = None
    error: str | None = None
    acks: int | None = None
    written: str | None = None
    based_on: int | None = None
    shown: tuple[str, ...] | None = None
    shown_deleted: bool = False
    note: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Bucket and key."""
        return self.bucket, self.key

    @property
    def is_write(self) -> bool:
        """Whether it may change what is stored."""
        return self.action is not Action.GET

    @property
    def latency_s(self) -> float:
        """From the intended beginning to the return."""
        return self.returned_s - self.intended_s


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """When a change came about: somewhere between these two instants."""

    from_s: float
    until_s: float


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was broken, from one edge to another.

    Attributes:
        kind: `cut`, `latency`, `bandwidth`, `torn`, `reset`, `kill`, `pause`, `wipe`, `clock`.
        said: in words, for a legend: `n1 n2 | n3 n4 n5, refused`.
        targets: what it hit: nodes `n1`, links `n1>n2`, `c1>n2`, or ways `n1->n2 (requests)`.
        began: when it came about.
        ended: when it was over; None if it lasted to the end.
    """

    kind: str
    said: str
    targets: tuple[str, ...]
    began: Edge
    ended: Edge | None = None


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A moment that has a name: `warm`, `broken`, `settled` (failures are known), `healed`,
    `quiet` (no client asks any more), `converged`.
    """

    name: str
    at_s: float


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What could be seen of the whole cluster at one moment, from outside, past the mesh.

    Attributes:
        nodes: for each node that answered, its figures: `/stats` names, and `up`: how many members
            it takes to be up, itself included.
        states: what each node's process is doing: `serving`, `paused`, `stopped`, `died`.
        watched: of how many keys `divergent` speaks.
        divergent: of these, how many are not held alike by all their primaries; None if not looked.
        link_bytes: bytes of replies that reached the source of each link since the take began.
    """

    at_s: float
    nodes: Mapping[str, Mapping[str, float]]
    states: Mapping[str, str] = {}
    watched: int = 0
    divergent: int | None = None
    link_bytes: Mapping[str, int] = {}


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where an object belongs, by the ring of the cluster that served.

    Attributes:
        primaries: its N homes, in order.
        stand_ins: who takes a primary's place, in order.
    """

    bucket: str
    key: str
    primaries: tuple[str, ...]
    stand_ins: tuple[str, ...]


class HeldValue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sibling that a node holds.

    Attributes:
        text: the stored text; "" for a tombstone.
        deleted: it is a tombstone.
        modified_at_ms: what the coordinator's clock said.
    """

    text: str
    deleted: bool = False
    modified_at_ms: int = 0


class ReplicaState(msgspec.Struct, frozen=True, kw_only=True):
    """What one node itself held of one object in the end, read without a quorum.

    Attributes:
        primary: whether the node is one of the object's homes.
        digest: of values and context; equal digests mean equal states. None if it holds nothing.
        hinted_for: nodes for whom it still keeps a hint of this object.
    """

    node: str
    bucket: str
    key: str
    primary: bool
    digest: str | None
    values: tuple[HeldValue, ...] = ()
    hinted_for: tuple[str, ...] = ()


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A look of the lab at itself: did what it did to the network and the processes work?

    Attributes:
        said: what was to be seen, and what was seen.
    """

    name: str
    passed: bool
    said: str


class TakeHead(msgspec.Struct, frozen=True, kw_only=True):
    """All of a take but its long lists.

    Attributes:
        title: what distinguishes it from the run's other takes, in words.
        cut: how links were cut: `refuse`, `drop`, `stall`; "" if none was.
        converged_after_s: from `healed` (or `quiet`, if later) until all watched replicas were
            equal and no hint was left, without a read; None if that was not seen.
        convergence_s_max: how long that may take.
        cut_short: why the script did not get to its end; "" if it did.
        problems: lines of the nodes' logs that tell of a crash, and nodes that died unasked.
        hints: sums over all nodes: stored, delivered, superseded, expired, held.
        settings: what the nodes were told beyond defaults.
        figures: whatever else the script measured.
    """

    name: str
    title: str
    duration_s: float
    nodes: tuple[str, ...]
    modes: tuple[Mode, ...]
    cut: str = ""
    sides: Mapping[str, tuple[str, ...]] = {}
    marks: tuple[Mark, ...] = ()
    faults: tuple[Fault, ...] = ()
    placements: tuple[Placement, ...] = ()
    probes: tuple[Probe, ...] = ()
    converged_after_s: float | None = None
    convergence_s_max: float = 60.0
    cut_short: str = ""
    problems: tuple[str, ...] = ()
    hints: Mapping[str, int] = {}
    settings: Mapping[str, object] = {}
    figures: Mapping[str, float] = {}

    def mark_s(self, name: str) -> float | None:
        """When the moment of that name was; the last, if it came several times."""
        return next((mark.at_s for mark in reversed(self.marks) if mark.name == name), None)


class Take(msgspec.Struct, frozen=True, kw_only=True):
    """One take, whole.

    Attributes:
        operations: in the order of `index`.
    """

    head: TakeHead
    operations: tuple[Operation, ...] = ()
    samples: tuple[Sample, ...] = ()
    final: tuple[ReplicaState, ...] = ()

    @property
    def name(self) -> str:
        return self.head.name


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What was run.

    Attributes:
        experiment: its name, e.g. `half-split`.
        command: what repeats it.
        started_at: date and time of day, ISO 8601.
        versions: of the store, the lab's tools and Python.
        takes: names of its takes, in order.
    """

    experiment: str
    seed: int
    command: str
    started_at: str
    versions: Mapping[str, str]
    takes: tuple[str, ...]
    format: Literal[1] = 1


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A run with all its takes."""

    run: Run
    takes: tuple[Take, ...]


_T = TypeVar("_T")


def save_run(directory: Path, run: Run) -> None:
    """Write a run's head."""
    _write(directory / "run.json", _pretty(run))


def save_take(directory: Path, take: Take) -> None:
    """Write a take under its run's directory; its head last, so one with a head is whole."""
    home = directory / take.name
    _write(home / "history.jsonl", _lines(sorted(take.operations, key=attrgetter("returned_s"))))
    _write(home / "samples.jsonl", _lines(take.samples))
    _write(home / "final.jsonl", _lines(take.final))
    _write(home / "take.json", _pretty(take.head))


def read_run(directory: Path) -> Run:
    """Read a run's head.

    Raises:
        RecordingError: there is none, or it is broken.
    """
    return _decoded(directory / "run.json", Run)


def load(directory: Path) -> Recording:
    """Read a run.

    Raises:
        RecordingError: there is none, or a file is broken.
    """
    run = read_run(directory)
    return Recording(run=run, takes=tuple(_take(directory / name) for name in run.takes))


def _take(home: Path) -> Take:
    operations = sorted(_decoded_lines(home / "history.jsonl", Operation), key=lambda o: o.index)
    return Take(
        head=_decoded(home / "take.json", TakeHead),
        operations=tuple(operations),
        samples=tuple(_decoded_lines(home / "samples.jsonl", Sample)),
        final=tuple(_decoded_lines(home / "final.jsonl", ReplicaState)),
    )


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _lines(values: Iterable[object]) -> bytes:
    return msgspec.json.Encoder().encode_lines(values)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise RecordingError(f"cannot write {path}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}") from error


def _decoded(path: Path, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(_read(path), type=kind)
    except msgspec.MsgspecError as error:
        raise RecordingError(f"{path} is no recording of this lab: {error}") from error


def _decoded_lines(path: Path, kind: type[_T]) -> Iterator[_T]:
    decoder = msgspec.json.Decoder(kind)
    for number, line in enumerate(_read(path).splitlines(), start=1):
        try:
            yield decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise RecordingError(f"line {number} of {path} is broken: {error}") from error
