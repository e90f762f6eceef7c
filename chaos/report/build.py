"""Everything that shows a run, written beside its recording.

RUN/report.html     the page; nothing else is needed to read it
RUN/summary.json    the Judgement, for programs
RUN/junit.xml       the same for a CI server
RUN/charts/*.png    the page's pictures, to put elsewhere
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chaos.errors import RecordingError
from chaos.judgement import Judgement
from chaos.recording import Recording
from chaos.report.export import junit_of, summary_of
from chaos.report.gallery import gallery_of
from chaos.report.notes import Notes
from chaos.report.page import page_of
from chaos.report.style import rules
from chaos.report.svg import png_of

PAGE: Final = "report.html"


def build(
    recording: Recording,
    judgement: Judgement,
    directory: Path,
    notes: Mapping[str, Notes] | None = None,
) -> Path:
    """Write them all and tell where the page is.

    Args:
        recording: the run as it went.
        judgement: what was concluded from it.
        directory: the run's; what stood there under these names is replaced.
        notes: what checkers found of single operations, by the name of the take.

    Raises:
        RecordingError: the directory cannot be written to.
    """
    with rules():
        gallery = gallery_of(recording, judgement, notes or {})
        page = page_of(recording, judgement, gallery)
        pictures = {chart.name: png_of(chart) for chart in gallery.charts}
    files = {
        PAGE: page.encode(),
        "summary.json": summary_of(judgement),
        "junit.xml": junit_of(judgement),
        **{f"charts/{name}.png": picture for name, picture in pictures.items()},
    }
    for name, content in files.items():
        write(directory / name, content)
    return directory / PAGE


def write(path: Path, content: bytes) -> None:
    """Write a file, its directory too if there is none.

    Raises:
        RecordingError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise RecordingError(f"cannot write {path}: {error.strerror}") from error
