"""The facts a node has on disk: what it knows of its cluster when it starts again."""

import asyncio
import logging

from dynamo.core.facts import NAME_BYTES_MAX, Fact, FactBook, decode_fact, encode_fact
from dynamo.errors import CodecError, DynamoError, Overloaded, StorageError
from dynamo.storage.engine import KEY_BYTES_MAX, Engine, OnCommit, Put, Table

log = logging.getLogger(__name__)

_PREFIX = b"fact:"

RETRY_S = 1.0

assert len(_PREFIX) + NAME_BYTES_MAX <= KEY_BYTES_MAX, "every fact can be kept"


class FactMemory:
    """Keeps the newest of each fact of a book."""

    def __init__(self, engine: Engine, book: FactBook) -> None:
        self._engine = engine
        self._book = book
        # What gossip brought and the disk refused: nobody brings it again. A dict for its order.
        self._lacking: dict[bytes, None] = {}
        self._failed = asyncio.Event()

    def recall(self) -> list[Fact]:
        """All facts on disk; one that cannot be read is left out, for gossip brings it again.

        Raises:
            StorageError: the disk cannot be read.
        """
        facts = []
        for _, encoded in self._engine.scan(Table.META, _PREFIX, _PREFIX + b"\xff", 1_000_000):
            try:
                facts.append(decode_fact(encoded))
            except CodecError as error:
                log.error("a remembered fact does not decode", extra={"reason": str(error)})
        return facts

    def keep(self, name: bytes) -> None:
        """Begin to write down the newest fact of that name; if it fails, `step` tries again."""

        def ended(error: StorageError | None) -> None:
            if error is not None:
                self._lack(name, error)

        try:
            self._commit(self._newest(name), ended)
        except Overloaded as error:
            self._lack(name, error)

    def _lack(self, name: bytes, error: DynamoError) -> None:
        if not self._lacking:
            log.warning("a fact is not on the disk yet", extra={"reason": str(error)})
        self._lacking[name] = None
        self._failed.set()

    async def step(self) -> None:
        """Wait until some facts could not be written down, and a while; then try these again."""
        await self._failed.wait()
        await asyncio.sleep(RETRY_S)
        self._failed.clear()
        lacking, self._lacking = self._lacking, {}
        for name in lacking:
            self.keep(name)

    async def keep_durably(self, name: bytes) -> None:
        """Return once the newest fact of that name, and all kept before it, are durable.

        Raises:
            StorageError: they could not be stored.
            Overloaded: too much waits for the disk.
        """
        await self.write(self._newest(name))

    async def write(self, fact: Fact) -> None:
        """Return once a fact is durable that the book need not have; it replaces what is kept.

        Raises:
            StorageError: it could not be stored.
            Overloaded: too much waits for the disk.
        """
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ended(error: StorageError | None) -> None:
            if durable.done():
                return  # nobody waits any more
            if error is None:
                durable.set_result(None)
            else:
                durable.set_exception(error)

        self._commit(fact, ended)
        await durable

    def _newest(self, name: bytes) -> Fact:
        fact = self._book.get(name)
        assert fact is not None, "it was learnt"
        return fact

    def _commit(self, fact: Fact, on_commit: OnCommit) -> None:
        self._engine.commit([Put(Table.META, _PREFIX + fact.name, encode_fact(fact))], on_commit)
