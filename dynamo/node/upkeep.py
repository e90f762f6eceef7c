"""The work that keeps replicas whole, put together: handoff, comparison, scrubbing, forgetting.

None of it is what a client waits for, so all of it passes the same gate (`pacing`), and each part
can be left out while the others go on. The parts do not know each other: they meet in what is held.
"""

import random
from collections.abc import Callable

from dynamo.config import NodeConfig
from dynamo.node.anti_entropy import AntiEntropy
from dynamo.node.cluster_view import ClusterView
from dynamo.node.comparison import TreeAnswers
from dynamo.node.divergence import Divergence
from dynamo.node.handoff import Handoff
from dynamo.node.holdings import Holdings
from dynamo.node.orphans import Orphans
from dynamo.node.pacing import Pacer
from dynamo.node.replica import Respond
from dynamo.node.scrubbing import Scrubbing
from dynamo.node.stats import Counters
from dynamo.node.tasks import Tasks
from dynamo.node.tombstone_watch import TombstoneAnswers
from dynamo.node.tombstones import Tombstones
from dynamo.node.writes import Send
from dynamo.rpc.messages import (
    ListTreeKeys,
    ReadTrees,
    Request,
    TombstoneAsk,
    TombstoneCollect,
)


class Upkeep:
    """One node's background jobs, and what it answers to those of others.

    Attributes:
        pacer: the gate of all of them.
        handoff: delivers hints.
        anti_entropy: compares this node with others.
        scrubbing: reads its disk.
        tombstones: forgets deleted keys.
        divergence: tells whether the replicas are equal.
    """

    def __init__(
        self,
        view: ClusterView,
        held: Holdings,
        send: Send,
        tasks: Tasks,
        counters: Counters,
        dice: random.Random,
        clock_s: Callable[[], float],
        wall_ms: Callable[[], int],
        config: NodeConfig,
        *,
        is_serving: Callable[[], bool],
        forget_minted: Callable[[bytes], None],
        settle_s: float,
    ) -> None:
        """Nothing is begun yet.

        Args:
            view: the cluster.
            held: what the node holds.
            send: how to ask others, and itself.
            tasks: who owns what is begun.
            counters: where it is counted.
            dice: chooses whom to compare with.
            clock_s: the loop's.
            wall_ms: tells the age of hints.
            config: what is done at all, and how often.
            is_serving: whether the node has joined, and is fit.
            forget_minted: drops what was minted from nothing for a key (`afresh`).
            settle_s: how long whatever touched a key may still have an effect.
        """
        self._config = config
        self._tasks = tasks
        call_timeout_s = config.replica_timeout_s
        self.pacer = Pacer(clock_s, p99_s_max=config.foreground_p99_ms_max / 1000)
        self.handoff = Handoff(
            view,
            held.hints,
            send,
            self.pacer,
            tasks,
            counters,
            clock_s,
            wall_ms,
            serving=is_serving,
            delivers=config.hinted_handoff,
            interval_s=config.handoff_interval_s,
            replica_timeout_s=call_timeout_s,
            hint_age_s_max=config.hint_age_s_max,
        )
        self._tree_answers = TreeAnswers(view, held.trees, counters)
        self.anti_entropy = AntiEntropy(
            view,
            held.trees,
            self._tree_answers,
            held.objects,
            send,
            self.pacer,
            counters,
            dice,
            is_serving=is_serving,
            interval_s=config.anti_entropy_interval_s,
            call_timeout_s=call_timeout_s,
        )
        self._orphans = Orphans(
            view,
            held.trees,
            held.objects,
            send,
            self.pacer,
            counters,
            clock_s,
            is_serving=is_serving,
            call_timeout_s=call_timeout_s,
        )
        self.scrubbing = Scrubbing(
            held.trees, held.objects, self.pacer, partitions=view.ring.partitions
        )
        self.tombstones = Tombstones(
            view,
            held.deleted,
            held.objects,
            send,
            self.pacer,
            counters,
            clock_s,
            collects=config.tombstone_collection,
            settle_s=settle_s,
            call_timeout_s=call_timeout_s,
        )
        self.divergence = Divergence(view, held.trees, send, dice, call_timeout_s=call_timeout_s)
        self._tombstone_answers = TombstoneAnswers(
            view, held.objects, held.hints, held.watch, clock_s, forget_minted
        )

    def start(self) -> None:
        """Begin all that the settings do not leave out."""
        config, tasks = self._config, self._tasks
        tasks.repeat(self.pacer.step, "pacing")
        if config.tombstone_collection:
            tasks.repeat(self.tombstones.step, "tombstones")
        tasks.repeat(self.handoff.step, "handoff")
        tasks.repeat(self.scrubbing.keep_loaded, "trees")
        tasks.repeat(self.scrubbing.walk, "scrubbing")
        if config.anti_entropy:
            tasks.repeat(self.anti_entropy.step, "anti-entropy")
            tasks.repeat(self._orphans.step, "orphans")

    def answer(self, request: Request, respond: Respond) -> None:
        """Answer what the job of another node, or of this one, asks.

        Raises:
            DynamoError: it cannot be answered.
        """
        if isinstance(request, ReadTrees):
            respond(self._tree_answers.read(request))
        elif isinstance(request, ListTreeKeys):
            respond(self._tree_answers.list_keys(request))
        elif isinstance(request, TombstoneAsk):
            respond(self._tombstone_answers.stand(request))
        elif isinstance(request, TombstoneCollect):
            self._tombstone_answers.collect(request, respond)
