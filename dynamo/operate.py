"""What `dynamo status`, `hints`, `divergence`, `tombstones` and `remove` do, for an operator.

Most ask every node of the cluster, as each knows only its own part; those that do not answer are
named, never passed over in silence.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape

from dynamo.client.answers import Json, JsonObject
from dynamo.client.client import Client
from dynamo.errors import DynamoError
from dynamo.printing import Exit, print_json, table_of
from dynamo.reports import (
    Divergence,
    Hints,
    KeyName,
    Members,
    Tombstones,
    TombstoneWait,
    checked,
    members_of,
    seen_up,
)

STATUS_S_MAX = 2.0
RETRY_S = 0.5

DIVERGENCE_S_MAX = 65.0
"""A node takes up to a minute to compare all replicas."""


async def status(urls: Sequence[str], console: Console, *, as_json: bool) -> Exit:
    """Print who belongs to the cluster, and how many of the others can reach each node.

    Raises:
        DynamoError: none of `urls` answers.
    """
    async with Client(urls, timeout_s=STATUS_S_MAX) as client:
        seen = await members_of(client)
    present = [member for member in seen.members if member.state != "removed"]
    answers = await asyncio.gather(*(_members_at(f"http://{m.http}") for m in present))
    reports = [answer for answer in answers if answer is not None]
    rows = [(member, *seen_up(member.node, reports)) for member in present]
    if as_json:
        members: list[Json] = [
            asdict(member) | {"up_say": up, "asked": asked} for member, up, asked in rows
        ]
        print_json({"cluster": seen.cluster, "members": members})
        return Exit.DONE
    console.print(f"cluster {seen.cluster}, {len(present)} nodes, {len(reports)} answer")
    table = table_of("node", "state", "others say", "HTTP", "peers", "tokens", "zone")
    for member, up, asked in rows:
        opinion = f"up: {up} of {asked}" if asked else "nothing"
        where = (member.http, member.rpc, str(member.tokens), member.zone)
        table.add_row(member.node, member.state, opinion, *where)
    console.print(table)
    return Exit.DONE


async def _members_at(url: str) -> Members | None:
    try:
        async with Client([url], timeout_s=STATUS_S_MAX) as client:
            return await members_of(client)
    except DynamoError:
        return None


async def hints(urls: Sequence[str], console: Console, *, as_json: bool) -> Exit:
    """Print what each node keeps for others.

    Raises:
        DynamoError: none of `urls` answers.
    """
    nodes = await _nodes(urls)
    reports = await asyncio.gather(*(_hints_at(url) for url in nodes.values()))
    kept = dict(zip(nodes, reports, strict=True))
    if as_json:
        print_json({node: None if of is None else _hints_json(of) for node, of in kept.items()})
        return Exit.DONE
    table = table_of("held by", "for", "hints", "bytes", "oldest", "the holder thinks it")
    for node, of in kept.items():
        for row in () if of is None else of.hints:
            oldest = "?" if row.oldest_age_s is None else f"{row.oldest_age_s:.0f} s"
            opinion = "removed" if row.removed else "up" if row.reachable else "down"
            table.add_row(node, row.target, str(row.hints), str(row.size_bytes), oldest, opinion)
    if table.row_count:
        console.print(table)
    else:
        console.print("no hints are held")
    _say_silent([node for node, of in kept.items() if of is None])
    return Exit.DONE


async def wait_for_hints(urls: Sequence[str], console: Console, *, timeout_s: float) -> Exit:
    """Wait until all hints that any node keeps now are gone; say for whom there are some after.

    Raises:
        DynamoError: none of `urls` answers.
    """
    nodes = await _nodes(urls)
    done = await asyncio.gather(*(_waited_at(url, timeout_s) for url in nodes.values()))
    waiting = [node for node, is_done in zip(nodes, done, strict=True) if is_done is False]
    silent = [node for node, is_done in zip(nodes, done, strict=True) if is_done is None]
    left = await asyncio.gather(*(_hints_at(nodes[node]) for node in waiting))
    if waiting:
        said = [
            f"{of.node} holds {row.hints} for {row.target}"
            for of in left
            if of is not None
            for row in of.hints
        ]
        click.echo(f"hints are left: {', '.join(said or waiting)}", err=True)
    _say_silent(silent)
    if waiting or silent:
        return Exit.UNSETTLED
    console.print("all hints are delivered")
    return Exit.DONE


async def _nodes(urls: Sequence[str]) -> dict[str, str]:
    """Where all nodes of the cluster are that were not removed, by name."""
    async with Client(urls, timeout_s=STATUS_S_MAX) as client:
        seen = await members_of(client)
    return {m.node: f"http://{m.http}" for m in seen.members if m.state != "removed"}


async def _hints_at(url: str) -> Hints | None:
    try:
        async with Client([url], timeout_s=STATUS_S_MAX) as client:
            return checked(await client.hints(), Hints)
    except DynamoError:
        return None


async def _waited_at(url: str, timeout_s: float) -> bool | None:
    """Whether a node's hints are gone; None if it does not say. One that starts is waited for."""
    now_s = asyncio.get_running_loop().time
    deadline_s = now_s() + timeout_s
    said: bool | None = None
    while not said and (left_s := deadline_s - now_s()) > 0:
        try:
            async with Client([url], timeout_s=left_s + STATUS_S_MAX) as client:
                said = await client.wait_for_hints(left_s)
        except DynamoError:
            said = None
        if not said:
            await asyncio.sleep(min(RETRY_S, max(deadline_s - now_s(), 0.0)))
    return said


def _hints_json(kept: Hints) -> list[Json]:
    return [
        {
            "for": row.target,
            "hints": row.hints,
            "bytes": row.size_bytes,
            "oldest_age_s": row.oldest_age_s,
            "reachable": row.reachable,
            "removed": row.removed,
        }
        for row in kept.hints
    ]


def _say_silent(nodes: Sequence[str]) -> None:
    if nodes:
        click.echo(f"no answer from {', '.join(nodes)}: what is held there is not known", err=True)


async def divergence(
    urls: Sequence[str], console: Console, *, keys_max: int, timeout_s: float, as_json: bool
) -> Exit:
    """Print whether the replicas of all partitions are equal, and what is not.

    Raises:
        DynamoError: none of `urls` answers.
    """
    async with Client(urls, timeout_s=timeout_s) as client:
        report = await client.divergence(keys_max=keys_max)
    seen = checked(report, Divergence)
    if as_json:
        print_json(report)
    else:
        _print_divergence(seen, console)
    return Exit.DONE if seen.equal else Exit.UNSETTLED


def _print_divergence(seen: Divergence, console: Console) -> None:
    unequal = [found for found in seen.partitions if not found.equal]
    silent = [found for found in seen.partitions if found.silent]
    counts = f"{len(unequal)} differ, {len(silent)} not compared with all replicas"
    console.print(f"{len(seen.partitions)} partitions: {counts}")
    if seen.equal:
        return
    table = table_of("partition", "n", "replicas", "they are", "no answer from")
    for found in seen.partitions:
        if not found.equal or found.silent:
            verdict = "equal" if found.equal else "different"
            where = (" ".join(found.primaries), verdict, " ".join(found.silent))
            table.add_row(str(found.partition), str(found.n_val), *where)
    console.print(table)
    if not seen.keys:
        return
    table = table_of("partition", "type", "bucket", "key", "digests of what is held")
    for key in seen.keys:
        held = " ".join(f"{node}: {digest or 'nothing'}" for node, digest in key.digests.items())
        name = (escape(_printable(part)) for part in (key.bucket_type, key.bucket, key.key))
        table.add_row(str(key.partition), *name, held)
    console.print(table)
    if seen.keys_left_out:
        console.print("and more keys")


def _printable(name: str) -> str:
    """A name as a terminal can show it."""
    return name.encode("utf-8", "backslashreplace").decode()


async def tombstones(urls: Sequence[str], console: Console, *, as_json: bool) -> Exit:
    """Print how many deleted keys the nodes hold, and what each of these waits for.

    Raises:
        DynamoError: none of `urls` answers.
    """
    async with Client(urls, timeout_s=STATUS_S_MAX) as client:
        seen = await members_of(client)
    present = [member for member in seen.members if member.state != "removed"]
    reports = await asyncio.gather(*(_tombstones_at(f"http://{m.http}") for m in present))
    if as_json:
        print_json({m.node: report for m, report in zip(present, reports, strict=True)})
        return Exit.DONE
    table = table_of("node", "holds", "is to forget", "of these wait", "for", "for example")
    for member, report in zip(present, reports, strict=True):
        for row in _tombstone_rows(member.node, report):
            table.add_row(*row)
    console.print(table)
    return Exit.DONE


async def _tombstones_at(url: str) -> JsonObject | None:
    try:
        async with Client([url], timeout_s=STATUS_S_MAX) as client:
            return await client.tombstones()
    except DynamoError:
        return None


def _tombstone_rows(node: str, report: JsonObject | None) -> list[tuple[str, ...]]:
    """A row for each thing that is waited for, the node's numbers in the first."""
    if report is None:
        return [(node, "no answer", "", "", "", "")]
    seen = checked(report, Tombstones)
    rows = [
        (str(wait.count), _reason(wait, seen), " ".join(_path(key) for key in wait.keys[:1]))
        for wait in seen.waits
    ]
    first, *others = rows or [("", "", "")]
    return [
        (node, str(seen.held), str(seen.owned), *first),
        *(("", "", "", *row) for row in others),
    ]


def _reason(wait: TombstoneWait, seen: Tombstones) -> str:
    more = f", {seen.settling_s_max:.0f} s at most" if wait.reason == "settling" else ""
    return escape(_printable(wait.reason)) + more


def _path(key: KeyName) -> str:
    return escape(_printable(f"{key.bucket_type}/{key.bucket}/{key.key}"))


async def remove(urls: Sequence[str], node: str, *, even_if_up: bool, timeout_s: float) -> None:
    """Remove a node for good, and say so.

    Raises:
        DynamoError: it was not removed, or that is not certain.
    """
    async with Client(urls, timeout_s=timeout_s) as client:
        await client.remove(node, even_if_up=even_if_up)
    click.echo(f"{node} is removed; others take its part, and copy it from the replicas left")
