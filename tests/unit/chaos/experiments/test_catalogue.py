"""All experiments: each can be named, says what it is, and asks for nothing that there is not."""

import re
from collections.abc import Iterator

import pytest

from chaos.errors import SettingError
from chaos.experiment import Experiment, TakePlan
from chaos.experiments.catalogue import ALL_CUTS, EXPERIMENTS, SETS, named
from chaos.links import CutKind
from dynamo.core.ids import is_node_id

each = pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda one: one.name)


def takes(experiment: Experiment) -> Iterator[tuple[TakePlan, ...]]:
    """Its takes, for all ways to cut links and for each alone, and for several seeds."""
    for cuts in (ALL_CUTS, *((cut,) for cut in ALL_CUTS)):
        for seed in (0, 1, 999_999):
            yield experiment.takes(cuts, seed)


def plans(experiment: Experiment) -> Iterator[TakePlan]:
    for together in takes(experiment):
        yield from together


def test_no_two_have_a_name_or_a_number_in_common() -> None:
    called = [word for one in EXPERIMENTS for word in (one.name, one.id.lower())] + [*SETS]
    assert sorted(called) == sorted(set(called))


def test_they_stand_in_the_order_of_their_numbers() -> None:
    numbers = [int(one.id[1:]) for one in EXPERIMENTS if re.fullmatch(r"E\d+", one.id)]
    assert numbers == sorted(numbers)


@each
def test_takes_that_are_to_be_calm_are_takes(experiment: Experiment) -> None:
    assert experiment.calm_takes <= {plan.name for plan in plans(experiment)}


@each
def test_a_name_can_be_typed(experiment: Experiment) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", experiment.name)
    assert re.fullmatch(r"[A-Z]\d*", experiment.id)


@each
def test_it_says_what_it_is_in_whole_sentences(experiment: Experiment) -> None:
    for word in ("hypothesis", "faults", "must_hold", "predicted"):
        said = getattr(experiment, word)
        assert re.fullmatch(r"(n\d|[A-Z0-9/]).*[.]", said), f"{word}: {said!r}"
        assert "  " not in said, f"{word}: {said!r}"
    assert experiment.title
    assert not experiment.title.endswith(".")


@each
def test_it_is_found_by_name_and_number(experiment: Experiment) -> None:
    for name in (experiment.name, experiment.id, experiment.id.lower()):
        assert list(named(name)) == [experiment]


@each
def test_its_takes_have_directories_of_their_own(experiment: Experiment) -> None:
    for together in takes(experiment):
        names = [plan.name for plan in together]
        assert names
        assert len(set(names)) == len(names)
        for plan in together:
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", plan.name)
            assert plan.title


@each
def test_its_clients_have_names_and_ask_nodes_that_there_are(experiment: Experiment) -> None:
    for plan in plans(experiment):
        clients = [client.name for client in plan.clients]
        assert clients
        assert all(map(is_node_id, clients))  # they name links, as nodes do
        assert len({*clients, *plan.nodes}) == len(clients) + len(plan.nodes)
        for client in plan.clients:
            assert client.nodes
            assert set(client.nodes) <= set(plan.nodes)
            assert client.side == "roaming" or client.side in plan.sides or not plan.sides


@each
def test_its_sides_are_made_of_nodes_that_there_are(experiment: Experiment) -> None:
    for plan in plans(experiment):
        standing = [node for nodes in plan.sides.values() for node in nodes]
        assert len(standing) == len(set(standing))
        assert set(standing) <= set(plan.nodes)
        assert set(plan.own) <= set(plan.nodes)


@each
def test_its_modes_are_told_apart_by_name(experiment: Experiment) -> None:
    for plan in plans(experiment):
        names = [mode.name for mode in plan.modes]
        assert names
        assert len(set(names)) == len(names)


@each
def test_how_long_it_takes_is_known(experiment: Experiment) -> None:
    for plan in plans(experiment):
        assert plan.expected_s > 0
        assert plan.convergence_s_max > 0
        assert plan.cut in {"", *map(str, CutKind)}


@each
def test_the_same_seed_plans_the_same_takes(experiment: Experiment) -> None:
    assert experiment.takes(ALL_CUTS, 5) == experiment.takes(ALL_CUTS, 5)


@pytest.mark.parametrize("name", ["", "E", "E00", "half split", "quick-set", "refuse"])
def test_what_is_not_there_is_refused_with_what_is(name: str) -> None:
    with pytest.raises(SettingError) as refusal:
        named(name)
    said = str(refusal.value)
    assert said.startswith(f"there is no experiment {name!r}; there are: quick ")
    assert all(one.name in said.split() for one in EXPERIMENTS)


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_made_of_experiments_that_there_are(name: str) -> None:
    assert [one.id for one in named(name)] == list(SETS[name].ids)
    assert set(SETS[name].cuts) <= set(ALL_CUTS)
