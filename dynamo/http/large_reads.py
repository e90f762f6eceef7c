"""Reads of values that are known to be large: few at once.

A read holds what it found here until the other replicas have answered, and takes the loop for a
tenth of a second at 50 MiB. Dozens that come together would hold up everybody else, and hold all of
it in memory before the first byte of an answer is sent. How large a value is shows only when it was
read or stored once, so that is remembered.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from dynamo.core.ids import Key
from dynamo.errors import Overloaded

VALUE_BYTES: Final = 2**20
"""What is longer is large."""

AT_ONCE_MAX: Final = 2
TURN_S_MAX: Final = 5.0
_KEYS_MAX: Final = 4096


class LargeReads:
    """Which keys have large values, and whose turn it is to read one."""

    def __init__(self) -> None:
        self._keys: OrderedDict[Key, None] = OrderedDict()
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)

    def expects(self, key: Key) -> bool:
        """Whether the value of a key is large, as far as is known."""
        return bool(self._keys) and key in self._keys

    def note(self, key: Key) -> None:
        """Remember that it is; of too many the one that was noted longest ago is forgotten."""
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > _KEYS_MAX:
            self._keys.popitem(last=False)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until few others are read.

        Raises:
            Overloaded: not in time.
        """
        try:
            async with asyncio.timeout(TURN_S_MAX):
                await self._turns.acquire()
        except TimeoutError:
            raise Overloaded("too many large values are being read") from None
        try:
            yield
        finally:
            self._turns.release()
