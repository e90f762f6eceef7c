"""Turns: each client writes what it was given, once, and then nothing."""

import itertools
from random import Random

from chaos.clients import History, LabClient
from chaos.modes import Mode
from chaos.workloads.elements import elements, set_outcome
from chaos.workloads.turns import Turns
from tests.unit.chaos.little_store import little_store

MODE = Mode(r=2, w=2, sloppy=False)


async def test_a_round_is_over_when_every_client_has_had_its_turns() -> None:
    turns, history = Turns(MODE, keys=3), History(itertools.count(0.0, 0.5).__next__)
    async with (
        little_store() as store,
        LabClient("a1", "A", {"n1": store.url}, history, 5.0) as one,
        LabClient("b1", "B", {"n1": store.url}, history, 5.0) as other,
    ):
        assert turns.is_over
        turns.begin({"a1": ["k0", "k2"], "b1": ["k1"]})
        for _ in range(3):
            await turns.step(one, Random(1), 0.0)
        assert not turns.is_over
        await turns.step(other, Random(1), 0.0)
        assert turns.is_over
        turns.begin({"b1": ["k0"]})
        await turns.step(other, Random(1), 0.0)
        held = store.values(f"/types/siblings/buckets/{turns.bucket}/keys/k0")
    written = [(op.client, op.key) for op in history.operations() if op.is_write]
    assert written == [("a1", "k0"), ("a1", "k2"), ("b1", "k1"), ("b1", "k0")]
    of_k0 = [op for op in history.operations() if op.key == "k0"]
    assert set_outcome(of_k0, held).acknowledged == elements(held) == {"1", "4"}
