"""Large answers on their way to clients, all together within a bound of bytes.

Who asks for a large value and does not read it holds it here for a minute. A read that finds no
room gives back what it found, waits in line, and is made again once there is room for it: waiting
must not cost what it waits for. Small answers are not counted; how many there can be has a bound.
"""

import asyncio
from collections import deque
from typing import Final

from dynamo.errors import Overloaded

LARGE_BYTES: Final = 64 * 1024
"""What is no longer than this is not counted."""

ROOM_S_MAX: Final = 5.0
"""So long an answer may wait for those before it."""


class Outgoing:
    """Counts the bytes of large answers.

    Attributes:
        on_the_way_bytes: of answers that clients have not read yet, or not been sent.
    """

    def __init__(self, bytes_max: int) -> None:
        """Nothing is on its way.

        Args:
            bytes_max: of all answers together; one that is larger by itself counts as so much.
        """
        self.on_the_way_bytes = 0
        self._bytes_max = bytes_max
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, size: int) -> bool:
        """Make room for an answer, if there is any and nobody else waits for it."""
        if self._line or not self._fits(size):
            return False
        self.on_the_way_bytes += size
        return True

    async def wait(self, size: int) -> None:
        """Make room for an answer, once those before it are gone.

        Raises:
            Overloaded: they are not gone in time.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._line.append(entry)
        try:
            async with asyncio.timeout(ROOM_S_MAX):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give_back(size)
            else:
                self._line.remove(entry)
                self._let_in()
            if isinstance(error, TimeoutError):
                raise self.overloaded() from None
            raise

    def give_back(self, size: int) -> None:
        """An answer, or a part of it, is not on its way any more."""
        self.on_the_way_bytes -= size
        self._let_in()

    def overloaded(self, *, definite: bool = True) -> Overloaded:
        """Why an answer is not given; not definite where only the answer to a write is missing."""
        error = Overloaded(f"more than {self._bytes_max} bytes of answers are on their way")
        error.definite = definite
        return error

    def _let_in(self) -> None:
        while self._line and self._fits(self._line[0][0]):
            size, turn = self._line.popleft()
            self.on_the_way_bytes += size
            turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return not self.on_the_way_bytes or self.on_the_way_bytes + size <= self._bytes_max
