"""Frames between nodes: a length of four bytes, big-endian, then one msgpack array.

    request   [call id, message number, timeout in ms, sent at ms, [field, ...]]
    reply     [call id, message number, [field, ...]]

"Sent at" counts from the moment the sender's hello left, by the sender's clock (`transit`).

Bytes from a peer are hostile until shown otherwise. A length is held against its bound before
anything is kept for it, a message is a few flat lists and nothing deeper, and whatever the msgpack
library can raise is a `ProtocolError` by the time it leaves this file.
"""

import struct
from collections.abc import Callable
from typing import cast, get_args

import msgpack

from dynamo.errors import BadRequest, ProtocolError
from dynamo.rpc.messages import Message, Reply, Request, number_of, unpack

FRAME_BYTES_MAX = 64 * 2**20 + 64 * 2**10
"""The largest object with its siblings' worth of room, and 64 KiB for all that surrounds it."""

SENT_MS_MAX = 2**42
"""No connection is older than 139 years, and up to here a float of seconds is right to 1 us."""

LIST_LEN_MAX = 65_536
"""Most items of one list: msgpack makes room for what a header claims before it reads the items."""

LISTS_MAX = 16
"""Lists in a body; no message has more than five. An empty list is one byte here, 56 in memory."""

# No list of a smaller body can break the two bounds above by enough to matter: checking costs
# 0.15 us, and most bodies are small.
_SMALL_BYTES = LIST_LEN_MAX

_SIZE = struct.Struct(">I")
_SIZE_BYTES = _SIZE.size

_REQUESTS: frozenset[type] = frozenset(get_args(Request))
_REPLIES: frozenset[type] = frozenset(get_args(Reply))

Body = bytes | bytearray


def frame(body: bytes) -> bytes:
    """`body` with its length before it."""
    return _SIZE.pack(len(body)) + body


class Decoder:
    """Cuts a stream into bodies, in time linear in its bytes however they arrive.

    Attributes:
        frame_bytes_max: largest body; may be changed between frames.
    """

    def __init__(self, frame_bytes_max: int) -> None:
        self.frame_bytes_max = frame_bytes_max
        # The beginning of a frame, with its length. It grows by what came, not by what was claimed.
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[Body]:
        """The bodies that `data` completes.

        Raises:
            ProtocolError: a length is above the bound; the stream is worthless from here on.
        """
        bodies: list[Body] = []
        start = self._complete(data, bodies) if self._partial else 0
        end = len(data)
        while end - start >= _SIZE_BYTES:
            (size,) = _SIZE.unpack_from(data, start)
            if size > self.frame_bytes_max:
                raise self._too_large(size)
            body_end = start + _SIZE_BYTES + size
            if body_end > end:
                break
            bodies.append(data[start + _SIZE_BYTES : body_end])
            start = body_end
        if start < end:
            self._partial = bytearray(data[start:])
        return bodies

    def _complete(self, data: bytes, bodies: list[Body]) -> int:
        """Go on with the partial frame; returns how much of `data` it took."""
        partial = self._partial
        taken = max(0, _SIZE_BYTES - len(partial))
        partial += data[:taken]
        if len(partial) < _SIZE_BYTES:
            return len(data)
        size: int = _SIZE.unpack_from(partial)[0]
        if size > self.frame_bytes_max:
            raise self._too_large(size)
        missing = _SIZE_BYTES + size - len(partial)
        partial += data[taken : taken + missing]
        if len(data) < taken + missing:
            return len(data)
        del partial[:_SIZE_BYTES]
        bodies.append(partial)
        self._partial = bytearray()
        return taken + missing

    def _too_large(self, size: int) -> ProtocolError:
        return ProtocolError(f"a frame of {size} bytes, the most is {self.frame_bytes_max}")


class Encoder:
    """Makes frames, within the bounds that the reader will hold them against."""

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._packer = msgpack.Packer()

    def request(self, call_id: int, request: Request, timeout_ms: int, sent_ms: int) -> bytes:
        """The frame of a request.

        Raises:
            BadRequest: it is too large to be sent.
        """
        body: bytes = self._packer.pack((call_id, number_of(request), timeout_ms, sent_ms, request))
        if len(body) > _SMALL_BYTES:
            self._check(body, request)
        return _SIZE.pack(len(body)) + body

    def reply(self, call_id: int, reply: Reply) -> bytes:
        """The frame of a reply.

        Raises:
            BadRequest: it is too large to be sent.
        """
        body: bytes = self._packer.pack((call_id, number_of(reply), reply))
        if len(body) > _SMALL_BYTES:
            self._check(body, reply)
        return _SIZE.pack(len(body)) + body

    def _check(self, body: bytes, message: Message) -> None:
        # A packer keeps the largest buffer it ever needed.
        self._packer = msgpack.Packer()
        name = type(message).__name__
        if len(body) > self._frame_bytes_max:
            raise BadRequest(
                f"{name} takes {len(body)} bytes between nodes, the most is {self._frame_bytes_max}"
            )
        for field in message:
            if isinstance(field, list) and len(field) > LIST_LEN_MAX:
                raise BadRequest(f"{name} has a list of {len(field)}, the most is {LIST_LEN_MAX}")


def parse_request(body: Body) -> tuple[int, int, int, Request]:
    """Call id, timeout in ms, when it was sent in ms, request.

    Raises:
        ProtocolError: `body` is anything else.
    """
    try:
        call_id, number, timeout_ms, sent_ms, fields = _unpacked(body)
    except Exception as error:
        raise _no_message(error) from error
    if type(call_id) is not int or type(timeout_ms) is not int or timeout_ms < 0:
        raise ProtocolError("a request has a call id and a timeout")
    if type(sent_ms) is not int or not 0 <= sent_ms <= SENT_MS_MAX:
        raise ProtocolError("a request says when it was sent")
    message = unpack(number, fields)
    if type(message) not in _REQUESTS:
        raise ProtocolError(f"{type(message).__name__} is not a request")
    return call_id, timeout_ms, sent_ms, cast("Request", message)


def parse_reply(body: Body) -> tuple[int, Reply]:
    """Call id, reply.

    Raises:
        ProtocolError: `body` is anything else.
    """
    try:
        call_id, number, fields = _unpacked(body)
    except Exception as error:
        raise _no_message(error) from error
    if type(call_id) is not int:
        raise ProtocolError("a reply has a call id")
    message = unpack(number, fields)
    if type(message) not in _REPLIES:
        raise ProtocolError(f"{type(message).__name__} is not a reply")
    return call_id, cast("Reply", message)


def _unpacked(body: Body) -> list[object]:
    """Raises whatever msgpack does: its own kinds, ValueError, UnicodeDecodeError, and more."""
    if len(body) <= _SMALL_BYTES:
        parts: list[object] = msgpack.unpackb(body, max_map_len=0, max_ext_len=0)
    else:
        parts = msgpack.unpackb(
            body,
            max_array_len=LIST_LEN_MAX,
            max_map_len=0,
            max_ext_len=0,
            list_hook=_list_counter(),
        )
    return parts


def _no_message(error: Exception) -> ProtocolError:
    return ProtocolError(f"not a message: {type(error).__name__} {error!s:.100}")


def _list_counter() -> Callable[[list[object]], list[object]]:
    count = 0

    def counted(items: list[object]) -> list[object]:
        nonlocal count
        count += 1
        if count > LISTS_MAX:
            raise ValueError(f"more than {LISTS_MAX} lists")
        return items

    return counted
