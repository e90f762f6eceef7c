"""What the machine and the cluster say about processes."""

import os

import pytest

from dynamo.bench.cluster import parse_members
from dynamo.bench.cpu import cpu_s, parse_stat, rss_bytes
from dynamo.bench.plan import Node

STAT = "4242 (a (b) c) S 1 4242 4242 0 -1 4194304 9 8 7 6 150 50 1000 2000 20 0 3 0 12345 1 2 3"


def test_user_and_system_time_are_added_and_children_are_not() -> None:
    assert parse_stat(STAT, 100) == 2.0


def test_a_line_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="stat line"):
        parse_stat("cpu 1 2 3", 100)


def test_the_time_of_processes_is_added_up_and_unknown_if_one_is_gone() -> None:
    one = cpu_s([os.getpid()])
    two = cpu_s([os.getpid(), os.getpid()])
    assert one is not None
    assert two is not None
    assert two >= 2 * one > 0
    assert cpu_s([os.getpid(), 2**31 - 1]) is None
    assert cpu_s([]) == 0


def test_the_memory_of_a_process_is_what_it_holds_and_unknown_if_it_is_gone() -> None:
    held = rss_bytes(os.getpid())
    assert held is not None
    assert held > 2**20
    assert rss_bytes(2**31 - 1) is None


def test_members_are_where_they_listen_and_removed_ones_are_left_out() -> None:
    members = [
        {"node": "n1", "state": "member", "http": "127.0.0.1:8098"},
        {"node": "n2", "state": "removed", "http": "127.0.0.1:8099"},
        {"node": "n3", "state": "joining", "http": "[::1]:8100"},
    ]
    assert parse_members({"members": members}) == [
        Node(host="127.0.0.1", port=8098),
        Node(host="::1", port=8100),
    ]


@pytest.mark.parametrize(
    "document", [None, [], {}, {"members": {}}, {"members": [1]}, {"members": [{"node": "n1"}]}]
)
def test_a_document_that_is_none_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="no "):
        parse_members(document)
