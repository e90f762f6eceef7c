"""What a client is shown of a key: its values, and the lines that tell one version from another."""

import base64
from typing import NamedTuple

from dynamo.core.codec import encode_context
from dynamo.core.conflicts import shown
from dynamo.core.ids import Dot
from dynamo.core.quorum import Conflicts
from dynamo.core.siblings import Siblings
from dynamo.core.values import Value
from dynamo.http.negotiation import Current
from dynamo.http.render import http_date, index_lines, siblings_tag, value_lines, vtag
from dynamo.http.routes import Target


class Found(NamedTuple):
    """What a client is shown of a key.

    Attributes:
        values: with their dots; tombstones are among them.
        context: encoded; of the whole state, also where one sibling is asked for.
    """

    values: list[tuple[Dot, Value]]
    context: bytes

    @property
    def exists(self) -> bool:
        """Whether there is anything but tombstones."""
        return False in [value.deleted for _, value in self.values]

    @property
    def current(self) -> Current:
        """What conditions are held against: the one value, or all of them together."""
        if not self.exists:
            return Current(False, "", 0)
        if len(self.values) == 1:
            dot, value = self.values[0]
            return Current(True, vtag(dot), value.modified_at_ms)
        newest_ms = max(value.modified_at_ms for _, value in self.values)
        return Current(True, siblings_tag(self.context), newest_ms)


def find(state: Siblings, conflicts: Conflicts) -> Found:
    """What a client is shown of a state."""
    return Found(shown(state, conflicts), encode_context(state.context()))


def context_line(found: Found) -> str:
    """The header line that a client sends back to say what it has seen."""
    return f"X-Riak-Vclock: {base64.b64encode(found.context).decode()}\r\n"


def version_lines(found: Found, tag: str, modified_at_ms: int) -> str:
    """The header lines of one version of an object."""
    date = http_date(modified_at_ms)
    return f'{context_line(found)}ETag: "{tag}"\r\nLast-Modified: {date}\r\n'


def lone_lines(found: Found, target: Target) -> str:
    """All header lines of the one value that is shown."""
    dot, value = found.values[0]
    version = version_lines(found, vtag(dot), value.modified_at_ms)
    return value_lines(value, target) + version + index_lines(value)
