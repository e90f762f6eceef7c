"""A made-up run that looks like a real one: five nodes, cut 2|3 from 4 to 12 of 20 seconds."""

import random
from collections.abc import Sequence

from chaos.judgement import (
    Availability,
    CapDot,
    Figure,
    Findings,
    Judgement,
    Lanes,
    RuleOutcome,
    StalenessCurve,
    StalenessPoint,
    Table,
    Verdict,
)
from chaos.modes import Conflicts, Mode
from chaos.recording import (
    Action,
    Edge,
    Fault,
    Mark,
    Operation,
    Outcome,
    Probe,
    Recording,
    Run,
    Sample,
    Take,
    TakeHead,
)
from chaos.report.notes import Notes
from chaos.values import Named

NODES = ("n1", "n2", "n3", "n4", "n5")
SIDES = {"A": ("n1", "n2"), "B": ("n3", "n4", "n5")}
MODES = (
    Mode(r=2, w=2, sloppy=False),
    Mode(r=2, w=2, sloppy=True),
    Mode(r=1, w=1, sloppy=False),
    Mode(r=1, w=1, sloppy=True),
    Mode(r=1, w=3, sloppy=False),
)
CUT_S, HEALED_S, SETTLED_S, END_S = 4.0, 12.0, 5.1, 20.0

_ANSWERED = {
    ("strict 2/2", "A"): 40.0,
    ("strict 2/2", "B"): 60.0,
    ("strict 1/1", "A"): 80.0,
    ("strict 1/3", "A"): 40.0,
    ("strict 1/3", "B"): 60.0,
}


def recording_of(
    takes: Sequence[str] = ("refuse",), *, rate: float = 300, seed: int = 7
) -> tuple[Recording, dict[str, Notes]]:
    """A run with such takes, and what checkers would note of its operations."""
    dice = random.Random(seed)
    made = tuple(take_of(name, dice, rate) for name in takes)
    run = Run(
        experiment="half-split",
        seed=seed,
        command=f"python -m chaos run half-split --seed {seed}",
        started_at="2026-11-20T17:00:00+00:00",
        versions={"dynamo": "0.1.0", "toxiproxy": "2.12.0", "python": "3.11.7"},
        takes=tuple(takes),
    )
    notes = {take.name: _notes(take, dice) for take in made}
    return Recording(run=run, takes=made), notes


def take_of(name: str, dice: random.Random, rate: float) -> Take:
    head = TakeHead(
        name=name,
        title=f"links cut by {name}",
        duration_s=END_S,
        nodes=NODES,
        modes=MODES,
        cut=name,
        sides=SIDES,
        marks=(
            Mark(name="broken", at_s=CUT_S),
            Mark(name="settled", at_s=SETTLED_S),
            Mark(name="healed", at_s=HEALED_S),
            Mark(name="converged", at_s=HEALED_S + 2.2),
        ),
        faults=(
            Fault(
                kind="cut",
                said=f"n1 n2 | n3 n4 n5, {name}",
                targets=tuple(f"{a}->{b}" for a in NODES for b in NODES if _apart(a, b)),
                began=Edge(from_s=CUT_S, until_s=CUT_S + 0.02),
                ended=Edge(from_s=HEALED_S - 0.01, until_s=HEALED_S),
            ),
        ),
        probes=(Probe(name="leak", passed=True, said="all links cut: no node heard another"),),
        converged_after_s=2.2,
        hints={"stored": 412, "delivered": 409, "superseded": 3, "expired": 0, "held": 0},
        settings={"heartbeat_interval_s": 0.25},
        figures={"mesh_cut_ms": 14.2},
    )
    return Take(head=head, operations=_operations(dice, rate), samples=_samples(dice))


def _apart(one: str, other: str) -> bool:
    return (one in SIDES["A"]) != (other in SIDES["A"])


def _operations(dice: random.Random, rate: float) -> tuple[Operation, ...]:
    made: list[Operation] = []
    for index in range(int(rate * END_S)):
        at_s = index / rate
        mode = MODES[index % len(MODES)].name
        side = "A" if dice.random() < 0.5 else "B"
        made.append(_operation(dice, index, at_s, mode, side))
    return tuple(made)


def _operation(dice: random.Random, index: int, at_s: float, mode: str, side: str) -> Operation:
    action = Action.GET if dice.random() < 0.5 else Action.PUT
    client, key = f"c{side.lower()}{dice.randrange(3)}", f"k{dice.randrange(200)}"
    outcome, latency_s = _came_of_it(dice, at_s, mode, side)
    siblings = 1 + (dice.random() < 0.06) if CUT_S < at_s < HEALED_S + 2 else 1
    shown = tuple(str(Named(key, client, index + n)) for n in range(siblings))
    return Operation(
        index=index,
        workload="registers",
        mode=mode,
        client=client,
        side=side,
        node=dice.choice(SIDES[side]),
        action=action,
        bucket=mode.replace(" ", "-"),
        key=key,
        intended_s=at_s,
        invoked_s=at_s + 0.0005 * dice.random(),
        returned_s=at_s + latency_s,
        outcome=outcome,
        status=200 if outcome is Outcome.OK else 503,
        error=None if outcome is Outcome.OK else "2 replicas needed, 1 reached",
        written=str(Named(key, client, index)) if action is Action.PUT else None,
        based_on=index - 4 if action is Action.PUT and index % 3 and index > 4 else None,
        shown=shown if action is Action.GET and outcome is Outcome.OK else None,
    )


def _came_of_it(dice: random.Random, at_s: float, mode: str, side: str) -> tuple[Outcome, float]:
    usual_s = dice.lognormvariate(-5.6, 0.5)
    if not CUT_S < at_s < HEALED_S or 100 * dice.random() < _ANSWERED.get((mode, side), 100.0):
        slow = CUT_S < at_s < SETTLED_S and dice.random() < 0.4
        return Outcome.OK, usual_s + (0.5 if slow else 0)
    if at_s < SETTLED_S:
        return Outcome.INFO, 1 + usual_s
    return Outcome.FAIL, usual_s


def _samples(dice: random.Random) -> tuple[Sample, ...]:
    sent = {f"{a}>{b}": 0 for a in NODES for b in NODES if a != b}
    made = []
    for step in range(int(END_S / 0.25) + 1):
        at_s = 0.25 * step
        for link in sent:
            cut = _apart(*link.split(">")) and CUT_S < at_s < HEALED_S
            sent[link] += 0 if cut else int(30_000 * dice.uniform(0.7, 1.3))
        lasting = min(max(at_s - CUT_S, 0) / 8, 1) if at_s < HEALED_S else 0.0
        tail = max(0.0, 1 - (at_s - HEALED_S) / 2.2) if at_s >= HEALED_S else 0.0
        made.append(
            Sample(
                at_s=at_s,
                nodes={node: {"hints_held": round(80 * (lasting + tail))} for node in NODES},
                states=dict.fromkeys(NODES, "serving"),
                watched=200,
                divergent=round(150 * (lasting**0.5 + tail**2)),
                link_bytes=dict(sent),
            )
        )
    return tuple(made)


def _notes(take: Take, dice: random.Random) -> Notes:
    during = [one for one in take.operations if CUT_S < one.invoked_s < HEALED_S + 1]
    read = [one for one in during if one.shown is not None and "1/1" in one.mode]
    written = [one for one in during if one.is_write and one.outcome is Outcome.OK]
    return Notes(
        stale=frozenset(one.index for one in read if dice.random() < 0.3),
        lost=frozenset(one.index for one in written if dice.random() < 0.01),
    )


def judgement_of(recording: Recording, verdict: Verdict = Verdict.PASS) -> Judgement:
    """What would be concluded from it, every kind of finding included."""
    run = recording.run
    return Judgement(
        experiment=run.experiment,
        title="Half split: AP or CP is a choice of each request",
        hypothesis="Strict quorums refuse on the side that lacks replicas; sloppy ones never do.",
        faults="2 of 5 nodes are cut from the other 3 for 8 s",
        must_hold="No acknowledged write is lost, and replicas become alike after the healing.",
        predicted="strict 2/2 answers 40 % on side A and 60 % on side B, sloppy 2/2 answers all",
        verdict=verdict,
        findings=_findings(run.takes, verdict),
        seed=run.seed,
        command=run.command,
        started_at=run.started_at,
        versions=run.versions,
        takes=run.takes,
    )


def _findings(takes: Sequence[str], verdict: Verdict) -> Findings:
    dice = random.Random(3)
    return Findings(
        observed="strict 2/2 answered 40.6 % on side A and 60.8 % on side B, sloppy 2/2 all;"
        " 0 of 2,911 acknowledged writes were lost, and replicas were alike after 2.2 s.",
        rules=tuple(rule for take in takes for rule in _rules(take, verdict)),
        figures=(
            Figure(label="replicas alike after", measured=2.2, unit="s", predicted=None),
            Figure(
                label="p99 before the nodes knew",
                measured=1012.0,
                unit="ms",
                predicted=1000.0,
                tolerance=50.0,
            ),
            Figure(
                label="reconnects a second",
                measured=31.0,
                predicted=20.0,
                tolerance=5.0,
                take=takes[-1],
            ),
            Figure(label="stored hints", measured=412, take=takes[0]),
        ),
        availability=tuple(
            Availability(
                take=take,
                mode=mode.name,
                side=side,
                action=action,
                measured=min(100, max(0, predicted + dice.uniform(-2.5, 2.0))),
                measured_before=predicted / 2,
                predicted=predicted - (9 if (mode.name, side) == ("strict 1/1", "A") else 0),
                requests=390,
            )
            for take in takes
            for mode in MODES
            for side in SIDES
            for action in ("read", "write")
            for predicted in [_ANSWERED.get((mode.name, side), 100.0)]
        ),
        staleness=(
            _curve("strict 1/1", 0.72, dice),
            _curve("strict 1/2", 0.86, dice),
            _curve("strict 2/2", 1.0, dice),
        ),
        lanes=(_lanes(takes[0]),),
        cap=cap_dots(dice),
        tables=(
            Table(
                title="Where the time went",
                said="Cutting and mending are quick beside what follows.",
                columns=("what", "ms"),
                rows=(("cut", "14.2"), ("mend", "9.1")),
            ),
        ),
    )


def _rules(take: str, verdict: Verdict) -> list[RuleOutcome]:
    return [
        RuleOutcome(
            rule="no acknowledged write is lost",
            verdict=Verdict.FAIL if verdict is Verdict.FAIL else Verdict.PASS,
            said="All 2,911 acknowledged writes are there, or were replaced knowingly."
            if verdict is not Verdict.FAIL
            else "3 of 2,911 acknowledged writes are nowhere: #1507 by ca2 on k17, and 2 more.",
            take=take,
            evidence=(1507,) if verdict is Verdict.FAIL else (),
        ),
        RuleOutcome(
            rule="replicas converge without reads",
            verdict=Verdict.PASS,
            said="All 1,000 objects were alike 2.2 s after the healing; 60 s were allowed.",
            take=take,
        ),
        RuleOutcome(
            rule="every fault did something",
            verdict=Verdict.INVALID if verdict is Verdict.INVALID else Verdict.PASS,
            said="The cut changed nothing that could be seen."
            if verdict is Verdict.INVALID
            else "The cut took 3 of 5 nodes out of sight on side A.",
            take=take,
        ),
    ]


def _curve(mode: str, start: float, dice: random.Random) -> StalenessCurve:
    points = []
    for after_ms in (0, 1, 2, 5, 10, 20, 50, 100):
        predicted = 100 - 100 * (1 - start) * 2.718 ** (-after_ms / 12)
        points.append(
            StalenessPoint(
                after_ms=after_ms,
                measured=min(100.0, predicted + dice.uniform(-1.5, 1.5)),
                predicted=predicted,
                reads=800,
            )
        )
    return StalenessCurve(mode=mode, points=tuple(points))


def _lanes(take: str) -> Lanes:
    chosen = tuple(range(1500, 1524))
    return Lanes(
        take=take,
        title="A read shows what an earlier read knew to be replaced",
        said="Read from left to right: #1507 shows a new value, and #1512, begun after that was"
        " over, shows the old one. No order of single steps explains both.",
        operations=chosen,
        highlight=(1507, 1512),
    )


def cap_dots(dice: random.Random) -> tuple[CapDot, ...]:
    names = [mode.name for mode in MODES]
    names += [Mode(r=1, w=1, sloppy=True, conflicts=Conflicts.LWW).name]
    names += [Mode(r=2, w=2, sloppy=False, conflicts=Conflicts.LWW).name]
    dots = []
    for name in names:
        dots.append(
            CapDot(mode=name, fault="none", unavailable=0, stale=0.0, lost=0.0, requests=2000)
        )
        for fault, weight in (("2|3", 1.0), ("1|4", 0.5), ("kill", 0.3)):
            strict = "strict" in name
            heavy = 50 if "2/2" in name else 10 if "1/1" in name else 70
            dots.append(
                CapDot(
                    mode=name,
                    fault=fault,
                    unavailable=weight * heavy * strict + dice.random() * strict,
                    stale=0.0 if "2/2" in name and strict else weight * 6 * dice.random(),
                    lost=weight * 18.9 * ("lww" in name),
                    requests=2000,
                )
            )
    return tuple(dots)
