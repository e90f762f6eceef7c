"""All experiments, by name and number; and the sets that are run together."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from chaos.errors import SettingError
from chaos.experiment import Experiment
from chaos.experiments.baseline import Baseline
from chaos.experiments.cart import CartSplit
from chaos.experiments.deletes import Deletes
from chaos.experiments.flapping import Flapping
from chaos.experiments.frozen_node import FrozenNode
from chaos.experiments.half_split import HalfSplit
from chaos.experiments.heal_storm import HealStorm
from chaos.experiments.hinted_handoff import HintedHandoff
from chaos.experiments.isolate_one import IsolateOne
from chaos.experiments.kill_storm import KillStorm
from chaos.experiments.lost_disk import LostDisk
from chaos.experiments.matrix import Matrix
from chaos.experiments.no_global_majority import NoGlobalMajority
from chaos.experiments.one_way import OneWay
from chaos.experiments.partial import Partial
from chaos.experiments.pbs import Pbs
from chaos.experiments.quorum_is_not_atomic import QuorumIsNotAtomic
from chaos.experiments.siblings_or_clocks import SiblingsOrClocks
from chaos.experiments.slow_replica import SlowReplica
from chaos.experiments.soak import Soak
from chaos.experiments.torn_streams import TornStreams
from chaos.experiments.wrong_clock import WrongClock
from chaos.links import CutKind

EXPERIMENTS: Final[tuple[Experiment, ...]] = (
    Baseline(),
    HalfSplit(),
    IsolateOne(),
    NoGlobalMajority(),
    OneWay(),
    Partial(),
    SiblingsOrClocks(),
    CartSplit(),
    WrongClock(),
    HintedHandoff(),
    LostDisk(),
    Deletes(),
    FrozenNode(),
    KillStorm(),
    Pbs(),
    QuorumIsNotAtomic(),
    SlowReplica(),
    Flapping(),
    TornStreams(),
    HealStorm(),
    Soak(),
    Matrix(),
)

ALL_CUTS: Final = tuple(str(kind) for kind in CutKind)


class ExperimentSet(NamedTuple):
    """Experiments that are run together.

    Attributes:
        ids: their numbers.
        cuts: how links are cut if nobody says otherwise.
    """

    ids: tuple[str, ...]
    cuts: tuple[str, ...] = ALL_CUTS


SETS: Final[dict[str, ExperimentSet]] = {
    "quick": ExperimentSet(("E0", "E1", "E6", "E10", "E12", "E19"), (CutKind.DROP.value,)),
}


def named(name: str) -> Sequence[Experiment]:
    """The experiments that a name, number or set stands for.

    Raises:
        SettingError: there is none; the text lists what there is.
    """
    wanted = SETS[name].ids if name in SETS else (name,)
    found = [e for one in wanted for e in EXPERIMENTS if one.lower() in (e.name, e.id.lower())]
    if len(found) < len(wanted):
        known = " ".join([*SETS, *(experiment.name for experiment in EXPERIMENTS)])
        raise SettingError(f"there is no experiment {name!r}; there are: {known}")
    return found
