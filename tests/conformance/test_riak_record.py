"""Three real nodes answer as three nodes of Riak did, but for what `differences.toml` lists.

They are met in four states: all up, one standing still, one stopped, two stopped, each once the
other nodes have noticed. Until they notice that one stands still they wait for it, as Riak does,
and what is answered in those seconds is a matter of timing.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from dynamo.cluster import LocalCluster
from dynamo.node_process import NodeProcess
from dynamo.settings import load_shared
from tests.cluster.harness import dynamo, eventually, free_base_port
from tests.conformance.record import exchanges
from tests.conformance.replay import Differing, Replay, ask

HERE = Path(__file__).parent
DOCUMENTED = HERE.parents[1] / "docs" / "http-api.md"

NODES = 3
NOTICED_S_MAX = 30.0


class Group(NamedTuple):
    """Differences of one kind.

    Attributes:
        why: the reason for them.
        answers: name of an exchange, and what is answered here.
    """

    name: str
    why: str
    answers: Mapping[str, str]


def groups() -> list[Group]:
    said = tomllib.loads((HERE / "differences.toml").read_text())
    return [Group(name, group["why"], group["answers"]) for name, group in said.items()]


@pytest.mark.cluster
async def test_only_listed_exchanges_differ_from_the_record_and_only_as_listed(
    tmp_path: Path,
) -> None:
    shared = load_shared(HERE / "bucket-types.toml")
    made = LocalCluster(
        tmp_path / "data", nodes=NODES, base_port=free_base_port(NODES), shared=shared
    )
    async with made as cluster:
        asked, second, third = cluster.nodes.values()
        await _make_types(second)
        replay = Replay(asked.url)
        found = await replay.play(exchanges("up"))
        third.pause()
        await _until_only([asked, second])
        found |= await replay.play(exchanges("frozen"))
        third.resume()
        await _until_only([asked, second, third])
        await third.stop()
        await _until_only([asked, second])
        found |= await replay.play(exchanges("down1"))
        await second.stop()
        await _until_only([asked])
        found |= await replay.play(exchanges("down2"))
    listed = {name: said for group in groups() for name, said in group.answers.items()}
    complaints = _complaints(found, listed)
    assert not complaints, "\n".join(complaints)


async def _make_types(node: NodeProcess) -> None:
    """Those that are made while the cluster runs; two of them stay inactive."""
    for command in (
        ("create", "multi", '{"props":{}}'),
        ("activate", "multi"),
        ("create", "inact2"),
        ("create", "n5", '{"props":{"n_val":5}}'),
    ):
        async with dynamo("bucket-type", *command, "--node", node.url) as running:
            assert await running.ends() == 0, await running.errors()


async def _until_only(reached: Sequence[NodeProcess]) -> None:
    """Return once each of `reached` acts as if these nodes, and no others, were there.

    Its report of the others would not do: it may tell of a suspicion before it is acted upon.
    """
    up = len(reached)
    seen = "not found\n" if up == NODES else f"PR-value unsatisfied: {up}/{NODES}\n"

    async def agreed() -> bool:
        path = "/buckets/probe/keys/nothing?pr=all&timeout=1000"
        return {(await ask(node.url, "GET", path)).text for node in reached} == {seen}

    await eventually(agreed, within_s=NOTICED_S_MAX, what=f"{up} nodes reach each other only")


def _complaints(found: Mapping[str, Differing], listed: Mapping[str, str]) -> list[str]:
    """What differs and is not listed, what is listed and does not, and what does in other ways."""
    unlisted = [
        f"{name} is answered with {differing.outcome!r}: {differing.told}"
        f" and not as Riak does: {differing.exchange}"
        for name, differing in found.items()
        if name not in listed
    ]
    equal = [f"{name} is listed, but answered as Riak does" for name in listed if name not in found]
    otherwise = [
        f"{name} is listed as {listed[name]!r}, but answered with {differing.outcome!r}"
        for name, differing in found.items()
        if listed.get(name, differing.outcome) != differing.outcome
    ]
    return unlisted + equal + otherwise


def test_an_unlisted_a_vanished_and_a_changed_difference_are_each_complained_of() -> None:
    (exchange, *_) = exchanges("up")
    assert exchange.expected is not None
    found = {
        name: Differing(exchange, exchange.expected, "503 (body)") for name in ("new", "old", "odd")
    }
    listed = {"old": "503 (body)", "odd": "404", "gone": "404"}
    complaints = _complaints(found, listed)
    assert [complaint.split(" ")[0] for complaint in complaints] == ["new", "gone", "odd"]


def test_every_listed_difference_is_of_the_record_and_listed_once() -> None:
    recorded = {
        exchange.name
        for state in ("up", "frozen", "down1", "down2")
        for exchange in exchanges(state)
        if exchange.expected is not None
    }
    listed = [name for group in groups() for name in group.answers]
    assert sorted(listed) == sorted(set(listed) & recorded)


def test_the_page_on_the_interface_explains_all_groups_of_differences_and_no_others() -> None:
    section = DOCUMENTED.read_text().partition("\n## What differs from Riak\n")[2]
    table = section[section.index("\n|") :].partition("\n\n")[0].strip()
    _, _, *rows = [row.strip("| ").split(" |")[0] for row in table.splitlines()]
    assert rows == [group.name for group in groups()]
