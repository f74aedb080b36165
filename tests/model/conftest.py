"""A tiny archive that a tiny network learns: spots that widen and flip sign with depth."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.storage.optics import Optics
from fgaf.model.training.train import train
from tests.model.learned import LearnedHeads, quick

OPTICS = Optics(
    pixel_size_um=0.1465, numerical_aperture=0.65, magnification=40, medium_index=1.0,
    wavelength_um=0.55,
)  # fmt: skip


def tiny_archive(
    cells: int = 10,
    side: int = 32,
    half_range_um: float = 1.0,
    dtype: str = "u1",
    truth: bool = True,
    masks: bool = False,
    seed: int = 0,
) -> Archive:
    """Cells x planes of noisy Gaussian spots; sides 0, 0, 0, 2, 1 in turn.

    A mask is where the spot of the cell is half as strong as in its centre.
    """
    rng = np.random.default_rng(seed)
    n = round(half_range_um / 0.5)
    grid = 0.5 * np.arange(-n, n + 1)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    images, drawn = [], []
    for _ in range(cells):
        stretch = rng.uniform(0.8, 1.2)
        for depth in grid:
            width = 2 + 1.5 * abs(depth)
            spot = np.exp(-(y**2 * stretch + x**2 / stretch) / (2 * width**2))
            drawn.append(spot > 0.5)
            images.append(100 + 60 * (depth + 0.3) * spot + rng.normal(0, 1, (side, side)))
    rows = cells * grid.size
    depth_um = np.tile(grid, cells)
    table = Cells.from_rows(
        [
            {
                "id": f"cell-{k}",
                "source": "made",
                "source_sha256": "",
                "sample_id": "",
                "field": "",
                "focus_um": 0.0,
                "focus_plane": n,
                "annotator": "test",
                "labelled_utc": "2026-01-01T00:00:00+00:00",
                "method": "simulation",
                "confidence": 1.0,
            }
            for k in range(cells)
        ]
    )
    zeros = np.zeros(rows, dtype=np.int32)
    return Archive(
        header=ArchiveHeader.new(
            step_um=0.5, half_range_um=half_range_um, patch_px=side, optics=OPTICS, name="tiny"
        ),
        images=np.clip(np.reshape(images, (rows, side, side)), 0, 255).astype(dtype),
        depth_um=depth_um,
        plane=np.tile(np.arange(grid.size, dtype=np.int32), cells),
        cell=np.repeat(np.arange(cells, dtype=np.int32), grid.size),
        center_y=zeros,
        center_x=zeros,
        cells=table,
        masks=np.reshape(drawn, (rows, side, side)).astype("u1") if masks else None,
        true_depth_um=depth_um + rng.normal(0, 0.02, rows) if truth else None,
        splits={"default": np.tile([0, 0, 0, 2, 1], cells)[:cells].astype(np.int8)},
        fingerprint=f"tiny-{cells}-{side}-{seed}",
    )


@pytest.fixture
def archive() -> Archive:
    """Ten cells of five planes, 32 px."""
    return tiny_archive()


@pytest.fixture(scope="session")
def make_archive() -> Callable[..., Archive]:
    """`tiny_archive`, to call with other numbers."""
    return tiny_archive


@pytest.fixture
def archive_file(tmp_path: Path, archive: Archive) -> Path:
    """The tiny archive on disk."""
    return write_archive(tmp_path / "tiny.h5", replace(archive, fingerprint=""))


@pytest.fixture(scope="session")
def learned_heads(tmp_path_factory: pytest.TempPathFactory) -> LearnedHeads:
    """A run that has learned the spots as heads."""
    folder = tmp_path_factory.mktemp("heads")
    file = write_archive(folder / "tiny.h5", replace(tiny_archive(masks=True), fingerprint=""))
    archive = Archive.read(file)
    metrics = train(archive, quick(epochs=40), folder / "run")
    return LearnedHeads(folder / "run", archive, file, metrics)
