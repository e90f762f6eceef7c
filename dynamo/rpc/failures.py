"""Errors across a hop: what a handler raises here, the caller sees as the same class there.

The numbers and `definite` travel with it: whether a write may have happened is the one thing that
a hop must not forget.
"""

import enum

from dynamo.core.quorum import N_MAX
from dynamo.errors import (
    BadRequest,
    CodecError,
    CommitFailed,
    Corrupted,
    DeadlineExceeded,
    DynamoError,
    NotReady,
    Overloaded,
    QuorumError,
    RequestError,
    StorageError,
)
from dynamo.rpc.messages import Failed

TEXT_CHARS_MAX = 1000


class FailureCode(enum.IntEnum):
    """What kind of error a `Failed` stands for; numbers on the wire, never reused."""

    OTHER = 0
    BAD_REQUEST = 1
    NOT_READY = 2
    OVERLOADED = 3
    QUORUM = 4
    DEADLINE = 5
    STORAGE = 6
    COMMIT = 7
    CORRUPTED = 8
    CODEC = 9


# A class that is not here travels as the nearest above it, and what has none as OTHER.
_CODES: dict[type, FailureCode] = {
    RequestError: FailureCode.OTHER,
    BadRequest: FailureCode.BAD_REQUEST,
    NotReady: FailureCode.NOT_READY,
    Overloaded: FailureCode.OVERLOADED,
    QuorumError: FailureCode.QUORUM,
    DeadlineExceeded: FailureCode.DEADLINE,
    StorageError: FailureCode.STORAGE,
    CommitFailed: FailureCode.COMMIT,
    Corrupted: FailureCode.CORRUPTED,
    CodecError: FailureCode.CODEC,
}

_CLASSES: dict[int, type[DynamoError]] = {
    FailureCode.BAD_REQUEST: BadRequest,
    FailureCode.NOT_READY: NotReady,
    FailureCode.OVERLOADED: Overloaded,
    FailureCode.DEADLINE: DeadlineExceeded,
    FailureCode.STORAGE: StorageError,
    FailureCode.COMMIT: CommitFailed,
    FailureCode.CORRUPTED: Corrupted,
    FailureCode.CODEC: CodecError,
}


def to_failed(error: DynamoError) -> Failed:
    """The reply that carries `error` to the caller."""
    return Failed(
        code=_code_of(error),
        # Texts may quote a client's bytes, which need not be valid text.
        text=str(error).encode("utf-8", "backslashreplace").decode()[:TEXT_CHARS_MAX],
        what=error.what if isinstance(error, QuorumError) else "",
        needed=error.needed if isinstance(error, QuorumError) else 0,
        got=error.got if isinstance(error, QuorumError) else 0,
        definite=error.definite,
        acks=error.acks if isinstance(error, RequestError) else 0,
        receipt=error.receipt,
    )


def to_error(failed: Failed) -> DynamoError:
    """The error that a reply carries; a code of a later version is a plain `RequestError`.

    Whatever a client is shown of it is bounded, but for the receipt: nobody shows one unread.
    """
    error: DynamoError
    if failed.code == FailureCode.QUORUM:
        error = QuorumError(
            failed.what[:TEXT_CHARS_MAX],
            needed=failed.needed,
            got=failed.got,
            definite=failed.definite,
        )
    else:
        error = _CLASSES.get(failed.code, RequestError)(failed.text[:TEXT_CHARS_MAX])
        error.definite = failed.definite
    if isinstance(error, RequestError):
        error.acks = min(max(failed.acks, 0), N_MAX)
    error.receipt = failed.receipt
    return error


def _code_of(error: DynamoError) -> int:
    for cls in type(error).__mro__:
        code = _CODES.get(cls)
        if code is not None:
            return int(code)
    return int(FailureCode.OTHER)
