"""What the benchmark asks of a cluster beside the load: its properties, its processes."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

import aiohttp

from dynamo.bench.cpu import cpu_s
from dynamo.bench.plan import Node, Plan
from dynamo.errors import ConfigError

_TIMEOUT = aiohttp.ClientTimeout(total=5.0)

ANSWERS_S = 10.0
"""For all nodes together, at each of the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProcesses:
    """The processes of a cluster's nodes.

    Attributes:
        pids: all of them; empty if they are not all known, since a part would look like a whole.
        unknown: why they are not known; "" if they are.
    """

    pids: tuple[int, ...] = ()
    unknown: str = ""


async def set_n_val(plan: Plan, n_val: int) -> None:
    """Set the bucket's `n_val` through the first node that does it.

    Raises:
        ConfigError: none does.
    """
    body = json.dumps({"props": {"n_val": n_val}})
    headers = {"Content-Type": "application/json"}
    said = "no node answered in time"
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWERS_S):
            said = await _set(plan, body, headers)
            if not said:
                return
    raise ConfigError(f"n_val of bucket {plan.bucket!r} cannot be set; {said}")


async def _set(plan: Plan, body: str, headers: dict[str, str]) -> str:
    """What the last node said that did not do it; "" if one did."""
    said = "no node given"
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        for node in plan.nodes:
            url = f"http://{node}{plan.bucket_path}/props"
            try:
                async with session.put(url, data=body, headers=headers) as response:
                    if response.status == 204:
                        return ""
                    said = f"{node} answered {response.status}: {(await response.text())[:200]}"
            except (aiohttp.ClientError, TimeoutError) as error:
                said = f"{node} did not answer: {error}"
    return said


async def find_processes(plan: Plan) -> NodeProcesses:
    """The processes of all members, if all run on this machine and say so in `/stats`."""
    try:
        async with asyncio.timeout(ANSWERS_S):
            return await _ask_all(plan)
    except TimeoutError:
        return NodeProcesses(unknown=f"the nodes did not tell theirs within {ANSWERS_S:g} s")


async def _ask_all(plan: Plan) -> NodeProcesses:
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        nodes = await _members(session, plan)
        if not nodes:
            return NodeProcesses(unknown="no node tells its members")
        pids = set()
        for node in nodes:
            if not _is_here(node):
                return NodeProcesses(unknown=f"node {node} is on another machine")
            try:
                stats = await _get(session, node, "/stats")
            except aiohttp.ClientConnectorError:
                continue  # nobody listens there: a node that is down uses no CPU
            pid = stats.get("os_pid") if isinstance(stats, dict) else None
            if not isinstance(pid, int) or cpu_s([pid]) is None:
                return NodeProcesses(unknown=f"node {node} does not tell its process")
            pids.add(pid)
    return NodeProcesses(pids=tuple(sorted(pids)))


async def _members(session: aiohttp.ClientSession, plan: Plan) -> list[Node]:
    for node in plan.nodes:
        try:
            document = await _get(session, node, "/admin/members")
        except aiohttp.ClientConnectorError:
            continue
        try:
            return parse_members(document)
        except ValueError:
            continue
    return []


async def _get(session: aiohttp.ClientSession, node: Node, path: str) -> object:
    """A JSON document of a node, None if it has none such."""
    try:
        async with session.get(f"http://{node}{path}") as response:
            return json.loads(await response.read()) if response.status == 200 else None
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


def parse_members(document: object) -> list[Node]:
    """Where the nodes of a `/admin/members` document listen, those that are removed left out.

    Raises:
        ValueError: it is no such document.
    """
    members = document.get("members") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise ValueError(f"no list of members: {document!r:.200}")
    nodes = []
    for member in members:
        if not isinstance(member, dict) or "http" not in member:
            raise ValueError(f"no member with an address: {member!r:.200}")
        if member.get("state") != "removed":
            nodes.append(Node.parse(f"http://{member['http']}"))
    return nodes


def _is_here(node: Node) -> bool:
    try:
        return ip_address(node.host).is_loopback
    except ValueError:
        return node.host == "localhost"
