"""What can go wrong between an application and a cluster, seen from the application.

    DynamoError
    |-- ClientError
    |   |-- Conflict          siblings nobody has settled yet: look at `.siblings` (definite)
    |   |-- Unreachable       no connection, so nothing was sent (definite)
    |   |-- Lost              the connection ended before the answer came
    |   |-- Unavailable       the server says it cannot: `status`, `acks`
    |   `-- BadAnswer         the answer makes no sense
    `-- RequestError          (dynamo/errors.py)
        |-- BadRequest
        |   `-- Refused       the server says the request is wrong: `status` (definite)
        |-- QuorumError       too few replicas: `needed`, `got`
        `-- DeadlineExceeded  the time ran out: `got` replicas had acknowledged

`definite` means what it means everywhere here: the request had no effect and never will. A read
has none, so a failed read is always definite; a failed write is only if that is certain.
"""

from typing import TYPE_CHECKING

from dynamo.errors import BadRequest, DynamoError

if TYPE_CHECKING:
    from dynamo.core.values import Value


class ClientError(DynamoError):
    """Something between this client and the cluster failed."""


class Conflict(ClientError):
    """Concurrent writes left siblings, and one value was asked for without a way to choose.

    Attributes:
        siblings: all that is there, tombstones included.
    """

    definite = True

    def __init__(self, siblings: "tuple[Value, ...]") -> None:
        super().__init__(
            f"{len(siblings)} concurrent values: look at `siblings`, or give the bucket a resolver"
        )
        self.siblings = siblings


class Unreachable(ClientError):
    """The endpoint took no connection: nothing was sent."""

    definite = True


class Lost(ClientError):
    """The connection ended after the request was sent, or may have been."""

    def __init__(self, text: str, *, definite: bool) -> None:
        super().__init__(text)
        self.definite = definite


class Unavailable(ClientError):
    """The server answered that it cannot do it now.

    Attributes:
        status: the HTTP status, 500 or more.
        acks: how many replicas acknowledged a write all the same; None if it does not say.
    """

    def __init__(self, status: int, text: str, *, acks: int | None, definite: bool) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.acks = acks
        self.definite = definite


class BadAnswer(ClientError):
    """The answer breaks the protocol: this is no node of such a cluster, or it is broken."""

    def __init__(self, text: str, *, definite: bool = False) -> None:
        super().__init__(text)
        self.definite = definite


class Refused(BadRequest):
    """The server says that the request is wrong and was not tried.

    Attributes:
        status: the HTTP status, 400 to 499.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
