"""How a cluster is told to run nodes with a bug: `LocalCluster(..., command=command_of(NAME))`."""

import sys

from tests.planted.bugs import BUGS


def command_of(bug: str) -> tuple[str, ...]:
    """What to run in place of `python -m dynamo`; needs the root of the repository to start in."""
    assert bug in BUGS, bug
    return (sys.executable, "-m", "tests.planted", bug)
