"""What Prometheus is told, read back by its own client's parsers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as text_families

from dynamo.core.figures import Buckets, Count, Figure, Gauge, Histogram
from dynamo.http.metrics import Metrics
from dynamo.http.routes import Resource, Target, resolve
from dynamo.node.stats import Counters, Stats
from tests.unit.http.fake_node import FakeNode
from tests.unit.http.talk import Talk, talking

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def _node() -> tuple[FakeNode, Stats]:
    node, stats = FakeNode(), Stats(lambda: 1000.0)
    node.operations.figures = stats.figures
    return node, stats


async def _scraped(talk: Talk) -> dict[str, Metric]:
    told = await talk.get("/metrics")
    assert told.status == 200
    return {family.name: family for family in text_families(told.text)}


def _only(figure: Figure) -> Metric:
    """A figure as it comes back."""
    text = Metrics([figure], "n1").exposition("").body.decode()
    return next(family for family in text_families(text) if family.name == f"dynamo_{figure.name}")


def _samples(metric: Metric) -> dict[tuple[str, str], float]:
    return {(sample.name, sample.labels.get("le", "")): sample.value for sample in metric.samples}


def test_the_path_is_known() -> None:
    assert resolve("/metrics") == (Resource.METRICS, Target())


async def test_every_count_is_in_metrics_with_its_help_and_in_stats() -> None:
    node, stats = _node()
    figures = stats.counters.figures()
    for value, figure in enumerate(figures):
        setattr(stats.counters, figure.name, value)
    async with talking(node) as talk:
        families = await _scraped(talk)
        shown = json.loads((await talk.get("/stats")).body)
    assert len(figures) == len(Counters.__slots__)
    for value, figure in enumerate(figures):
        family = families[f"dynamo_{figure.name}"]
        assert (family.type, family.documentation) == ("counter", figure.help)
        assert _samples(family) == {(f"dynamo_{figure.name}_total", ""): value}
        assert shown[f"{figure.name}_total"] == value


async def test_the_interface_s_own_figures_are_there_and_go_on() -> None:
    async with talking() as talk:
        await talk.get("/ping")
        first = await _scraped(talk)
        second = await _scraped(talk)
    for families, requests in ((first, 2), (second, 3)):
        assert _samples(families["dynamo_http_requests"]) == {
            ("dynamo_http_requests_total", ""): requests
        }
        assert families["dynamo_http_requests_in_flight"].type == "gauge"
        assert families["dynamo_node_info"].samples[0].labels == {"node": "n1"}


async def test_the_process_is_told_of_by_the_names_all_programs_use() -> None:
    async with talking() as talk:
        families = await _scraped(talk)
    for name in ("resident_memory_bytes", "cpu_seconds", "open_fds", "start_time_seconds"):
        assert families[f"process_{name}"].samples[0].value > 0


async def test_a_scrape_changes_nothing_that_is_counted_but_the_requests() -> None:
    node, stats = _node()
    stats.get_latency.add(0.25)
    async with talking(node) as talk:
        first, second = await _scraped(talk), await _scraped(talk)
    changed = {name for name in first if first[name] != second[name]}
    assert {name for name in changed if name.startswith("dynamo_")} == {"dynamo_http_requests"}


async def test_a_node_that_has_not_joined_is_watched_all_the_same() -> None:
    node = FakeNode()
    node.serving = False
    async with talking(node) as talk:
        assert "dynamo_node_gets" in await _scraped(talk)
        assert (await talk.ask("HEAD", "/metrics")).status == 200
        assert (await talk.ask("PUT", "/metrics", body=b"")).status == 405


def test_a_gauge_goes_by_its_bare_name() -> None:
    gauge = _only(Gauge("hints_held", "hints kept now", lambda: 2.5))
    assert (gauge.type, gauge.documentation) == ("gauge", "hints kept now")
    assert _samples(gauge) == {("dynamo_hints_held", ""): 2.5}


def test_a_histogram_has_bounds_a_sum_and_a_number() -> None:
    read = Buckets(((0.5, 1), (1, 3)), 4, 12.5)
    told = _only(Histogram("get_seconds", "time a read took", lambda: read, "x", dict))
    assert (told.type, told.documentation) == ("histogram", "time a read took")
    assert _samples(told) == {
        ("dynamo_get_seconds_bucket", "0.5"): 1,
        ("dynamo_get_seconds_bucket", "1.0"): 3,
        ("dynamo_get_seconds_bucket", "+Inf"): 4,
        ("dynamo_get_seconds_count", ""): 4,
        ("dynamo_get_seconds_sum", ""): 12.5,
    }


def test_a_help_may_have_any_characters() -> None:
    said = 'a "word", a \\ and\na second line'
    assert _only(Count("odd", said, lambda: 1)).documentation == said


@pytest.mark.parametrize("accept", [OPENMETRICS, PROMETHEUS])
async def test_openmetrics_is_spoken_with_who_asks_for_it(accept: str) -> None:
    node, stats = _node()
    stats.counters.hints_rehomed = 3
    stats.put_latency.add(0.001)
    async with talking(node) as talk:
        told = await talk.get("/metrics", Accept=accept)
    assert told.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert told.headers["vary"] == "Accept"
    told_families = openmetrics_families(told.text)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in told_families}
    assert families["dynamo_hints_rehomed"].samples[0].value == 3
    assert families["dynamo_put_seconds"].type == "histogram"
    assert families["dynamo_node"].samples[0].labels == {"node": "n1"}


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/plain",
        "image/png",
        "application/openmetrics-text; version=abc",
        "application/openmetrics-text; version=1.x",
        "text/plain; version=9.",
        "text/plain; version=" + "1" * 5000,
        "application/openmetrics-text; version=\u0661",
    ],
)
async def test_all_others_get_the_text_format(accept: str) -> None:
    async with talking() as talk:
        told = await talk.get("/metrics", Accept=accept)
    assert told.status == 200
    assert told.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


_PIECES = ["application/openmetrics-text", "text/plain", ";", ",", "version", "=", "1", ".", "0"]
_PIECES += ["escaping", "values", "dots", "q", " ", "\t", "x", "\udcff", "-", "1.0.0"]


@given(st.lists(st.sampled_from(_PIECES), max_size=20).map("".join))
def test_no_accept_header_breaks_a_scrape(accept: str) -> None:
    reply = Metrics([Count("things", "things", lambda: 1)], "n1").exposition(accept)
    assert reply.status == 200
    assert b"dynamo_things_total 1.0" in reply.body
    assert reply.head.count("\r\n") == 2
