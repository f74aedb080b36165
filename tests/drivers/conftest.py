"""The peers of the drivers, and Basler's emulator for every test that opens a camera."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.devices import DeviceError, WallClock
from fgaf.acquire.drivers import asi, prior
from fgaf.acquire.drivers.serial_stage import SerialStage
from fgaf.acquire.rig import Opening, Rig

# Basler's library reads this when it is imported, which a driver does when it is opened.
os.environ.setdefault("PYLON_CAMEMU", "1")
# pymmcore-plus reads this then, and would write a log file into the home folder.
os.environ.setdefault("PYMM_LOG_FILE", "0")
sys.path.insert(0, str(Path(__file__).parent))

from ms2000_peer import AsiPersonality, Ms2000Peer
from new_era_peer import NewEraPeer, NewEraPersonality
from proscan_peer import Personality, ProScanPeer
from serial_peer import SerialPeer, SerialPersonality, patient_socket

PEERS: dict[type[SerialPersonality], Any] = {
    AsiPersonality: Ms2000Peer,
    NewEraPersonality: NewEraPeer,
    Personality: ProScanPeer,
}
OPENERS = {"asi": asi.open_stage, "prior": prior.open_stage}
TIMEOUT_S = 0.05
"""Silence of a peer for which its driver waits."""


@pytest.fixture(autouse=True)
def peers(monkeypatch: pytest.MonkeyPatch) -> list[SerialPeer]:
    """The controllers of the test, for which drivers wait while they have no processor."""
    peers: list[SerialPeer] = []
    monkeypatch.setattr("fgaf.acquire.drivers.serial_link._LOUDEST", 1000)
    for name, instead in patient_socket(peers).items():
        monkeypatch.setattr(f"serial.urlhandler.protocol_socket.{name}", instead)
    return peers


@pytest.fixture
def start_peer(peers: list[SerialPeer]) -> Iterator[Callable[[SerialPersonality], SerialPeer]]:
    """Start controllers of a given personality; all are switched off after the test."""

    def start(personality: SerialPersonality) -> SerialPeer:
        kind = next(kind for like, kind in PEERS.items() if isinstance(personality, like))
        peers.append(kind(personality))
        return peers[-1]

    yield start
    for peer in peers:
        peer.switch_off()


@pytest.fixture
def open_serial() -> Iterator[Callable[..., SerialStage]]:
    """Open a driver on a peer as a rig would; all are closed after the test."""
    stages: list[SerialStage] = []

    def open_on(driver: str, peer: SerialPeer, **more: Any) -> SerialStage:
        model = {"model": peer.model} if driver == "prior" else {}
        options = {"port": peer.url, "timeout_s": TIMEOUT_S} | model | more
        rig = Rig(
            camera=CameraTable(driver="basler"),
            stage=StageTable(driver=driver, limits_um=(-500, 500), options=options),
        )
        stages.append(OPENERS[driver](rig.stage.options, Opening(rig, WallClock())))
        return stages[-1]

    yield open_on
    for stage in stages:
        with suppress(DeviceError):
            stage.close()


@pytest.fixture
def open_prior(open_serial: Callable[..., SerialStage]) -> Callable[..., SerialStage]:
    """Open the Prior driver on a peer."""
    return partial(open_serial, "prior")


@pytest.fixture
def open_asi(open_serial: Callable[..., SerialStage]) -> Callable[..., SerialStage]:
    """Open the ASI driver on a peer."""
    return partial(open_serial, "asi")
