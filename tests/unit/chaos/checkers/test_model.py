"""Rules against a store that is perfect, and against the same store with a fault planted in it.

The store has one copy, which is what a store with siblings may look like once it has converged. It
knows the true past of every write as a set, so what must be found, and that nothing else may be,
follows from the definitions word by word.
"""

import enum
from dataclasses import dataclass, field

from hypothesis import event, given, settings
from hypothesis import strategies as st

from chaos.checkers import lost_writes, resurrection, sibling_sets
from chaos.checkers.rules import standard
from chaos.judgement import Verdict
from chaos.recording import Action, Operation, Outcome, Take
from chaos.values import Named
from tests.unit.chaos.checkers.histories import FAIL, INFO, OK, How, Told

Writes = frozenset[int]


class Fate(enum.Enum):
    """What becomes of a request."""

    ANSWERED = "answered"
    REPLY_LOST = "applied, but the reply is lost"
    LATE = "applied some time later, and nobody hears of it"
    LOST = "never applied, and nobody hears of it"
    REFUSED = "never applied, and the client is told"


class Planted(enum.Enum):
    """What the store does wrong."""

    COVERS_UNSEEN = "a write replaces all there is, whatever its context covers"
    KEEPS_REPLACED = "a write leaves one that it should replace"
    DROPS_SIBLING = "a write drops one that it should leave"
    REVIVES = "in the end something that was replaced is there again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request, sent when the one before was applied.

    Attributes:
        basis: which of the contexts so far to send along, from the newest; none if there are
            fewer.
        lasts: for how many steps the client waits for the answer.
        late: after how many steps it is applied, if it is late.
        is_shown: a PUT shows what is there after it.
        collects: afterwards, a key of which only tombstones are left is forgotten.
        planted: a PUT goes wrong like this.
    """

    action: Action
    fate: Fate = Fate.ANSWERED
    basis: int
    lasts: int = 0
    late: int = 0
    is_shown: bool = False
    collects: bool = False
    planted: Planted | None = None


@dataclass(slots=True, kw_only=True)
class Store:
    """One object in one copy.

    Attributes:
        live: what is there, tombstones included.
        past: the true past of every write.
        known: what whoever has an operation's context knows, by the operation.
        gone: what was below anything that was shown.
    """

    told: Told = field(default_factory=Told)
    live: Writes = frozenset()
    past: dict[int, Writes] = field(default_factory=dict)
    known: dict[int, Writes] = field(default_factory=dict)
    gone: Writes = frozenset()
    _texts: dict[int, str] = field(default_factory=dict)
    _deletes: set[int] = field(default_factory=set)
    _late: list[tuple[int, int, Planted | None]] = field(default_factory=list)

    def run(self, steps: list[Step]) -> Take:
        for now, step in enumerate(steps):
            self._apply_late(until=now)
            self._ask(now, step)
            if step.collects and self.live <= self._deletes:
                self.live = frozenset()
        self._apply_late(until=1000)
        if steps and steps[-1].planted is Planted.REVIVES:
            replaced = sorted(self.past.keys() - self.live - self._deletes)
            self.live |= set(replaced[: steps[-1].late])
        self.told.ends(*self._values(), tombstones=len(self.live & self._deletes))
        return self.told.take()

    def _ask(self, now: int, step: Step) -> None:
        basis = self._basis(now, step)
        if step.action is Action.DELETE and basis is None:
            return
        index = len(self.told.operations)
        outcome = {Fate.ANSWERED: OK, Fate.REFUSED: FAIL}.get(step.fate, INFO)
        how: How = {"outcome": outcome, "at": (float(now), now + 0.5 + step.lasts)}
        is_deleted = False
        if step.action is not Action.GET:
            self._begin(index, step, self.known[basis.index] if basis else frozenset())
            how["after"] = basis
            if step.fate in (Fate.ANSWERED, Fate.REPLY_LOST):
                self._apply(index, step.planted)
            elif step.fate is Fate.LATE:
                self._late.append((now + step.late, index, step.planted))
        if outcome is OK and (step.action is Action.GET or step.is_shown):
            how["shows"] = self._values()
            is_deleted = bool(self.live & self._deletes)
            self._show(index)
        self.told.add(step.action, written=self._texts.get(index), deleted=is_deleted, **how)

    def _begin(self, index: int, step: Step, context: Writes) -> None:
        self.past[index] = context
        self._texts[index] = str(Named(key="k", client="c1", number=index))
        if step.action is Action.DELETE:
            self._deletes.add(index)

    def _basis(self, now: int, step: Step) -> Operation | None:
        answers = [
            operation
            for operation in self.told.operations
            if self.known.get(operation.index) and operation.returned_s < now
        ]
        return answers[-1 - step.basis] if step.basis < len(answers) else None

    def _show(self, index: int) -> None:
        """Whoever has this answer knows what is there, and all that this replaced."""
        below = frozenset[int]().union(*(self.past[write] for write in self.live))
        self.known[index] = below | self.live
        self.gone |= below

    def _values(self) -> tuple[str, ...]:
        return tuple(self._texts[write] for write in sorted(self.live - self._deletes))

    def _apply_late(self, until: int) -> None:
        due = [entry for entry in self._late if entry[0] <= until]
        self._late = [entry for entry in self._late if entry[0] > until]
        for _, index, planted in due:
            self._apply(index, planted)

    def _apply(self, index: int, planted: Planted | None) -> None:
        replaced, kept = self.live & self.past[index], self.live - self.past[index]
        if planted is Planted.COVERS_UNSEEN:
            kept = frozenset()
        elif planted is Planted.KEEPS_REPLACED:
            kept |= set(sorted(replaced)[:1])
        elif planted is Planted.DROPS_SIBLING:
            kept -= set(sorted(kept)[:1])
        self.live = kept | {index}


def _steps(*actions: Action, planted: st.SearchStrategy[Planted | None]) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        action=st.sampled_from(actions),
        fate=st.sampled_from([Fate.ANSWERED, Fate.ANSWERED, *Fate]),
        basis=st.integers(0, 3),
        lasts=st.integers(0, 2),
        late=st.integers(0, 5),
        is_shown=st.booleans(),
        collects=st.booleans(),
        planted=planted,
    )


_PERFECT = _steps(*Action, Action.GET, planted=st.none())
_FAULTY = _steps(
    Action.GET, Action.PUT, planted=st.sampled_from([None, None, None, None, *Planted])
)


@settings(max_examples=300)
@given(st.lists(_PERFECT, max_size=25))
def test_a_perfect_store_passes_every_rule(steps: list[Step]) -> None:
    take = Store().run(steps)
    outcomes = standard(take) if take.operations else ()
    assert [outcome.said for outcome in outcomes if outcome.verdict is not Verdict.PASS] == []


@settings(max_examples=300)
@given(st.lists(_FAULTY, max_size=25))
def test_a_faulty_store_is_caught_by_exactly_the_rules_that_it_broke(steps: list[Step]) -> None:
    store = Store()
    take = store.run(steps)
    acked, info = _written(take, OK), _written(take, INFO)
    standing = acked | (info & store.live)
    most = standing - _below(store, standing)
    is_lost = bool(acked - store.live - _below(store, store.live))
    is_back = bool(store.live & (_below(store, acked) | store.gone))
    event(f"lost {is_lost}, back {is_back}, siblings {most == store.live}")
    assert (lost_writes.check(take).verdict is Verdict.FAIL) == is_lost
    assert (sibling_sets.check(take).verdict is Verdict.FAIL) == (most != store.live)
    assert (resurrection.check(take).verdict is Verdict.FAIL) == is_back


def _written(take: Take, outcome: Outcome) -> Writes:
    return frozenset(o.index for o in take.operations if o.is_write and o.outcome is outcome)


def _below(store: Store, writes: Writes) -> Writes:
    return frozenset[int]().union(*(store.past[write] for write in writes))
