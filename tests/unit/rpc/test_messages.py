from typing import get_args, get_type_hints

import pytest

from dynamo.errors import ProtocolError
from dynamo.rpc.messages import Message, Reply, Request, number_of, unpack

CLASSES: tuple[type[Message], ...] = (*get_args(Request), *get_args(Reply))

GOOD: dict[object, list[object]] = {
    int: [0, 7, -1, 2**64 - 1],
    bool: [True, False],
    str: ["", "n1"],
    bytes: [b"", b"x"],
    list[int]: [[], [1, 2]],
    list[bytes]: [[], [b"x", b""]],
}
BAD: dict[object, list[object]] = {
    int: [True, "1", 1.0, None, []],
    bool: [1, 0, None],
    str: [b"", None, []],
    bytes: ["", None, []],
    list[int]: [None, [True], [1, b""], [[]], b""],
    list[bytes]: [None, [""], [b"", 1], [[]], b""],
}


def field_types(cls: type[Message]) -> list[object]:
    hints = get_type_hints(cls)
    return [hints[name] for name in cls._fields]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_message_is_read_as_it_was_made(cls: type[Message]) -> None:
    for choice in range(4):
        values = [GOOD[kind][choice % len(GOOD[kind])] for kind in field_types(cls)]
        message = cls._make(values)
        read = unpack(number_of(message), list(message))
        assert type(read) is cls
        assert read == message


@pytest.mark.parametrize("cls", CLASSES)
def test_every_field_is_of_its_type_or_the_message_is_refused(cls: type[Message]) -> None:
    types = field_types(cls)
    values = [GOOD[kind][0] for kind in types]
    number = number_of(cls._make(values))
    for position, kind in enumerate(types):
        for wrong in BAD[kind]:
            fields = [*values[:position], wrong, *values[position + 1 :]]
            with pytest.raises(ProtocolError, match=f"{cls.__name__}.{cls._fields[position]} is"):
                unpack(number, fields)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_count_of_fields_that_is_not_its_own_is_refused(cls: type[Message]) -> None:
    values = [GOOD[kind][0] for kind in field_types(cls)]
    number = number_of(cls._make(values))
    wrong: list[object] = [[*values, 0], values[:-1] if values else [0], None, b"", {}]
    for fields in wrong:
        with pytest.raises(ProtocolError, match=f"{cls.__name__} has {len(values)} fields, got"):
            unpack(number, fields)


@pytest.mark.parametrize("number", [0, 99, -1, 2**64 - 1, True, None, "1", [], {}, 1.0])
def test_an_unknown_number_is_refused(number: object) -> None:
    with pytest.raises(ProtocolError, match="unknown message number"):
        unpack(number, [])


def test_what_is_refused_is_not_quoted_at_length() -> None:
    large = [b"x" * 1000] * 1000
    for number, fields in ((1, large), (large, []), (b"x" * 10_000, []), (2, ["x" * 10_000] * 3)):
        with pytest.raises(ProtocolError) as error:
            unpack(number, fields)
        assert len(str(error.value)) < 100


def test_numbers_are_of_one_message_each() -> None:
    numbers = [
        number_of(cls._make([GOOD[kind][0] for kind in field_types(cls)])) for cls in CLASSES
    ]
    assert len(set(numbers)) == len(CLASSES)
