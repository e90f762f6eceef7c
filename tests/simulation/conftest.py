import datetime

import pytest

SWARM_CPU_S = 60.0


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--seed", type=int, help="replay this seed of the swarm only")
    group.addoption(
        "--first-seed", type=int, help="the first of the swarm's fresh seeds (drawn from the date)"
    )
    group.addoption(
        "--swarm-seconds",
        type=float,
        default=SWARM_CPU_S,
        help=f"CPU time for the swarm's fresh seeds ({SWARM_CPU_S:g})",
    )


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int | None:
    """The one seed that is asked for."""
    asked: int | None = request.config.getoption("--seed")
    return asked


@pytest.fixture
def first_seed(request: pytest.FixtureRequest) -> int:
    """Where fresh seeds begin: elsewhere every minute, so that each run looks where none has."""
    asked: int | None = request.config.getoption("--first-seed")
    if asked is not None:
        return asked
    return int(datetime.datetime.now(datetime.UTC).timestamp()) // 60 * 1000


@pytest.fixture
def swarm_cpu_s(request: pytest.FixtureRequest) -> float:
    """How much CPU time fresh seeds may take."""
    asked: float = request.config.getoption("--swarm-seconds")
    return asked
