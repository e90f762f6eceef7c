"""The Toxiproxy server: found or got, started, and spoken to."""
