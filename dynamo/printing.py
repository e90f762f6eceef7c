"""What all commands that ask a cluster share: their exit statuses, tables, and JSON."""

import json
from enum import IntEnum

import click
from rich.console import Console
from rich.table import Table

from dynamo.client.answers import Json
from dynamo.core.receipts import Account, Receipt, ReplicaAnswer


class Exit(IntEnum):
    """Exit statuses; 1 is an error, 2 is wrong usage."""

    DONE = 0
    SIBLINGS = 3
    NOT_FOUND = 4
    UNSETTLED = 5


def table_of(*columns: str) -> Table:
    """A table without lines."""
    return Table(*columns, box=None, pad_edge=False)


def print_receipt(console: Console, receipt: Receipt) -> None:
    """What each replica did for a request: of a delete for its read, then for its write."""
    for what, account in (("read", receipt.read), ("write", receipt.write)):
        if account is not None:
            console.print(_headline(what, account))
            console.print(_table_of_answers(account))


def _headline(what: str, account: Account) -> str:
    by = f"{what} coordinated by {account.coordinator}"
    if account.forwarded_by is not None:
        by += f" for {account.forwarded_by}"
    if account.met_ms is None:
        return f"{by}, its quorum was not met"
    return f"{by}, its quorum met after {account.met_ms:g} ms"


def _table_of_answers(account: Account) -> Table:
    table = table_of("node", "as", "answer", "version", "ms")
    for answer in account.replicas:
        role = f"stand-in for {answer.stands_in_for}" if answer.stands_in_for else "primary"
        # Whoever stored a write holds its version.
        version = answer.version or (account.version if answer.outcome == "stored" else "")
        _add_answer(table, answer, role, version)
    for answer in account.repairs:
        _add_answer(table, answer, "repaired", answer.version)
    for answer in account.hints:
        _add_answer(table, answer, f"hint for {answer.stands_in_for}", account.version)
    return table


def _add_answer(table: Table, answer: ReplicaAnswer, role: str, version: str) -> None:
    said = f"{answer.outcome}: {answer.reason}" if answer.reason else str(answer.outcome)
    took = "" if answer.took_ms is None else f"{answer.took_ms:g}"
    table.add_row(answer.node, role, said, version, took)


def print_json(value: Json) -> None:
    """To standard output, indented."""
    click.echo(json.dumps(value, indent=2))
