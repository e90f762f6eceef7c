"""Histories made by hand, a line for each operation."""

from chaos.modes import Conflicts, Mode
from chaos.recording import Action, Operation, Outcome

SIBLINGS = Mode(r=2, w=2, sloppy=False)
LWW = Mode(r=2, w=2, sloppy=False, conflicts=Conflicts.LWW)
MODES = (SIBLINGS, LWW)


class ByHand:
    """Operations in one mode; every method returns the index of what it adds."""

    def __init__(self, mode: Mode = SIBLINGS) -> None:
        self.mode = mode
        self.operations: list[Operation] = []

    def put(
        self,
        text: str,
        from_s: float,
        until_s: float,
        *,
        by: str = "c1",
        after: int | None = None,
        outcome: Outcome = Outcome.OK,
        key: str = "k",
        shown: tuple[str, ...] | None = None,
    ) -> int:
        return self._add(Action.PUT, from_s, until_s, by, outcome, key, shown, text, after)

    def delete(
        self,
        from_s: float,
        until_s: float,
        *,
        by: str = "c1",
        after: int | None = None,
        outcome: Outcome = Outcome.OK,
        key: str = "k",
    ) -> int:
        text = f"deletion {len(self.operations)}"
        return self._add(Action.DELETE, from_s, until_s, by, outcome, key, None, text, after)

    def get(
        self,
        *shown: str,
        from_s: float,
        until_s: float,
        by: str = "c2",
        key: str = "k",
        deleted: bool = False,
        outcome: Outcome = Outcome.OK,
        side: str = "A",
    ) -> int:
        return self._add(
            Action.GET,
            from_s,
            until_s,
            by,
            outcome,
            key,
            shown if outcome is Outcome.OK else None,
            deleted=deleted,
            side=side,
        )

    def _add(
        self,
        action: Action,
        from_s: float,
        until_s: float,
        by: str,
        outcome: Outcome,
        key: str,
        shown: tuple[str, ...] | None,
        written: str | None = None,
        based_on: int | None = None,
        *,
        deleted: bool = False,
        side: str = "A",
    ) -> int:
        index = len(self.operations)
        self.operations.append(
            Operation(
                index=index,
                workload="by hand",
                mode=self.mode.name,
                client=by,
                side=side,
                node="n1",
                action=action,
                bucket="b",
                key=key,
                intended_s=from_s,
                invoked_s=from_s,
                returned_s=until_s,
                outcome=outcome,
                written=written,
                based_on=based_on,
                shown=shown,
                shown_deleted=deleted,
            )
        )
        return index
