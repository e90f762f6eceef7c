"""What options of several commands understand: finite numbers, quorums, lists of nodes.

At the command line's lowest floor, so that `dynamo bench` and the other commands share it; it needs
nothing but click, for a node that serves loads it too.
"""

import math
from collections.abc import Sequence
from typing import cast

import click

NODES_VARIABLE = "DYNAMO_NODES"
"""Names the nodes where no option does."""


URL_DEFAULT = "http://127.0.0.1:8098"


class FiniteRange(click.FloatRange):
    """A number in a range; `nan` and `inf`, which are floats as well, are none."""

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(cast("float", value), param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def quorum_text(ctx: click.Context, param: click.Parameter, given: str | None) -> str | None:
    """A callback: a number of replicas or a word for one."""
    if given is None or (given.isascii() and given.isdecimal()):
        return given
    if given in ("one", "quorum", "all", "default"):
        return given
    raise click.BadParameter(f"{given!r} is neither a number nor one, quorum, all or default.")


def node_list(given: Sequence[str]) -> list[str]:
    """The nodes of an option that may be given more than once, with commas between or not.

    Raises:
        click.BadParameter: one of them is empty.
    """
    urls = [url.strip() for several in given for url in several.split(",")]
    if not urls or not all(urls):
        raise click.BadParameter("a node is empty (should look like http://127.0.0.1:8098)")
    return [url if "//" in url else f"http://{url}" for url in urls]


def _node_urls(ctx: click.Context, param: click.Parameter, given: Sequence[str]) -> list[str]:
    return node_list(given)


asks_nodes = click.option(
    "--node",
    "urls",
    multiple=True,
    metavar="URL",
    envvar=NODES_VARIABLE,
    default=(URL_DEFAULT,),
    callback=_node_urls,
    help="A node to ask; give several, with commas between, to have others to fall back on."
    f" The environment variable {NODES_VARIABLE} holds the same.  [default: {URL_DEFAULT}]",
)
"""The option of all commands that ask a cluster."""
