"""An experiment: what is claimed, what is broken, what must hold; how it is done, what follows.

Doing and concluding are two things. `perform` breaks a real cluster and leaves a recording;
`conclude` is a pure function of that recording, so a report can be made again, and a conclusion
can be tested without a cluster.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from chaos.judgement import Findings
from chaos.modes import Mode
from chaos.recording import Recording

if TYPE_CHECKING:
    from chaos.stage import Stage

NODES = ("n1", "n2", "n3", "n4", "n5")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPlan:
    """A client, and where it stands.

    Attributes:
        side: the side of a cut it is on, or `roaming`.
        nodes: whom it asks, drawn evenly.
    """

    name: str
    side: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakePlan:
    """What one take is made of.

    Attributes:
        name: of its directory, e.g. `refuse`.
        title: what distinguishes it, in words.
        modes: what its clients choose.
        clients: who asks.
        sides: the sides of its cut, if it has one.
        cut: how links are cut; "" if none is.
        expected_s: how long it takes, about; for the progress bar.
        nodes: how many there are.
        node: settings of every node that differ from the lab's own.
        cluster: settings of the cluster that differ from the lab's own.
        own: settings of single nodes, by name.
        convergence_s_max: how long replicas may take to be equal once all is well again.
        direct: nodes and clients reach each other past the mesh.
        parameters: anything else that `perform` wants to know.
    """

    name: str
    title: str
    modes: tuple[Mode, ...]
    clients: tuple[ClientPlan, ...]
    expected_s: float
    sides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cut: str = ""
    nodes: tuple[str, ...] = NODES
    node: Mapping[str, object] = field(default_factory=dict)
    cluster: Mapping[str, object] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    convergence_s_max: float = 30.0
    direct: bool = False
    parameters: Mapping[str, object] = field(default_factory=dict)


class Experiment(ABC):
    """One experiment; a file each in `experiments/`, found there by its name.

    Attributes:
        id: short, as lists and papers cite it: `E1`.
        name: as commands have it: `half-split`.
        title: as a heading.
        hypothesis: what is claimed, in one or two sentences.
        faults: what is broken, and for how long.
        must_hold: what the store promises throughout.
        predicted: what should be measured, in words.
        calm_takes: takes in which nothing is to be broken; any other without a fault shows nothing.
    """

    id: ClassVar[str]
    name: ClassVar[str]
    title: ClassVar[str]
    hypothesis: ClassVar[str]
    faults: ClassVar[str]
    must_hold: ClassVar[str]
    predicted: ClassVar[str]
    calm_takes: ClassVar[frozenset[str]] = frozenset()

    @property
    def command(self) -> str:
        """What runs it, without seed and options."""
        return f"python -m chaos run {self.name}"

    @abstractmethod
    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        """The takes of one run.

        Args:
            cuts: the ways to cut links that are asked for, of `refuse`, `drop`, `stall`; an
                experiment that cuts nothing, or needs a certain way, does not look at them.
            seed: of the run, for those whose takes are drawn.
        """

    @abstractmethod
    async def perform(self, stage: "Stage") -> None:
        """Do one take: load, break, heal. The stage starts and ends the cluster, waits for
        convergence afterwards and records.
        """

    @abstractmethod
    def conclude(self, recording: Recording) -> Findings:
        """What follows from a recording, beyond the rules that hold for every experiment."""


def crew(
    sides: Mapping[str, Sequence[str]], *, each: int = 1, roaming: int = 0
) -> tuple[ClientPlan, ...]:
    """Clients for the sides of a cut.

    Args:
        sides: side, and its nodes.
        each: how many there are for each node of a side; they ask any node of their side.
        roaming: how many move between all nodes.
    """
    everywhere = tuple(node for nodes in sides.values() for node in nodes)
    pinned = [
        ClientPlan(name=f"{side.lower()}{number}", side=side, nodes=tuple(nodes))
        for side, nodes in sides.items()
        for number in range(1, each * len(nodes) + 1)
    ]
    free = [
        ClientPlan(name=f"r{number}", side="roaming", nodes=everywhere)
        for number in range(1, roaming + 1)
    ]
    return (*pinned, *free)
