"""The command `dynamo`: what it understands, and what it says about itself.

What a command needs is imported when it runs: a node should serve within two seconds and hold no
more than it uses, and neither tables on a terminal nor an HTTP client are of use to it.
"""

import asyncio
import errno
import mimetypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import click
from click.core import ParameterSource

from dynamo.bench.options import FiniteRange, quorum_text
from dynamo.bench.options import asks_nodes as _asks_nodes
from dynamo.core.ids import DEFAULT_BUCKET_TYPE
from dynamo.errors import DynamoError

if TYPE_CHECKING:
    from rich.console import Console

    from dynamo.ask import Target
    from dynamo.client.paths import Quorum

DATA_DIR_DEFAULT = Path("dynamo-data")
"""Visible and where one works: data that a command leaves behind should be easy to see and drop."""

TIMEOUT_S_DEFAULT = 10.0

_F = TypeVar("_F", bound=Callable[..., object])

_OUTPUT_IN_THE_WAY = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE, errno.EBADF})


class Commands(click.Group):
    """The commands; an error of the store is one sentence on standard error, and status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "bench", "bucket-type"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "bench":
            from dynamo.bench.command import bench

            return bench
        if cmd_name == "bucket-type":
            from dynamo.bucket_type import bucket_type

            return bucket_type
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except DynamoError as error:
            raise click.ClickException(str(error)) from error

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401  as click has it
        try:
            return super().main(*args, **extra)
        except OSError as error:
            # Files have names and are spoken of where they are used; what has none is the output.
            if error.errno not in _OUTPUT_IN_THE_WAY or error.filename is not None:
                raise
            _drop_output()
            click.echo(f"Error: cannot write the output: {error.strerror}", err=True)
            raise SystemExit(1) from error


def _drop_output() -> None:
    """Let what is still buffered go nowhere, or the interpreter complains of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _examples(*lines: str) -> str:
    """Shown below a command's help, each on a line of its own: the mark keeps click off them."""
    return "\b\n" + "\n  ".join(["Examples:" if len(lines) > 1 else "Example:", *lines])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples(
        "dynamo up",
        "dynamo put fruit apple red",
        "dynamo get fruit apple",
        "curl http://127.0.0.1:8098/buckets/fruit/keys/apple",
    ),
)
@click.version_option(package_name="dynamo", prog_name="dynamo")
def main() -> None:
    """A leaderless, always-writable key-value store after Amazon's Dynamo.

    `dynamo up` starts a cluster on this machine. The other commands use one that runs, and so does
    everything that speaks Riak's HTTP API.
    """


# -- running nodes -------------------------------------------------------------------------------


@main.command(
    epilog=_examples(
        "dynamo up",
        "dynamo up --nodes 3 --base-port 18098 --data-dir scratch --fresh",
        "dynamo up --config config/cluster.toml",
    )
)
@click.option(
    "--nodes",
    type=click.IntRange(1, 100),
    help="How many nodes; as many as the data directory has, 5 if it is new. With fewer than 3,"
    " buckets have as many replicas, unless the settings say otherwise.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, 65535),
    default=8098,
    show_default=True,
    help="Node i, from 1, serves HTTP on this port + i - 1, its peers on this port + 999 + i.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=DATA_DIR_DEFAULT,
    show_default=True,
    help="What the nodes keep between runs: settings, logs, data.",
)
@click.option(
    "--fresh", is_flag=True, help="Forget what an earlier cluster left there, its settings too."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings shared by all nodes: bucket types, defaults (TOML). They are kept in the data"
    " directory, and hold there until others are given.",
)
def up(nodes: int | None, base_port: int, data_dir: Path, fresh: bool, config: Path | None) -> None:
    """Start a cluster of node processes on this machine.

    Everything listens on 127.0.0.1 unless the settings say otherwise. Ctrl-C or SIGTERM stops all
    nodes, with exit status 0; what they stored is there again at the next start. A node that dies
    stays down until it is started again, with the command that is shown then.
    """
    from dynamo.cluster import LocalCluster
    from dynamo.settings import load_shared
    from dynamo.up import run_up

    cluster = LocalCluster(
        data_dir,
        nodes=nodes,
        base_port=base_port,
        fresh=fresh,
        shared=None if config is None else load_shared(config),
    )
    raise SystemExit(asyncio.run(run_up(cluster, _console())))


@main.command(
    epilog=_examples(
        "dynamo serve --config config/node.toml", "dynamo serve --config /etc/dynamo/n1.toml"
    )
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="The node's settings (TOML).",
)
@click.option(
    "--stop-on-eof",
    is_flag=True,
    help="Stop as well when standard input ends: for a parent that may die.",
)
def serve(config: Path, stop_on_eof: bool) -> None:
    """Run one node in the foreground, until SIGTERM or Ctrl-C.

    One line on standard output says when it serves; the log goes to standard error.
    """
    from dynamo.serve import serve as run_node

    run_node(config, stop_on_eof=stop_on_eof)


# -- using a cluster -----------------------------------------------------------------------------


def _quorum(ctx: click.Context, param: click.Parameter, given: str | None) -> "Quorum | None":
    text = quorum_text(ctx, param, given)
    return cast("Quorum | None", int(text) if text is not None and text.isdecimal() else text)


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_context = click.option(
    "--context", metavar="TOKEN", help="What `dynamo get` showed; exactly that is replaced."
)
_w = click.option(
    "-w",
    callback=_quorum,
    metavar="QUORUM",
    help="How many replicas must have it, on their disks, to succeed; default: as the bucket says.",
)


_r = click.option(
    "-r",
    callback=_quorum,
    metavar="QUORUM",
    help="How many replicas must tell what they have; default: as the bucket says.",
)


_trace = click.option(
    "--trace",
    is_flag=True,
    help="Wait for all replicas, and print to standard error what each of them did.",
)


def _trace_console(trace: bool) -> "Console | None":
    return _console(stderr=True) if trace else None


def _asks_for_key(command: _F) -> _F:
    for option in (
        click.argument("key"),
        click.argument("bucket"),
        click.option(
            "--timeout-s",
            type=FiniteRange(min=0.001),
            default=TIMEOUT_S_DEFAULT,
            show_default=True,
            help="Seconds for the whole of it.",
        ),
        click.option(
            "--type",
            "bucket_type",
            default=DEFAULT_BUCKET_TYPE.decode(),
            show_default=True,
            help="The bucket's type.",
        ),
        _asks_nodes,
    ):
        command = option(command)
    return command


@main.command(epilog=_examples("dynamo status", "dynamo status --node http://10.0.0.1:8098 --json"))
@_asks_nodes
@_as_json
def status(urls: list[str], as_json: bool) -> None:
    """Show the nodes of a cluster, and who can reach them.

    Every node is asked what it thinks of the others.
    """
    from dynamo.operate import status as ask

    raise SystemExit(asyncio.run(ask(urls, _console(), as_json=as_json)))


@main.group(
    invoke_without_command=True,
    epilog=_examples("dynamo hints", "dynamo hints wait --timeout-s 300"),
)
@_asks_nodes
@_as_json
@click.pass_context
def hints(ctx: click.Context, urls: list[str], as_json: bool) -> None:
    """Show what nodes keep for others that were away.

    Every node is asked. A write that cannot reach a node is kept by another until it is back.
    """
    from dynamo.operate import hints as ask

    if ctx.invoked_subcommand is None:
        raise SystemExit(asyncio.run(ask(urls, _console(), as_json=as_json)))
    if as_json or ctx.get_parameter_source("urls") is ParameterSource.COMMANDLINE:
        raise click.UsageError(f"options go after `{ctx.invoked_subcommand}`")


@hints.command(epilog=_examples("dynamo hints wait", "dynamo hints wait --timeout-s 300"))
@_asks_nodes
@click.option(
    "--timeout-s",
    type=FiniteRange(min=0.001, max=3600),
    default=60.0,
    show_default=True,
    help="Seconds to wait.",
)
def wait(urls: list[str], timeout_s: float) -> None:
    """Wait until all hints that are kept now are delivered.

    The exit status is 5 if some are left when the time is up, or a node does not answer.
    """
    from dynamo.operate import wait_for_hints as ask

    raise SystemExit(asyncio.run(ask(urls, _console(), timeout_s=timeout_s)))


@main.command(epilog=_examples("dynamo divergence", "dynamo divergence --keys 0"))
@_asks_nodes
@click.option(
    "--keys",
    "keys_max",
    type=click.IntRange(0, 1000),
    default=20,
    show_default=True,
    help="How many keys to name.",
)
@_as_json
def divergence(urls: list[str], keys_max: int, as_json: bool) -> None:
    """Tell whether the replicas of every partition are equal.

    One node asks all others and compares. The status is 0 if every replica answers and all are
    equal, and 5 if not.
    """
    from dynamo.operate import DIVERGENCE_S_MAX
    from dynamo.operate import divergence as ask

    work = ask(urls, _console(), keys_max=keys_max, timeout_s=DIVERGENCE_S_MAX, as_json=as_json)
    raise SystemExit(asyncio.run(work))


@main.command(epilog=_examples("dynamo tombstones", "dynamo tombstones --json"))
@_asks_nodes
@_as_json
def tombstones(urls: list[str], as_json: bool) -> None:
    """Show how many deleted keys are kept, and what they wait for.

    A deleted key is forgotten when every replica holds the deletion and nothing can bring the
    value back. Each key is for one node to forget; every node is asked.
    """
    from dynamo.operate import tombstones as ask

    raise SystemExit(asyncio.run(ask(urls, _console(), as_json=as_json)))


@main.command(epilog=_examples("dynamo locate fruit apple"))
@_asks_for_key
@_as_json
def locate(
    urls: list[str], bucket_type: str, timeout_s: float, bucket: str, key: str, as_json: bool
) -> None:
    """Show which nodes hold a key.

    First the primaries of KEY in BUCKET, then the nodes that would stand in for them.
    """
    from dynamo.ask import locate as ask

    target = _target(urls, bucket_type, timeout_s, bucket, key)
    raise SystemExit(asyncio.run(ask(target, _console(), as_json=as_json)))


@main.command(
    epilog=_examples("dynamo get fruit apple", "dynamo get --type carts -r all carts alice --json")
)
@_asks_for_key
@_r
@_trace
@_as_json
def get(
    urls: list[str],
    bucket_type: str,
    timeout_s: float,
    bucket: str,
    key: str,
    r: "Quorum | None",
    trace: bool,
    as_json: bool,
) -> None:
    """Print the value of a key.

    What is stored under KEY in BUCKET is printed byte for byte.

    Concurrent writes leave siblings: all are shown, with the context that a write needs to replace
    them, and the exit status is 3. It is 4 if there is nothing.
    """
    from dynamo.ask import get as ask

    target = _target(urls, bucket_type, timeout_s, bucket, key)
    console = _trace_console(trace)
    raise SystemExit(asyncio.run(ask(target, r=r, as_json=as_json, trace=console)))


@main.command(
    epilog=_examples(
        "dynamo put fruit apple red",
        "dynamo put pictures apple --file apple.png",
        "echo red | dynamo put fruit apple -",
    )
)
@_asks_for_key
@click.argument("value", required=False)
@click.option("--file", type=click.File("rb"), help="Store what is in this file.")
@click.option(
    "--content-type",
    metavar="TYPE",
    help="By default from the file's name; text/plain for VALUE, else application/octet-stream.",
)
@_context
@_w
@_trace
def put(
    urls: list[str],
    bucket_type: str,
    timeout_s: float,
    bucket: str,
    key: str,
    value: str | None,
    file: BinaryIO | None,
    content_type: str | None,
    context: str | None,
    w: "Quorum | None",
    trace: bool,
) -> None:
    """Store a value under a key.

    VALUE, standard input if it is `-`, or a file is stored under KEY in BUCKET.

    Without a context the write is concurrent with what is there: where the bucket keeps siblings,
    it becomes one.
    """
    from dynamo.ask import put as ask

    if (value is None) == (file is None):
        raise click.UsageError("give either VALUE (`-` for standard input) or --file")
    if file is not None:
        guessed = mimetypes.guess_type(file.name)[0]
        body = file.read()
    elif value == "-":
        guessed = None
        body = sys.stdin.buffer.read()
    else:
        assert value is not None
        guessed = "text/plain; charset=utf-8"
        body = value.encode("utf-8", "surrogateescape")
    target = _target(urls, bucket_type, timeout_s, bucket, key)
    kind = content_type or guessed or "application/octet-stream"
    console = _trace_console(trace)
    raise SystemExit(
        asyncio.run(ask(target, body, content_type=kind, context=context, w=w, trace=console))
    )


@main.command(epilog=_examples("dynamo delete fruit apple"))
@_asks_for_key
@_context
@_r
@_w
@_trace
def delete(
    urls: list[str],
    bucket_type: str,
    timeout_s: float,
    bucket: str,
    key: str,
    context: str | None,
    r: "Quorum | None",
    w: "Quorum | None",
    trace: bool,
) -> None:
    """Delete a key.

    What is stored under KEY in BUCKET now is deleted, or with a context exactly what that has seen.
    It is read first, from as many replicas as -r says, and then written to as many as -w says.

    The exit status is 4 if there was nothing.
    """
    from dynamo.ask import delete as ask

    target = _target(urls, bucket_type, timeout_s, bucket, key)
    console = _trace_console(trace)
    raise SystemExit(asyncio.run(ask(target, context=context, r=r, w=w, trace=console)))


@main.command(epilog=_examples("dynamo remove n3"))
@_asks_nodes
@click.option("--force", is_flag=True, help="Also if it is up; what only it holds is lost then.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("node")
def remove(urls: list[str], force: bool, yes: bool, node: str) -> None:
    """Remove a node from the cluster for good.

    For a machine that is gone. Others take over its part and copy it from the replicas that are
    left. NODE never returns under this name: a machine that is to serve again needs a new node_id
    and an empty directory.
    """
    from dynamo.operate import remove as ask

    if not yes:
        click.confirm(f"Remove {node} for good?", abort=True)
    asyncio.run(ask(urls, node, even_if_up=force, timeout_s=TIMEOUT_S_DEFAULT))


def _target(urls: list[str], bucket_type: str, timeout_s: float, bucket: str, key: str) -> "Target":
    from dynamo.ask import Target

    return Target(urls=urls, bucket_type=bucket_type, bucket=bucket, key=key, timeout_s=timeout_s)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    # What is printed comes from logs and servers: nothing in it is markup, and no line is broken.
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)
