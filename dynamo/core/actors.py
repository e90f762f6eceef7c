"""Who mints this process's dots, and how many so far.

A dot may never name two writes, and no dot may be minted from a state that lacks an earlier dot of
the same actor: one counter per actor says "seen up to here", so the later dot would declare the
earlier one's value gone (`core/siblings.py`; Riak lost data that way, its kv679 family). Whoever
forgets is therefore somebody else from then on. The actor is drawn when the process starts and
again at every loss, and none is ever written down: a lost tail, a wiped disk or a restored backup
then has nothing to repeat, where a counter of starts on that disk would go back along with it.

An actor costs twenty bytes in the clock of each key it wrote to, so they are drawn for losses and
not for writes.
"""

from collections.abc import Callable

from dynamo.core.ids import ACTOR_BYTES, Actor
from dynamo.core.siblings import Context


class Minter:
    """The actor of the moment and the count of its dots.

    Attributes:
        actor: whom the next dot will name.
    """

    def __init__(self, draw: Callable[[], bytes]) -> None:
        """Draw the first actor.

        Args:
            draw: `ACTOR_BYTES` bytes that nobody ever drew before or will again: random ones.
        """
        self._draw = draw
        self.actor = Actor(b"")
        self._minted = 0
        self.renew()

    def mint(self) -> tuple[Actor, int]:
        """The actor for one write, and how many dots it had minted before (`Siblings.write`).

        A write that fails afterwards leaves a gap, which says nothing.
        """
        floor = self._minted
        self._minted = floor + 1
        return self.actor, floor

    def has_minted(self, context: Context) -> bool:
        """Whether all dots of this actor in `context` may be its own.

        Those that cannot be were made up by a client, and a write that is minted from nothing could
        come to lie below them.
        """
        return context.get(self.actor, 0) <= self._minted

    def renew(self) -> None:
        """Be another actor: a state this one minted in may be gone or fall back."""
        drawn = self._draw()
        assert len(drawn) == ACTOR_BYTES, drawn
        self.actor = Actor(drawn)
        self._minted = 0
