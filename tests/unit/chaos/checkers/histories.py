"""Histories by hand: one readable line per operation, and what was left in the end.

    told = Told()
    x = told.write("x", by="c1")
    seen = told.read(x, by="c2")
    y = told.write("y", by="c2", after=seen)
    told.ends(y)
    lost_writes.check(told.take())

An operation begins when the one before has returned, unless `at` says otherwise.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from chaos.modes import Conflicts, Mode
from chaos.recording import (
    Action,
    Edge,
    Fault,
    HeldValue,
    Mark,
    Operation,
    Outcome,
    Placement,
    Probe,
    ReplicaState,
    Sample,
    Take,
    TakeHead,
)
from chaos.values import Named

NODES = ("n1", "n2", "n3", "n4", "n5")
HOMES = NODES[:3]

SIBLINGS = Mode(r=2, w=2, sloppy=False)
LWW = Mode(r=2, w=2, sloppy=False, conflicts=Conflicts.LWW)

OK, FAIL, INFO = Outcome.OK, Outcome.FAIL, Outcome.INFO


class How(TypedDict, total=False):
    """How an operation went, where that is not as usual.

    `after` is the operation whose context is sent along, `at` when it was invoked and when it
    returned, `shows` what a PUT shows.
    """

    by: str
    after: Operation | None
    node: str
    outcome: Outcome
    at: tuple[float, float]
    shows: Iterable[Operation | str]
    acks: int


HINTS = {"stored": 7, "delivered": 4, "superseded": 3, "expired": 0, "held": 0}


@dataclass(kw_only=True)
class Told:
    """A take that is being made up.

    Attributes:
        states: of what every node held in the end, by key and node.
        head: fields of the take's head that are not the usual ones.
    """

    mode: Mode = SIBLINGS
    operations: list[Operation] = field(default_factory=list)
    states: dict[tuple[str, str], ReplicaState] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    head: dict[str, object] = field(default_factory=dict)
    _now_s: float = 1.0

    def write(self, name: str, *, key: str = "k", **how: Unpack[How]) -> Operation:
        """A PUT of a value that holds `name`."""
        text = str(Named(key=key, client=how.get("by", "c1"), number=1, payload=name))
        return self.add(Action.PUT, key=key, written=text, **how)

    def delete(self, name: str = "d", **how: Unpack[How]) -> Operation:
        return self.add(Action.DELETE, written=name, **how)

    def read(
        self, *values: Operation | str, deleted: bool = False, key: str = "k", **how: Unpack[How]
    ) -> Operation:
        how["shows"] = values
        return self.add(Action.GET, key=key, deleted=deleted, **how)

    def add(
        self,
        action: Action,
        *,
        key: str = "k",
        written: str | None = None,
        deleted: bool = False,
        **how: Unpack[How],
    ) -> Operation:
        """Any operation."""
        at = how.get("at", (self._now_s, self._now_s + 0.01))
        if "at" not in how:
            self._now_s += 0.02
        after = how.get("after")
        operation = Operation(
            index=len(self.operations),
            workload="made up",
            mode=self.mode.name,
            client=how.get("by", "c1"),
            side="roaming",
            node=how.get("node", "n1"),
            action=action,
            bucket="b",
            key=key,
            intended_s=at[0],
            invoked_s=at[0],
            returned_s=at[1],
            outcome=how.get("outcome", OK),
            acks=how.get("acks"),
            written=written,
            based_on=None if after is None else after.index,
            shown=tuple(map(text_of, how["shows"])) if "shows" in how else None,
            shown_deleted=deleted,
        )
        self.operations.append(operation)
        return operation

    def ends(
        self,
        *values: Operation | str | HeldValue,
        tombstones: int = 0,
        key: str = "k",
        on: Iterable[str] = HOMES,
        hinted_for: tuple[str, ...] = (),
    ) -> None:
        """What nodes held of a key in the end; the last word on a node counts."""
        held = [
            value if isinstance(value, HeldValue) else HeldValue(text=text_of(value))
            for value in values
        ]
        held += [HeldValue(text="", deleted=True, modified_at_ms=i) for i in range(tombstones)]
        for node in on:
            self.states[key, node] = ReplicaState(
                node=node,
                bucket="b",
                key=key,
                primary=node in HOMES,
                digest=str(sorted(map(repr, held))) if held else None,
                values=tuple(held),
                hinted_for=hinted_for,
            )

    def take(self) -> Take:
        """All of it. Keys of which nothing was said are held by nobody."""
        keys = sorted({o.key for o in self.operations} | {key for key, _ in self.states})
        for key in keys:
            for node in NODES:
                if (key, node) not in self.states:
                    self.ends(key=key, on=[node])
        usual: dict[str, object] = {
            "name": "t",
            "title": "made up",
            "duration_s": 60.0,
            "nodes": NODES,
            "modes": (SIBLINGS, LWW),
            "placements": tuple(placed(key) for key in keys),
            "converged_after_s": 2.0,
            "hints": HINTS,
        }
        return Take(
            head=TakeHead(**{**usual, **self.head}),  # type: ignore[arg-type]
            operations=tuple(self.operations),
            samples=tuple(self.samples) or (sample(1.0), sample(2.0)),
            final=tuple(state for state in self.states.values()),
        )


def placed(key: str) -> Placement:
    """The homes of a key: the same for all."""
    return Placement(bucket="b", key=key, primaries=HOMES, stand_ins=NODES[3:])


def text_of(value: Operation | str | HeldValue) -> str:
    if isinstance(value, Operation):
        return value.written or ""
    return value if isinstance(value, str) else value.text


def stamped(write: Operation, modified_at_ms: int) -> HeldValue:
    """A value that was kept, with its time."""
    return HeldValue(text=text_of(write), modified_at_ms=modified_at_ms)


def sample(at_s: float, **figures: float) -> Sample:
    """A look at nodes that are all well but for `figures`."""
    usual = {"up": 5.0, "peers_connected": 4.0, "os_pid": 1.0, "task_failures_total": 0.0}
    return Sample(
        at_s=at_s,
        nodes={node: {**usual, **figures} for node in NODES},
        states=dict.fromkeys(NODES, "serving"),
    )


def fault(kind: str, from_s: float, until_s: float | None, *targets: str) -> Fault:
    """A fault with sharp edges."""
    return Fault(
        kind=kind,
        said=f"{kind} of {' '.join(targets)}",
        targets=targets,
        began=Edge(from_s=from_s, until_s=from_s),
        ended=None if until_s is None else Edge(from_s=until_s, until_s=until_s),
    )


def probe(name: str, *, passed: bool = True) -> Probe:
    return Probe(name=name, passed=passed, said=f"{name} was looked at")


def marks(**at_s: float) -> tuple[Mark, ...]:
    return tuple(Mark(name=name, at_s=moment_s) for name, moment_s in at_s.items())
