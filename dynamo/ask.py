"""What `dynamo locate`, `get`, `put` and `delete` do: ask a cluster about a key, print the answer.

They go through `dynamo.client`, as any application does. A script tells the outcomes apart by the
exit status: siblings and a missing key are answers, but not the ones it may go on with unasked.
"""

import base64
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import click
from rich.console import Console

from dynamo.client.answers import Json
from dynamo.client.buckets import BucketClient
from dynamo.client.client import Client
from dynamo.client.paths import Quorum
from dynamo.client.values import Context, Found
from dynamo.core.values import Value
from dynamo.printing import Exit, print_json, print_receipt, table_of
from dynamo.reports import Holder, Located, checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A key of a running cluster.

    Attributes:
        urls: nodes to ask; those that do not answer are passed over.
        timeout_s: for the whole of it.
    """

    urls: Sequence[str]
    bucket_type: str
    bucket: str
    key: str
    timeout_s: float

    def client(self) -> Client:
        """For use inside `async with`."""
        return Client(self.urls, timeout_s=self.timeout_s)

    def bucket_of(self, client: Client, trace: Console | None = None) -> BucketClient:
        """The bucket that the key is in; receipts of requests are printed to `trace`."""
        on_receipt = None if trace is None else partial(print_receipt, trace)
        return client.bucket(self.bucket, bucket_type=self.bucket_type, on_receipt=on_receipt)


async def locate(target: Target, console: Console, *, as_json: bool) -> Exit:
    """Print where the key lives.

    Raises:
        DynamoError: no node answers.
    """
    async with target.client() as client:
        report = await target.bucket_of(client).locate(target.key)
    if as_json:
        print_json(report)
        return Exit.DONE
    located = checked(report, Located)
    console.print(f"partition {located.partition}")
    table = table_of("node", "holds it as", "HTTP", "the asked node thinks it")
    for holder in located.primaries:
        table.add_row(*_row(holder, "primary"))
    for holder in located.stand_ins:
        table.add_row(*_row(holder, "stand-in"))
    console.print(table)
    return Exit.DONE


def _row(holder: Holder, role: str) -> tuple[str, str, str, str]:
    return holder.node, role, holder.http, holder.opinion


async def get(
    target: Target, *, r: Quorum | None, as_json: bool, trace: Console | None = None
) -> Exit:
    """Print the value byte for byte, or all siblings with their context; to `trace` the receipt.

    Raises:
        DynamoError: it could not be read.
    """
    async with target.client() as client:
        found = await target.bucket_of(client, trace).get(target.key, r=r)
    if as_json:
        siblings: list[Json] = [_value_json(value) for value in found.siblings]
        context = None if found.context is None else str(found.context)
        print_json({"context": context, "siblings": siblings})
    elif not found.values:
        click.echo("not found", err=True)
    elif len(found.siblings) == 1:
        # A line end is for eyes only: a pipe gets what is stored.
        body = found.values[0].body
        click.echo(body, nl=sys.stdout.isatty() and not body.endswith(b"\n"))
    else:
        _print_siblings(target, found)
    if not found.values:
        return Exit.NOT_FOUND
    return Exit.SIBLINGS if len(found.siblings) > 1 else Exit.DONE


def _print_siblings(target: Target, found: Found) -> None:
    count = len(found.siblings)
    for number, value in enumerate(found.siblings, start=1):
        what = "deleted" if value.deleted else f"{value.content_type}, {len(value.body)} bytes"
        click.echo(f"--- sibling {number} of {count}: {what}")
        if not value.deleted:
            click.echo(value.body, nl=not value.body.endswith(b"\n"))
    click.echo(f"--- {count} concurrent writes; a write with this context replaces them:")
    key = ["--type", target.bucket_type, target.bucket, target.key]
    click.echo(shlex.join(["dynamo", "put", "--context", str(found.context), *key, "VALUE"]))


def _value_json(value: Value) -> Json:
    shown: dict[str, Json] = {"content_type": value.content_type, "deleted": value.deleted}
    shown["meta"] = dict(value.meta)
    try:
        shown["body"] = value.body.decode()
    except UnicodeDecodeError:
        shown["body_base64"] = base64.b64encode(value.body).decode()
    return shown


async def put(
    target: Target,
    body: bytes,
    *,
    content_type: str,
    context: str | None,
    w: Quorum | None,
    trace: Console | None = None,
) -> Exit:
    """Store `body`, and print the receipt to `trace`.

    Raises:
        DynamoError: it was not stored, or that is not certain.
    """
    seen = None if context is None else Context.parse(context)
    async with target.client() as client:
        bucket = target.bucket_of(client, trace)
        # Every acknowledgement here is durable, so `w` says it all; left alone, `dw` asks for more.
        await bucket.put(target.key, body, content_type=content_type, context=seen, w=w, dw=w)
    return Exit.DONE


async def delete(
    target: Target,
    *,
    context: str | None,
    r: Quorum | None,
    w: Quorum | None,
    trace: Console | None = None,
) -> Exit:
    """Delete what is there, or what `context` has seen of it, and print the receipt to `trace`.

    Raises:
        DynamoError: it was not deleted, or that is not certain.
    """
    seen = None if context is None else Context.parse(context)
    async with target.client() as client:
        bucket = target.bucket_of(client, trace)
        was_there = await bucket.delete(target.key, context=seen, r=r, w=w, dw=w)
    if not was_there:
        click.echo("not found", err=True)
        return Exit.NOT_FOUND
    return Exit.DONE
