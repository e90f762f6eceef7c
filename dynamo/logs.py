"""Log lines on standard error: a constant message and fields, as text for people or as JSON.

Code says `log.info("hint delivered", extra={"target": peer})`; here the node's id and the time
are added once for all. One record is one line, whatever its fields hold, so that a log can be cut
into records again; only in text a traceback follows on lines of its own.
"""

import json
import logging
import sys
import time

from dynamo.config import LogFormat, LogLevel
from dynamo.core.ids import NodeId

# What a record has without any fields of its own; `message` and `asctime` are made by formatters.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def log_to_stderr(node_id: NodeId, level: LogLevel, form: LogFormat) -> None:
    """Send the log of this process, of `level` and above, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(node_id) if form == "json" else TextFormatter(node_id))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # asyncio tells of its selector at DEBUG, and aiohttp of every request at INFO.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp").setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO n1 dynamo.node.gossip: peer suspected target=n2`."""

    def __init__(self, node_id: NodeId) -> None:
        super().__init__()
        self._node_id = node_id

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
        message = record.getMessage().replace("\n", "\\n")
        line = f"{_utc(record)} {record.levelname} {self._node_id} {record.name}: {message}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, node, logger, message, and the record's own fields."""

    def __init__(self, node_id: NodeId) -> None:
        super().__init__()
        self._node_id = node_id

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "node": self._node_id,
            "logger": record.name,
            "message": record.getMessage(),
        } | _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """What was given as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _word(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text else json.dumps(text)


def _utc(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"
