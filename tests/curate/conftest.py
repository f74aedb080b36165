"""Simulated stacks on disk, with their truth beside them; taken once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.dataset.raw import RawHeader, RawWriter
from fgaf.dataset.truth import FrameTruth, StackTruth, write_truth

INTERVAL_NS = 33_000_000


def take(path: Path, seed: int, contrast: str, start_s: float = 0.0, **settings: object) -> Path:
    """Take a stack of ±4 µm at 0.5 µm of a simulated field."""
    options = {"cells": 6, "shape": (520, 640), "motile": False, "debris": 8} | settings
    scene = Scene(SimulationSettings(seed=seed, contrast=contrast, **options))
    header = RawHeader.new(
        step_um=0.5,
        half_range_um=4.0,
        center_um=0.0,
        bit_depth=8,
        optics=scene.settings.optics,
        sample_id="donor 1",
    )
    z = np.arange(-8, 9) * 0.5
    truth = []
    with RawWriter(path, header, (len(z), *scene.settings.shape), np.uint8) as writer:
        for plane, height in enumerate(z):
            now = round(start_s * 1e9) + plane * INTERVAL_NS
            pixels, cells = scene.expose(now * 1e-9, 0.005, float(height))
            truth.append(FrameTruth(time_ns=now, cells=cells))
            writer.write(
                plane,
                pixels,
                z_requested_um=float(height),
                z_measured_um=float(height),
                time_device_ns=now,
                time_host_ns=now,
                frame_id=plane,
                exposure_us=5000.0,
            )
        writer.publish()
    write_truth(path, StackTruth(stack_uuid=header.uuid, frames=tuple(truth)))
    return path


@pytest.fixture(scope="session")
def raw_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two repeats of one immotile field in bright field, and one of another field."""
    folder = tmp_path_factory.mktemp("raw")
    take(folder / "first.stack.h5", 71, "brightfield")
    take(folder / "second.stack.h5", 71, "brightfield", start_s=5.0)
    take(folder / "third.stack.h5", 72, "brightfield")
    return folder


@pytest.fixture(scope="session")
def stack_taker() -> Callable[..., Path]:
    return take
