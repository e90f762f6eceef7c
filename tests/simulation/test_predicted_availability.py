"""The lab's prediction of availability against whole nodes: request by request, none may differ."""

import asyncio
import random
from itertools import permutations

import pytest

from chaos.modes import Mode
from chaos.predictions.availability import READ, WRITE, all_but, is_answered
from chaos.recording import Placement
from dynamo.core.ids import Key, encode_key
from dynamo.core.quorum import ReadQuorum, WriteQuorum
from dynamo.errors import RequestError
from tests.simulation.asking import get, key_of, put
from tests.simulation.links import Cut
from tests.simulation.scenario import in_world
from tests.simulation.world import Options, World

pytestmark = pytest.mark.simulation

NOTICED_S = 5.0
MODES = [Mode(r=q, w=q, sloppy=sloppy) for q in (1, 2, 3) for sloppy in (False, True)]


def _placement(world: World, key: Key) -> Placement:
    found = next(world.running()).view.preference_list(encode_key(key), 3)
    return Placement(
        bucket="b", key=key.key.decode(), primaries=found.primaries, stand_ins=found.stand_ins
    )


async def _answers(world: World, at: str, key: Key, mode: Mode, action: str) -> bool:
    try:
        if action == READ:
            await get(world, at, key, ReadQuorum(n=mode.n, r=mode.r, sloppy=mode.sloppy))
        else:
            quorum = WriteQuorum(n=mode.n, w=mode.w, sloppy=mode.sloppy)
            await put(world, at, key, f"by {at}", quorum)
    except RequestError:
        return False
    return True


@pytest.mark.parametrize(("seed", "kind"), list(enumerate(Cut)))
def test_every_request_fares_as_the_ring_says(seed: int, kind: Cut) -> None:
    async def scenario(world: World) -> None:
        await world.start_all()
        ways = random.Random(seed).sample(list(permutations(world.names, 2)), 4 + seed)
        for source, target in ways:
            world.network.cut(source, target, kind)
        await asyncio.sleep(NOTICED_S)
        reaches = all_but({*ways, *((target, source) for source, target in ways)})
        for number in range(6):
            key = key_of(f"k{number}")
            home = _placement(world, key)
            for mode in MODES:
                for at in world.names:
                    for action in (WRITE, READ):
                        answered = await _answers(world, at, key, mode, action)
                        expected = is_answered(home, mode, action, at, reaches)
                        assert answered == expected, f"{action} at {at}, {mode.name}, {home}"

    in_world(seed, Options(nodes=5), scenario)
