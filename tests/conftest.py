"""Settings of the whole test run."""

from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("dynamo", deadline=None)
settings.load_profile("dynamo")

_OF_PROCESSES = ("chaos", "cluster", "conformance")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers (`-n 2`), one has all tests of real processes, one after the other.

    They listen on ports, kill, and wait for others to notice; two at a time would be in each
    other's way. The other workers compute meanwhile.
    """
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in _OF_PROCESSES:
            item.add_marker(pytest.mark.xdist_group("processes"))
