"""`/metrics`: the figures of node and interface for Prometheus, and those of the process.

Nothing is kept for it: a collector looks at the figures when it is asked, in a registry of its own,
so the library's global one stays out of it. The process's figures go by the names that all
programs have in common.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from dynamo.core.figures import Buckets, Count, Figure, Gauge
from dynamo.http.reply import Reply
from dynamo.http.routes import Target

PREFIX: Final = "dynamo_"

_VERSIONS = re.compile(r"version=([^,;]*)")
_VERSION = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", re.ASCII)


class Metrics:
    """The handler for `/metrics`."""

    def __init__(self, figures: Sequence[Figure], node_id: str) -> None:
        """Ready.

        Args:
            figures: what to show.
            node_id: whose they are.
        """
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(figures, node_id))
        ProcessCollector(registry=self._registry)

    async def scrape(self, request: web.BaseRequest, target: Target, query: str) -> Reply:
        """GET of all figures, in the text format or as OpenMetrics."""
        return self.exposition(request.headers.get("Accept", ""))

    def exposition(self, accept: str) -> Reply:
        """All figures as they are now, in the form that suits `accept` best."""
        encode, content_type = choose_encoder(_legible(accept))
        head = f"Content-Type: {content_type}\r\nVary: Accept\r\n"
        return Reply(200, head, encode(self._registry))


def _legible(accept: str) -> str:
    """The header, if what it calls versions are versions: the library fails at others."""
    if all(_VERSION.fullmatch(version.strip()) for version in _VERSIONS.findall(accept)):
        return accept
    return ""


class _Figures(Collector):
    """Looks at figures for the library."""

    def __init__(self, figures: Sequence[Figure], node_id: str) -> None:
        self._figures = figures
        self._node_id = node_id

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(PREFIX + "node", "which node this is", {"node": self._node_id})
        for figure in self._figures:
            yield _family(figure)


def _family(figure: Figure) -> Metric:
    name = PREFIX + figure.name
    if isinstance(figure, Count):
        return CounterMetricFamily(name, figure.help, value=figure.read())
    if isinstance(figure, Gauge):
        return GaugeMetricFamily(name, figure.help, value=figure.read())
    buckets = figure.read()
    return HistogramMetricFamily(
        name, figure.help, buckets=_labelled(buckets), sum_value=buckets.total
    )


def _labelled(buckets: Buckets) -> list[tuple[str, float]]:
    bounded = [(str(float(bound)), float(values)) for bound, values in buckets.up_to]
    return [*bounded, ("+Inf", float(buckets.values))]
