"""E8's conclusion: what is put in stays, what is taken out may return, but not from nowhere."""

from chaos.experiments.cart import EXPLAINED, KEPT, LAST, SLOPPY, STRICT, CartSplit
from chaos.experiments.cart_returns import Return, returns
from chaos.judgement import Findings, Verdict
from chaos.recording import Outcome
from tests.unit.chaos.experiments.findings import rule
from tests.unit.chaos.experiments.recordings import recording
from tests.unit.chaos.experiments.sets import Kept, Sets

CART = Kept(SLOPPY, "sloppy")


def told() -> Sets:
    return Sets(modes=(SLOPPY, STRICT, LAST))


def concluded(sets: Sets) -> Findings:
    return CartSplit().conclude(recording(sets.take()))


def found(sets: Sets, *returned: str) -> list[Return]:
    values = {value.text for state in sets.states for value in state.values}
    return list(returns(sets.operations, values, returned))


def taken_out_on_one_side() -> Sets:
    """Item 1 is taken out on side A, while side B adds item 3 to the cart that has it."""
    sets = told()
    first = sets.adds(CART, "c1", 1, "1 2")
    one = sets.adds(CART, "c1", 11, "2", first)
    other = sets.adds(CART, "c4", 12, "1 2 3", first)
    sets.ends(CART, sets.adds(CART, "c2", 21, "1 2 3 4", one, other))
    return sets


def test_an_item_returns_from_the_cart_of_who_had_not_seen_it_go() -> None:
    findings = concluded(taken_out_on_one_side())
    assert rule(findings, KEPT).verdict is Verdict.PASS
    assert rule(findings, EXPLAINED).verdict is Verdict.PASS
    assert rule(findings, EXPLAINED).said.startswith("of 1 item taken out 1 came back")
    what, why = findings.tables
    assert what.rows[0] == ("siblings, sloppy 2/2", "4", "0", "1", "1", "2")
    assert why.rows[0][1] == "1 of k"
    assert "of c4 (12.010 s) on side B" in why.rows[0][3]


def test_what_brought_it_back_is_named() -> None:
    sets = taken_out_on_one_side()
    [one] = found(sets, "1")
    assert (one.removal.client, one.keeper and one.keeper.client) == ("c1", "c4")
    assert one.joined is sets.operations[-2]


def test_the_return_is_drawn() -> None:
    [lanes] = concluded(taken_out_on_one_side()).lanes
    assert lanes.title == "How item 1 came back into cart k"
    assert set(lanes.highlight) < set(lanes.operations)


def test_an_item_that_returns_from_nowhere_is_the_stores_fault() -> None:
    sets = told()
    first = sets.adds(CART, "c1", 1, "1 2")
    sets.adds(CART, "c1", 11, "2", first)
    sets.ends(CART, first)
    outcome = rule(concluded(sets), EXPLAINED)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.said.startswith("1 items came back from nowhere: item 1 of sloppy/k")
    assert outcome.evidence == (3,)


def test_of_several_who_kept_it_the_one_whose_cart_was_joined_is_named() -> None:
    sets = told()
    first = sets.adds(CART, "c1", 1, "1")
    sets.adds(CART, "c3", 10.5, "1 7", first)
    one = sets.adds(CART, "c1", 11, "", first)
    other = sets.adds(CART, "c2", 11.005, "1 8", first)
    sets.ends(CART, sets.adds(CART, "c2", 12, "1 8 9", one, other))
    [back] = found(sets, "1")
    assert back.keeper is other


def test_who_certainly_failed_kept_nothing() -> None:
    sets = told()
    first = sets.adds(CART, "c1", 1, "1 2")
    seen = sets.read(CART, "c4", 11, first)
    sets.adds(CART, "c1", 12, "2", first)
    sets.write(CART, "c4", 13, "1 2 3", after=seen, outcome=Outcome.FAIL)
    [one] = found(sets, "1")
    assert one.keeper is None


def test_an_item_that_is_gone_though_nobody_took_it_out_is_lost() -> None:
    sets = told()
    first = sets.adds(CART, "c1", 1, "1")
    one = sets.adds(CART, "c1", 11, "1 2", first)
    sets.adds(CART, "c4", 11, "1 3", first)
    sets.ends(CART, one)
    outcome = rule(concluded(sets), KEPT)
    assert outcome.verdict is Verdict.FAIL
    assert "item 3 of sloppy/k" in outcome.said


def test_what_the_last_write_loses_is_counted_and_no_failure() -> None:
    cart, sets = Kept(LAST, "last"), taken_out_on_one_side()
    first = sets.adds(cart, "c1", 1, "1")
    sets.adds(cart, "c1", 11, "1 2", first)
    sets.ends(cart, sets.adds(cart, "c4", 12, "1 3", first))
    findings = concluded(sets)
    assert rule(findings, KEPT).verdict is Verdict.PASS
    assert "Last write wins lost 1 of 3" in findings.observed


def test_carts_that_nobody_used_prove_nothing() -> None:
    findings = concluded(told())
    assert rule(findings, KEPT).verdict is Verdict.INVALID
    assert rule(findings, EXPLAINED).verdict is Verdict.INVALID
