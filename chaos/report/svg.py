"""Pictures as files and as parts of the page."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Final

from chaos.report.style import THEMED, Chart, rules

_RASTER_DPI = 150
_PNG_DPI = 130

_NOTHING_KNOWN: Final[dict[str, None]] = dict.fromkeys(
    ("Creator", "Date", "Format", "Type"),
)
"""No metadata: they hold addresses and the date, and say nothing."""

_NAMED = re.compile(r'(\bid="|url\(#|href="#)')
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_SIZE = re.compile(r'<svg\b[^>]*?viewBox="([^"]+)"[^>]*>', re.DOTALL)


def svg_of(chart: Chart) -> str:
    """An `<svg>` to stand in an HTML page, beside others.

    Its names are its own, its size is left to the page, its ink and paper are the page's, and its
    texts are texts.
    """
    drawn = io.StringIO()
    with _quietly():
        chart.figure.savefig(drawn, format="svg", dpi=_RASTER_DPI, metadata=_NOTHING_KNOWN)
    _, opening, rest = drawn.getvalue().partition("<svg")
    named = _NAMED.sub(rf"\g<1>{chart.name}-", opening + rest)
    return _UNPRINTABLE.sub("·", _themed(_titled(_sized(named, chart), chart)))


def png_of(chart: Chart) -> bytes:
    """The same picture, as a file to put elsewhere."""
    drawn = io.BytesIO()
    with _quietly():
        chart.figure.savefig(drawn, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    return drawn.getvalue()


@contextmanager
def _quietly() -> Iterator[None]:
    with rules(), warnings.catch_warnings():
        # A key or an error may hold any letter; one that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _sized(drawn: str, chart: Chart) -> str:
    label = escape(chart.heading, quote=True)
    return _SIZE.sub(rf'<svg viewBox="\1" role="img" aria-label="{label}">', drawn, count=1)


def _titled(drawn: str, chart: Chart) -> str:
    for gid, said in chart.tips.by_gid.items():
        opening = f'<g id="{chart.name}-{gid}">'
        drawn = drawn.replace(opening, f"{opening}<title>{escape(said)}</title>", 1)
    return drawn


def _themed(drawn: str) -> str:
    for colour, variable in THEMED.items():
        drawn = drawn.replace(colour, f"var({variable})")
    return drawn
