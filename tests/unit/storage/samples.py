"""Keys, states and writes as the tests of the stores need them."""

import asyncio
from collections.abc import Callable

from dynamo.core.codec import decode_siblings, encode_siblings, encode_value
from dynamo.core.ids import Actor, Key, encode_key
from dynamo.core.siblings import EMPTY, Context, Siblings
from dynamo.core.values import Value
from dynamo.errors import StorageError

Update = Callable[[Siblings, Actor, int], Siblings]

A, B = Actor(b"actor--a"), Actor(b"actor--b")


def key(name: bytes, bucket: bytes = b"cart") -> bytes:
    return encode_key(Key(b"default", bucket, name))


def value(text: bytes) -> bytes:
    return encode_value(Value(body=text))


TOMBSTONE = encode_value(Value(body=b"", deleted=True))


def state(actor: Actor, *texts: bytes) -> bytes:
    """Encoded siblings of one actor, each text written without a context."""
    siblings = EMPTY
    for text in texts:
        siblings = siblings.write(actor, value(text), {}, 0)
    return encode_siblings(siblings)


def deleted(actor: Actor) -> bytes:
    """Encoded siblings of a deleted key."""
    return encode_siblings(EMPTY.write(actor, TOMBSTONE, {}, 0))


def blind(text: bytes) -> Update:
    """A write without a context."""
    return within({}, text)


def within(context: Context, text: bytes) -> Update:
    """A write by a client that was shown `context`."""
    return lambda siblings, actor, floor: siblings.write(actor, value(text), context, floor)


def texts(encoded: bytes | None) -> list[bytes]:
    """The live values of encoded siblings, tombstones too."""
    assert encoded is not None
    return sorted(live for _, live in decode_siblings(encoded).dots())


class Told:
    """An `OnCommit` that can be waited for."""

    def __init__(self) -> None:
        self._told: asyncio.Future[StorageError | None] = asyncio.get_running_loop().create_future()

    def __call__(self, error: StorageError | None) -> None:
        self._told.set_result(error)

    @property
    def is_told(self) -> bool:
        return self._told.done()

    async def error(self) -> StorageError | None:
        return await self._told
