"""What is read is whole: every value shown is one that somebody wrote to that very key before.

Values name their key and carry a checksum (`values.py`), so a mixture of siblings, a torn body or a
value of another key gives itself away, and so does one that nobody can have written yet.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from chaos.checkers.telling import Breach, at, counted, ruled, told
from chaos.judgement import RuleOutcome
from chaos.recording import Action, Operation, Outcome, Take
from chaos.values import named

RULE: Final = "what is read is whole"

Place = tuple[str, str]


class _Written:
    """When each text of each object was first on its way, and each object's first delete."""

    def __init__(self, take: Take) -> None:
        self.put_s: Mapping[tuple[Place, str], float]
        self.deleted_s: Mapping[Place, float]
        put_s: dict[tuple[Place, str], float] = {}
        deleted_s: dict[Place, float] = {}
        for operation in take.operations:
            if not operation.is_write or operation.outcome is Outcome.FAIL:
                continue
            if operation.action is Action.DELETE:
                first_s = deleted_s.get(operation.place, operation.invoked_s)
                deleted_s[operation.place] = min(first_s, operation.invoked_s)
            elif operation.written is not None:
                name = (operation.place, operation.written)
                put_s[name] = min(put_s.get(name, operation.invoked_s), operation.invoked_s)
        self.put_s, self.deleted_s = put_s, deleted_s

    def fault_of(self, place: Place, text: str, seen_s: float) -> str:
        """What is wrong with a text that was seen at a place; "" if nothing is."""
        value = named(text)
        if value is None:
            return f"no whole value: {text[:60]!r}"
        if value.key != place[1]:
            return f"a value of the key {value.key}"
        since_s = self.put_s.get((place, text))
        if since_s is None:
            return f"write {value.number} of {value.client}, which nobody is known to have made"
        if since_s > seen_s:
            return f"write {value.number} of {value.client}, which was only made afterwards"
        return ""


def check(take: Take) -> RuleOutcome:
    """Look at every value in an answer and in a dump."""
    written = _Written(take)
    shown = sum(len(operation.shown or ()) for operation in take.operations)
    held = sum(not value.deleted for state in take.final for value in state.values)
    return ruled(
        RULE,
        take,
        kept=f"all {counted(shown, 'value')} in answers and {held} held by nodes in the end are"
        " what somebody wrote to that key",
        broken="values are not what they should be",
        breaches=[*_shown(take, written), *_held(take, written)],
        unknown=[] if take.operations else ["nobody asked for anything"],
    )


def _shown(take: Take, written: _Written) -> Iterator[Breach]:
    for operation in take.operations:
        for text in operation.shown or ():
            if fault := written.fault_of(operation.place, text, operation.returned_s):
                yield _breach(operation, fault)
        if operation.shown_deleted:
            deleted_s = written.deleted_s.get(operation.place)
            if deleted_s is None or deleted_s > operation.returned_s:
                yield _breach(operation, '"deleted", though nobody had deleted it')


def _breach(operation: Operation, fault: str) -> Breach:
    said = f"{told(operation)} of {at(operation.place)} showed {fault}"
    return Breach(said, (operation.index,))


def _held(take: Take, written: _Written) -> Iterator[Breach]:
    found: dict[tuple[Place, str], list[str]] = defaultdict(list)
    for state in take.final:
        place = (state.bucket, state.key)
        for value in state.values:
            if not value.deleted and (fault := written.fault_of(place, value.text, float("inf"))):
                found[place, fault].append(state.node)
    for (place, fault), nodes in found.items():
        yield Breach(f"{at(place)} on {', '.join(nodes)} is {fault}")
