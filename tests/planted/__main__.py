"""`python -m tests.planted BUG serve --config FILE ...`: the command `dynamo` with a bug in it."""

import sys

from dynamo.cli import main
from tests.planted.bugs import BUGS

if len(sys.argv) < 2 or sys.argv[1] not in BUGS:
    sys.exit(f"usage: python -m tests.planted BUG serve ...; the bugs: {' '.join(BUGS)}")

with BUGS[sys.argv.pop(1)]():
    main()
