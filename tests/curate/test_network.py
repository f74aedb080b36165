"""Focus suggested by a network: planes that know, planes that cannot, and what is written down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.session.network import Network
from fgaf.curate.session.queue import QueueSettings, queue_of
from fgaf.curate.session.session import Session

Z = np.arange(-8, 9) * 0.5
SETTINGS = PatchSettings(16, 0.5, 2.0)


class Reader:
    """Reads depth as a trained network would: right within its range, at its end beyond."""

    def __init__(self, focus_um: float, noise_um: float = 0.0, z_um: np.ndarray = Z) -> None:
        self.focus_um, self.noise_um, self.z_um = focus_um, noise_um, z_um

    def predict(self, images: np.ndarray, source: str) -> tuple[np.ndarray, np.ndarray]:
        assert len(images) == len(self.z_um), source
        noise = np.random.default_rng(1).normal(0, self.noise_um, len(self.z_um))
        depth = np.clip(self.z_um - self.focus_um + noise, -2, 2)
        return depth, np.full(len(depth), 0.2)


PATCHES = np.zeros((len(Z), 16, 16), np.uint8)


@pytest.mark.parametrize("focus_um", [-2.6, 0.0, 0.3, 3.1])
def test_planes_within_the_range_tell_the_focus(focus_um: float) -> None:
    suggested = Network(Reader(focus_um, 0.1), "net").suggest(PATCHES, Z, SETTINGS)
    assert suggested.focus_um == pytest.approx(focus_um, abs=0.15)
    assert suggested.confidence > 0.8
    assert (suggested.rule, suggested.problem, suggested.by) == ("network", "", "net")


def test_planes_that_do_not_agree_are_said() -> None:
    suggested = Network(Reader(0.0, 3.0), "net").suggest(PATCHES, Z, SETTINGS)
    assert suggested.confidence < 0.5
    assert suggested.problem == "the planes do not agree"


def test_open_cells_get_new_suggestions_once(session: Session) -> None:
    session.decide("one", "accept", "ann")
    network = Network(Reader(0.0, z_um=np.arange(-2, 3) * 0.5), "network run")
    assert network.suggest_all(session) == 2
    assert network.suggest_all(session) == 0
    cells = session.state.cells
    assert [cells[name].suggestion.by for name in cells] == ["focus-curve"] + ["network run"] * 2
    session.decide("two", "accept", "ann")
    assert session.state.cells["two"].label.suggested_by == "network run"
    assert queue_of(session.state, QueueSettings(order="uncertainty"), "ann")[0] != "three"


@pytest.mark.slow
def test_a_folder_without_a_run_is_said(tmp_path: Path) -> None:
    # By itself: torch's compiler and the software OpenGL of a window do not share a process.
    code = (
        "import sys, pathlib; from fgaf.curate.session.network import Network\n"
        "Network.load(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("fgaf.base.errors.")
    assert tmp_path.name in done.stderr.splitlines()[-1]
