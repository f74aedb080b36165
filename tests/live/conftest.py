"""Cameras and drives in memory, a small simulated rig, and the network that ships."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage

from fgaf.acquire import Devices, Frame, Rig, WallClock, load_rig
from fgaf.dataset.storage.optics import Optics
from fgaf.model.deploy.open_model import open_model
from fgaf.model.inference.card import ModelCard
from fgaf.model.inference.checkpoint import Checkpoint, build_network
from fgaf.model.inference.depth import DepthModel
from fgaf.model.inference.heads import Segments, Shares
from fgaf.model.inference.images import Scale
from fgaf.model.inference.segment import Segmenter
from fgaf.model.live import LiveCell, LiveFrame
from fgaf.model.live.page import About, Page
from fgaf.model.networks.settings import preset
from tests.live.pursuit import Pursuit

SMALL = (
    "simulation.shape=[240, 320]",
    "simulation.cells=2",
    "simulation.debris=0",
    "simulation.round_cells=0",
    "simulation.seed=4",
    "simulation.speed_um_s=[15, 25]",  # they stay in so small a frame
    "camera.options.row_us=100",
)


@dataclass
class MemoryCamera:
    """Plays frames from memory, one every `interval_s`; may break on the way."""

    images: list[npt.NDArray[Any]]
    clock: WallClock
    interval_s: float = 0.005
    breaks_at: int | None = None
    error: Exception | None = None
    instead: npt.NDArray[Any] | None = None
    name: str = "memory camera"
    bit_depth: int = 8
    stamp_error_s: float = 0.0
    given: list[int] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.images[0].shape
        return rows, columns

    @property
    def frame_interval_s(self) -> float:
        return self.interval_s

    def start(self) -> None:
        self._begun_s, self._number = time.perf_counter(), 0

    def stream(self, latest: bool = False) -> None:
        assert latest
        self.start()

    def next_frame(self, timeout_s: float) -> Frame | None:
        due_s = self._begun_s + self._number * self.interval_s - time.perf_counter()
        if due_s > timeout_s:
            time.sleep(timeout_s)
            return None
        time.sleep(max(0.0, due_s))
        pixels = self.images[self._number % len(self.images)]
        if self.breaks_at is not None and self._number >= self.breaks_at:
            if self.error is not None:
                raise self.error
            if self.instead is None:
                time.sleep(timeout_s)
                return None
            pixels = self.instead
        self.given.append(self._number)
        self._number += 1
        return Frame(pixels, self._number - 1, 0, self.clock.now_ns(), 5000.0)

    def trigger(self, timeout_s: float) -> Frame:
        frame = self.next_frame(timeout_s)
        assert frame is not None
        return frame

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class MemoryStage:
    """A drive that is at once where it is sent, and remembers where that was."""

    z_um: float = 0.0
    limits_um: tuple[float, float] = (-50.0, 50.0)
    name: str = "memory drive"
    error: Exception | None = None
    went: list[float] = field(default_factory=list)
    asked_by: set[str] = field(default_factory=set)

    def position_um(self) -> float:
        if self.error is not None:
            raise self.error
        self.asked_by.add(threading.current_thread().name)
        return self.z_um

    def move_to(self, z_um: float) -> None:
        self.z_um = z_um
        self.went.append(z_um)

    def moving(self) -> bool:
        return False

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def in_memory() -> Callable[..., Devices]:
    """Make devices of which the camera plays noise; more as `MemoryCamera` takes it."""

    def made(shape: tuple[int, int] = (128, 160), **camera: Any) -> Devices:
        random = np.random.default_rng(0)
        images = [random.integers(90, 110, shape).astype(np.uint8) for _ in range(4)]
        clock = WallClock()
        return Devices(MemoryCamera(images, clock, **camera), MemoryStage(), clock)

    return made


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Overrides that make a small field of two swimming cells."""
    return SMALL


@pytest.fixture(scope="session")
def rig() -> Rig:
    """The built-in rig with a small field."""
    return load_rig("sim", SMALL)


@pytest.fixture(scope="session")
def model() -> DepthModel:
    """The network that ships with fgaf."""
    return open_model("sim")


class Contrasts(Segments):
    """Segments without a network: what differs by 6 % from the background is a head."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self.batches: list[int] = []

    def shares(self, images: Any, source: str = "the input") -> Shares:
        del source
        values = np.asarray(images, np.float32)
        self.batches.append(len(values))
        ground = np.median(values, axis=(1, 2), keepdims=True)
        away = np.abs(ndimage.gaussian_filter(values, (0, 1.5, 1.5)) / ground - 1)
        return np.asarray(away / (away + np.float32(0.06)), np.float32)


@pytest.fixture(scope="session")
def heads_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small network for heads that has learned nothing."""
    settings = preset("heads").with_values({"backbone": "unext_s"})
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("heads") / "checkpoint.pt"
    Checkpoint(
        settings=settings,
        weights=build_network(settings, 9).state_dict(),
        scale=Scale("level", 1.0, 0.1),
        step_um=0.5,
        half_range_um=2.0,
        patch_px=96,
        optics=Optics(pixel_size_um=0.1465, numerical_aperture=0.65),
        archive_name="",
        archive_fingerprint="",
        epoch=1,
        least_px=100,
    ).save(path)
    return path


@pytest.fixture
def contrasts(heads_run: Path) -> Callable[..., Contrasts]:
    """Make a segmentation by contrast; values of its card as given."""
    card = Segmenter.load(heads_run).card
    return lambda **values: Contrasts(replace(card, **values))


@pytest.fixture
def result() -> Callable[..., LiveFrame]:
    """Make a result of two cells; other fields as given."""

    def made(number: int = 0, **instead: Any) -> LiveFrame:
        cells = (
            LiveCell(
                *(1, True, 60.2, 70.7, 10.0, -20.0, 0.9, 1.5, 0.4, 0.2, True, -0.4, 0.1, 0.3),
                segmented=True,
            ),
            LiveCell(2, False, 30.0, 120.0, 0.0, 0.0, 0.5, 0.2),
        )
        values: dict[str, Any] = {
            "frame_id": number,
            "time_ns": 1_000_000_000 + number,
            "result_ns": 1_020_000_000 + number,
            "latency_ms": 20.0,
            "drive_um": 1.25,
            "dropped": 3,
            "rate_hz": 41.0,
            "latency_p50_ms": 19.0,
            "latency_p99_ms": 30.0,
            "target": None,
            "aim_um": None,
            "at_limit": False,
            "cells": cells,
            "pixels": np.full((128, 160), 120, np.uint8),
        }
        return LiveFrame(**values | instead)

    return made


@pytest.fixture
def pursuit() -> Pursuit:
    """What a page asks of the drive."""
    return Pursuit()


@pytest.fixture
def about() -> About:
    """A run of which a page tells."""
    return About("fgaf live: test", 8, 2.0, "fgaf-live rig.toml run --track centre", "swim.h5")


@pytest.fixture
def page(about: About, pursuit: Pursuit) -> Iterator[Page]:
    """A page without a frame yet, of a run with --track."""
    with Page(0, about, pursuit) as served:
        yield served


@pytest.fixture
def open_page(about: About, pursuit: Pursuit, result: Callable[..., LiveFrame]) -> Iterator[Page]:
    """A page for other computers too, of a run with --track."""
    with Page(0, about, pursuit, "0.0.0.0", ["Scope.Lab.example"]) as served:
        served.show(result(7))
        yield served
