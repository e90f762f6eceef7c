"""Which endpoint to try next: in turns, those that failed lately last. Pure."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from dynamo.errors import ConfigError


class Endpoints:
    """The endpoints of a cluster and which of them rest.

    One that failed rests for a while, so a node that hangs costs one request its patience and not
    every request. When all rest they are tried all the same: a guess beats a refusal.
    """

    def __init__(self, urls: Sequence[str], *, rest_s: float) -> None:
        if isinstance(urls, str | bytes):
            raise ConfigError(f"endpoints must be a list of URLs, but is one alone: {urls!r:.80}")
        if not urls:
            raise ConfigError("no endpoint given")
        self._urls = tuple(_origin(url) for url in urls)
        self._rest_s = rest_s
        self._rests_until_s: dict[str, float] = {}
        self._turn = 0

    def order(self, now_s: float) -> list[str]:
        """All endpoints in the order to try them."""
        turn = self._turn
        self._turn = (turn + 1) % len(self._urls)
        in_turn = self._urls[turn:] + self._urls[:turn]
        # Sorting is stable: the awake stay in turn, the resting follow by how soon they are awake.
        return sorted(in_turn, key=lambda url: self._rest_left_s(url, now_s))

    def failed(self, url: str, now_s: float) -> None:
        """Let it rest."""
        self._rests_until_s[url] = now_s + self._rest_s

    def worked(self, url: str) -> None:
        """It need not rest."""
        self._rests_until_s.pop(url, None)

    def _rest_left_s(self, url: str, now_s: float) -> float:
        return max(0.0, self._rests_until_s.get(url, now_s) - now_s)


def _origin(url: str) -> str:
    """The `http://host:port` of a URL that is no more than that."""
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong or parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise ConfigError(f"not an endpoint: {url!r} (should look like http://127.0.0.1:8098)")
    return f"{parts.scheme}://{parts.netloc}"
