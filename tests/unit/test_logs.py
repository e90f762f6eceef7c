"""Log lines as people and programs read them."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from dynamo.core.ids import NodeId
from dynamo.logs import JsonFormatter, TextFormatter, log_to_stderr

ME = NodeId("n1")


def record(message: str = "hint delivered", **fields: object) -> logging.LogRecord:
    made = logging.getLogger("dynamo.node.handoff").makeRecord(
        "dynamo.node.handoff", logging.INFO, __file__, 1, message, (), None, extra=fields
    )
    made.created, made.msecs = 1769860800.25, 250.0
    return made


def test_a_text_line_has_time_level_node_source_message_and_fields() -> None:
    line = TextFormatter(ME).format(record(target="n2", age_s=1.5))
    assert line == (
        "2026-01-31T12:00:00.250Z INFO n1 dynamo.node.handoff: hint delivered target=n2 age_s=1.5"
    )


@pytest.mark.parametrize("value", ["two words", "", "a\nb", 'say "x"'])
def test_a_field_that_is_no_word_is_quoted(value: str) -> None:
    line = TextFormatter(ME).format(record(reason=value))
    assert line.endswith(f" reason={json.dumps(value)}")


def test_a_message_stays_on_its_line() -> None:
    assert "\n" not in TextFormatter(ME).format(record("one\ntwo"))


def test_a_json_line_has_the_same_as_fields() -> None:
    assert json.loads(JsonFormatter(ME).format(record(target="n2", key=b"\xff"))) == {
        "time": "2026-01-31T12:00:00.250Z",
        "level": "info",
        "node": "n1",
        "logger": "dynamo.node.handoff",
        "message": "hint delivered",
        "target": "n2",
        "key": "b'\\xff'",
    }


def with_traceback() -> logging.LogRecord:
    made = record("task failed")
    try:
        raise ValueError("what went wrong")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_a_traceback_follows_a_text_line() -> None:
    first, *others = TextFormatter(ME).format(with_traceback()).splitlines()
    assert first.endswith("task failed")
    assert others[-1] == "ValueError: what went wrong"


def test_a_traceback_is_a_field_of_a_json_line() -> None:
    line = JsonFormatter(ME).format(with_traceback())
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: what went wrong")


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield root
    root.handlers, root.level = handlers, level


@pytest.mark.usefixtures("root_logger")
def test_what_is_below_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(ME, "warning", "json")
    logging.getLogger("dynamo.x").info("quiet")
    logging.getLogger("dynamo.x").warning("loud")
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["loud"]
