"""Dots minted by a node that holds no copy of the key, for writes that no primary can coordinate.

Such a node has no state to continue from, so it mints under an actor of its own making for each key
and keeps, in memory, the state of what it minted: the next dot of that actor must come from a state
that has seen all before it (`core/siblings.py`). The memory is bounded and may forget; who is
forgotten gets a new actor, which is always safe and costs the key's clock one entry. Without it, a
hot key would gain an entry with every write for as long as its primaries are away.
"""

from collections import OrderedDict
from collections.abc import Callable

from dynamo.core.codec import decode_siblings, encode_siblings
from dynamo.core.ids import ACTOR_BYTES, Actor
from dynamo.core.siblings import EMPTY, Siblings

BYTES_MAX = 16 * 2**20


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
        actor, before = self._minted.pop(key, (None, b""))
        self._bytes -= len(before)
        if actor is None:
            actor = Actor(self._draw(ACTOR_BYTES))
        state = decode_siblings(before) if before else EMPTY
        encoded = encode_siblings(update(state, actor))
        self._minted[key] = (actor, encoded)
        self._bytes += len(encoded)
        while self._bytes > self._bytes_max:
            _, (_, forgotten) = self._minted.popitem(last=False)
            self._bytes -= len(forgotten)
        return encoded
