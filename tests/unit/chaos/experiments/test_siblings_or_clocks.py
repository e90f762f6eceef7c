"""E6's conclusion: siblings may lose nothing, and the last write has to lose something."""

from chaos.experiments.siblings_or_clocks import KEPT, LOST, VARIANTS, SiblingsOrClocks, Variant
from chaos.judgement import Findings, Verdict
from chaos.modes import Conflicts
from tests.unit.chaos.experiments.findings import rule
from tests.unit.chaos.experiments.recordings import recording
from tests.unit.chaos.experiments.sets import Kept, Sets

RACED, LOCKED, *_ = VARIANTS
SIBLINGS = VARIANTS[-1]


def kept(variant: Variant) -> Kept:
    bucket, key = variant.place
    return Kept(variant.mode, bucket, key)


def torn(*, without: Variant | None = None, loses: Conflicts = Conflicts.LWW) -> Sets:
    """Both sides add to all sets during the cut, and side A's is lost where it may be.

    Args:
        without: of this set only the side loses that did nothing.
        loses: how those sets are kept that lose.
    """
    sets = Sets(modes=tuple(dict.fromkeys(variant.mode for variant in VARIANTS)))
    for variant in VARIANTS:
        of = kept(variant)
        first = sets.adds(of, "c1", 1, "1")
        one = sets.adds(of, "c1", 11, "1 2", first)
        other = sets.adds(of, "c4", 12, "1 3", first)
        if variant == without:
            sets.ends(of, sets.adds(of, "c2", 21, "1 2 3", one, other))
        elif variant.mode.conflicts is loses:
            sets.ends(of, sets.adds(of, "c2", 21, "1 3 4", other))
        else:
            sets.ends(of, one, other)
    return sets


def concluded(sets: Sets) -> Findings:
    return SiblingsOrClocks().conclude(recording(sets.take()))


def test_no_two_variants_share_a_set() -> None:
    assert len({variant.place for variant in VARIANTS}) == len(VARIANTS)


def test_clocks_lose_and_siblings_keep() -> None:
    findings = concluded(torn())
    assert rule(findings, KEPT).verdict is Verdict.PASS
    assert rule(findings, LOST).verdict is Verdict.PASS
    assert rule(findings, LOST).said == (
        "last write wins, sloppy 2/2: 1 of 4 are gone (25 %); last write wins, sloppy 2/2, with a"
        " lock: 1 of 4 are gone (25 %)"
    )
    assert [figure.measured for figure in findings.figures] == [25.0, 25.0, 25.0, 25.0, 0.0, 0.0]
    assert "Of 6 additions acknowledged with siblings 0 were lost" in findings.observed


def test_an_addition_that_siblings_lose_is_the_stores_fault() -> None:
    outcome = rule(concluded(torn(loses=Conflicts.SIBLINGS)), KEPT)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.said.startswith("2 acknowledged additions are gone: 2, by put ")
    assert outcome.evidence


def test_a_last_write_that_loses_nothing_refutes_the_hypothesis() -> None:
    outcome = rule(concluded(torn(without=LOCKED)), LOST)
    assert outcome.verdict is Verdict.FAIL
    assert "last write wins, sloppy 2/2, with a lock: none of 3" in outcome.said


def test_where_one_side_added_nothing_during_the_cut_nothing_was_tried() -> None:
    sets = Sets(modes=tuple(dict.fromkeys(variant.mode for variant in VARIANTS)))
    for variant in VARIANTS:
        sets.ends(kept(variant), sets.adds(kept(variant), "c1", 11, "1"))
    findings = concluded(sets)
    assert rule(findings, KEPT).verdict is Verdict.INVALID
    assert rule(findings, LOST).verdict is Verdict.INVALID
    assert "nothing was added on side B of the cut" in rule(findings, KEPT).said


def test_the_table_counts_as_the_protocol_does() -> None:
    sets = torn()
    sets.refused(kept(RACED), "c5", 13)
    what, why = concluded(sets).tables
    assert what.rows[0][1:] == ("5", "4", "3", "1", "0", "80.0", "25.0", "1")
    assert what.rows[-1][1:] == ("3", "3", "3", "0", "0", "100.0", "0.0", "1")
    assert why.rows[0][1:4] == ("1", "1", "0")
    assert why.rows[0][4].endswith("(12.010 s) on side B hid 1")


def test_a_loss_is_drawn_with_the_write_that_hid_it() -> None:
    [lanes] = [one for one in concluded(torn()).lanes if "with a lock" in one.title]
    assert lanes.title.endswith("lost by the cut")
    assert "c4 was on side B of the cut and c1 on side A" in lanes.said
    assert "the first read on side A that does not show element 2 any more" in lanes.said
    assert set(lanes.highlight) < set(lanes.operations)
