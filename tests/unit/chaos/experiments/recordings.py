"""A run of one or more takes, around what an experiment is to conclude from."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from chaos.modes import Mode
from chaos.recording import Action, Operation, Outcome, Placement, Recording, Run, Take
from tests.unit.chaos.checkers.histories import NODES, Told, fault, marks


def recording(*takes: Take, experiment: str = "made-up") -> Recording:
    run = Run(
        experiment=experiment,
        seed=7,
        command=f"python -m chaos run {experiment} --seed 7",
        started_at="2026-11-20T17:00:00+0000",
        versions={"dynamo": "0.1.0"},
        takes=tuple(take.name for take in takes),
    )
    return Recording(run=run, takes=takes)


def named(take: Take, name: str) -> Take:
    """The same take under another name."""
    return msgspec.structs.replace(take, head=msgspec.structs.replace(take.head, name=name))


@dataclass(kw_only=True)
class Cut:
    """A take whose nodes are cut in two from 10 to 20 s, which all know from 12 s on.

    Attributes:
        mode: of all requests.
        homes: of every key.
    """

    mode: Mode
    sides: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"A": NODES[:2], "B": NODES[2:]}
    )
    homes: tuple[str, ...] = NODES[:3]
    operations: list[Operation] = field(default_factory=list)

    def asks(
        self,
        side: str,
        action: Action,
        at_s: Iterable[float],
        *,
        answered: bool = True,
        error: str | None = None,
        key: str = "k",
        took_s: float = 0.01,
    ) -> None:
        """A request at each of these moments, of the first node of a side."""
        for moment_s in at_s:
            self.operations.append(
                Operation(
                    index=len(self.operations),
                    workload="made up",
                    mode=self.mode.name,
                    client=side.lower(),
                    side=side,
                    node=self.sides.get(side, NODES)[0],
                    action=action,
                    bucket="b",
                    key=key,
                    intended_s=moment_s,
                    invoked_s=moment_s,
                    returned_s=moment_s + took_s,
                    outcome=Outcome.OK if answered else Outcome.INFO,
                    error=error if error or answered else "no quorum",
                )
            )

    def take(self, name: str = "drop") -> Take:
        stand_ins = tuple(node for node in NODES if node not in self.homes)
        head: dict[str, object] = {
            "name": name,
            "sides": self.sides,
            "modes": (self.mode,),
            "faults": (fault("cut", 10.0, 20.0, "n1->n3"),),
            "marks": marks(broken=10.0, settled=12.0, healed=20.0),
            "placements": (
                Placement(bucket="b", key="k", primaries=self.homes, stand_ins=stand_ins),
            ),
        }
        return Told(operations=self.operations, head=head).take()
