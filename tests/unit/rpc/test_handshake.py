import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.core.ids import NodeId
from dynamo.errors import HandshakeRefused, ProtocolError
from dynamo.rpc.handshake import (
    HELLO_BYTES_MAX,
    Judgement,
    check_answer,
    hello,
    judge,
    refuse,
    welcome,
)
from dynamo.rpc.messages import PROTOCOL_VERSION
from tests.unit.rpc.harness import N1, N2, N3, identity

ME = identity(N2)


def test_a_node_of_the_cluster_is_welcome() -> None:
    assert judge(ME, hello(identity(N1), N2)[4:]) == Judgement(N1, "")
    check_answer(welcome(ME)[4:], N2)


@pytest.mark.parametrize(
    ("body", "sentence", "incompatible"),
    [
        (
            hello(identity(N1, cluster="films"), N2)[4:],
            "n2 is of cluster 'books', n1 of 'films'",
            False,
        ),
        (
            hello(identity(N1, fingerprint="partitions=64"), N2)[4:],
            "n2 has the cluster settings 'partitions=256', n1 has 'partitions=64'",
            True,
        ),
        (hello(identity(N1), N3)[4:], "n1 dialled n3, but n2 listens there", False),
    ],
)
def test_a_stranger_is_refused_with_one_sentence_for_both_sides(
    body: bytes, sentence: str, incompatible: bool
) -> None:
    judgement = judge(ME, body)
    assert judgement == Judgement(N1, sentence, incompatible)
    with pytest.raises(HandshakeRefused) as refused:
        check_answer(refuse(sentence, incompatible=judgement.incompatible)[4:], N2)
    assert str(refused.value) == sentence
    assert refused.value.definite
    assert refused.value.incompatible == incompatible


@pytest.mark.parametrize(
    "rest", [[], [{1: [b"x"]}, msgpack.ExtType(3, b"later")], [b"", 5, None, "", "", "", ""]]
)
def test_another_version_is_refused_whatever_follows_its_number(rest: list[object]) -> None:
    judgement = judge(ME, msgpack.packb([9, *rest]))
    assert judgement == Judgement(
        None,
        f"n2 speaks protocol version {PROTOCOL_VERSION}, the node that dials it version 9",
        incompatible=True,
    )


def test_other_settings_for_bucket_types_are_refused_in_words() -> None:
    settings = "partitions=256 hash=h"
    plain = identity(N1, fingerprint=settings)
    typed = identity(N2, fingerprint=f"{settings} bucket_types=12345678")
    said = "different settings for bucket types: [cluster] bucket_types and bucket_defaults must"
    assert said in judge(typed, hello(plain, N2)[4:]).refusal
    assert said in judge(plain, hello(typed, N1)[4:]).refusal
    other = identity(N1, fingerprint="partitions=8 hash=h bucket_types=87654321")
    assert "has the cluster settings" in judge(typed, hello(other, N2)[4:]).refusal


def test_a_later_version_may_add_parts_at_the_end() -> None:
    longer = [*msgpack.unpackb(hello(identity(N1), N2)[4:]), {"zone": "a"}]
    assert judge(ME, msgpack.packb(longer)) == Judgement(N1, "")
    check_answer(msgpack.packb([PROTOCOL_VERSION, True, "n2", {"more": 1}]), N2)


def test_a_later_version_can_say_why_it_refuses() -> None:
    with pytest.raises(HandshakeRefused, match=r"^too old for me$"):
        check_answer(msgpack.packb([9, False, "too old for me", 1, 2]), N2)


def test_a_welcome_from_another_version_or_node_is_not_taken() -> None:
    with pytest.raises(HandshakeRefused, match=r"^n2 speaks protocol version 9$"):
        check_answer(msgpack.packb([9, True, "n2"]), N2)
    with pytest.raises(HandshakeRefused, match=r"^'n3' listens where n2 was dialled$"):
        check_answer(welcome(identity(N3))[4:], N2)


def test_texts_of_strangers_stay_short_and_on_one_line() -> None:
    loud = "a\nb" * 1000
    assert len(refuse(judge(ME, hello(identity(N1, cluster=loud), N2)[4:]).refusal)) < 400
    assert "\n" not in judge(ME, hello(identity(N1, cluster=loud), N2)[4:]).refusal
    for reason in ("x" * 4000, loud):
        with pytest.raises(HandshakeRefused) as refused:
            check_answer(refuse(reason)[4:], N2)
        assert len(str(refused.value)) <= 500
        assert "\n" not in str(refused.value)


def test_the_longest_hello_fits_its_bound() -> None:
    name = NodeId("n" * 64)
    me = identity(name, cluster="c" * 64, fingerprint="f" * 200)
    assert len(hello(me, name)) < HELLO_BYTES_MAX / 4


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [True, "books", "f", "n1", "n2"],
        ["1", "books", "f", "n1", "n2"],
        [PROTOCOL_VERSION],
        [PROTOCOL_VERSION, "books", "f", "n1"],
        [PROTOCOL_VERSION, "books", 5, "n1", "n2"],
        [PROTOCOL_VERSION, "books", "f", "no node", "n2"],
        [PROTOCOL_VERSION, "books", "f", "n1", ""],
        {"version": 1},
        5,
    ],
)
def test_what_is_no_hello_is_a_protocol_error(parts: object) -> None:
    with pytest.raises(ProtocolError):
        judge(ME, msgpack.packb(parts))


@pytest.mark.parametrize("parts", [[], [1, 1, "n2"], [1, True], [1, True, b"n2"], "n2"])
def test_what_is_no_answer_is_a_protocol_error(parts: object) -> None:
    with pytest.raises(ProtocolError):
        check_answer(msgpack.packb(parts), N2)


@given(st.binary(max_size=80))
def test_any_bytes_are_judged_or_a_protocol_error(body: bytes) -> None:
    for prefix in (b"", msgpack.packb([PROTOCOL_VERSION])[:-1] + b"\x01", b"\x95\x02\xa5books"):
        with contextlib.suppress(ProtocolError):
            assert judge(ME, prefix + body).refusal
        with contextlib.suppress(ProtocolError, HandshakeRefused):
            check_answer(prefix + body, N2)
