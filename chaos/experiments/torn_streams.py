"""E22: bytes arrive in pieces, connections end in mid-sentence, and another way every second."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from chaos.checkers.telling import Breach, counted, ruled, told
from chaos.clients import NEVER_RETURNED
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.measuring import TAIL_S, percent_ok
from chaos.judgement import Figure, Findings, RuleOutcome, Table
from chaos.links import Link, Stream, Toxic, limit_data, reset_peer, slicer
from chaos.modes import Mode
from chaos.open_files import open_files
from chaos.recording import Operation, Outcome, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.windows import Window, broken
from chaos.workloads.deletes import Deletes
from chaos.workloads.registers import Registers
from chaos.workloads.set_add import SetAdd

STRICT: Final = Mode(r=2, w=2, sloppy=False)
SLOPPY: Final = Mode(r=2, w=2, sloppy=True)

TURNS: Final = 9
TURN_S: Final = 1.0
AFTERWARDS_S: Final = 5.0

RECOVERED_S: Final = 3.0
"""After the last turn nodes dial each other again, once a second at least."""

ANSWERED_MIN: Final = 99.0

FILES_MORE_MAX: Final = 10
# Clients' connections are not counted; they come and go.
BEFORE: Final = "files open before, "
AFTERWARDS: Final = "files open after, "

CLASSIFIED: Final = "every request comes to an end that says what is known"
RECOVERS: Final = "connections recover"
CLOSED: Final = "what was torn is closed"

_BYTES: Final = (1, 10, 60, 200, 600, 2000, 6000)
"""What a connection carries before it ends: part of a frame's head, of a handshake, and so on."""


class TornStreams(Experiment):
    """See the attributes."""

    id = "E22"
    name = "torn-streams"
    title = "Bytes arrive in pieces, and connections end in mid-sentence"
    hypothesis = (
        "Framing is robust: wherever a stream is torn, whoever reads it gives up the connection and"
        " nothing else. No node dies, no request is left without an outcome, nothing acknowledged"
        " is lost."
    )
    faults = (
        f"{TURNS} turns of a second. In each, half of the links between nodes and half of those of"
        " clients end after a few bytes, or carry slices of a few bytes, or are reset; another half"
        " and another way each time, drawn from the seed."
    )
    must_hold = (
        "No node dies or logs a traceback, no request ends in a 500, all are classified, nothing is"
        " lost; afterwards all nodes are connected, requests are answered, and nodes have closed"
        " what was torn."
    )
    predicted = "Errors of many kinds meanwhile, none afterwards."

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return (
            TakePlan(
                name="torn",
                title="torn, sliced, reset",
                modes=(STRICT, SLOPPY),
                clients=crew({"all": NODES}),
                expected_s=TURNS * TURN_S + AFTERWARDS_S + 12,
            ),
        )

    async def perform(self, stage: Stage) -> None:
        traffics = (
            *(Traffic(workload=Registers(mode, keys=50), rate_hz=45) for mode in (STRICT, SLOPPY)),
            Traffic(workload=SetAdd(SLOPPY, keys=5), rate_hz=10, sequential=True),
            Traffic(workload=Deletes(STRICT, keys=10), rate_hz=10, sequential=True),
        )
        mesh = stage.lab.mesh
        await stage.prepare(*(traffic.workload for traffic in traffics))
        await _count_files(stage, BEFORE)
        async with stage.load(*traffics):
            await stage.last(3, "all is well")
            for turn in turns(stage.dice, mesh.node_links, mesh.links - mesh.node_links):
                async with stage.toxic_each(turn.kind, turn.toxics, turn.said):
                    await stage.last(TURN_S, turn.said)
            await stage.last(AFTERWARDS_S, "bytes arrive whole again")
        await _count_files(stage, AFTERWARDS)

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        torn, after = _torn(take), _after(take)
        failed = [op for op in torn if op.outcome is not Outcome.OK]
        unknown = [op for op in failed if op.outcome is Outcome.INFO]
        files = _closed(take)
        return Findings(
            observed=f"Of {counted(len(torn), 'request')} in {len(take.head.faults)} turns"
            f" {percent_ok(torn) or 0:.0f} % were answered; {len(failed) - len(unknown)} failed for"
            f" certain and {len(unknown)} are unknown. From {RECOVERED_S:g} s after the last turn"
            f" on, {percent_ok(after) or 0:.1f} % were answered.",
            rules=(_classified(take), _recovers(take), *([] if files is None else [files])),
            figures=(
                Figure(
                    label="answered while streams were torn", measured=percent_ok(torn), unit="%"
                ),
                Figure(label="answered afterwards", measured=percent_ok(after), unit="%"),
                Figure(label="failed for certain", measured=len(failed) - len(unknown)),
                Figure(label="unknown", measured=len(unknown)),
            ),
            tables=(_table(failed),),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What is wrong for a second.

    Attributes:
        kind: as for `Stage.toxic_each`.
        toxics: of each link that it concerns.
        said: in words.
    """

    kind: str
    toxics: Mapping[Link, Sequence[Toxic]]
    said: str


def turns(dice: Random, among: Collection[Link], of_clients: Collection[Link]) -> Iterator[Turn]:
    """Each kind of turn as often as any other, in an order that is drawn.

    Args:
        dice: for all choices.
        among: links between nodes; in each turn half of them are concerned.
        of_clients: links of clients; the same, in another manner.
    """
    kinds = [kind for _ in range(0, TURNS, len(_KINDS)) for kind in _KINDS][:TURNS]
    for kind in dice.sample(kinds, len(kinds)):
        toxics: dict[Link, Sequence[Toxic]] = {}
        words = []
        for links, whose in ((among, "nodes'"), (of_clients, "clients'")):
            streams = dice.choice(((Stream.UPSTREAM,), (Stream.DOWNSTREAM,), tuple(Stream)))
            drawn, what = _drawn(dice, kind, streams)
            chosen = dice.sample(sorted(links), len(links) // 2)
            toxics |= dict.fromkeys(chosen, drawn)
            which = " and ".join(stream.value for stream in streams)
            words.append(f"{len(chosen)} of {whose} links {what} {which}")
        yield Turn(
            kind="reset" if kind == "reset" else "torn", toxics=toxics, said=", ".join(words)
        )


_KINDS: Final = ("torn", "sliced", "reset")


def _drawn(dice: Random, kind: str, streams: Sequence[Stream]) -> tuple[tuple[Toxic, ...], str]:
    if kind == "torn":
        most = dice.choice(_BYTES)
        return tuple(limit_data(stream, most) for stream in streams), f"torn after {most} bytes"
    if kind == "sliced":
        each = dice.randint(3, 30)
        sliced = tuple(slicer(stream, each, each // 2, 300) for stream in streams)
        return sliced, f"in slices of {each} bytes"
    after_ms = dice.randint(0, 100)
    return tuple(reset_peer(s, after_ms) for s in streams), f"reset after {after_ms} ms"


# ---- what came of it


def _torn(take: Take) -> list[Operation]:
    window = broken(take)
    return [] if window is None else [*window.of(take)]


def _after(take: Take) -> list[Operation]:
    """What was asked when the nodes had had time to find each other again."""
    healed_s, quiet_s = take.head.mark_s("healed"), take.head.mark_s("quiet")
    if healed_s is None or quiet_s is None:
        return []
    return [*Window(healed_s + RECOVERED_S, quiet_s - TAIL_S).of(take)]


def _classified(take: Take) -> RuleOutcome:
    odd = [
        Breach(f"{told(op)}: {op.error or 'no reason given'}", (op.index,))
        for op in take.operations
        if op.error == NEVER_RETURNED
        or op.status == _FAULT_OF_THE_NODE
        or (op.outcome is not Outcome.OK and not op.error)
    ]
    failed = [op for op in take.operations if op.outcome is not Outcome.OK]
    return ruled(
        CLASSIFIED,
        take,
        kept=f"{counted(len(take.operations), 'request')}, {len(failed)} of them without success,"
        " and each of these says why; no node answered with a fault of its own",
        broken="requests ended in a way that says nothing",
        breaches=odd,
        unknown=[] if failed else ["no request failed, so nothing was torn"],
    )


_FAULT_OF_THE_NODE: Final = 500


def _recovers(take: Take) -> RuleOutcome:
    asked, peers = _after(take), len(take.head.nodes) - 1
    answered = percent_ok(asked)
    healed_s = take.head.mark_s("healed") or 0.0
    looks = [sample for sample in take.samples if sample.at_s >= healed_s + RECOVERED_S]
    lonely = [
        Breach(f"{node} was connected to {seen['peers_connected']:.0f} of {peers} peers")
        for sample in looks[-1:]
        for node, seen in sorted(sample.nodes.items())
        if seen["peers_connected"] < peers
    ]
    failing = []
    if answered is not None and answered < ANSWERED_MIN:
        evidence = tuple(op.index for op in asked if op.outcome is not Outcome.OK)
        failing.append(Breach(f"only {answered:.1f} % of requests were answered", evidence))
    return ruled(
        RECOVERS,
        take,
        kept=f"in the end all nodes were connected to all {peers} others, and of"
        f" {counted(len(asked), 'request')} from {RECOVERED_S:g} s after the last turn on"
        f" {answered or 0:.1f} % were answered",
        broken="signs that something stayed broken",
        breaches=[*lonely, *failing],
        unknown=[] if asked and looks else ["nobody asked or looked afterwards"],
    )


# ---- files


async def _count_files(stage: Stage, label: str) -> None:
    """How many files each node has open, but for its clients' connections, which come and go."""
    figures = await stage.lab.observer.figures(stage.plan.nodes)
    for node, seen in figures.items():
        if (files := open_files(int(seen["os_pid"]))) is not None:
            stage.figures[label + node] = files - seen["http_connections"]


def _closed(take: Take) -> RuleOutcome | None:
    """None where the system does not tell what a process has open."""
    found = {
        node: (int(take.head.figures[BEFORE + node]), int(take.head.figures[AFTERWARDS + node]))
        for node in take.head.nodes
        if {BEFORE + node, AFTERWARDS + node} <= take.head.figures.keys()
    }
    if not found:
        return None
    listed = ", ".join(f"{node} {before} and {after}" for node, (before, after) in found.items())
    return ruled(
        CLOSED,
        take,
        kept=f"files open before and after, clients' connections not counted: {listed}",
        broken="nodes have more files open than before",
        breaches=[
            Breach(f"{node} had {before} before and {after} after")
            for node, (before, after) in found.items()
            if after > before + FILES_MORE_MAX
        ],
    )


# ---- errors


def _table(failed: Sequence[Operation]) -> Table:
    kinds = Counter((kind_of(operation), str(operation.status or "none")) for operation in failed)
    sorts = Counter(
        (kind_of(op), str(op.status or "none"), op.is_write, op.outcome) for op in failed
    )
    return Table(
        title="Errors by kind",
        said="What clients were told while streams were torn, or could see for themselves. A read"
        " that fails has certainly done nothing; a write only where none of it can have reached a"
        " replica. All other writes are unknown, and may turn up.",
        columns=("error", "HTTP status", "reads", "writes, for certain", "writes, unknown"),
        rows=tuple(
            (
                *kind,
                str(sum(sorts[*kind, False, outcome] for outcome in Outcome)),
                str(sorts[*kind, True, Outcome.FAIL]),
                str(sorts[*kind, True, Outcome.INFO]),
            )
            for kind, _ in kinds.most_common()
        ),
    )


def kind_of(operation: Operation) -> str:
    """What went wrong: where the answer ended, or the node's words without names and numbers."""
    text = operation.error or ""
    for mark, kind in _KINDS_OF_ERROR.items():
        if mark in text:
            return kind
    text = re.sub(r"\bn\d\b", "a node", text)
    return re.sub(r"\d+(\.\d+)*", "#", text)


_KINDS_OF_ERROR: Final[Mapping[str, str]] = {
    "Connection reset": "connection reset",
    "Server disconnected": "connection ended before the answer",
    "RawResponseMessage": "connection ended within the head of the answer",
    "payload is not completed": "connection ended within the body of the answer",
    "no answer from": "no answer in time",
}
"""By a mark in the words of the HTTP library, of which the rest is of no use to a reader."""
