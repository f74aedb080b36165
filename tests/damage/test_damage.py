"""Damaged files of every kind: each command that reads them says so, or answers as it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from corrupter import damages_of
from lab import HARMLESS, KINDS, REPORTED, TOLD, Kind, Lab

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "damage.py"
SLOW_TO_MAKE = "export"
FEW = 4


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"), exports=False)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if SLOW_TO_MAKE not in kind.name], ids=lambda kind: kind.name
)
def test_every_way_to_damage_a_file_is_reported_or_harmless(kind: Kind, lab: Lab) -> None:
    """Where many commands read a kind, each damage meets about four of them."""
    commands = [each for each in kind.commands if SLOW_TO_MAKE not in each.name.split()[0]]
    shares = -(-len(commands) // FEW)
    for seed in range(len(set(damages_of(Path(kind.pattern))))):
        for found in lab.judge(kind, commands[seed % shares :: shares], seed):
            assert found["verdict"] in (REPORTED, TOLD, HARMLESS), (seed, found)


@pytest.mark.slow
def test_three_hundred_damages_per_kind_and_command() -> None:
    """In processes that may crash or hang: `python benchmarks/damage.py` prints the table."""
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
