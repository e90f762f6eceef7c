"""What a read shows: the siblings, their context, and the one value if it can be said.

Concurrent writes leave siblings, and only the application knows what they mean together
(Dynamo 4.4). So `Found.value` raises `Conflict` where there are several and no resolver was given:
a conflict can be settled or looked at, not overlooked.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dynamo.client.errors import Conflict
from dynamo.core.values import Value
from dynamo.errors import BadRequest

Resolver = Callable[[Sequence[Value]], Value]
"""Makes one value of two or more concurrent ones; their order means nothing.

It is never shown a tombstone: beside a delete, a concurrent write stays (as in Dynamo's cart, where
a deleted item may come back but an added one is never lost). Who wants the delete to win gives no
resolver and looks at the siblings.
"""


@dataclass(frozen=True, slots=True)
class Context:
    """What a read has seen, to be handed to the write that follows from it. Opaque.

    Attributes:
        token: the bytes the server made; it alone knows what they mean.
    """

    token: bytes

    def __str__(self) -> str:
        return base64.b64encode(self.token).decode("ascii")

    @classmethod
    def parse(cls, text: str) -> "Context":
        """The inverse of `str`.

        Raises:
            BadRequest: `text` is no base64.
        """
        try:
            return cls(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError) as error:
            raise BadRequest(f"not a context (base64): {text[:80]!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer to a read.

    Attributes:
        siblings: everything there is, tombstones included; one in the normal case, none if the key
            was never written or only a tombstone is left.
        context: covers exactly these siblings; None if the key was never written.
        resolve: how to make one value of several; None to be told of a conflict instead.
    """

    siblings: tuple[Value, ...]
    context: Context | None
    resolve: Resolver | None = field(default=None, compare=False, repr=False)

    @property
    def value(self) -> Value | None:
        """The one value, or None if there is none.

        Raises:
            Conflict: there are several siblings and no resolver.
            BadRequest: the resolver makes something else of them than a `Value`.
        """
        if len(self.siblings) > 1 and self.resolve is None:
            raise Conflict(self.siblings)
        values = self.values
        if len(values) > 1 and self.resolve is not None:
            resolved = self.resolve(values)
            if not isinstance(resolved, Value):
                kind = type(resolved).__name__
                raise BadRequest(f"a resolver must return a Value, and this one returned a {kind}")
            return resolved
        return values[0] if values else None

    @property
    def values(self) -> tuple[Value, ...]:
        """The siblings that are not tombstones."""
        return tuple(sibling for sibling in self.siblings if not sibling.deleted)
