"""A small, fast simulated rig."""

import pytest

from fgaf.acquire import Rig, load_rig

SMALL = (
    "simulation.shape=[48, 64]",
    "simulation.cells=1",
    "simulation.debris=0",
    "simulation.round_cells=0",
)


@pytest.fixture
def small() -> tuple[str, ...]:
    """Overrides that make the simulated field small."""
    return SMALL


@pytest.fixture
def rig() -> Rig:
    """The built-in rig with a small field."""
    return load_rig("sim", SMALL)
