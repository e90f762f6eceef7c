"""`dynamo bench`: the benchmark on the command line."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dynamo.bench.options import NODES_VARIABLE, FiniteRange, node_list, quorum_text
from dynamo.bench.plan import Node, Plan
from dynamo.bench.report import to_json, to_table
from dynamo.bench.run import Doors, run
from dynamo.errors import DynamoError

_T = TypeVar("_T")

_SHOW_S = 0.5  # drawing costs CPU that the nodes would have


def _nodes(
    context: click.Context, option: click.Parameter, urls: tuple[str, ...]
) -> tuple[Node, ...]:
    try:
        return tuple(Node.parse(url) for url in node_list(urls))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _pids(context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        pids = tuple(int(pid) for pid in text.split(",")) if text else ()
    except ValueError as error:
        raise click.BadParameter(f"not process ids: {text!r}") from error
    if any(pid < 1 for pid in pids):
        raise click.BadParameter(f"not process ids: {text!r}")
    return pids


@click.command(
    epilog="\b\nExamples:\n  dynamo bench"
    "\n  dynamo bench --node 127.0.0.1:8098,127.0.0.1:8099 --rate 2000"
    "\n  dynamo bench --read-fraction 0 --w all --duration-s 30 --json writes.json"
)
@click.option(
    "--node",
    "nodes",
    metavar="URL",
    multiple=True,
    callback=_nodes,
    default=["http://127.0.0.1:8098"],
    show_default=True,
    envvar=NODES_VARIABLE,
    help="Where a node listens; more than once, or with commas between. Connections are dealt out."
    f" The environment variable {NODES_VARIABLE} holds the same.",
)
@click.option("--type", "bucket_type", default="default", show_default=True, help="Bucket type.")
@click.option("--bucket", default="bench", show_default=True, help="Whose keys are used.")
@click.option(
    "--connections",
    type=click.IntRange(1, 10_000),
    default=32,
    show_default=True,
    help="How many are open; each has one request under way at a time.",
)
@click.option(
    "--rate",
    type=FiniteRange(min=0, min_open=True),
    help="Requests a second at fixed instants, latency counted from the instant (open loop);"
    " without it, each connection sends as fast as it is answered (closed loop).",
)
@click.option(
    "--read-fraction",
    type=FiniteRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of GETs; the others are PUTs.",
)
@click.option(
    "--keys",
    type=click.IntRange(1, 10_000_000),
    default=10_000,
    show_default=True,
    help="How many different ones; drawn evenly.",
)
@click.option(
    "--value-bytes",
    type=click.IntRange(0, 2**26),
    default=1024,
    show_default=True,
    help="Length of what is written.",
)
@click.option(
    "--contexts/--blind",
    default=False,
    show_default="blind",
    help="Whether a write first reads its key and hands on the context. Blind writes make siblings"
    " in a bucket with allow_mult=true.",
)
@click.option("--n", "n_val", type=click.IntRange(min=1), help="Set the bucket's n_val first.")
@click.option(
    "--r",
    "r",
    callback=quorum_text,
    metavar="QUORUM",
    help="How many replicas must answer a read: a number, or one, quorum, all, default.",
)
@click.option(
    "--pr",
    "pr",
    callback=quorum_text,
    metavar="QUORUM",
    help="How many primaries must answer a read.",
)
@click.option(
    "--w", "w", callback=quorum_text, metavar="QUORUM", help="How many replicas must have a write."
)
@click.option(
    "--pw",
    "pw",
    callback=quorum_text,
    metavar="QUORUM",
    help="How many primaries must have a write.",
)
@click.option(
    "--dw",
    "dw",
    callback=quorum_text,
    metavar="QUORUM",
    help="How many replicas must have a write on disk.",
)
@click.option(
    "--node-confirms",
    "node_confirms",
    callback=quorum_text,
    metavar="QUORUM",
    help="How many distinct nodes must answer, reads and writes.",
)
@click.option(
    "--duration-s",
    type=FiniteRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Measured time.",
)
@click.option(
    "--warmup-s",
    type=FiniteRange(min=0),
    default=2.0,
    show_default=True,
    help="Load before the measured time.",
)
@click.option(
    "--timeout-s",
    type=FiniteRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="A request without an answer after this long has failed.",
)
@click.option(
    "--deadline-s",
    type=FiniteRange(min=0, min_open=True),
    help="An answer later than this is counted, but is no success: goodput instead of throughput.",
)
@click.option(
    "--preload/--no-preload", default=True, show_default=True, help="Write every key once before."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of keys and values.")
@click.option(
    "--cpu-of",
    "pids",
    metavar="PID,PID",
    default="",
    callback=_pids,
    help="Processes whose CPU time counts as the nodes'; without it, the nodes are asked.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Write parameters and result to this file, or to standard output (-).",
)
def bench(
    *,
    nodes: tuple[Node, ...],
    bucket_type: str,
    bucket: str,
    connections: int,
    rate: float | None,
    read_fraction: float,
    keys: int,
    value_bytes: int,
    contexts: bool,
    n_val: int | None,
    r: str | None,
    pr: str | None,
    w: str | None,
    pw: str | None,
    dw: str | None,
    node_confirms: str | None,
    duration_s: float,
    warmup_s: float,
    timeout_s: float,
    deadline_s: float | None,
    preload: bool,
    seed: int,
    pids: tuple[int, ...],
    json_path: Path | None,
) -> None:
    """Measure a cluster: requests a second, latencies, CPU per operation.

    Works with any server that speaks Riak's HTTP API. The CPU of the nodes is known only if they
    run on this machine.
    """
    named = (
        ("r", r),
        ("pr", pr),
        ("w", w),
        ("pw", pw),
        ("dw", dw),
        ("node_confirms", node_confirms),
    )
    plan = Plan(
        nodes=nodes,
        bucket_type=bucket_type,
        bucket=bucket,
        connections=connections,
        rate=rate,
        read_fraction=read_fraction,
        keys=keys,
        value_bytes=value_bytes,
        contexts=contexts,
        n_val=n_val,
        quorums=tuple((name, text) for name, text in named if text is not None),
        duration_s=duration_s,
        warmup_s=warmup_s,
        timeout_s=timeout_s,
        deadline_s=deadline_s,
        preload=preload,
        seed=seed,
    )
    with _result_file(json_path) as file:
        try:
            with _display() as progress:
                doors = Doors(
                    now_s=time.perf_counter, own_cpu_s=time.process_time, progress=progress
                )
                summary = _in_loop(run(plan, doors, pids))
        except DynamoError as error:
            raise click.ClickException(str(error)) from error
        if file is not None:
            file.write(to_json(plan, summary) + "\n")
    Console(stderr=json_path == Path("-")).print(to_table(summary), crop=False)
    if not summary.ok:
        raise click.ClickException("no request succeeded")


@contextmanager
def _result_file(path: Path | None) -> Iterator[IO[str] | None]:
    """Opened before the run, so that none is made in vain; None if nobody wants it."""
    if path is None:
        yield None
        return
    try:
        with click.open_file(str(path), "w") as file:
            yield file
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def _display() -> Iterator[Callable[[str, float, int], None]]:
    """A progress bar on standard error if that is a terminal, nothing if not."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TextColumn("{task.fields[ok_per_s]:>9,.0f} ok/s"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, auto_refresh=False, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=1.0, ok_per_s=0.0)
        shown_s, shown_ok, shown_phase = time.perf_counter(), 0, ""

        def show(phase: str, part: float, ok: int) -> None:
            nonlocal shown_s, shown_ok, shown_phase
            now_s = time.perf_counter()
            if phase != shown_phase:
                progress.reset(task, description=phase)
                shown_ok, shown_phase = 0, phase
            elif now_s - shown_s < _SHOW_S:
                return
            ok_per_s = (ok - shown_ok) / max(now_s - shown_s, 1e-9)
            progress.update(task, completed=part, ok_per_s=ok_per_s, refresh=True)
            shown_s, shown_ok = now_s, ok

        yield show


def _in_loop(main: Coroutine[None, None, _T]) -> _T:
    """Run in the fastest loop there is."""
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop  # it does not exist on Windows

    return uvloop.run(main)
