"""What all commands that ask a cluster share: their exit statuses, tables, and JSON."""

import json
from enum import IntEnum

import click
from rich.table import Table

from dynamo.client.answers import Json


class Exit(IntEnum):
    """Exit statuses; 1 is an error, 2 is wrong usage."""

    DONE = 0
    SIBLINGS = 3
    NOT_FOUND = 4
    UNSETTLED = 5


def table_of(*columns: str) -> Table:
    """A table without lines."""
    return Table(*columns, box=None, pad_edge=False)


def print_json(value: Json) -> None:
    """To standard output, indented."""
    click.echo(json.dumps(value, indent=2))
