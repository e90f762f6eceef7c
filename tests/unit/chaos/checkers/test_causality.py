"""The order of writes, from contexts alone: what is certain in it and what is only possible."""

from chaos.checkers.causality import Causality
from chaos.recording import Operation
from tests.unit.chaos.checkers.histories import FAIL, INFO, Told


def _order(told: Told) -> Causality:
    return Causality(told.operations)


def _are(*writes: Operation) -> frozenset[int]:
    return frozenset(write.index for write in writes)


def test_a_blind_write_is_above_nothing() -> None:
    told = Told()
    told.write("x")
    y = told.write("y")
    assert _order(told).possible_ancestors(y.index) == _are()


def test_a_write_is_above_what_its_context_showed_and_above_what_that_replaced() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", after=told.read(x))
    unseen = told.write("u", by="c2")
    z = told.write("z", after=told.read(y))
    order = _order(told)
    assert order.certain_ancestors(z.index) == order.possible_ancestors(z.index) == _are(x, y)
    assert order.maximal(_are(x, y, z, unseen)) == _are(z, unseen)
    assert order.certainly_gone() == _are(x)


def test_a_context_covers_no_more_than_was_shown() -> None:
    told = Told()
    x, unseen = told.write("x"), told.write("u", by="c2")
    y = told.write("y", after=told.read(x))
    assert unseen.index not in _order(told).possible_ancestors(y.index)


def test_a_put_that_shows_what_is_there_gives_a_context_that_covers_itself() -> None:
    told = Told()
    x = told.write("x")
    y = told.write("y", by="c2", shows=[x, "b"])
    z = told.write("z", by="c2", after=y)
    assert _order(told).certain_ancestors(z.index) == _are(x, y)


def test_the_context_of_a_read_that_failed_covers_nothing() -> None:
    told = Told()
    x = told.write("x")
    read = told.read(x, outcome=INFO)
    y = told.write("y", after=read)
    assert _order(told).possible_ancestors(y.index) == _are()


def test_deleted_stands_for_the_only_delete_there_was() -> None:
    told = Told()
    x = told.write("x")
    delete = told.delete(after=told.read(x), outcome=INFO)
    read = told.read(deleted=True)
    y = told.write("y", after=read)
    order = _order(told)
    assert order.certain_ancestors(y.index) == _are(x, delete)
    assert order.certainly_gone() == _are(x)


def test_deleted_may_stand_for_any_delete_and_certainly_for_what_all_of_them_replaced() -> None:
    told = Told()
    x = told.write("x")
    first = told.delete("d1", after=told.read(x))
    y = told.write("y", by="c2")
    second = told.delete("d2", by="c2", after=told.read(x, y))
    read = told.read(deleted=True)
    later = told.delete("d3", after=told.read(y))
    failed = told.delete("d4", after=told.read(y), outcome=FAIL, at=(1.0, 1.01))
    order = _order(told)
    assert order.certainly_covered(read.index) == _are(x)
    assert order.possibly_covered(read.index) == _are(x, y, first, second)
    assert not order.possibly_covered(read.index) & _are(later, failed)


def test_a_delete_without_a_context_may_be_above_anything_that_began_before_it_returned() -> None:
    told = Told()
    x = told.write("x")
    delete = told.delete()
    y = told.write("y")
    unknown = told.delete(outcome=INFO)
    z = told.write("z")
    order = _order(told)
    assert order.certain_ancestors(delete.index) == _are()
    assert order.possible_ancestors(delete.index) == _are(x)
    assert order.possible_ancestors(unknown.index) == _are(x, delete, y, z)


def test_a_text_that_two_requests_stored_may_be_either_ones() -> None:
    told = Told()
    x, y = told.write("x"), told.write("y", by="c2")
    first = told.write("again", after=told.read(x))
    second = told.write("again", after=told.read(x, y))
    z = told.write("z", after=told.read(first))
    order = _order(told)
    assert order.certain_ancestors(z.index) == _are(x)
    assert order.possible_ancestors(z.index) == _are(x, y, first, second)


def test_a_value_may_be_shown_before_its_writer_has_an_answer() -> None:
    told = Told()
    x = told.write("x")
    seen = told.read(x)
    y = told.write("y", after=seen, at=(2.0, 9.0), outcome=INFO)
    read = told.read(y, by="c2", at=(1.9, 3.0))
    z = told.write("z", by="c2", after=read, at=(3.0, 3.1))
    assert _order(told).certain_ancestors(z.index) == _are(x, y)


def test_histories_that_cannot_be_are_put_in_some_order() -> None:
    told = Told()
    x = told.write("x", at=(5.0, 6.0))
    early = told.read(x, at=(1.0, 1.1))
    told.operations[0] = told.write("x", after=early, at=(5.0, 6.0))  # based on its own effect
    del told.operations[-1]
    unheard = told.read("never written")
    y = told.write("y", after=unheard)
    assert _order(told).certain_ancestors(y.index) == _are()


def test_a_thousand_writes_each_after_the_one_before() -> None:
    told = Told()
    write = told.write("0")
    for number in range(1, 1000):
        write = told.write(str(number), after=told.read(write))
    assert len(_order(told).certain_ancestors(write.index)) == 999
