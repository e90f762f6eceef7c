"""Making bucket types: created, known to every node, and only then activated.

A node that used a type others have not heard of would store keys where those cannot see what they
are: how many replicas they have, how their conflicts are treated. So whoever activates a type first
has every node of the cluster confirm that it knows it, on its disk, as it is. A node that is down
stands in the way; it might return without having heard. Nodes that join meanwhile are found: each
confirmation names all that its node knows to be in the cluster, and a joiner serves no sooner than
one that knows of it has told it what there is (`node/joining.py`).

Two nodes may activate at the same time. Each needs the other's confirmation, and none gives way to
another version once it activated: so a type has one set of properties, whoever uses it first.

A type that is created anew needs all confirmations as well. Whoever is activating it as it was is
one of those asked: told before the activation is written it gives up, and asked later it says no.
So no creation that was acknowledged is lost to an activation of what was there before it.
"""

import asyncio
import logging
from collections.abc import Mapping

from dynamo.core.bucket_types import TypeStatus, decode_type
from dynamo.core.facts import TYPE, Fact, decode_fact, encode_fact
from dynamo.core.ids import Bucket, NodeId
from dynamo.core.membership import member_name
from dynamo.errors import BadRequest, DynamoError, NotReady, OutcomeUnknown, ProtocolError
from dynamo.node.cluster_view import FACTS_MAX, ClusterView
from dynamo.node.fact_memory import FactMemory
from dynamo.node.gossip import Gossip
from dynamo.node.publishing import Publisher
from dynamo.node.replica import Respond
from dynamo.rpc.failures import to_error, to_failed
from dynamo.rpc.messages import ConfirmType, Failed, TypeHeld
from dynamo.rpc.peers import Peers

log = logging.getLogger(__name__)

CONFIRM_S_MAX = 3.0
"""How long a node may take to confirm; it has to write a few hundred bytes."""

ASK_S_MAX = 8.0
"""How long all of them may, those that are heard of meanwhile included."""


class BucketTypes:
    """Creates and activates bucket types, and confirms those that others do."""

    def __init__(
        self,
        view: ClusterView,
        publisher: Publisher,
        memory: FactMemory,
        gossip: Gossip,
        peers: Peers,
    ) -> None:
        self._view = view
        self._publisher = publisher
        self._memory = memory
        self._gossip = gossip
        self._peers = peers
        self._activating: set[bytes] = set()

    def known(self) -> Mapping[bytes, bool]:
        """All types by name, and whether each is active; the default one first."""
        return self._view.properties.types()

    async def create(self, name: bytes, given: Mapping[str, object]) -> None:
        """Create a type, or anew one that is not active yet.

        Raises:
            BadRequest: there can be no such type, there is one in use, or there are too many; or
                another created it anew meanwhile.
            NotReady: this node activates it just now.
            OutcomeUnknown: it is created anew, unless another is activating it as it was.
            StorageError: it could not be written down here; gossip may spread it all the same.
        """
        book = self._view.properties
        is_anew = book.is_created(name)
        fact = book.creation(name, given, self._view.me)
        self._check_free(fact)
        await self._publisher.publish(fact)
        if is_anew:
            await self._see_confirmed(fact)

    async def _see_confirmed(self, fact: Fact) -> None:
        """Return once nobody can activate any more what was before this creation."""
        unaware = await self._unconfirmed(fact)
        if unaware and not self._is_overtaken(fact):
            doubt = OutcomeUnknown(
                f"the type is created anew, but not every node knows that. {_listed(unaware)}."
                " One of them may be activating it as it was: look at it again"
            )
            doubt.acks = 1 + len(self._view.peers() - unaware.keys())
            raise doubt

    async def activate(self, name: bytes) -> bool:
        """Let a type be used, by every node. Returns False if it is active already.

        Raises:
            BadRequest: there is no such type, or some node has not confirmed that it knows it.
            StorageError: it could not be written down here.
        """
        book = self._view.properties
        if self._is_active(name):
            return False
        fact = book.awaits_activation(name)
        await self._memory.keep_durably(fact.name)
        unaware = await self._unconfirmed(fact)
        if self._is_overtaken(fact):
            return True
        if unaware:
            raise BadRequest(
                f"{name.decode()} cannot be activated yet: not every node knows it."
                f" {_listed(unaware)}."
                " Start these nodes, or remove those that are gone for good"
            )
        # On disk first: what was in use for a moment only could be made anew as something else.
        activation = book.activation(name, self._view.me)
        self._activating.add(fact.name)
        try:
            await self._memory.write(activation)
        finally:
            self._activating.discard(fact.name)
        if self._is_overtaken(fact):
            return True
        log.info("a bucket type is activated", extra={"bucket_type": name.decode()})
        await self._publisher.publish(activation, peers_max=FACTS_MAX)
        return True

    def _is_overtaken(self, fact: Fact) -> bool:
        """Whether the type was activated by another, as this fact has it, while this node waited.

        Raises:
            BadRequest: it is something else now, and others may have this node's word that it knows
                that.
        """
        newest = self._view.facts.get(fact.name)
        if newest == fact:
            return False
        if newest is not None and (active := decode_type(newest)).active:
            if active.given == decode_type(fact).given:
                return True
            raise BadRequest("the type is active already, with other properties: look at it")
        raise BadRequest("the type was created anew meanwhile: look at it, and activate it again")

    async def status(self, name: bytes) -> TypeStatus | None:
        """How far a type has come; None if there is none. Nodes that do not know it are told."""
        book = self._view.properties
        unaware: Mapping[NodeId, str] = {}
        if not self._is_active(name) and book.is_created(name):
            unaware = await self._unconfirmed(book.awaits_activation(name))
        properties = book.known(Bucket(name, b""))
        if properties is None:
            return None
        return TypeStatus(
            active=self._is_active(name),
            created=book.is_created(name),
            unaware=unaware,
            everything=properties.everything,
        )

    def _is_active(self, name: bytes) -> bool:
        return self._view.properties.of(Bucket(name, b"")) is not None

    # -- confirmations ---------------------------------------------------------------------------

    async def _unconfirmed(self, fact: Fact) -> dict[NodeId, str]:
        """Have all other nodes confirm a type; returns which have not, and why."""
        asked: dict[NodeId, str | None] = {}
        deadline_s = asyncio.get_running_loop().time() + ASK_S_MAX
        while waiting := sorted(self._view.peers() - asked.keys()):
            left_s = deadline_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                return dict.fromkeys(waiting, "there was no time left to ask it")
            answers = await asyncio.gather(
                *(self._why_unconfirmed(node, fact, min(left_s, CONFIRM_S_MAX)) for node in waiting)
            )
            asked |= zip(waiting, answers, strict=True)
        there = self._view.peers()
        return {node: why for node, why in asked.items() if why is not None and node in there}

    async def _why_unconfirmed(self, node: NodeId, fact: Fact, timeout_s: float) -> str | None:
        """Why a node does not confirm a type; None if it does."""
        try:
            held = await self._peers.call(node, ConfirmType(encode_fact(fact)), timeout_s)
            if isinstance(held, Failed):
                raise to_error(held)
            if not isinstance(held, TypeHeld) or len(held.members) > FACTS_MAX:
                raise ProtocolError(f"{node} answered with {type(held).__name__}")
            newest = decode_fact(held.fact)
            if newest.name == fact.name:
                self._view.learn(newest)
            if not self._knows(held.members):
                await self._gossip.exchange(node, timeout_s)
            if not self._knows(held.members):
                return "it knows nodes that are not known here"
        except DynamoError as error:
            return str(error)
        return None if newest == fact else "it knows another version"

    def _knows(self, members: list[bytes]) -> bool:
        return all(self._view.facts.get(name) is not None for name in members)

    async def confirm(self, asked: ConfirmType, respond: Respond) -> None:
        """Answer another node that asks whether this one knows a type."""
        try:
            respond(await self._held(decode_fact(asked.fact)))
        except DynamoError as error:
            respond(to_failed(error))
        except Exception:
            respond(to_failed(OutcomeUnknown(f"{self._view.me} failed at confirming a type")))
            raise

    async def _held(self, fact: Fact) -> TypeHeld:
        if fact.name[:1] != TYPE:
            raise BadRequest("not a bucket type")
        self._check_free(fact)
        self._view.learn(fact)
        await self._memory.keep_durably(fact.name)
        newest = self._view.facts.get(fact.name)
        assert newest is not None, "it was learnt"
        present = sorted(self._view.peers() | {self._view.me})
        return TypeHeld(encode_fact(newest), [member_name(node) for node in present])

    def _check_free(self, fact: Fact) -> None:
        """What would be written now would replace the activation that is on its way to the disk."""
        if fact.name in self._activating:
            raise NotReady(f"{self._view.me} activates the type itself at this moment")


def _listed(unaware: Mapping[NodeId, str]) -> str:
    return "; ".join(f"{node}: {why}" for node, why in unaware.items())
