"""What a three-node Riak KV 3.2 was asked, in order, and what it answered: `riak-3.2.jsonl`.

An exchange may rely on those before it. Its state is what the cluster was in: `up`, `frozen` (one
node stands still), `down1` (one is stopped), `down2` (two are).
"""

import json
from pathlib import Path
from typing import NamedTuple

from tests.unit.http.talk import Told

RECORD = Path(__file__).with_name("riak-3.2.jsonl")


class Exchange(NamedTuple):
    """A request and Riak's answer.

    Attributes:
        path: with its query, as it goes over the wire.
        expected: Riak's answer; None if the request only makes ready what later ones need.
        wait_s: how long nothing was sent before it.
    """

    name: str
    state: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    expected: Told | None = None
    wait_s: float = 0.0


def exchanges(state: str) -> list[Exchange]:
    """All that was recorded in a state."""
    with RECORD.open() as lines:
        recorded = map(_exchange, lines)
        return [exchange for exchange in recorded if exchange.state == state]


def _exchange(line: str) -> Exchange:
    said = json.loads(line)
    body, answer = said["body"], said["expect"]
    return Exchange(
        name=said["name"],
        state=said["state"],
        method=said["method"],
        path=said["path"],
        headers=tuple((name, text) for name, text in said["headers"]),
        body=None if body is None else _bytes(body),
        expected=None if answer is None else _answer(answer),
        wait_s=said.get("sleep_s", 0.0),
    )


def _answer(said: dict[str, object]) -> Told:
    status, headers, body = said["status"], said["headers"], said["body"]
    assert isinstance(status, int)
    assert isinstance(headers, dict)
    assert isinstance(body, str)
    # Header lines were recorded a character a byte.
    told = {name.lower(): text.encode("latin-1").decode() for name, text in headers.items()}
    return Told(status, told, _bytes(body))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
