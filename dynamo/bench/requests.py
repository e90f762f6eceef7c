"""Requests as bytes, put together from pieces made beforehand. Pure.

The load shares its machine with the nodes it measures, so a request costs two concatenations and
no more.
"""

from random import Random

from dynamo.bench.plan import Node, Operation, Plan

# Which quorum parameters mean something to which operation.
_PARAMETERS = {
    Operation.READ: ("r", "pr", "node_confirms"),
    Operation.WRITE: ("w", "pw", "dw", "node_confirms"),
}


class Requests:
    """The requests of a plan to one node.

    The value is the same in all of them: a store tells writes apart by their dots.
    """

    def __init__(self, plan: Plan, node: Node) -> None:
        value = Random(plan.seed).randbytes(plan.value_bytes)
        host = f" HTTP/1.1\r\nHost: {node}\r\n"
        about_value = (
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(value)}\r\n\r\n"
        )
        self._read = f"GET {plan.bucket_path}/keys/".encode()
        self._read_end = f"{_query(plan, Operation.READ)}{host}\r\n".encode()
        self._write = f"PUT {plan.bucket_path}/keys/".encode()
        write_line = f"{_query(plan, Operation.WRITE)}{host}"
        self._write_end = f"{write_line}{about_value}".encode() + value
        self._context = f"{write_line}X-Riak-Vclock: ".encode()
        self._context_end = f"\r\n{about_value}".encode() + value

    def read(self, key: bytes) -> bytes:
        """A GET of `key`."""
        return self._read + key + self._read_end

    def write(self, key: bytes) -> bytes:
        """A blind PUT of `key`."""
        return self._write + key + self._write_end

    def write_after(self, key: bytes, context: bytes) -> bytes:
        """A PUT of `key` in place of what `context` has seen."""
        return b"%b%b%b%b%b" % (self._write, key, self._context, context, self._context_end)


def key_names(count: int) -> list[bytes]:
    """The keys of a run, all of one length and safe in a path."""
    return [b"key%08d" % number for number in range(count)]


def _query(plan: Plan, operation: Operation) -> str:
    pairs = [f"{name}={text}" for name, text in plan.quorums if name in _PARAMETERS[operation]]
    return f"?{'&'.join(pairs)}" if pairs else ""
