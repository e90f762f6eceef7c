"""How every picture looks: one palette, thin axes, words beside what they name.

The palette is Okabe and Ito's, which people who confuse red and green can tell apart; what a colour
means is said by a word or a shape as well. Ink, paper and the darkest colours become variables of
the page in the SVG, so that the pictures follow it into the dark (`svg.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from chaos.judgement import Table
from chaos.recording import Outcome
from chaos.report.words import clean

INK = "#1f2933"
MUTED = "#66707c"
LINE = "#d5dae0"
PAPER = "#fefefe"
SHADE = "#f4ece6"
EDGE = "#cfb5a3"

OK = "#0072b2"
INFO = "#e69f00"
FAIL = "#d55e00"
STALE = "#cc79a7"
LOST = "#7a0177"
SOUND = "#a9cfe6"

THEMED: Final[dict[str, str]] = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--card",
    SHADE: "--shade",
    EDGE: "--edge",
    OK: "--ok",
    LOST: "--lost",
}
"""Colours that the page may replace, and the names of its variables for them."""

OUTCOME_COLOURS: Final[dict[Outcome, str]] = {
    Outcome.OK: OK,
    Outcome.INFO: INFO,
    Outcome.FAIL: FAIL,
}

FAULT_COLOURS: Final[dict[str, str]] = {
    "cut": FAIL,
    "latency": INFO,
    "bandwidth": INFO,
    "torn": STALE,
    "reset": STALE,
    "kill": LOST,
    "pause": "#5b8db8",
    "wipe": LOST,
    "clock": "#009e73",
}

ANSWERED = LinearSegmentedColormap.from_list(
    "answered", ["#b04a00", "#e08a4a", "#f5cfae", "#e4eef5", "#bcdcef"]
)
"""Of 0 to 100 percent: the darker, the fewer were answered."""

_MODE_COLOURS = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#d55e00", "#8a8f98")

WIDTH_IN = 10.6
LEFT_IN = 1.15
RIGHT_IN = 2.05
_TITLE_IN = 0.30
_FOOT_IN = 0.48
_KEY_LINE_PT = 12.8

_RULES: Final[dict[str, object]] = {
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.titlesize": 9.8,
    "axes.titleweight": "bold",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 9.2,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "chaos",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 8.6,
    "xtick.major.size": 3,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": 8.6,
    "ytick.major.size": 3,
}


@contextmanager
def rules() -> Iterator[None]:
    """Everything is drawn and saved within this."""
    with mpl.rc_context(mpl.RcParams(_RULES)):
        yield


@dataclass(frozen=True, slots=True)
class Tips:
    """What the page says when the pointer rests on a part of a picture."""

    by_gid: dict[str, str] = field(default_factory=dict)

    def on(self, artist: Artist, said: str) -> None:
        """Have the page say so of this part."""
        gid = f"tip{len(self.by_gid)}"
        artist.set_gid(gid)
        self.by_gid[gid] = clean(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture and what it teaches.

    Attributes:
        name: of its file, and of its place in the page.
        heading: what one learns from it, in one sentence.
        said: how to read it, with the numbers that matter.
        data: the same in numbers, for those who want them exact.
    """

    name: str
    heading: str
    said: str
    figure: Figure
    tips: Tips = field(default_factory=Tips)
    data: Table | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeStyle:
    """The looks of a mode: colour for the quorum, shape for what becomes of conflicts."""

    colour: str
    marker: str

    @property
    def sign(self) -> str:
        """The shape, as a letter."""
        return "◆" if self.marker == "D" else "●"


def mode_styles(modes: Iterable[str]) -> dict[str, ModeStyle]:
    """For each mode by name; a mode and its last-write-wins sister share a colour."""
    names = tuple(dict.fromkeys(modes))
    quorums = tuple(dict.fromkeys(name.removesuffix(" lww") for name in names))
    return {
        name: ModeStyle(
            colour=_MODE_COLOURS[quorums.index(name.removesuffix(" lww")) % len(_MODE_COLOURS)],
            marker="D" if name.endswith(" lww") else "o",
        )
        for name in names
    }


class KeyLine(NamedTuple):
    """A line of a key.

    Attributes:
        sign: a shape in the colour that it explains; "" if the line explains none.
    """

    text: str
    sign: str = ""
    colour: str = INK
    ink: str = INK


@dataclass(frozen=True, slots=True)
class Row:
    """One of several panels that share the axis of time."""

    title: str
    height_in: float
    draw: Callable[[Axes], None]


def stacked(rows: Sequence[Row], *, from_s: float, until_s: float, label: str) -> Figure:
    """The rows from top to bottom, on one axis of time with one label below."""
    height_in = sum(row.height_in + _TITLE_IN for row in rows) + _FOOT_IN
    figure = sheet(height_in)
    top_in = 0.0
    for number, row in enumerate(rows, start=1):
        top_in += _TITLE_IN
        axes = panel(figure, top_in=top_in, height_in=row.height_in)
        axes.set_xlim(from_s, until_s)
        axes.set_title(row.title)
        row.draw(axes)
        axes.set_xlim(from_s, until_s)
        axes.tick_params(labelbottom=number == len(rows))
        top_in += row.height_in
    if rows:
        axes.set_xlabel(label, loc="left")
    return figure


def sheet(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """An empty figure; there is no global state of pyplot behind it."""
    return Figure(figsize=(width_in, height_in), facecolor=PAPER)


def panel(
    figure: Figure,
    *,
    top_in: float,
    height_in: float,
    left_in: float = LEFT_IN,
    width_in: float | None = None,
) -> Axes:
    """Axes at a place in inches, counted from the top left corner."""
    across_in, down_in = (float(side) for side in figure.get_size_inches())
    width_in = across_in - left_in - RIGHT_IN if width_in is None else width_in
    bottom_in = down_in - top_in - height_in
    box = (left_in / across_in, bottom_in / down_in, width_in / across_in, height_in / down_in)
    return figure.add_axes(box)


def beside(axes: Axes, lines: Sequence[KeyLine]) -> None:
    """A key right of the axes, from the top."""
    for number, line in enumerate(lines):
        for text, colour, left_pt in ((line.sign, line.colour, 8), (line.text, line.ink, 19)):
            if text:
                axes.annotate(
                    text,
                    (1, 1),
                    xycoords="axes fraction",
                    xytext=(left_pt if line.sign else 8, -_KEY_LINE_PT * number),
                    textcoords="offset points",
                    va="top",
                    fontsize=8.6,
                    color=colour,
                )


def bare(axes: Axes) -> None:
    """Neither spines nor ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
