"""Settings files: the samples load, and every mistake is one helpful sentence."""

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.config import ClusterConfig, NodeConfig, Seed
from dynamo.core.ids import Address, NodeId
from dynamo.core.property_rules import coerced, known_names
from dynamo.errors import ConfigError
from dynamo.settings import Settings, load, load_shared, parse_address, write, write_shared

SAMPLES = Path(__file__).parents[2] / "config"

MINIMAL = '[node]\nnode_id = "n1"\ndata_dir = "data"\n'

Write = Callable[[str], Path]


@pytest.fixture
def file(tmp_path: Path) -> Write:
    def write_text(text: str) -> Path:
        path = tmp_path / "node.toml"
        path.write_text(text)
        return path

    return write_text


def refusal(path: Path) -> str:
    """What is said about a file that must not load: one line that begins with its path."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


# -- samples -------------------------------------------------------------------------------------


def test_the_sample_of_a_node_is_the_defaults() -> None:
    settings = load(SAMPLES / "node.toml")
    assert settings.cluster == ClusterConfig()
    assert settings.node == NodeConfig(node_id=NodeId("n1"), data_dir=SAMPLES / "data")


def test_the_sample_of_a_node_shows_every_setting() -> None:
    tables = tomllib.loads((SAMPLES / "node.toml").read_text())
    assert set(tables["cluster"]) == {f.name for f in dataclasses.fields(ClusterConfig)}
    assert set(tables["node"]) == {f.name for f in dataclasses.fields(NodeConfig)}


def test_the_sample_of_a_local_cluster_loads() -> None:
    settings = load_shared(SAMPLES / "cluster.toml")
    assert settings.cluster.bucket_defaults == {"allow_mult": True}
    assert set(settings.cluster.bucket_types) == {"carts", "sessions", "strict"}


def test_the_samples_of_three_nodes_make_one_cluster() -> None:
    nodes = [load(SAMPLES / "three-nodes" / f"n{i}.toml") for i in (1, 2, 3)]
    assert len({settings.cluster.name for settings in nodes}) == 1
    assert len({settings.node.seeds for settings in nodes}) == 1
    at_home = {Seed(node.node.node_id, node.node.advertised_rpc) for node in nodes}
    assert set(nodes[0].node.seeds) == at_home


def test_every_sample_is_loaded_by_a_test() -> None:
    samples = {str(path.relative_to(SAMPLES)) for path in SAMPLES.rglob("*.toml")}
    three = {f"three-nodes/n{i}.toml" for i in (1, 2, 3)}
    assert samples == {"node.toml", "cluster.toml"} | three


# -- what a file says ----------------------------------------------------------------------------


def test_a_file_needs_a_name_and_a_directory_only(file: Write) -> None:
    settings = load(file(MINIMAL))
    assert settings.cluster == ClusterConfig()
    assert settings.node.node_id == "n1"


def test_the_data_directory_is_relative_to_the_file(file: Write, tmp_path: Path) -> None:
    assert load(file(MINIMAL)).node.data_dir == tmp_path / "data"


def test_an_absolute_data_directory_stays(file: Write) -> None:
    path = file('[node]\nnode_id = "n1"\ndata_dir = "/var/lib/dynamo"\n')
    assert load(path).node.data_dir == Path("/var/lib/dynamo")


def test_seeds_and_peer_addresses_are_taken_apart(file: Write) -> None:
    node = load(
        file(
            MINIMAL
            + 'seeds = ["n2@db.example:9098", "n3@[::1]:9098"]\n'
            + 'peer_addresses = { n2 = "127.0.0.1:20102" }\n'
        )
    ).node
    assert node.seeds == (
        Seed(NodeId("n2"), Address("db.example", 9098)),
        Seed(NodeId("n3"), Address("::1", 9098)),
    )
    assert node.peer_addresses == {"n2": Address("127.0.0.1", 20102)}


def test_a_whole_number_is_a_number_of_seconds(file: Write) -> None:
    node = load(file(MINIMAL + "request_timeout_s = 5")).node
    assert (node.request_timeout_s, type(node.request_timeout_s)) == (5.0, float)


def test_bucket_types_are_kept_as_they_are(file: Write) -> None:
    cluster = load(file(MINIMAL + '[cluster.bucket_types.t]\nn_val = 5\nw = "all"')).cluster
    assert cluster.bucket_types == {"t": {"n_val": 5, "w": "all"}}


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("http_port = 99999", "[node] http_port is 99999, but must be a port, a whole number"),
        ("http_port = 65536", "[node] http_port is 65536, but must be a port"),
        ("http_port = 0", "[node] http_port is 0, but must be a port"),
        ('http_port = "8098"', '[node] http_port is "8098", but must be a port'),
        ("http_port = true", "[node] http_port is true, but must be a port"),
        ("http_port = 80.5", "[node] http_port is 80.5, but must be a port"),
        ("weight = 0", "[node] weight is 0, but must be a whole number from 1 to 1000"),
        ("suspect_phi = nan", "[node] suspect_phi is nan, but must be a number from 0.1 to 100"),
        ("gossip_interval_s = inf", "[node] gossip_interval_s is inf, but must be a number of sec"),
        ("heartbeat_interval_s = 0", "[node] heartbeat_interval_s is 0, but must be a number of"),
        (
            "clock_offset_s = 86401",
            "[node] clock_offset_s is 86401, but must be a number of sec",
        ),
        ('durability = "none"', '[node] durability is "none", but must be "fsync" or "os"'),
        ('log_level = "INFO"', '[node] log_level is "INFO", but must be "debug", "info"'),
        ("log_format = 1979-05-27", "[node] log_format is 1979-05-27, but must be"),
        ('http_host = "a b"', '[node] http_host is "a b", but must be a host name or address'),
        ('http_host = ""', '[node] http_host is "", but must be a host name or address'),
        ('http_host = "h\\n"', '[node] http_host is "h\\n", but must be a host name or address'),
        ("zone = 3", "[node] zone is 3, but must be a text"),
        ("seeds = 3", '[node] seeds is 3, but must be a list of "id@host:port"'),
        ("seeds = [3]", '[node] seeds holds 3, but must be a list of "id@host:port"'),
        ('seeds = ["n2"]', '[node] seeds holds "n2", but must be a list of "id@host:port"'),
        ('seeds = ["N@h:1"]', '[node] seeds holds "N@h:1", but must be a list of'),
        ('seeds = [["n2", ["h", 1]]]', '[node] seeds holds ["n2", ["h", 1]], but must be'),
        ('peer_addresses = ["h:1"]', '[node] peer_addresses is ["h:1"], but must be a table of'),
        ('peer_addresses = {n2 = "h"}', '[node] peer_addresses holds "h", but must be a table of'),
        ('peer_addresses = {"N" = "h:1"}', '[node] peer_addresses holds "N", but must be a table'),
        ("map_bytes_max = 1_000", "[node] map_bytes_max is 1000, but must be a whole number of"),
        ("siblings_max = -1", "[node] siblings_max is -1, but must be a whole number from 1 to"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_right(file: Write, line: str, said: str) -> None:
    assert refusal(file(MINIMAL + line)).startswith(said)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("partitions = 100", "[cluster] partitions is 100, but must be a power of two from 8"),
        ("partitions = 4", "[cluster] partitions is 4, but must be a power of two from 8"),
        ("partitions = 131072", "[cluster] partitions is 131072, but must be a power of two"),
        ('name = "A"', '[cluster] name is "A", but must be 1 to 64 of a-z'),
        ("bucket_types = 3", "[cluster] bucket_types is 3, but must be a table of tables"),
        ("bucket_types.t = 3", '[cluster] bucket_types is {"t" = 3}, but must be a table of'),
        ("bucket_defaults = []", "[cluster] bucket_defaults is [], but must be a table of bucket"),
        ("bucket_types.default = {}", "[cluster] bucket_types cannot hold 'default': that name"),
    ],
)
def test_what_is_wrong_for_the_cluster_is_named(file: Write, table: str, said: str) -> None:
    assert refusal(file(f"{MINIMAL}[cluster]\n{table}")).startswith(said)


def test_a_relation_between_settings_is_named_with_the_file(file: Write) -> None:
    said = refusal(file(MINIMAL + "replica_timeout_s = 61"))
    assert said == "[node] replica_timeout_s is 61, but must be at most request_timeout_s (60)"


@pytest.mark.parametrize("node_id", ["N1", "", "-a", "x" * 65, "a b", "n1\\n"])
def test_a_node_id_that_is_none_is_named(file: Write, node_id: str) -> None:
    said = refusal(file(f'[node]\nnode_id = "{node_id}"\ndata_dir = "data"\n'))
    assert said.startswith('[node] node_id is "')
    assert said.endswith("but must be 1 to 64 of a-z 0-9 . _ - with a letter or digit first")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "[node] node_id is missing: 1 to 64 of a-z"),
        ('[node]\nnode_id = "n1"', "[node] data_dir is missing: the path of a directory"),
        ('[node]\nnode_id = "n1"\ndata_dir = ""', '[node] data_dir is "", but must be the path'),
        ("node = 3", "node is 3, but must be a table [node]"),
    ],
)
def test_what_is_missing_is_named(file: Write, text: str, said: str) -> None:
    assert refusal(file(text)).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            MINIMAL + "htpp_port = 1",
            'the setting "htpp_port" in [node] is unknown;'
            " the nearest known is http_port in [node]",
        ),
        (
            MINIMAL + "partitions = 8",
            'the setting "partitions" in [node] is unknown;'
            " the nearest known is partitions in [cluster]",
        ),
        (
            "[nodes]\nx = 1",
            'the table "nodes" is unknown; the nearest known is the table [node]',
        ),
        (
            'node_id = "n1"',
            'the setting "node_id" is unknown; the nearest known is node_id in [node]',
        ),
    ],
)
def test_an_unknown_name_is_told_the_nearest_known_one(file: Write, text: str, said: str) -> None:
    assert refusal(file(text)) == said


def test_broken_toml_is_named_with_its_line(file: Write) -> None:
    said = refusal(file("[node]\nnode_id = n1\n"))
    assert said.startswith("is not TOML: ")
    assert "line 2" in said


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(b"[node]\n\xff")
    assert refusal(path) == "is not UTF-8 text, from byte 7 on"


def test_a_file_nested_beyond_reason_is_refused(file: Write) -> None:
    assert refusal(file("a = " + "[" * 100_000)) == "is nested too deeply"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml") == "cannot be read: No such file or directory"


def test_a_directory_is_no_settings_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "cannot be read: Is a directory"


def test_a_long_value_is_cut_in_the_message(file: Write) -> None:
    said = refusal(file(MINIMAL + f'http_port = "{"x" * 1000}"'))
    assert len(said) < 200


# -- shared settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        'node_id = "n1"',
        'data_dir = "d"',
        "http_port = 1",
        "rpc_port = 1",
        "seeds = []",
        "peer_addresses = {}",
    ],
)
def test_what_each_node_has_of_its_own_cannot_be_shared(file: Write, line: str) -> None:
    path = file(f"[node]\n{line}")
    name = line.split(" ", maxsplit=1)[0]
    with pytest.raises(ConfigError) as caught:
        load_shared(path)
    assert str(caught.value) == f"{path}: [node] {name} cannot be shared: each node has its own"


def test_shared_settings_may_be_empty(file: Write) -> None:
    assert load_shared(file("")).cluster == ClusterConfig()


def test_shared_settings_are_checked_as_others_are(file: Write) -> None:
    path = file("[node]\nweight = 0")
    with pytest.raises(ConfigError, match=r"\[node\] weight is 0"):
        load_shared(path)


# -- addresses, and writing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", ":1", "h", "h:", "h:0", "h:65536", "h:-1", "h:1x", "::1:9", "[::1]", "[::1]:", "h:\u0661"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


@given(st.sampled_from(["h", "10.0.0.1", "::1"]), st.integers(1, 65535))
def test_an_address_is_read_as_it_is_written(host: str, port: int) -> None:
    assert parse_address(str(Address(host, port))) == Address(host, port)


texts = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
values = st.recursive(
    st.booleans() | numbers | texts | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@given(
    # Those whose values nothing here looks into.
    properties=st.dictionaries(
        st.sampled_from(["backend", "linkfun", "precommit", "postcommit"]), values
    ),
    zone=texts,
    interval_s=st.floats(0.01, 3600),
    seeds=st.lists(st.sampled_from(["n2", "a.b_c-d"]), max_size=2),
)
def test_written_settings_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    properties: dict[str, object],
    zone: str,
    interval_s: float,
    seeds: list[str],
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.toml"
    addresses = {NodeId(seed): Address("::1", 1 + i) for i, seed in enumerate(seeds)}
    settings = Settings(
        cluster=ClusterConfig(bucket_types={"t": properties}, bucket_defaults=properties),
        node=NodeConfig(
            node_id=NodeId("n1"),
            data_dir=path.parent / "a \"b'\\",
            zone=zone,
            heartbeat_interval_s=interval_s,
            seeds=tuple(Seed(node_id, address) for node_id, address in addresses.items()),
            peer_addresses=addresses,
        ),
    )
    write(settings, path)
    assert load(path) == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[cluster.bucket_types.t]\nalow_mult = true",
            '[cluster.bucket_types.t] the property "alow_mult" is unknown;'
            " the nearest known is allow_mult",
        ),
        (
            "[cluster.bucket_defaults]\nnval = 2",
            '[cluster.bucket_defaults] the property "nval" is unknown; the nearest known is n_val',
        ),
        (
            "[cluster.bucket_defaults]\nn_val = 0",
            "[cluster.bucket_defaults] n_val is 0, but must be a whole number from 1 to 64",
        ),
        (
            '[cluster.bucket_types.t]\npw = "most"',
            '[cluster.bucket_types.t] pw is "most", but must be a whole number from 0, "one",'
            ' "quorum" or "all"',
        ),
        (
            '[cluster.bucket_defaults]\nallow_mult = "maybe"',
            '[cluster.bucket_defaults] allow_mult is "maybe", but must be true or false',
        ),
        (
            "[cluster.bucket_types.t]\nlast_write_wins = true",
            "[cluster.bucket_types.t] dvv_enabled is true, but must be false where"
            " last_write_wins is true",
        ),
        (
            '[cluster.bucket_types.t]\ndatatype = "tree"',
            '[cluster.bucket_types.t] datatype is "tree", but must be one of counter, gset, hll,'
            " map, set",
        ),
        (
            '[cluster.bucket_types.t]\ndatatype = "set"\nwrite_once = true',
            '[cluster.bucket_types.t] datatype is "set", but must be left out where write_once is'
            " true",
        ),
        (
            "[cluster.bucket_types.t]\nconsistent = true",
            "[cluster.bucket_types.t] consistent is true, but must be false: there is no strong"
            " consistency here",
        ),
    ],
)
def test_a_wrong_bucket_property_is_explained(file: Write, text: str, said: str) -> None:
    assert refusal(file(MINIMAL + text)) == said


def test_every_property_that_can_be_refused_has_words_for_what_is_right(file: Write) -> None:
    for name in coerced({name: {} for name in known_names()})[1]:
        assert f"{name} is {{}}, but must be" in refusal(
            file(MINIMAL + f"[cluster.bucket_defaults]\n{name} = {{}}")
        )


def test_shared_settings_are_written_without_what_is_each_nodes_own(file: Write) -> None:
    path = file(
        '[cluster]\nname = "c"\n[cluster.bucket_types.t]\nn_val = 5\n[node]\nlog_level = "error"\n'
    )
    settings = load_shared(path)
    write_shared(settings, path)
    assert load_shared(path) == settings
    assert "http_port" not in path.read_text()
