"""A run's result for people (a table) and for programs (JSON)."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dynamo.bench.plan import Plan
from dynamo.bench.summary import OperationSummary, Summary


def to_json(plan: Plan, summary: Summary) -> str:
    """The parameters and the result, as one JSON object."""
    document = {"plan": asdict(plan), "result": asdict(summary)}
    return json.dumps(document, indent=2)


def to_table(summary: Summary) -> Group:
    """The result as a table and the lines that do not fit one."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for title in ("ok", "failed", "ok/s"):
        table.add_column(title, justify="right")
    for title in ("mean", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(f"{title} ms", justify="right")
    for name, operation in summary.operations.items():
        if operation.ok or operation.failed:
            table.add_row(name, *_cells(operation))
    lines = (Text(line, no_wrap=True, overflow="ignore") for line in _lines(summary))
    return Group(table, *lines)


def _cells(operation: OperationSummary) -> list[str]:
    cells = [f"{operation.ok:,}", f"{operation.failed:,}", f"{operation.ok_per_s:,.0f}"]
    times = operation.latencies
    if times is None:
        return [*cells, *["-"] * 6]
    values = (times.mean_ms, times.p50_ms, times.p90_ms, times.p99_ms, times.p999_ms, times.max_ms)
    return [*cells, *(f"{value:.2f}" for value in values)]


def _lines(summary: Summary) -> list[str]:
    lines = [
        f"total: {summary.ok:,} ok and {summary.failed:,} failed in {summary.duration_s:g} s,"
        f" {summary.ok_per_s:,.0f} ok/s"
    ]
    for name, operation in summary.operations.items():
        if operation.late:
            lines.append(f"{name}, too late to be of use: {operation.late:,}")
        bad = {status: count for status, count in operation.statuses.items() if status >= 300}
        if bad:
            lines.append(f"{name}, answers other than 2xx: {_counts(bad)}")
        if operation.failures:
            lines.append(f"{name}, no answer: {_counts(operation.failures)}")
    if summary.dials_failed:
        lines.append(f"connections that failed (nothing sent): {_counts(summary.dials_failed)}")
    if summary.never_sent:
        lines.append(f"due but never sent, as no connection was free: {summary.never_sent:,}")
    nodes_us = summary.cpu.nodes_us
    nodes = (
        f"unknown ({summary.cpu.unknown})"
        if nodes_us is None
        else f"{nodes_us:.0f} us ({len(summary.cpu.node_pids)} processes)"
    )
    lines.append(f"CPU per operation: all nodes {nodes}, this load {summary.cpu.load_us:.1f} us")
    if summary.rss_bytes_max:
        held = ", ".join(f"{rss / 2**20:.0f}" for rss in summary.rss_bytes_max.values())
        lines.append(f"memory of the nodes, at most: {held} MiB")
    return lines


def _counts(counts: Mapping[int, int] | Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items())
