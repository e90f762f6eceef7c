"""The bytes that go out are what the plan says."""

from random import Random

import pytest

from dynamo.bench.plan import Node, Plan
from dynamo.bench.requests import Requests, key_names

NODE = Node(host="127.0.0.1", port=8098)


def a_plan(
    *,
    bucket_type: str = "default",
    bucket: str = "bench",
    value_bytes: int = 4,
    quorums: tuple[tuple[str, str], ...] = (),
) -> Plan:
    return Plan(
        nodes=(NODE,),
        bucket_type=bucket_type,
        bucket=bucket,
        connections=1,
        rate=None,
        read_fraction=0.5,
        keys=10,
        value_bytes=value_bytes,
        contexts=False,
        n_val=None,
        quorums=quorums,
        duration_s=1.0,
        warmup_s=0.0,
        timeout_s=1.0,
        deadline_s=None,
        preload=False,
        seed=7,
    )


def test_a_node_is_read_from_its_url() -> None:
    assert Node.parse("http://127.0.0.1:8098/") == NODE
    assert Node.parse("http://[::1]:8098") == Node(host="::1", port=8098)
    assert str(Node(host="::1", port=8098)) == "[::1]:8098"


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8098", "https://a:1", "http://a", "http://a:0", "http://a:1/x", "http://[a"],
)
def test_what_is_no_node_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"not a node|Invalid|IPv6"):
        Node.parse(url)


def test_a_read_is_a_get_with_the_parameters_of_reads() -> None:
    plan = a_plan(quorums=(("r", "2"), ("w", "3"), ("node_confirms", "1")))
    assert Requests(plan, NODE).read(b"k") == (
        b"GET /buckets/bench/keys/k?r=2&node_confirms=1 HTTP/1.1\r\nHost: 127.0.0.1:8098\r\n\r\n"
    )


def test_a_write_is_a_put_with_the_parameters_of_writes_and_the_value() -> None:
    plan = a_plan(quorums=(("r", "2"), ("w", "3"), ("dw", "one")))
    head, _, body = Requests(plan, NODE).write(b"k").partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"PUT /buckets/bench/keys/k?w=3&dw=one HTTP/1.1",
        b"Host: 127.0.0.1:8098",
        b"Content-Type: application/octet-stream",
        b"Content-Length: 4",
    ]
    assert body == Random(7).randbytes(4)


def test_a_write_after_a_read_carries_its_context() -> None:
    requests = Requests(a_plan(value_bytes=0), NODE)
    head = requests.write_after(b"k", b"AQI=").split(b"\r\n")
    assert b"X-Riak-Vclock: AQI=" in head
    assert [line for line in head if not line.startswith(b"X-Riak")] == (
        requests.write(b"k").split(b"\r\n")
    )


def test_types_and_odd_names_stand_in_the_path() -> None:
    plan = a_plan(bucket_type="multi", bucket="a/b")
    assert Requests(plan, NODE).read(b"k").startswith(b"GET /types/multi/buckets/a%2Fb/keys/k HTTP")


def test_keys_are_distinct_and_of_one_length() -> None:
    keys = key_names(1000)
    assert len(set(keys)) == 1000
    assert {len(key) for key in keys} == {11}
