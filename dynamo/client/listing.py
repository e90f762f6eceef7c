"""A listing as it streams in: JSON objects one behind the other, cut anywhere. Pure."""

import codecs
import json
from collections.abc import Iterator

from dynamo.client.errors import BadAnswer, Unavailable

_OBJECT_CHARACTERS_MAX = 64 * 1024 * 1024
"""A server sends about a hundred keys an object; more than this is no listing."""


class Listing:
    """Collects chunks and gives out the names they complete.

    Attributes:
        finished: the last object, which is empty, was seen.
    """

    def __init__(self, field: str) -> None:
        self.finished = False
        self._field = field
        self._text = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._parse = json.JSONDecoder().raw_decode

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The names that this chunk completes.

        Raises:
            Unavailable: the server gave up in the middle.
            BadAnswer: this is no listing.
        """
        try:
            self._text += self._decode(chunk)
        except UnicodeDecodeError as error:
            raise BadAnswer("a listing that is no UTF-8", definite=True) from error
        if len(self._text) > _OBJECT_CHARACTERS_MAX:
            raise BadAnswer("a listing whose object does not end", definite=True)
        # No object can end in a chunk without a brace, and parsing half ones again and again is
        # what would make a long one slow.
        while b"}" in chunk and (text := self._text.lstrip()):
            try:
                parsed, end = self._parse(text)
            except ValueError as error:
                if text[0] != "{":
                    raise BadAnswer(f"not a listing: {text[:80]!r}", definite=True) from error
                return
            self._text = text[end:]
            yield from self._names(parsed)

    def _names(self, parsed: object) -> list[str]:
        if isinstance(parsed, dict) and "error" in parsed:
            raise Unavailable(200, f"listing ended: {parsed['error']}", acks=None, definite=True)
        names = parsed.get(self._field) if isinstance(parsed, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BadAnswer(f"not a listing of {self._field}: {parsed!r:.80}", definite=True)
        self.finished = not names
        return names
