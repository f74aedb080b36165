"""A good raw stack and a good archive, small enough to break many times."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.raw import RawHeader, RawWriter
from fgaf.dataset.splits.split import make_split
from fgaf.dataset.storage.optics import Optics

# Beside the tests lie the writers of other programs' files.
sys.path.insert(0, str(Path(__file__).parent))

OPTICS = Optics(
    pixel_size_um=0.1465,
    numerical_aperture=0.65,
    magnification=40.0,
    medium_index=1.0,
    wavelength_um=0.55,
)


def _write_stack(path: Path, n_planes: int = 5, side: int = 24, **header: object) -> Path:
    """Write a stack of noise, one plane per half micrometre."""
    half = (n_planes - 1) / 4
    fields = {
        "step_um": 0.5,
        "half_range_um": half,
        "center_um": 10.0,
        "optics": OPTICS,
        "bit_depth": 12,
        "sample_id": "donor 1",
        "camera": "camera",
        "stage": "stage",
        "rig": "[camera]\n",
    }
    pixels = np.random.default_rng(7).integers(100, 4000, (n_planes, side, side), dtype=np.uint16)
    with RawWriter(path, RawHeader.new(**fields | header), pixels.shape, np.uint16) as writer:
        for k, frame in enumerate(pixels):
            z = 10.0 - half + 0.5 * k
            writer.write(
                k,
                frame,
                z_requested_um=z,
                z_measured_um=z + 0.01,
                time_device_ns=10**9 * k,
                time_host_ns=10**18 + 10**9 * k,
                frame_id=k,
                exposure_us=500.0,
            )
        return writer.publish()


def _make_archive(n_cells: int = 12, side: int = 16) -> Archive:
    """Make an archive of cells of four samples that overlap nowhere, five depths each."""
    rng = np.random.default_rng(3)
    cell = np.repeat(np.arange(n_cells, dtype=np.int32), 5)
    plane = np.tile(np.arange(2, 7, dtype=np.int32), n_cells)
    center = (cell * 40 + 20).astype(np.int32)
    cells = Cells.from_rows(
        [
            {
                "id": f"cell-{k}",
                "source": f"stack{k % 4}.stack.h5",
                "source_sha256": "",
                "sample_id": f"donor {k % 4}",
                "field": "",
                "focus_um": 10.0,
                "focus_plane": 4,
                "annotator": "anna",
                "labelled_utc": "2026-01-01T00:00:00+00:00",
                "method": "person",
                "confidence": 0.9,
            }
            for k in range(n_cells)
        ]
    )
    return Archive(
        header=ArchiveHeader.new(step_um=0.5, half_range_um=1.0, patch_px=side, optics=OPTICS),
        images=rng.integers(10, 4000, (len(cell), side, side), dtype=np.uint16),
        depth_um=(plane - 4) * 0.5,
        plane=plane,
        cell=cell,
        center_y=center,
        center_x=center.copy(),
        cells=cells,
        true_depth_um=(plane - 4) * 0.5 + 0.05,
        splits={"default": make_split(cells, center, center, cell, side).sides},
    )


@pytest.fixture(scope="session")
def good_stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_stack(tmp_path_factory.mktemp("raw") / "good.stack.h5")


@pytest.fixture(scope="session")
def good_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive") / "good.h5", _make_archive())


@pytest.fixture
def archive() -> Archive:
    """Return the archive of `good_archive`, in memory."""
    return _make_archive()


@pytest.fixture
def write_stack() -> Callable[..., Path]:
    """Return the function that writes `good_stack`, for stacks that differ from it."""
    return _write_stack
