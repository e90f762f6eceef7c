"""Every error the store raises, as one tree; `definite` says if it surely had no effect.

    DynamoError
    |-- ConfigError              a setting is wrong
    |-- StartupError             the node cannot start here: port taken, foreign directory, ...
    |-- CodecError               bytes do not decode
    |   `-- ProtocolError        bytes from a peer break the protocol
    |-- PeerError                a peer did not answer a call
    |   |-- PeerUnreachable      nothing was sent (definite)
    |   |-- PeerLost             the connection ended, or the deadline came, after sending
    |   `-- HandshakeRefused     the peer will not talk to us, and says why (definite)
    |-- StorageError             the disk refused
    |   |-- CommitFailed         a batch is not on disk
    |   `-- Corrupted            a record does not match its checksum
    `-- RequestError             what a client asked for was not done
        |-- BadRequest           the request itself is wrong (definite)
        |-- NotReady             this node is not serving yet (definite)
        |-- Overloaded           a bound was reached, nothing was tried (definite)
        |-- QuorumError          too few replicas answered: `needed`, `got`
        |-- DeadlineExceeded     the time ran out
        `-- OutcomeUnknown       whoever did the work was lost meanwhile, or could not finish it

A failed write is *definite* only if no replica can have stored it; when in doubt it is not
(Maelstrom's rule: "in doubt, indefinite is always safe" put in this store's terms).
"""


class DynamoError(Exception):
    """Root of the tree.

    Attributes:
        definite: True if the request certainly had no effect and never will.
        receipt: what came of the request all the same, as JSON (`core/receipts.py`); "" if no
            receipt was asked for.
    """

    definite: bool = False
    receipt: str = ""


class ConfigError(DynamoError):
    """A setting is wrong; the text names the setting, the value and what would be right."""

    definite = True


class StartupError(DynamoError):
    """The node cannot start; the text says what is in the way and where."""

    definite = True


class CodecError(DynamoError):
    """Bytes do not decode to what they should be."""

    definite = True


class ProtocolError(CodecError):
    """A peer's bytes break the protocol; it costs that connection and nothing else."""


class PeerError(DynamoError):
    """A call to a peer brought no answer."""


class PeerUnreachable(PeerError):
    """No connection: nothing was sent."""

    definite = True


class PeerLost(PeerError):
    """The connection ended or the deadline passed after the call was sent: it may have worked."""


class HandshakeRefused(PeerError):
    """One side refused the other at the handshake; the text says why.

    Attributes:
        incompatible: they have different settings or versions; trying again will not help.
    """

    definite = True

    def __init__(self, text: str, *, incompatible: bool = False) -> None:
        super().__init__(text)
        self.incompatible = incompatible


class StorageError(DynamoError):
    """The disk refused."""


class CommitFailed(StorageError):
    """A batch did not reach the disk; nothing of it was acknowledged."""


class Corrupted(StorageError):
    """A stored record does not match its checksum; it is never served."""


class RequestError(DynamoError):
    """What a client asked for was not done.

    Attributes:
        acks: how many nodes are known to have stored a write all the same.
    """

    acks: int = 0


class BadRequest(RequestError):
    """The request itself is wrong."""

    definite = True


class NotReady(RequestError):
    """The node has not joined its cluster yet."""

    definite = True


class Overloaded(RequestError):
    """A queue or limit is full; the request was not tried."""

    definite = True


class QuorumError(RequestError):
    """Too few replicas answered in time, or too few can.

    Attributes:
        what: the count that fell short, in Riak's words: R, PR, W, PW, DW or node_confirms.
        needed: how many were asked for.
        got: how many of what counts there were.
        definite: True if no replica was asked to store anything.
    """

    def __init__(self, what: str, *, needed: int, got: int, definite: bool, acks: int = 0) -> None:
        super().__init__(f"{what}-value unsatisfied: {got}/{needed}")
        self.what = what
        self.needed = needed
        self.got = got
        self.definite = definite
        self.acks = acks


class DeadlineExceeded(RequestError):
    """The request's time ran out; definite if nothing had been sent to any replica."""

    def __init__(
        self, text: str = "request timed out", *, acks: int = 0, definite: bool = False
    ) -> None:
        super().__init__(text)
        self.acks = acks
        self.definite = definite


class OutcomeUnknown(RequestError):
    """It may be done or not: who did the work was lost meanwhile, or could not finish it."""
