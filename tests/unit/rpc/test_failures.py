import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.errors import (
    BadRequest,
    CodecError,
    CommitFailed,
    Corrupted,
    DeadlineExceeded,
    DynamoError,
    NotReady,
    Overloaded,
    PeerLost,
    ProtocolError,
    QuorumError,
    RequestError,
    StorageError,
)
from dynamo.rpc.failures import TEXT_CHARS_MAX, FailureCode, to_error, to_failed
from dynamo.rpc.frames import Encoder, parse_reply
from dynamo.rpc.messages import Failed


def across(error: DynamoError) -> DynamoError:
    _, reply = parse_reply(Encoder(2**20).reply(1, to_failed(error))[4:])
    assert isinstance(reply, Failed)
    return to_error(reply)


@pytest.mark.parametrize(
    "cls",
    [
        RequestError,
        BadRequest,
        NotReady,
        Overloaded,
        StorageError,
        CommitFailed,
        Corrupted,
        CodecError,
    ],
)
def test_an_error_is_of_its_class_on_the_other_side(cls: type[DynamoError]) -> None:
    for definite in (False, True):
        error = cls("the disk is full")
        error.definite = definite
        arrived = across(error)
        assert type(arrived) is cls
        assert str(arrived) == "the disk is full"
        assert arrived.definite is definite


@pytest.mark.parametrize("definite", [False, True])
def test_a_quorum_error_keeps_its_numbers(definite: bool) -> None:
    arrived = across(QuorumError("PW", needed=3, got=1, definite=definite, acks=2))
    assert isinstance(arrived, QuorumError)
    assert str(arrived) == "PW-value unsatisfied: 1/3"
    assert (arrived.what, arrived.needed, arrived.got, arrived.definite) == ("PW", 3, 1, definite)
    assert arrived.acks == 2


@pytest.mark.parametrize("definite", [False, True])
def test_a_passed_deadline_keeps_its_count(definite: bool) -> None:
    arrived = across(DeadlineExceeded("too slow", acks=2, definite=definite))
    assert isinstance(arrived, DeadlineExceeded)
    assert (str(arrived), arrived.acks, arrived.definite) == ("too slow", 2, definite)


def test_an_error_brings_its_receipt_along() -> None:
    error = BadRequest("no")
    error.receipt = "{}"
    assert across(error).receipt == "{}"


def test_a_class_without_a_code_travels_as_the_nearest_above_it() -> None:
    assert type(across(ProtocolError("x"))) is CodecError
    assert type(across(PeerLost("x"))) is RequestError
    assert not across(PeerLost("x")).definite


@given(st.text(alphabet=st.characters(), max_size=20))
def test_any_text_can_be_sent(text: str) -> None:
    assert str(across(BadRequest(text + "\udcff"))).endswith("\\udcff")


def test_a_long_text_is_cut() -> None:
    assert len(str(across(BadRequest("\udcff" * 5000)))) == TEXT_CHARS_MAX


def test_a_code_of_a_later_version_is_a_request_error_with_its_text() -> None:
    failed = Failed(code=99, text="new", what="", needed=0, got=0, definite=True)
    error = to_error(failed)
    assert type(error) is RequestError
    assert str(error) == "new"
    assert error.definite


def test_numbers_on_the_wire_stay() -> None:
    assert [(code.name, code.value) for code in FailureCode] == [
        ("OTHER", 0),
        ("BAD_REQUEST", 1),
        ("NOT_READY", 2),
        ("OVERLOADED", 3),
        ("QUORUM", 4),
        ("DEADLINE", 5),
        ("STORAGE", 6),
        ("COMMIT", 7),
        ("CORRUPTED", 8),
        ("CODEC", 9),
    ]
