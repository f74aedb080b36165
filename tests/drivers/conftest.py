"""The peers of the drivers, and Basler's emulator for every test that opens a camera."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fgaf.acquire.devices import DeviceError, Opening, WallClock
from fgaf.acquire.drivers.prior import PriorStage, open_stage
from fgaf.acquire.rig import CameraTable, Rig, StageTable

# Basler's library reads this when it is imported, which a driver does when it is opened.
os.environ.setdefault("PYLON_CAMEMU", "1")
sys.path.insert(0, str(Path(__file__).parent))

from proscan_peer import Personality, ProScanPeer


@pytest.fixture(autouse=True)
def _close_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the 0.3 s that pyserial rests after closing a socket, for the sake of servers."""
    at_once = SimpleNamespace(sleep=lambda _: None)
    monkeypatch.setattr("serial.urlhandler.protocol_socket.time", at_once)


@pytest.fixture
def start_peer() -> Iterator[Callable[[Personality], ProScanPeer]]:
    """Start controllers of a given personality; all are switched off after the test."""
    peers: list[ProScanPeer] = []

    def start(personality: Personality) -> ProScanPeer:
        peers.append(ProScanPeer(personality))
        return peers[-1]

    yield start
    for peer in peers:
        peer.switch_off()


@pytest.fixture
def open_prior() -> Iterator[Callable[..., PriorStage]]:
    """Open the driver on a peer as a rig would; all are closed after the test."""
    stages: list[PriorStage] = []

    def open_on(peer: ProScanPeer, **more: Any) -> PriorStage:
        options = {"port": peer.url, "timeout_s": 0.15, "model": peer.model} | more
        rig = Rig(
            camera=CameraTable(driver="basler"),
            stage=StageTable(driver="prior", limits_um=(-500, 500), options=options),
        )
        stages.append(open_stage(rig.stage.options, Opening(rig, WallClock())))
        return stages[-1]

    yield open_on
    for stage in stages:
        with suppress(DeviceError):
            stage.close()
