"""What tests of conclusions look for, and looks at single nodes to conclude from."""

from collections.abc import Mapping

import msgspec

from chaos.judgement import Findings, RuleOutcome
from chaos.recording import Sample
from tests.unit.chaos.checkers.histories import sample


def rule(findings: Findings, name: str, take: str = "t") -> RuleOutcome:
    """What came of one of the rules."""
    return next(one for one in findings.rules if (one.rule, one.take) == (name, take))


def looked(at_s: float, **nodes: Mapping[str, float]) -> Sample:
    """A look at nodes that are all well but for these figures of theirs."""
    usual = sample(at_s)
    return msgspec.structs.replace(
        usual, nodes={node: {**seen, **nodes.get(node, {})} for node, seen in usual.nodes.items()}
    )
