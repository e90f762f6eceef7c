"""E8: shopping carts in a partition, Dynamo's own example."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chaos.checkers.missed import by_object
from chaos.checkers.telling import Breach, at, counted, ruled, told
from chaos.experiment import NODES, Experiment, TakePlan, crew
from chaos.experiments.additions import called, left
from chaos.experiments.cart_returns import Return, returns
from chaos.experiments.measuring import availability
from chaos.judgement import Figure, Findings, Lanes, RuleOutcome, Table
from chaos.links import PAST, CutKind, preferred, split
from chaos.modes import Conflicts, Mode
from chaos.recording import Operation, Recording, Take
from chaos.stage import Stage, Traffic
from chaos.windows import Window, broken
from chaos.workloads.cart import Cart
from chaos.workloads.elements import CartOutcome, cart_outcome

SIDES: Final = {"A": NODES[:2], "B": NODES[2:]}

SLOPPY: Final = Mode(r=2, w=2, sloppy=True)
STRICT: Final = Mode(r=2, w=2, sloppy=False)
LAST: Final = Mode(r=2, w=2, sloppy=True, conflicts=Conflicts.LWW)

CALM_S: Final = 2.5
CUT_S: Final = 5.0
RATE_HZ: Final = 40.0
"""Of all clients together, for each mode."""

TOLD_MAX: Final = 6

KEPT: Final = "with siblings no item that was put in is lost"
EXPLAINED: Final = "an item comes back only from a cart that did not know of its removal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carts:
    """All carts of one mode.

    Attributes:
        outcomes: of each, by bucket and key.
        returned: how items came back, if siblings are kept.
        siblings_max: the most values that anybody was shown at a time.
    """

    outcomes: Mapping[tuple[str, str], CartOutcome]
    returned: tuple[Return, ...]
    siblings_max: int

    @property
    def added(self) -> int:
        """Items whose adding was acknowledged."""
        return sum(len(one.added) for one in self.outcomes.values())

    @property
    def lost(self) -> int:
        """Those that nobody removed and that are gone."""
        return sum(len(one.lost) for one in self.outcomes.values())

    @property
    def removed(self) -> int:
        """Items whose removal was acknowledged."""
        return sum(len(one.removed) for one in self.outcomes.values())

    @property
    def back(self) -> int:
        """Those that are there all the same."""
        return sum(len(one.returned) for one in self.outcomes.values())


Found = Mapping[Mode, Carts]


class CartSplit(Experiment):
    """See the attributes."""

    id = "E8"
    name = "cart"
    title = "Shopping carts in a partition"
    hypothesis = (
        "A cart can always be added to, also while the cluster is split, and nothing that was put"
        " in is lost if concurrent carts are kept as siblings and joined. The price is that an item"
        " taken out on one side comes back if the other side's cart still has it."
    )
    faults = "All links between n1 n2 and n3 n4 n5 are cut while customers fill and empty carts."
    must_hold = (
        "With siblings no item is lost that was put in and never taken out, and what comes back was"
        " in a concurrent cart all the time."
    )
    predicted = (
        "Siblings with a sloppy quorum: every request is answered, 0 items are lost, some come"
        " back. With a strict quorum as many requests are refused as the ring says. Last write wins"
        " answers everything and loses what one side put in."
    )

    def takes(self, cuts: Sequence[str], seed: int) -> tuple[TakePlan, ...]:
        return (
            TakePlan(
                name=preferred(cuts),
                title=f"carts on both sides of a cut, links {PAST[CutKind(preferred(cuts))]}",
                modes=(SLOPPY, STRICT, LAST),
                clients=crew(SIDES),
                sides=SIDES,
                cut=preferred(cuts),
                expected_s=2 * CALM_S + CUT_S + 9,
            ),
        )

    async def perform(self, stage: Stage) -> None:
        kind, ways = CutKind(stage.plan.cut), split(list(SIDES.values()))
        carts = [Cart(mode, keys=8) for mode in stage.plan.modes]
        async with stage.load(
            *(
                Traffic(workload=each, rate_hz=RATE_HZ, sequential=True, at_random=True)
                for each in carts
            )
        ):
            await stage.last(CALM_S, "customers fill and empty carts")
            async with stage.cut(ways, kind, "n1 n2 | n3 n4 n5"):
                await stage.noticed()
                await stage.last(CUT_S, "each side goes on with the carts as it sees them")
            await stage.last(CALM_S, "the cut is healed, carts are joined")

    def conclude(self, recording: Recording) -> Findings:
        [take] = recording.takes
        found = {mode: _carts(take, mode) for mode in take.head.modes}
        rows = availability(recording)
        return Findings(
            observed=_in_words(found),
            rules=(_kept(take, found), _explained(take, found)),
            figures=tuple(_figures(take, found)),
            availability=rows,
            lanes=tuple(_lanes(take, found)),
            tables=(_table(found), *_back(take, found)),
        )


def _carts(take: Take, mode: Mode) -> Carts:
    own = [operation for operation in take.operations if operation.mode == mode.name]
    objects = by_object(own)
    values = {place: left(take, place, mode.conflicts) for place in objects}
    outcomes = {
        place: cart_outcome(operations, values[place]) for place, operations in objects.items()
    }
    keeps = mode.conflicts is Conflicts.SIBLINGS
    return Carts(
        outcomes=outcomes,
        returned=tuple(
            one
            for place, operations in (objects.items() if keeps else ())
            for one in returns(operations, values[place], outcomes[place].returned)
        ),
        siblings_max=max((len(op.shown) for op in own if op.shown is not None), default=0),
    )


def _with_siblings(found: Found) -> list[Carts]:
    return [carts for mode, carts in found.items() if mode.conflicts is Conflicts.SIBLINGS]


# ---- rules


def _kept(take: Take, found: Found) -> RuleOutcome:
    kept = _with_siblings(found)
    lost = [
        (place, item)
        for carts in kept
        for place, outcome in carts.outcomes.items()
        for item in sorted(outcome.lost, key=int)
    ]
    added = sum(carts.added for carts in kept)
    return ruled(
        KEPT,
        take,
        kept=f"all {counted(added, 'item')} that were put in and acknowledged are there, or"
        " somebody asked to take them out",
        broken="items are gone that nobody took out",
        breaches=[Breach(f"item {item} of {at(place)}") for place, item in lost],
        unknown=[] if added else ["nothing was put into any cart"],
    )


def _explained(take: Take, found: Found) -> RuleOutcome:
    back = [one for carts in _with_siblings(found) for one in carts.returned]
    removed = sum(carts.removed for carts in _with_siblings(found))
    return ruled(
        EXPLAINED,
        take,
        kept=f"of {counted(removed, 'item')} taken out {len(back)} came back, each from a cart"
        " that was written without knowing of it",
        broken="items came back from nowhere",
        breaches=[
            Breach(
                f"item {one.item} of {at(one.removal.place)}, taken out by {told(one.removal)}",
                (one.removal.index,),
            )
            for one in back
            if one.keeper is None
        ],
        unknown=[] if removed else ["nothing was taken out of any cart"],
    )


# ---- what is shown


def _in_words(found: Found) -> str:
    sloppy, last = found[SLOPPY], found[LAST]
    return (
        f"Sloppy with siblings: of {sloppy.added} items put in {sloppy.lost} were lost, and of"
        f" {sloppy.removed} taken out {sloppy.back} came back. Last write wins lost {last.lost} of"
        f" {last.added}, and {last.back} of {last.removed} came back all the same."
    )


def _figures(take: Take, found: Found) -> Iterator[Figure]:
    for mode, carts in found.items():
        keeps = mode.conflicts is Conflicts.SIBLINGS
        yield Figure(
            label=f"items lost, {called(mode)}",
            measured=100 * carts.lost / carts.added if carts.added else None,
            predicted=0.0 if keeps else None,
            tolerance=0.0 if keeps else None,
            unit="%",
            take=take.name,
        )
        yield Figure(
            label=f"removed items that came back, {called(mode)}",
            measured=100 * carts.back / carts.removed if carts.removed else None,
            unit="%",
            take=take.name,
        )


def _table(found: Found) -> Table:
    return Table(
        title="What became of the items",
        said="Put in and taken out: acknowledged. Lost: put in, and gone though nobody asked to"
        " take it out. Came back: taken out, and there in the end. To remember what was taken out"
        " a cart would have to keep more than its items; Dynamo's, and these, do not.",
        columns=("carts", "put in", "lost", "taken out", "came back", "siblings at most"),
        rows=tuple(
            (
                called(mode),
                str(carts.added),
                str(carts.lost),
                str(carts.removed),
                str(carts.back),
                str(carts.siblings_max),
            )
            for mode, carts in found.items()
        ),
    )


def _back(take: Take, found: Found) -> Iterator[Table]:
    """Some of what came back, if anything did."""
    back = [(mode, one) for mode, carts in found.items() for one in carts.returned]
    back.sort(key=lambda each: not _is_across(take, each[1]))
    if not back:
        return
    across = sum(_is_across(take, one) for _, one in back)
    yield Table(
        title="Where they came back from",
        said="An item returns where carts are joined by union: whoever wrote the other cart had"
        f" not seen the removal, as it was on the other side of the cut ({across} of"
        f" {len(back)}) or wrote at the same time. Some of them:",
        columns=("carts", "item", "taken out by", "stayed in the cart of", "joined by"),
        rows=tuple(
            (
                called(mode),
                f"{one.item} of {one.removal.key}",
                _who(one.removal),
                _who(one.keeper),
                "still beside it" if one.joined is None else _who(one.joined),
            )
            for mode, one in back[:TOLD_MAX]
        ),
    )


def _is_across(take: Take, one: Return) -> bool:
    """Whether it was removed on one side of the cut and kept on the other."""
    window = broken(take)
    return (
        one.keeper is not None
        and one.keeper.side != one.removal.side
        and window is not None
        and window.from_s <= one.removal.invoked_s < window.until_s
    )


def _is_kept_in(window: Window | None, one: Return) -> bool:
    """Whether the cart that kept it was written then: that is seen best."""
    return (
        window is not None
        and one.keeper is not None
        and window.from_s <= one.keeper.invoked_s < window.until_s
    )


def _who(operation: Operation | None) -> str:
    return "nobody" if operation is None else f"{told(operation)} on side {operation.side}"


def _lanes(take: Take, found: Found) -> Iterator[Lanes]:
    """The first return of which everything can be shown."""
    by_index = {operation.index: operation for operation in take.operations}
    window = broken(take)
    for one in sorted(found[SLOPPY].returned, key=lambda one: not _is_kept_in(window, one)):
        removal, keeper, joined = one.removal, one.keeper, one.joined
        if keeper is None or joined is None or not _is_across(take, one):
            continue
        read = [by_index[op.based_on] for op in (removal, keeper) if op.based_on is not None]
        yield Lanes(
            take=take.name,
            title=f"How item {one.item} came back into cart {removal.key}",
            said=f"{removal.client} took item {one.item} out (#{removal.index}), on side"
            f" {removal.side} of the cut. {keeper.client} on side {keeper.side} wrote the cart"
            f" with it (#{keeper.index}): neither knew of the other, so both carts were kept."
            f" #{joined.index} of {joined.client} was shown both, and their union has the item.",
            operations=tuple(sorted({op.index for op in (*read, removal, keeper, joined)})),
            highlight=(removal.index, keeper.index, joined.index),
        )
        return
