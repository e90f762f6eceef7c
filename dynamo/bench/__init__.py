"""The benchmark: load from outside, latencies as a client sees them."""
