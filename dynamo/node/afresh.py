"""Dots minted by a node that holds no copy of the key, for writes that no primary can coordinate.

Such a node has no state to continue from, so it mints under an actor of its own making for each key
and keeps, in memory, the state of what it minted: the next dot of that actor must come from a state
that has seen all before it (`core/siblings.py`). Without this memory a hot key's clock would gain
an entry with every write for as long as its primaries are away.

It must forget as soon as somebody returns: what it minted may be superseded then where it cannot
see it, and sent out again it would come back to life on nodes that know of neither. Who is
forgotten gets a new actor, which is always safe.
"""

from collections import OrderedDict
from collections.abc import Callable

from dynamo.core.codec import decode_siblings, encode_siblings
from dynamo.core.ids import ACTOR_BYTES, Actor
from dynamo.core.siblings import Siblings

BYTES_MAX = 16 * 2**20

_ENTRY_BYTES = 200
"""What an entry takes beside its key and its state."""


class Afresh:
    """What this node minted without a copy, by encoded key, the oldest forgotten first."""

    def __init__(self, draw: Callable[[int], bytes], *, bytes_max: int = BYTES_MAX) -> None:
        self._draw = draw
        self._bytes_max = bytes_max
        self._bytes = 0
        self._minted: OrderedDict[bytes, tuple[Actor, bytes]] = OrderedDict()

    def write(self, key: bytes, update: Callable[[Siblings, Actor], Siblings]) -> bytes:
        """Mint the dot of one write; `update` says what becomes of the state.

        Returns the encoded state to send to whoever takes it.
        """
        actor, before = self._minted.get(key) or (Actor(self._draw(ACTOR_BYTES)), b"")
        encoded = encode_siblings(update(decode_siblings(before), actor))
        self.forget(key)
        self._minted[key] = (actor, encoded)
        self._bytes += _size(key, encoded)
        while self._bytes > self._bytes_max:
            self.forget(next(iter(self._minted)))
        return encoded

    def forget(self, key: bytes) -> None:
        """A primary coordinates this key again."""
        if key in self._minted:
            self._bytes -= _size(key, self._minted.pop(key)[1])

    def forget_all(self) -> None:
        """A node returned, whose keys these may be."""
        self._minted.clear()
        self._bytes = 0


def _size(key: bytes, state: bytes) -> int:
    return len(key) + len(state) + _ENTRY_BYTES
