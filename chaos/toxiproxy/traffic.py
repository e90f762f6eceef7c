"""How much each link has carried: what ended connections did, and what open ones have so far.

Toxiproxy counts a connection's bytes when it ends, and nodes keep theirs for hours. The bytes of
open connections are the kernel's to tell: Linux does, on a netlink socket (`sock_diag(7)`, what
`ss --info` shows), to anybody. Elsewhere there is only Toxiproxy's count.
"""

import socket
import struct
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301
_TCP_INFO: Final = 2
_OPEN: Final = (1 << 1) | (1 << 8)  # ESTABLISHED, CLOSE_WAIT

_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, number, port
_QUERY: Final = struct.Struct("=BBBBI48x")  # family, protocol, extensions, padding, states
_PORTS: Final = struct.Struct("!HH")  # of a socket: its own, its peer's
_PORTS_AT: Final = _HEADER.size + 4
_ATTRIBUTES_AT: Final = _HEADER.size + 72
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_ACKED: Final = struct.Struct("=Q")
_ACKED_AT: Final = 120  # tcpi_bytes_acked in struct tcp_info

_ANSWER_S_MAX: Final = 1.0


class Connection(NamedTuple):
    """An open connection, seen from the end that listened.

    Attributes:
        port: where it came in.
        sent_bytes: what it sent and the other end has got.
    """

    port: int
    sent_bytes: int


def open_connections(ports: Collection[int]) -> tuple[Connection, ...]:
    """Connections that came in on these ports of this machine; () where nobody can tell."""
    if sys.platform != "linux":
        return ()
    with (
        suppress(OSError),
        socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel,
    ):
        kernel.settimeout(_ANSWER_S_MAX)
        query = _QUERY.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << (_TCP_INFO - 1), 0, _OPEN)
        length = _HEADER.size + len(query)
        kernel.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + query)
        return tuple(found for found in _read(kernel) if found.port in ports)
    return ()


def _read(kernel: socket.socket) -> Iterator[Connection]:
    while True:
        data = memoryview(kernel.recv(1 << 18))
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind != _SOCK_DIAG_BY_FAMILY:  # the end, or an error
                return
            port, _ = _PORTS.unpack_from(data, _PORTS_AT)
            sent_bytes = _sent_bytes(data[_ATTRIBUTES_AT:length])
            if sent_bytes is not None:
                yield Connection(port, sent_bytes)
            data = data[_aligned(length) :]


def _sent_bytes(attributes: memoryview) -> int | None:
    while attributes:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if kind == _TCP_INFO and length >= _ATTRIBUTE.size + _ACKED_AT + _ACKED.size:
            (sent,) = _ACKED.unpack_from(attributes, _ATTRIBUTE.size + _ACKED_AT)
            return int(sent)
        attributes = attributes[_aligned(length) :]
    return None


def _aligned(length: int) -> int:
    return (length + 3) & ~3
