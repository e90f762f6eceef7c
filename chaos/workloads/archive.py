"""Many keys with values of some size, which nobody asks for: data that is only there."""

from collections.abc import Collection, Mapping
from random import Random

from chaos.clients import LabClient
from chaos.errors import ClusterError
from chaos.modes import Mode
from chaos.workloads.workload import Memory, Workload


class Archive(Workload):
    """A step replaces a value."""

    def __init__(
        self, mode: Mode, *, keys: int = 600, value_bytes: int = 1000, name: str = "archive"
    ) -> None:
        """Name the objects.

        Args:
            mode: of all requests.
            keys: how many.
            value_bytes: how large each value is, beside its name.
            name: see `Workload`.
        """
        super().__init__(name, mode, keys=keys)
        self.value_bytes = value_bytes
        self._memory = Memory()

    async def prepare(self, clients: Mapping[str, LabClient]) -> None:
        everybody = list(clients.values())
        writers = {key: everybody[n % len(everybody)] for n, key in enumerate(self.keys)}
        self._memory.begin(await self._preload(writers, self._payload))

    async def step(self, client: LabClient, dice: Random, intended_s: float) -> None:
        await self._replace(client, dice.choice(self.keys), dice, intended_s)

    async def replace(self, client: LabClient, keys: Collection[str], dice: Random) -> None:
        """Replace the values of these keys, one after the other.

        Raises:
            ClusterError: one cannot be.
        """
        for key in keys:
            if not await self._replace(client, key, dice):
                raise ClusterError(f"{key} of {self.bucket} could not be replaced as planned")

    async def _replace(
        self, client: LabClient, key: str, dice: Random, intended_s: float | None = None
    ) -> bool:
        reply = await self._put(
            client,
            key,
            dice,
            based_on=self._memory.of(client, key),
            payload=self._payload,
            returning=True,
            intended_s=intended_s,
        )
        self._memory.note(client, key, reply)
        return reply.is_ok

    @property
    def _payload(self) -> str:
        return "." * self.value_bytes
