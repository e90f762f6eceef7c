"""`dynamo bucket-type`: making bucket types while the cluster runs, as `riak-admin` does.

A type is created on one node, which tells the others, and activated when all of them know it.
"""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass

import click

from dynamo.bench.options import asks_nodes
from dynamo.client.answers import JsonObject
from dynamo.client.client import Client
from dynamo.client.errors import Refused
from dynamo.core.property_rules import known_names
from dynamo.errors import BadRequest
from dynamo.printing import Exit, print_json
from dynamo.reports import checked

ANSWER_S_MAX = 30.0
"""All nodes are asked before a type is activated, and some may not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A bucket type among others."""

    name: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Types:
    """All bucket types, the default one first."""

    types: tuple[Listed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a bucket type has come.

    Attributes:
        created: it was made while the cluster ran; else it is in the settings.
        unaware: which nodes have not confirmed that they know it, and why.
    """

    name: str
    active: bool
    created: bool
    unaware: dict[str, str]
    props: dict[str, object]


# -- what is understood --------------------------------------------------------------------------


def _properties(ctx: click.Context, param: click.Parameter, given: str) -> JsonObject:
    """A callback: a JSON object of properties, with `{"props": ...}` around it or without."""
    try:
        said = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"it is no JSON: {error}") from error
    if isinstance(said, dict) and "props" in said:
        if len(said) > 1:
            raise click.BadParameter('nothing may stand beside "props"')
        said = said["props"]
    if not isinstance(said, dict):
        raise click.BadParameter('it is no JSON object like {"props":{"n_val":2}}')
    return said


def _type_name(ctx: click.Context, param: click.Parameter, name: str) -> str:
    """A callback: a name that a path can have in it, and a terminal can show."""
    if name in ("", ".", "..") or not name.isprintable():
        raise click.BadParameter(f"it is no name of a bucket type: {name!r}")
    return name


def _warn_of_unknown(name: str, properties: JsonObject) -> None:
    unknown = sorted(properties.keys() - known_names())
    if unknown:
        click.echo(f"{name} has properties that mean nothing here: {', '.join(unknown)}", err=True)


_name = click.argument("name", metavar="TYPE", callback=_type_name)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _example(line: str) -> str:
    return f"\b\nExample:\n  {line}"


@click.group(
    name="bucket-type",
    epilog="\b\nExamples:\n"
    '  dynamo bucket-type create carts \'{"props":{"n_val":5}}\'\n'
    "  dynamo bucket-type activate carts\n"
    "  curl http://127.0.0.1:8098/types/carts/buckets/b/props",
)
def bucket_type() -> None:
    """Make, show and change bucket types.

    A type holds the properties that its buckets start with. It is created first, and can be used
    once it is activated, which every node has to be up for.
    """


@bucket_type.command(epilog=_example("dynamo bucket-type create sessions '{\"n_val\":2}'"))
@asks_nodes
@_name
@click.argument("properties", callback=_properties, default="{}", metavar="[PROPERTIES]")
def create(urls: list[str], name: str, properties: JsonObject) -> None:
    """Create a type.

    PROPERTIES is a JSON object of those that are to differ from the defaults. A type that is not
    active yet can be created again with others.
    """
    _run(_create(urls, name, properties))


@bucket_type.command(epilog=_example("dynamo bucket-type activate sessions"))
@asks_nodes
@_name
def activate(urls: list[str], name: str) -> None:
    """Let a type be used.

    Every node of the cluster must have confirmed that it knows the type. From then on it cannot be
    created anew, nor taken away.
    """
    _run(_activate(urls, name))


@bucket_type.command(epilog=_example("dynamo bucket-type update sessions '{\"r\":1}'"))
@asks_nodes
@_name
@click.argument("properties", callback=_properties)
def update(urls: list[str], name: str, properties: JsonObject) -> None:
    """Change properties of an active type.

    PROPERTIES is a JSON object of those to change; they show in all buckets of the type that did
    not set them themselves.
    """
    _run(_update(urls, name, properties))


@bucket_type.command(epilog=_example("dynamo bucket-type status sessions"))
@asks_nodes
@_as_json
@_name
def status(urls: list[str], as_json: bool, name: str) -> None:
    """Show whether a type can be used, and its properties.

    The exit status is 5 if it cannot be activated yet, and 4 if there is none of that name.
    """
    _run(_status(urls, name, as_json=as_json))


@bucket_type.command(name="list", epilog=_example("dynamo bucket-type list"))
@asks_nodes
@_as_json
def list_types(urls: list[str], as_json: bool) -> None:
    """Name all types, and whether each is active."""
    _run(_list(urls, as_json=as_json))


def _run(work: Coroutine[object, object, Exit]) -> None:
    raise SystemExit(asyncio.run(_said_plainly(work)))


async def _said_plainly(work: Coroutine[object, object, Exit]) -> Exit:
    """A refusal is a sentence already; its HTTP status tells nothing here."""
    try:
        return await work
    except Refused as refused:
        raise BadRequest(_text(refused)) from refused


def _text(refused: Refused) -> str:
    return str(refused).removeprefix(f"{refused.status}: ")


# -- what is done --------------------------------------------------------------------------------


async def _create(urls: Sequence[str], name: str, properties: JsonObject) -> Exit:
    async with Client(urls, timeout_s=ANSWER_S_MAX) as client:
        await client.create_bucket_type(name, properties)
    _warn_of_unknown(name, properties)
    click.echo(f"{name} created; `dynamo bucket-type activate {name}` lets it be used")
    return Exit.DONE


async def _activate(urls: Sequence[str], name: str) -> Exit:
    async with Client(urls, timeout_s=ANSWER_S_MAX) as client:
        is_new = await client.activate_bucket_type(name)
    click.echo(f"{name} has been activated" if is_new else f"{name} is active already")
    return Exit.DONE


async def _update(urls: Sequence[str], name: str, properties: JsonObject) -> Exit:
    async with Client(urls, timeout_s=ANSWER_S_MAX) as client:
        try:
            await client.update_bucket_type(name, properties)
        except Refused as refused:
            raise BadRequest(f"{name} is not updated: {_in_words(refused)}") from refused
    _warn_of_unknown(name, properties)
    click.echo(f"{name} updated")
    return Exit.DONE


def _in_words(refused: Refused) -> str:
    """What Riak says as JSON: a word, or reasons by property."""
    text = _text(refused)
    try:
        said = json.loads(text)
    except ValueError:
        return text
    if isinstance(said, dict):
        return "; ".join(f"{name}: {reason}" for name, reason in said.items())
    words = {
        "not_active": "it is not active; create and activate it first",
        "no_default_update": "the default type is in the settings, as bucket_defaults",
    }
    return words.get(said, text) if isinstance(said, str) else text


async def _status(urls: Sequence[str], name: str, *, as_json: bool) -> Exit:
    async with Client(urls, timeout_s=ANSWER_S_MAX) as client:
        try:
            report = await client.bucket_type(name)
        except Refused as refused:
            if refused.status != 404:
                raise
            click.echo(f"{name} is not an existing bucket type", err=True)
            return Exit.NOT_FOUND
    seen = checked(report, Status)
    if as_json:
        print_json(report)
    else:
        click.echo(_standing(seen))
        click.echo()
        for prop, value in sorted(seen.props.items()):
            click.echo(f"{prop}: {json.dumps(value)}")
    return Exit.DONE if seen.active or (seen.created and not seen.unaware) else Exit.UNSETTLED


def _standing(seen: Status) -> str:
    if seen.active:
        return f"{seen.name} is active"
    if not seen.created:
        return f"{seen.name} is in the settings, with active = false"
    if not seen.unaware:
        return f"{seen.name} has been created and may be activated"
    nodes = "; ".join(f"{node} ({why})" for node, why in sorted(seen.unaware.items()))
    return f"{seen.name} has been created, but cannot be activated yet: not known by {nodes}"


async def _list(urls: Sequence[str], *, as_json: bool) -> Exit:
    async with Client(urls, timeout_s=ANSWER_S_MAX) as client:
        report = await client.bucket_types()
    seen = checked(report, Types)
    if as_json:
        print_json(report)
        return Exit.DONE
    for listed in seen.types:
        click.echo(f"{listed.name} ({'active' if listed.active else 'not active'})")
    return Exit.DONE
