"""Settings and their relations, whatever made them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dynamo.config import ClusterConfig, NodeConfig
from dynamo.core.ids import Address, NodeId
from dynamo.errors import ConfigError


def node(**settings: Any) -> NodeConfig:
    return dataclasses.replace(NodeConfig(node_id=NodeId("n1"), data_dir=Path("data")), **settings)


@pytest.mark.parametrize("partitions", [8, 256, 65536])
def test_partitions_may_be_a_power_of_two(partitions: int) -> None:
    assert ClusterConfig(partitions=partitions).partitions == partitions


@pytest.mark.parametrize("partitions", [9, 255, 257, 65535])
def test_partitions_must_be_a_power_of_two(partitions: int) -> None:
    with pytest.raises(ConfigError, match=f"partitions is {partitions}, but .* a power of two"):
        ClusterConfig(partitions=partitions)


@pytest.mark.parametrize("name", ["default", "any", "", "x" * 65, "ü" * 33])
def test_a_bucket_type_needs_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ConfigError, match="bucket_types"):
        ClusterConfig(bucket_types={name: {}})


def test_the_longest_name_of_a_bucket_type_is_counted_in_bytes() -> None:
    assert ClusterConfig(bucket_types={"ü" * 32: {}}).bucket_types


def test_the_fingerprint_tells_clusters_of_other_partitions_apart() -> None:
    assert ClusterConfig().fingerprint() != ClusterConfig(partitions=128).fingerprint()


def test_the_fingerprint_says_nothing_of_what_is_compared_elsewhere() -> None:
    assert ClusterConfig(name="one").fingerprint() == ClusterConfig(name="two").fingerprint()


def test_the_fingerprint_tells_clusters_of_other_bucket_types_apart() -> None:
    clusters = [
        ClusterConfig(),
        ClusterConfig(bucket_types={"t": {}}),
        ClusterConfig(bucket_types={"t": {"n_val": 5}}),
        ClusterConfig(bucket_types={"u": {"n_val": 5}}),
        ClusterConfig(bucket_defaults={"n_val": 5}),
        ClusterConfig(bucket_types={"t": {"n_val": 5}}, bucket_defaults={"n_val": 5}),
    ]
    assert len({cluster.fingerprint() for cluster in clusters}) == len(clusters)
    assert max(len(cluster.fingerprint()) for cluster in clusters) < 100


def test_the_fingerprint_looks_at_what_bucket_types_mean_and_not_at_how_they_are_written() -> None:
    one = ClusterConfig(bucket_types={"a": {"n_val": 2, "allow_mult": "TRUE"}, "b": {}})
    other = ClusterConfig(bucket_types={"b": {}, "a": {"allow_mult": True, "n_val": 2}})
    assert one.fingerprint() == other.fingerprint()


@pytest.mark.parametrize("setting", ["rpc_host", "http_host"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_who_listens_everywhere_says_where_to_dial(setting: str, host: str) -> None:
    with pytest.raises(ConfigError, match="advertise_host is empty"):
        node(**{setting: host})
    with pytest.raises(ConfigError, match="advertise_host is"):
        node(**{setting: host}, advertise_host=host)
    node(**{setting: host}, advertise_host="10.0.0.1")


def test_the_advertised_host_counts_for_nodes_and_clients() -> None:
    config = node(rpc_host="0.0.0.0", http_host="127.0.0.1", advertise_host="10.0.0.1")
    assert config.rpc_address == Address("0.0.0.0", 9098)
    assert config.advertised_rpc == Address("10.0.0.1", 9098)
    assert config.http_address == Address("127.0.0.1", 8098)
    assert config.advertised_http == Address("10.0.0.1", 8098)


def test_without_an_advertised_host_each_says_its_own() -> None:
    config = node(rpc_host="10.0.0.2")
    assert config.advertised_rpc == Address("10.0.0.2", 9098)
    assert config.advertised_http == Address("127.0.0.1", 8098)


def test_both_ports_may_be_equal_only_on_two_hosts() -> None:
    with pytest.raises(ConfigError, match="rpc_port is 8098, but must differ"):
        node(rpc_port=8098)
    node(rpc_port=8098, rpc_host="10.0.0.2")


def test_a_replica_has_no_more_time_than_the_request() -> None:
    node(replica_timeout_s=5.0, request_timeout_s=5.0)
    with pytest.raises(ConfigError, match=r"replica_timeout_s is 5\.1, but must be at most .*5"):
        node(replica_timeout_s=5.1, request_timeout_s=5.0)


def test_the_largest_object_fits_the_queue_of_writes() -> None:
    node(object_bytes_max=2**21, queued_bytes_max=2**21)
    with pytest.raises(ConfigError, match="queued_bytes_max is 2097151"):
        node(object_bytes_max=2**21, queued_bytes_max=2**21 - 1)


@pytest.mark.parametrize("config", [ClusterConfig, NodeConfig])
def test_every_setting_is_explained(config: type[ClusterConfig] | type[NodeConfig]) -> None:
    explained = config.__doc__ or ""
    assert [
        f.name for f in dataclasses.fields(config) if f"\n        {f.name}: " not in explained
    ] == []
