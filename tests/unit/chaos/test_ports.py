"""Ports that nobody listens on."""

import socket
from itertools import pairwise

import pytest

from chaos import ports
from chaos.errors import MeshError
from chaos.ports import free_base_port, free_ports, is_free


def test_free_ports_are_as_many_as_asked_for_and_none_is_to_be_avoided() -> None:
    first = free_ports(40)
    assert len(set(first)) == 40
    assert all(port < 32_768 for port in first)
    assert not set(free_ports(40, avoid=first)) & set(first)


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
    assert is_free(port)


def test_a_base_port_has_room_for_both_blocks() -> None:
    base_port = free_base_port(5)
    assert all(is_free(base_port + i + offset) for i in range(5) for offset in (0, 1000))


def test_where_all_are_taken_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: False)
    with pytest.raises(MeshError, match="no 3 free ports"):
        free_ports(3)
    with pytest.raises(MeshError, match="no 3 free ports"):
        free_base_port(3)


def test_ports_of_clusters_long_gone_are_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: True)
    given = [free_ports(500) for _ in range(40)]
    for first, second in pairwise(given):
        assert not set(first) & set(second), "who got these may not listen yet"
