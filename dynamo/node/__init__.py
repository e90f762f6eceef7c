"""One running node: its jobs, and the object that puts them together."""
