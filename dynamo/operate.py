"""What `dynamo remove` does: changes of the cluster by an operator's word."""

from collections.abc import Sequence

import click

from dynamo.client.client import Client


async def remove(urls: Sequence[str], node: str, *, even_if_up: bool, timeout_s: float) -> None:
    """Remove a node for good, and say so.

    Raises:
        DynamoError: it was not removed, or that is not certain.
    """
    async with Client(urls, timeout_s=timeout_s) as client:
        await client.remove(node, even_if_up=even_if_up)
    click.echo(f"{node} is removed; others take its part, and copy it from the replicas left")
