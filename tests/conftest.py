"""Settings of the whole test run."""

from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("dynamo", deadline=None)
settings.load_profile("dynamo")
