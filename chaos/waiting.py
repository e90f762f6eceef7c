"""Waiting for a condition, with an end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_LOOK_S: Final = 0.1


async def until(holds: Callable[[], Awaitable[bool]], *, within_s: float) -> bool:
    """Look again and again whether `holds`; False if it did not in that time."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                if await holds():
                    return True
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        return False
