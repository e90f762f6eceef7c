"""What is said of reads: how stale, and whose sessions they broke."""

from chaos.checkers.reads import table
from tests.unit.chaos.checkers.histories import Told


def test_a_read_that_misses_two_writes_of_its_own_client_is_told_with_its_depth() -> None:
    told = Told()
    old = told.write("old", by="c1", at=(0.1, 0.2))
    mid = told.write("mid", by="c1", at=(1.0, 1.1), after=old)
    told.write("new", by="c1", at=(2.0, 2.1), after=mid)
    told.read(old, by="c1", at=(3.1, 3.2))
    told.read(old, by="c2", at=(3.3, 3.4))
    found = table([told.take()])
    assert found is not None
    [row] = found.rows
    assert row[2:] == ("2", "100.0", "2, 2", "2.00, 2.20", "50.0", "0.0")


def test_fresh_reads_have_no_depth() -> None:
    told = Told()
    only = told.write("only", by="c1", at=(0.1, 0.2))
    told.read(only, by="c1", at=(1.0, 1.1))
    found = table([told.take()])
    assert found is not None
    assert found.rows[0][3:] == ("0.0", "", "", "0.0", "0.0")


def test_without_reads_there_is_nothing_to_tell() -> None:
    told = Told()
    told.write("only", by="c1", at=(0.1, 0.2))
    assert table([told.take()]) is None
