"""What a server chooses itself (contexts, ETags, vtags, keys, times): Riak's choice and ours.

Later requests of the record bring back what Riak chose earlier. They are sent with what the server
under test chose in its place.
"""

import re


class Pairs:
    """Recorded value, and the value here that stands for the same thing."""

    def __init__(self) -> None:
        self._here: dict[str, str] = {}

    def learn(self, recorded: str, here: str) -> None:
        """From now on, `here` is sent and expected where the record has `recorded`."""
        self._here[recorded] = here

    def agree(self, recorded: str, here: str) -> bool:
        """Whether `here` may stand for `recorded`: it did so before, or both are new."""
        known = self._here.get(recorded)
        return known == here if known is not None else here not in self._here.values()

    def translated(self, text: str) -> str:
        """`text` of the record as it would be here."""
        if not self._here:
            return text
        longest_first = sorted(self._here, key=len, reverse=True)
        either = "|".join(map(re.escape, longest_first))
        return re.sub(either, lambda found: self._here[found[0]], text)
