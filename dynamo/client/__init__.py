"""The Python client: what an application imports to use a cluster."""
