"""Clients for the sides of a cut."""

from chaos.experiment import ClientPlan, crew

SIDES = {"A": ("n1", "n2"), "B": ("n3", "n4", "n5")}


def test_each_side_has_a_client_for_each_of_its_nodes() -> None:
    names = [(client.name, client.side) for client in crew(SIDES)]
    assert names == [("a1", "A"), ("a2", "A"), ("b1", "B"), ("b2", "B"), ("b3", "B")]


def test_who_stands_on_a_side_asks_any_node_of_it_and_no_other() -> None:
    assert {client.nodes for client in crew(SIDES) if client.side == "B"} == {SIDES["B"]}


def test_there_may_be_several_for_each_node() -> None:
    names = [client.name for client in crew(SIDES, each=2)]
    assert len(set(names)) == len(names) == 10


def test_roaming_clients_ask_everybody() -> None:
    *_, first, second = crew(SIDES, roaming=2)
    everywhere = ("n1", "n2", "n3", "n4", "n5")
    assert first == ClientPlan(name="r1", side="roaming", nodes=everywhere)
    assert second.name == "r2"
