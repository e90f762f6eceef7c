"""Keys, states and writes as the tests of the stores need them."""

import asyncio
import random

from dynamo.core.codec import decode_siblings, encode_siblings, encode_value
from dynamo.core.ids import Actor, Key, encode_key
from dynamo.core.siblings import EMPTY, Context
from dynamo.core.values import Value
from dynamo.errors import StorageError
from dynamo.storage.engine import Put, Table
from dynamo.storage.memory_engine import Disk, MemoryEngine
from dynamo.storage.objects import ObjectStore, Update

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


class Opened:
    """An object store, all of whose keys are in partition 7, and what is under it."""

    def __init__(self, disk: Disk | None = None, *, queued_bytes_max: int = 2**20) -> None:
        self.disk = disk if disk is not None else Disk()
        self.engine = MemoryEngine(self.disk, queued_bytes_max=queued_bytes_max)
        self.store = ObjectStore(self.engine, lambda key: 7, random.Random())

    async def write(self, key: bytes, update: Update) -> bytes:
        told = Told()
        encoded = self.store.write(key, update, told)
        assert await told.error() is None
        return encoded

    async def merge(self, key: bytes, incoming: bytes) -> None:
        told = Told()
        self.store.merge(key, incoming, told)
        assert not told.is_told
        assert await told.error() is None

    def corrupt(self, key: bytes) -> None:
        place = (7).to_bytes(2, "big") + key
        record = self.disk.get(Table.OBJECTS, place)
        assert record is not None
        self.disk.apply(Put(Table.OBJECTS, place, record[:-1] + b"?"))
