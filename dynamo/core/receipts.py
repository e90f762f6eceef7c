"""A receipt: what one read or write really achieved, replica by replica. Values and their JSON.

A quorum met says that enough replicas answered, not which, nor what the others did meanwhile. A
receipt does: who was asked, in whose place, what came back, in which version and after how long;
whom a read repaired, for whom a write left a hint (Dynamo 4.5, 4.6).

The JSON is one line of ASCII: it travels in a header to clients, and between nodes where one
coordinated what another was asked. Its reader takes any text whatever, as it may come from a peer.
"""

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import mmh3

from dynamo.core.ids import NodeId, is_node_id
from dynamo.errors import CodecError

RECEIPT_CHARS_MAX = 64 * 1024
"""Room for the most replicas that can be asked for, each with a reason; most have below 1 KiB."""

REASON_CHARS_MAX = 120

_ANSWERS_MAX = 256  # of one kind; more than there are nodes in a preference list that was walked
_VERSION_CHARS_MAX = 16
_MS_MAX = 10**9


class Outcome(enum.StrEnum):
    """What became of one question to one node."""

    FOUND = "found"
    MISSING = "missing"
    STORED = "stored"
    FAILED = "failed"
    """It refused, or nothing reached it."""

    NO_ANSWER = "no answer"
    """It was asked, and nothing came back in time: a write may be stored there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaAnswer:
    """One node that was asked.

    Attributes:
        stands_in_for: the primary in whose place; of a hint, for whom it is.
        version: tag of what it holds, of a read.
        reason: why it failed.
        took_ms: until it answered; None if it has not yet.
    """

    node: NodeId
    outcome: Outcome
    stands_in_for: NodeId | None = None
    version: str = ""
    reason: str = ""
    took_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What became of one read or write; times run from its beginning at its coordinator.

    Attributes:
        version: tag of what a read answered, or of what a write stored; "" if nothing.
        met_ms: when its quorum was met, and a request without a receipt would have been answered;
            None if it never was.
        took_ms: until the last who was asked had answered, or was not waited for any longer.
        replicas: in the order in which they were asked.
        repairs: primaries that lacked something of what a read found, and were sent it.
        hints: kept by the coordinator itself, for want of a stand-in.
        forwarded_by: who had the request, if not the coordinator.
        hop_ms: what the way to the coordinator and back added.
    """

    coordinator: NodeId
    version: str = ""
    met_ms: float | None = None
    took_ms: float | None = None
    replicas: tuple[ReplicaAnswer, ...] = ()
    repairs: tuple[ReplicaAnswer, ...] = ()
    hints: tuple[ReplicaAnswer, ...] = ()
    forwarded_by: NodeId | None = None
    hop_ms: float | None = None

    @property
    def acks(self) -> int:
        """How many nodes are known to have stored a write; the coordinator's hints do not count."""
        return sum(answer.outcome is Outcome.STORED for answer in self.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a request: of a delete without a context, both halves.

    Attributes:
        read: the last one, if there were several.
    """

    read: Account | None = None
    write: Account | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was tried."""
        return self.read is None and self.write is None


def version_tag(clock: bytes) -> str:
    """A short name for a version: equal clocks have equal tags, others most likely do not."""
    if not clock:
        return ""
    number: int = mmh3.hash64(clock, signed=False)[0]
    return f"{number >> 16:012x}"


# -- JSON ----------------------------------------------------------------------------------------


def encode_receipt(receipt: Receipt) -> str:
    """A receipt as one line of ASCII; what is empty is left out."""
    shown = {
        name: _account_json(account)
        for name, account in (("read", receipt.read), ("write", receipt.write))
        if account is not None
    }
    return json.dumps(shown, separators=(",", ":"))


def _account_json(account: Account) -> dict[str, object]:
    shown: dict[str, object] = {
        "coordinator": account.coordinator,
        "forwarded_by": account.forwarded_by,
        "hop_ms": account.hop_ms,
        "version": account.version or None,
        "met_ms": account.met_ms,
        "took_ms": account.took_ms,
        "replicas": [_answer_json(answer) for answer in account.replicas],
        "repairs": [_answer_json(answer) for answer in account.repairs] or None,
        "hints": [_answer_json(answer) for answer in account.hints] or None,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _answer_json(answer: ReplicaAnswer) -> dict[str, object]:
    shown = {
        "node": answer.node,
        "stands_in_for": answer.stands_in_for,
        "answer": answer.outcome.value,
        "version": answer.version or None,
        "reason": answer.reason[:REASON_CHARS_MAX] or None,
        "ms": answer.took_ms,
    }
    return {name: value for name, value in shown.items() if value is not None}


def decode_receipt(text: str) -> Receipt:
    """The inverse of `encode_receipt`; names it does not know are passed over.

    Raises:
        CodecError: this is no receipt.
    """
    if len(text) > RECEIPT_CHARS_MAX:
        raise CodecError(f"a receipt of {len(text)} characters, at most {RECEIPT_CHARS_MAX}")
    try:
        said = _fields(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise CodecError(f"a receipt that is no JSON: {error!s:.80}") from error
    return Receipt(read=_account(said.get("read")), write=_account(said.get("write")))


def _account(said: object) -> Account | None:
    if said is None:
        return None
    fields = _fields(said)
    return Account(
        coordinator=_node(fields.get("coordinator")),
        version=_text(fields.get("version"), _VERSION_CHARS_MAX),
        met_ms=_ms(fields.get("met_ms")),
        took_ms=_ms(fields.get("took_ms")),
        replicas=_answers(fields.get("replicas")),
        repairs=_answers(fields.get("repairs")),
        hints=_answers(fields.get("hints")),
        forwarded_by=_node_or_none(fields.get("forwarded_by")),
        hop_ms=_ms(fields.get("hop_ms")),
    )


def _answers(said: object) -> tuple[ReplicaAnswer, ...]:
    if said is None:
        return ()
    if not isinstance(said, list) or len(said) > _ANSWERS_MAX:
        raise CodecError(f"the answers in a receipt are a list of at most {_ANSWERS_MAX}")
    return tuple(_answer(_fields(entry)) for entry in cast("Iterable[object]", said))


def _answer(fields: dict[str, object]) -> ReplicaAnswer:
    try:
        outcome = Outcome(_text(fields.get("answer"), REASON_CHARS_MAX))
    except ValueError as error:
        raise CodecError(f"no answer of a replica: {error}") from error
    return ReplicaAnswer(
        node=_node(fields.get("node")),
        outcome=outcome,
        stands_in_for=_node_or_none(fields.get("stands_in_for")),
        version=_text(fields.get("version"), _VERSION_CHARS_MAX),
        reason=_text(fields.get("reason"), REASON_CHARS_MAX),
        took_ms=_ms(fields.get("ms")),
    )


def _fields(said: object) -> dict[str, object]:
    if not isinstance(said, dict):
        raise CodecError(f"a {type(said).__name__} where a receipt has an object")
    return said


def _node(said: object) -> NodeId:
    if not isinstance(said, str) or not is_node_id(said):
        raise CodecError(f"{said!r:.80} in a receipt is no node")
    return NodeId(said)


def _node_or_none(said: object) -> NodeId | None:
    return None if said is None else _node(said)


def _text(said: object, chars_max: int) -> str:
    if said is None:
        return ""
    if not isinstance(said, str) or len(said) > chars_max:
        raise CodecError(f"{said!r:.80} in a receipt is no text of at most {chars_max} characters")
    return said


def _ms(said: object) -> float | None:
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said <= _MS_MAX:
        raise CodecError(f"{said!r:.80} in a receipt is no time")
    return float(said)
