"""Simulated stacks on disk, with their truth beside them; taken once for all tests."""

from __future__ import annotations

import importlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import CellState, StackRef, Suggested
from fgaf.dataset.raw import RawHeader, RawStack, RawWriter
from fgaf.dataset.storage.optics import Optics
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


def write_flat(
    path: Path,
    seed: int | None = None,
    *,
    step_um: float = 0.5,
    shape: tuple[int, int, int] = (5, 40, 50),
    pixel_size_um: float = 0.1465,
    frames: np.ndarray | None = None,
) -> Path:
    """Write a stack without cells: grey, or noise of a seed, or given frames of that shape."""
    header = RawHeader.new(
        step_um=step_um,
        half_range_um=step_um * (shape[0] // 2),
        center_um=0.0,
        bit_depth=8,
        optics=Optics(pixel_size_um=pixel_size_um),
        sample_id="donor 1",
    )
    if frames is None:
        frames = np.full(shape, 100, np.uint8)
    if seed is not None:
        frames = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    path.unlink(missing_ok=True)
    with RawWriter(path, header, shape, np.uint8) as writer:
        for plane, frame in enumerate(frames):
            z = (plane - shape[0] // 2) * step_um
            writer.write(
                plane,
                frame,
                z_requested_um=z,
                z_measured_um=z,
                time_device_ns=plane,
                time_host_ns=plane,
                frame_id=plane,
                exposure_us=5000.0,
            )
        return writer.publish()


@pytest.fixture(scope="session")
def flat_stack() -> Callable[..., Path]:
    """Writes small stacks without cells."""
    return write_flat


def cell_of(name: str, stack: str, confidence: float = 0.9, focus_um: float = 0.2) -> CellState:
    """Make a cell of a stack of `write_flat`."""
    way = np.linspace(12, 14, 5)
    suggested = Suggested(focus_um, confidence, "phase", "", "focus-curve")
    return CellState(name, stack, way, way + 9, 5.0, 6.0, 0.9, suggestion=suggested)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Three cells, suggested at 0.2 µm, of one stack of 5 planes from -1 to 1 µm."""
    path = write_flat(tmp_path / "a.stack.h5", seed=0)
    with Session.create(tmp_path / "s", PatchSettings(16, 0.5, 0.5)) as session:
        with RawStack.open(path) as stack:
            ref = StackRef.of(stack)
        session.begin([ref], [cell_of(name, ref.fingerprint) for name in ("one", "two", "three")])
        yield session


@contextmanager
def seen_read_only(folder: Path) -> Iterator[Path]:
    view = folder.with_name(folder.name + "-view")
    view.mkdir()
    try:
        for options in (["--bind", str(folder)], ["-o", "remount,ro,bind"]):
            done = subprocess.run(["mount", *options, str(view)], capture_output=True, text=True)
            if done.returncode != 0:
                pytest.skip(f"may not mount: {done.stderr.strip()}")
    except FileNotFoundError:
        pytest.skip("no mount here")
    try:
        yield view
    finally:
        subprocess.run(["umount", str(view)], check=True)


@pytest.fixture
def read_only() -> Callable[[Path], AbstractContextManager[Path]]:
    """Shows a folder in a second place, where nobody may write; skips where that cannot be had."""
    return seen_read_only


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


@pytest.fixture(scope="session", autouse=True)
def own_preferences() -> None:
    """Keep the tests' window apart from the preferences of who runs them."""
    os.environ["NAPARI_CONFIG"] = ""


@pytest.fixture(scope="session")
def driver() -> ModuleType:
    """Drives the curation window; Qt is imported only where it is asked for."""
    return importlib.import_module("tests.curate.window_driver")


@pytest.fixture(scope="session")
def cell_maker() -> Callable[..., CellState]:
    """Makes cells of stacks of `flat_stack`."""
    return cell_of
