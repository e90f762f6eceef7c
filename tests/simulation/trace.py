"""What happened in a simulation, in order, and its digest: same seed, same trace.

Events that a person wants to read (faults, client operations, verdicts) are kept as text; the many
that only have to be equal (each piece of bytes that arrives) go into the digest alone, unless
somebody looks for the first difference between two runs and asks for them too.
"""

import hashlib
from collections.abc import Callable


class Trace:
    """Events with their virtual times.

    Attributes:
        events: time in seconds and text, in order.
    """

    def __init__(self, now_s: Callable[[], float], *, keep_all: bool = False) -> None:
        self.events: list[tuple[float, str]] = []
        self._now_s = now_s
        self._keep_all = keep_all
        self._hash = hashlib.blake2b(digest_size=16)

    def note(self, text: str) -> None:
        """Something to be read."""
        now_s = self._now_s()
        self.events.append((now_s, text))
        self._hash.update(f"{now_s!r} {text}\n".encode())

    def mark(self, text: str) -> None:
        """Something that has to be the same in every run and is too much to be kept."""
        if self._keep_all:
            self.note(text)
        else:
            self._hash.update(f"{self._now_s()!r} {text}\n".encode())

    def digest(self) -> str:
        """Of all events up to now."""
        return self._hash.hexdigest()

    def __str__(self) -> str:
        return "\n".join(f"{now_s:10.6f}  {text}" for now_s, text in self.events)
