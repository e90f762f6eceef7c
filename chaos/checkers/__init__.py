"""Checkers: what a recording proves about the store, as pure functions of it."""
