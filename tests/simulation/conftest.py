import pytest

SEEDS = 200
SEEDS_PER_TEST = 10


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--seed", type=int, help="replay this seed only")
    group.addoption("--seeds", type=int, default=SEEDS, help=f"how many seeds to run ({SEEDS})")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `seeds` gets them in chunks, to keep the report short."""
    if "seeds" not in metafunc.fixturenames:
        return
    seed: int | None = metafunc.config.getoption("--seed", default=None)
    count: int = metafunc.config.getoption("--seeds", default=SEEDS)
    chunks = (
        [
            range(begin, min(begin + SEEDS_PER_TEST, count))
            for begin in range(0, count, SEEDS_PER_TEST)
        ]
        if seed is None
        else [range(seed, seed + 1)]
    )
    ids = [f"{chunk[0]}-{chunk[-1]}" for chunk in chunks]
    metafunc.parametrize("seeds", chunks, ids=ids)
