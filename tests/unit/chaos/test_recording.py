import errno
from pathlib import Path

import pytest

from chaos.errors import RecordingError
from chaos.modes import Conflicts, Mode
from chaos.recording import (
    Action,
    Edge,
    Fault,
    HeldValue,
    Mark,
    Operation,
    Outcome,
    Placement,
    Probe,
    ReplicaState,
    Run,
    Sample,
    Take,
    TakeHead,
    load,
    read_run,
    save_run,
    save_take,
)

RUN = Run(
    experiment="half-split",
    seed=7,
    command="python -m chaos run half-split --seed 7",
    started_at="2026-11-20T12:00:00+0000",
    versions={"dynamo": "0.1.0"},
    takes=("refuse",),
)


def operation(index: int, *, returned_s: float) -> Operation:
    return Operation(
        index=index,
        workload="registers",
        mode="strict 2/2",
        client="a1.1",
        side="A",
        node="n1",
        action=Action.PUT,
        bucket="registers-strict-2-2",
        key="k1",
        intended_s=1.0,
        invoked_s=1.25,
        returned_s=returned_s,
        outcome=Outcome.INFO,
        written="k1|a1.1|1||00000000",
        based_on=None if index == 0 else 0,
        shown=() if index == 0 else None,
    )


TAKE = Take(
    head=TakeHead(
        name="refuse",
        title="links refused",
        duration_s=12.5,
        nodes=("n1", "n2"),
        modes=(Mode(r=2, w=2, sloppy=False), Mode(r=1, w=1, sloppy=True, conflicts=Conflicts.LWW)),
        cut="refuse",
        sides={"A": ("n1",), "B": ("n2",)},
        marks=(Mark(name="broken", at_s=1.0), Mark(name="broken", at_s=3.0)),
        faults=(
            Fault(
                kind="cut", said="n1 | n2", targets=("n1->n2",), began=Edge(from_s=1.0, until_s=1.5)
            ),
        ),
        placements=(Placement(bucket="b", key="k1", primaries=("n1",), stand_ins=("n2",)),),
        probes=(Probe(name="leak test", passed=True, said="silent"),),
        hints={"stored": 3},
    ),
    operations=(operation(0, returned_s=9.0), operation(1, returned_s=2.0)),
    samples=(Sample(at_s=0.5, nodes={"n1": {"up": 2.0}}, divergent=None),),
    final=(
        ReplicaState(
            node="n1",
            bucket="b",
            key="k1",
            primary=True,
            digest="d",
            values=(HeldValue(text="", deleted=True),),
        ),
    ),
)


def saved(directory: Path) -> Path:
    save_run(directory, RUN)
    save_take(directory, TAKE)
    return directory


def test_what_was_recorded_is_read_back(tmp_path: Path) -> None:
    recording = load(saved(tmp_path / "run"))
    assert recording.run == read_run(tmp_path / "run") == RUN
    assert recording.takes == (TAKE,)


def test_a_history_file_is_in_the_order_of_returns_and_read_in_that_of_indexes(
    tmp_path: Path,
) -> None:
    saved(tmp_path)
    first, second = (tmp_path / "refuse" / "history.jsonl").read_text().splitlines()
    assert '"index":1' in first
    assert '"index":0' in second
    assert [op.index for op in load(tmp_path).takes[0].operations] == [0, 1]


def test_nothing_shown_and_shown_nothing_stay_apart(tmp_path: Path) -> None:
    first, second = load(saved(tmp_path)).takes[0].operations
    assert first.shown == ()
    assert second.shown is None


def test_a_moment_that_came_twice_is_the_last() -> None:
    assert TAKE.head.mark_s("broken") == 3.0
    assert TAKE.head.mark_s("healed") is None


def test_latency_counts_from_when_a_request_was_due() -> None:
    assert operation(0, returned_s=3.0).latency_s == 2.0


def test_a_missing_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"cannot read .*run\.json: No such file"):
        load(tmp_path)


@pytest.mark.parametrize("written", range(4))
def test_a_take_that_was_not_written_to_its_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """The disk is full, and of the next file a part is there, whole lines as it happens."""
    write, room = Path.write_bytes, iter([True] * written)

    def full(path: Path, content: bytes) -> int:
        if next(room, False):
            return write(path, content)
        write(path, content[: content.find(b"\n") + 1])
        raise OSError(errno.ENOSPC, "No space left on device")

    save_run(tmp_path, RUN)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RecordingError, match=r"cannot write .*: No space left"):
        save_take(tmp_path, TAKE)
    with pytest.raises(RecordingError):
        load(tmp_path)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    history = saved(tmp_path) / "refuse" / "history.jsonl"
    history.write_text(history.read_text() + "{broken\n")
    with pytest.raises(RecordingError, match=r"line 3 of .*history\.jsonl is broken"):
        load(tmp_path)


def test_a_run_of_another_format_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path) / "run.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(RecordingError, match="is no recording of this lab"):
        read_run(tmp_path)
