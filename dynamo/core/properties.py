"""Bucket properties: what a bucket, and a request on top of it, wants of N, R, W and conflicts.

Where they come from, layer upon layer, is for `property_book`; here is what they mean. (Dynamo 4.5:
N, R and W are for the application to choose.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from dynamo.core.quorum import Conflicts, ReadQuorum, WriteQuorum
from dynamo.errors import BadRequest

Count = int | str
"""How many of N: a number, or one of `one`, `quorum`, `all`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one request asks for instead of its bucket's properties; None where it does not say.

    Attributes:
        n_val: look only at so many of the key's replicas; ignored above the bucket's own.
        rw: of a delete, for both its halves, if neither `r` nor `w` is given.
    """

    n_val: int | None = None
    r: Count | None = None
    w: Count | None = None
    rw: Count | None = None
    pr: Count | None = None
    pw: Count | None = None
    dw: Count | None = None
    node_confirms: Count | None = None
    basic_quorum: bool | None = None
    notfound_ok: bool | None = None
    sloppy_quorum: bool | None = None


NOTHING_ASKED = Asked()


@dataclass(frozen=True, kw_only=True)
class Properties:
    """All properties of a bucket; as fields those that the store acts on.

    Not slotted, unlike other values: it caches what a request that asks for nothing gets.

    Attributes:
        everything: all of them by name, as JSON has them; the bucket's name is not among them.
    """

    n_val: int
    r: Count
    w: Count
    rw: Count
    pr: Count
    pw: Count
    dw: Count
    node_confirms: Count
    basic_quorum: bool
    notfound_ok: bool
    allow_mult: bool
    last_write_wins: bool
    write_once: bool
    sloppy_quorum: bool
    everything: Mapping[str, object]

    @classmethod
    def of(cls, everything: Mapping[str, object]) -> "Properties":
        """From a complete set of checked properties."""

        def count(name: str) -> Count:
            return cast("Count", everything[name])

        return cls(
            n_val=cast("int", everything["n_val"]),
            r=count("r"),
            w=count("w"),
            rw=count("rw"),
            pr=count("pr"),
            pw=count("pw"),
            dw=count("dw"),
            node_confirms=count("node_confirms"),
            basic_quorum=everything["basic_quorum"] is True,
            notfound_ok=everything["notfound_ok"] is True,
            allow_mult=everything["allow_mult"] is True,
            last_write_wins=everything["last_write_wins"] is True,
            write_once=everything["write_once"] is True,
            sloppy_quorum=everything["sloppy_quorum"] is True,
            everything=everything,
        )

    @cached_property
    def conflicts(self) -> Conflicts:
        """How concurrent values are treated. `write_once` keys are not meant to have any."""
        if self.last_write_wins or self.write_once:
            return Conflicts.LAST_WRITE_WINS
        return Conflicts.SIBLINGS if self.allow_mult else Conflicts.LATEST

    def read_quorum(self, asked: Asked = NOTHING_ASKED) -> ReadQuorum:
        """What a read needs.

        Raises:
            BadRequest: more is asked for than there are replicas.
        """
        return self._default_read if asked is NOTHING_ASKED else self._read(asked, self.r)

    def write_quorum(self, asked: Asked = NOTHING_ASKED) -> WriteQuorum:
        """What a write needs.

        Raises:
            BadRequest: more is asked for than there are replicas.
        """
        return self._default_write if asked is NOTHING_ASKED else self._write(asked, self.w)

    def delete_quorums(self, asked: Asked = NOTHING_ASKED) -> tuple[ReadQuorum, WriteQuorum]:
        """What a delete needs: of reading what is there, and of writing the tombstone.

        Raises:
            BadRequest: more is asked for than there are replicas.
        """
        if asked.r is not None or asked.w is not None:
            return self.read_quorum(asked), self.write_quorum(asked)
        both = self.rw if asked.rw is None else asked.rw
        return self._read(asked, both), self._write(asked, both)

    @cached_property
    def _default_read(self) -> ReadQuorum:
        return self._read(NOTHING_ASKED, self.r)

    @cached_property
    def _default_write(self) -> WriteQuorum:
        return self._write(NOTHING_ASKED, self.w)

    def _n(self, asked: Asked) -> int:
        return min(self.n_val, asked.n_val or self.n_val)

    def _read(self, asked: Asked, r: Count) -> ReadQuorum:
        n = self._n(asked)
        quorum = ReadQuorum(
            n=n,
            r=max(_number(_first(asked.r, r), n), 1),
            pr=_number(_first(asked.pr, self.pr), n),
            node_confirms=_number(_first(asked.node_confirms, self.node_confirms), n),
            basic_quorum=_either(asked.basic_quorum, self.basic_quorum),
            notfound_ok=_either(asked.notfound_ok, self.notfound_ok),
            sloppy=_either(asked.sloppy_quorum, self.sloppy_quorum),
        )
        _check_against_n(n, quorum.r, quorum.pr, quorum.node_confirms)
        return quorum

    def _write(self, asked: Asked, w: Count) -> WriteQuorum:
        n = self._n(asked)
        quorum = WriteQuorum(
            n=n,
            w=_number(_first(asked.w, w), n),
            pw=_number(_first(asked.pw, self.pw), n),
            dw=_number(_first(asked.dw, self.dw), n),
            node_confirms=_number(_first(asked.node_confirms, self.node_confirms), n),
            sloppy=_either(asked.sloppy_quorum, self.sloppy_quorum),
        )
        _check_against_n(n, quorum.w, quorum.pw, quorum.dw, quorum.node_confirms)
        return quorum


def _first(asked: Count | None, otherwise: Count) -> Count:
    return otherwise if asked is None else asked


def _either(asked: bool | None, otherwise: bool) -> bool:
    return otherwise if asked is None else asked


def _number(count: Count, n: int) -> int:
    """A count as a number of replicas; Riak takes negative ones, they ask for nothing."""
    if isinstance(count, int):
        return max(count, 0)
    return {"one": 1, "quorum": n // 2 + 1, "all": n}[count]


def _check_against_n(n: int, *counts: int) -> None:
    if max(counts) > n:
        raise BadRequest(
            f"Specified w/dw/pw/node_confirms values invalid for bucket n value of {n}"
        )
