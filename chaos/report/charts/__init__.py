"""One file for each kind of picture; each takes a recording or findings and gives a `Chart`."""
