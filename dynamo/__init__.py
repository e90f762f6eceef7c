"""A leaderless, always-writable key-value store after Amazon's Dynamo (SOSP 2007)."""
