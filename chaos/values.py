"""Values that name themselves: their key, who wrote them, and which of his writes they are.

A value that comes back can thus be told to belong to its key and to be whole, whatever else is
wrong; and no two writes of a run store the same bytes, so a value says which write it is from.
"""

import zlib
from dataclasses import dataclass

SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class Named:
    """One written value.

    Attributes:
        key: where it was written.
        client: by whom.
        number: which of the client's writes it is.
        payload: what it is about, e.g. the elements of a set; holds no separator.
    """

    key: str
    client: str
    number: int
    payload: str = ""

    def __str__(self) -> str:
        head = SEPARATOR.join((self.key, self.client, str(self.number), self.payload))
        return f"{head}{SEPARATOR}{zlib.crc32(head.encode()):08x}"


def named(text: str) -> Named | None:
    """What `str` made into `text`; None if it is not whole."""
    head, _, check = text.rpartition(SEPARATOR)
    parts = head.split(SEPARATOR)
    if len(parts) != 4 or not parts[2].isdecimal():
        return None
    if check != f"{zlib.crc32(head.encode()):08x}":
        return None
    return Named(key=parts[0], client=parts[1], number=int(parts[2]), payload=parts[3])
