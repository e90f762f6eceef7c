"""A cluster, its mesh and its observer that do as they are told, and note what was asked of them.

cluster = Cluster()
cluster.divided("n1", "n2 n3")  # as the nodes themselves see it
stage = cluster.stage()
...
assert cluster.done == ["cut 0: n1->n2 ...", ...]
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import cast

from chaos.clients import History, LabClient
from chaos.errors import MeshError
from chaos.experiment import ClientPlan, TakePlan
from chaos.lab import Lab
from chaos.links import CutKind, Effect, Link, Way
from chaos.modes import Mode
from chaos.observer import Place
from chaos.recording import Edge, Placement, ReplicaState
from chaos.sampling import Sampler
from chaos.stage import Stage
from dynamo.config import NodeConfig
from dynamo.core.ids import NodeId
from dynamo.errors import Overloaded, StartupError

MODE = Mode(r=2, w=2, sloppy=True)
NAMES = ("n1", "n2", "n3")

FIGURES = {
    "up": 3.0,
    "hints_held": 0.0,
    "hints_stored_total": 0.0,
    "hints_delivered_total": 0.0,
    "hints_superseded_total": 0.0,
    "hints_expired_total": 0.0,
    "requests_from_peers_total": 0.0,
}


class Clock:
    """Shows a second more at each look, so every edge has a length, and none is like another."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


@dataclass
class Node:
    """A process; what it is told goes into `done`."""

    name: str
    done: list[str]
    state: str = "serving"
    comes_back: bool = True
    is_wipeable: bool = True

    def __post_init__(self) -> None:
        self.config = NodeConfig(node_id=NodeId(self.name), data_dir=Path(self.name))

    async def kill(self) -> None:
        self._become("stopped", "killed")

    async def stop(self) -> None:
        self._become("stopped", "stopped")

    def pause(self) -> None:
        self._become("paused", "paused")

    def resume(self) -> None:
        self._become("serving", "resumed")

    def wipe(self) -> None:
        if not self.is_wipeable:
            raise StartupError(f"{self.name} cannot remove its data")
        self.done.append(f"{self.name} wiped")

    def reconfigure(self, change: Callable[[NodeConfig], NodeConfig]) -> None:
        self.config = change(self.config)
        self.done.append(f"{self.name} is {self.config.clock_offset_s:+g} s off")

    async def start(self) -> None:
        if not self.comes_back:
            raise StartupError(f"{self.name} cannot open its store")
        self._become("serving", "started")

    async def ready(self) -> None:
        assert self.state == "serving"

    def last_words(self) -> str:
        return "its last words"

    def _become(self, state: str, by: str) -> None:
        self.state = state
        self.done.append(f"{self.name} {by}")


@dataclass
class MeshStandIn:
    """Notes what links are told.

    Attributes:
        lasting: faults that were not healed.
        carried: bytes by link; None if it cannot say.
        urls: where clients reach nodes.
    """

    done: list[str]
    clock_s: Clock
    lasting: set[str] = field(default_factory=set)
    carried: Mapping[str, int] | None = field(default_factory=lambda: {"n1>n2": 7})
    urls: dict[Link, str] = field(default_factory=dict)

    @property
    def client_links(self) -> frozenset[Link]:
        return frozenset(self.urls)

    def url(self, client: str, node: str) -> str:
        return self.urls[Link(client, node)]

    async def cut(self, name: str, ways: Iterable[Way], kind: CutKind) -> Edge:
        return await self._begin(name, f"{kind} {' '.join(map(str, sorted(ways)))}")

    async def apply(self, name: str, effect: Effect) -> Edge:
        return await self._begin(name, " ".join(map(str, sorted(effect.links))))

    async def _begin(self, name: str, said: str) -> Edge:
        from_s = self.clock_s()
        await asyncio.sleep(0)  # as the real one, it does not come about at once
        if name in self.lasting:
            raise MeshError(f"there is a fault {name} already")
        self.lasting.add(name)
        self.done.append(f"{name}: {said}")
        return Edge(from_s=from_s, until_s=self.clock_s())

    async def heal(self, name: str) -> Edge:
        from_s = self.clock_s()
        self.lasting.remove(name)
        self.done.append(f"{name} healed")
        return Edge(from_s=from_s, until_s=self.clock_s())

    async def link_bytes(self) -> Mapping[str, int]:
        if self.carried is None:
            raise MeshError("the server does not answer")
        return self.carried


@dataclass
class Eyes:
    """What an observer is to see.

    Attributes:
        seen: figures by node; those that are not there do not answer.
        opinions: whom each node takes for up.
        unlike: how many objects are divergent.
        equal_after: how many looks it takes until all is equal.
        broken: what looking ends with, if not with a figure.
    """

    seen: dict[str, dict[str, float]]
    opinions: dict[str, set[str]]
    unlike: int | None = 0
    equal_after: int = 0
    broken: Exception | None = None
    looks: int = 0

    async def figures(self, nodes: Iterable[str]) -> dict[str, dict[str, float]]:
        if self.broken is not None:
            raise self.broken
        return {node: dict(self.seen[node]) for node in nodes if node in self.seen}

    async def up(self, node: str) -> frozenset[str]:
        self.looks += 1
        if node not in self.opinions:
            raise Overloaded(f"{node} does not answer")
        return frozenset(self.opinions[node])

    async def locate(self, places: Iterable[Place]) -> tuple[Placement, ...]:
        return tuple(
            Placement(bucket=bucket, key=key, primaries=NAMES, stand_ins=())
            for _, bucket, key in places
        )

    async def divergent(
        self, places: Iterable[Place], primaries: Mapping[Place, Sequence[str]]
    ) -> int | None:
        return self.unlike

    async def all_equal(self, nodes: Sequence[str]) -> bool:
        self.equal_after -= 1
        return self.equal_after < 0

    async def dump(
        self,
        nodes: Sequence[str],
        places: Sequence[Place],
        primaries: Mapping[Place, Sequence[str]],
    ) -> tuple[ReplicaState, ...]:
        return tuple(
            ReplicaState(
                node=node, bucket=bucket, key=key, primary=node in primaries[place], digest=None
            )
            for node in nodes
            for place in places
            for _, bucket, key in [place]
        )


class Cluster:
    """Three nodes that are well, until they are told otherwise.

    Attributes:
        done: what was done to nodes and links, in order.
        said: what the one who waits was told.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.said: list[str] = []
        self.clock_s = Clock()
        self.nodes = {name: Node(name, self.done) for name in NAMES}
        self.mesh = MeshStandIn(self.done, self.clock_s)
        self.observer = Eyes(
            seen={name: dict(FIGURES) for name in NAMES},
            opinions={name: set(NAMES) for name in NAMES},
        )
        self.sampler = Sampler(self.lab, self.clock_s)

    @property
    def lab(self) -> Lab:
        return cast("Lab", self)

    def divided(self, *sides: str) -> None:
        """Have the nodes take those of their side for up, and no others."""
        for side in map(str.split, sides):
            self.observer.opinions.update({node: set(side) for node in side})

    def stage(self, *, convergence_s_max: float = 30.0) -> Stage:
        plan = TakePlan(
            name="take",
            title="made up",
            modes=(MODE,),
            clients=(ClientPlan(name="c1", side="A", nodes=NAMES),),
            expected_s=1.0,
            nodes=NAMES,
            convergence_s_max=convergence_s_max,
        )
        history = History(asyncio.get_running_loop().time)
        return Stage(
            plan,
            self.lab,
            sampler=self.sampler,
            history=history,
            clients={"c1": LabClient("c1", "A", {"n1": "http://127.0.0.1:1"}, history, 0.05)},
            dice=Random(1),
            clock_s=self.clock_s,
            say=self.said.append,
        )
