import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.ids import NodeId
from dynamo.core.receipts import (
    RECEIPT_CHARS_MAX,
    Account,
    Outcome,
    Receipt,
    ReplicaAnswer,
    decode_receipt,
    encode_receipt,
    version_tag,
)
from dynamo.errors import CodecError

N1, N2, N4 = NodeId("n1"), NodeId("n2"), NodeId("n4")

NODES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True).map(NodeId)
TIMES = st.none() | st.floats(0, 1e6).map(lambda ms: round(ms, 3))
ANSWERS = st.builds(
    ReplicaAnswer,
    node=NODES,
    outcome=st.sampled_from(Outcome),
    stands_in_for=st.none() | NODES,
    version=st.sampled_from(["", "00ff00ff00ff"]),
    reason=st.text(max_size=20),
    took_ms=TIMES,
)
LISTS = st.lists(ANSWERS, max_size=4).map(tuple)
ACCOUNTS = st.builds(
    Account,
    coordinator=NODES,
    version=st.sampled_from(["", "00ff00ff00ff"]),
    met_ms=TIMES,
    took_ms=TIMES,
    replicas=LISTS,
    repairs=LISTS,
    hints=LISTS,
    forwarded_by=st.none() | NODES,
    hop_ms=TIMES,
)
RECEIPTS = st.builds(Receipt, read=st.none() | ACCOUNTS, write=st.none() | ACCOUNTS)


@given(RECEIPTS)
def test_a_receipt_is_read_as_it_was_written(receipt: Receipt) -> None:
    text = encode_receipt(receipt)
    assert decode_receipt(text) == receipt
    assert text.isascii()
    assert text.isprintable()


def test_a_receipt_names_who_was_asked_and_what_they_did() -> None:
    account = Account(
        coordinator=N1,
        version="00ff00ff00ff",
        met_ms=1.5,
        took_ms=2.0,
        replicas=(
            ReplicaAnswer(node=N1, outcome=Outcome.STORED, took_ms=1.0),
            ReplicaAnswer(
                node=N4, outcome=Outcome.FAILED, stands_in_for=N2, reason="no room", took_ms=1.5
            ),
        ),
    )
    assert account.acks == 1
    assert json.loads(encode_receipt(Receipt(write=account))) == {
        "write": {
            "coordinator": "n1",
            "version": "00ff00ff00ff",
            "met_ms": 1.5,
            "took_ms": 2.0,
            "replicas": [
                {"node": "n1", "answer": "stored", "ms": 1.0},
                {
                    "node": "n4",
                    "stands_in_for": "n2",
                    "answer": "failed",
                    "reason": "no room",
                    "ms": 1.5,
                },
            ],
        }
    }


def test_equal_versions_have_equal_tags_and_nothing_has_none() -> None:
    assert version_tag(b"clock") == version_tag(bytes(bytearray(b"clock")))
    assert version_tag(b"clock") != version_tag(b"klock")
    assert len(version_tag(b"clock")) == 12
    assert version_tag(b"") == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"read": 7}',
        '{"read": {}}',
        '{"read": {"coordinator": "N 1"}}',
        '{"read": {"coordinator": "n1", "met_ms": true}}',
        '{"read": {"coordinator": "n1", "met_ms": NaN}}',
        '{"read": {"coordinator": "n1", "met_ms": 1e999}}',
        '{"read": {"coordinator": "n1", "took_ms": -1}}',
        '{"read": {"coordinator": "n1", "took_ms": 1' + "0" * 400 + "}}",
        '{"read": {"coordinator": "n1", "version": "' + "x" * 17 + '"}}',
        '{"read": {"coordinator": "n1", "replicas": {}}}',
        '{"read": {"coordinator": "n1", "replicas": [7]}}',
        '{"read": {"coordinator": "n1", "replicas": [{"node": "n1", "answer": "maybe"}]}}',
        '{"write": {"coordinator": "n1", "hints": [{"answer": "stored"}]}}',
        '{"write": {"coordinator": "n1", "replicas": [' + ", ".join(["{}"] * 257) + "]}}",
        "[" * 20_000,
        " " * (RECEIPT_CHARS_MAX + 1),
    ],
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        decode_receipt(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["n1", "found", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["read", "write", "coordinator", "replicas", "node", "answer", "ms"]),
            inner,
        )
    ),
)


@given(_JSON)
def test_any_json_is_a_receipt_or_refused(said: object) -> None:
    with contextlib.suppress(CodecError):
        decode_receipt(json.dumps(said))
