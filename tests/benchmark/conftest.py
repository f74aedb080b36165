"""Archives whose focus measures have a known answer."""

from collections.abc import Callable

import numpy as np
import pytest

from fgaf.dataset.archive import Archive, ArchiveHeader, Cells
from fgaf.dataset.splits.split import make_split
from fgaf.dataset.storage.optics import Optics

SIDE = 32
DEPTHS = np.arange(-4, 5) * 0.5

MakeArchive = Callable[..., Archive]


def _texture_archive(
    cells: int = 8,
    method: str = "person",
    label_shift_um: float = 0.0,
    truth: bool = True,
    name: str = "textures",
    fingerprint: str = "abc",
) -> Archive:
    """Noise whose contrast is highest at true depth 0; labels are off by `label_shift_um`."""
    rng = np.random.default_rng(0)
    contrast = 60 / (1 + DEPTHS**2)
    patterns = rng.uniform(-1, 1, (cells, 1, SIDE, SIDE))
    images = np.round(128 + contrast[None, :, None, None] * patterns).astype(np.uint8)
    n = DEPTHS.size
    cell = np.repeat(np.arange(cells, dtype=np.int32), n)
    center = (200 * cell).astype(np.int32)
    table = Cells.from_rows(
        [
            {
                "id": f"cell-{k}",
                "source": f"field-{k}",
                "source_sha256": f"{k}",
                "sample_id": "",
                "field": "",
                "focus_um": 0.0,
                "focus_plane": n // 2,
                "annotator": "",
                "labelled_utc": "",
                "method": method,
                "confidence": 1.0,
            }
            for k in range(cells)
        ]
    )
    split = make_split(table, center, center, cell, SIDE) if cells else None
    return Archive(
        header=ArchiveHeader.new(
            step_um=0.5,
            half_range_um=2.0,
            patch_px=SIDE,
            name=name,
            optics=Optics(
                pixel_size_um=0.5,
                numerical_aperture=0.65,
                magnification=40,
                medium_index=1.0,
                wavelength_um=0.55,
            ),
        ),
        images=images.reshape(-1, SIDE, SIDE),
        depth_um=np.tile(DEPTHS, cells) + label_shift_um,
        plane=np.tile(np.arange(n, dtype=np.int32), cells),
        cell=cell,
        center_y=center,
        center_x=center,
        cells=table,
        true_depth_um=np.tile(DEPTHS, cells) if truth else None,
        splits={"default": split.sides if split else np.zeros(0, np.int8)},
        fingerprint=fingerprint,
    )


@pytest.fixture(scope="session")
def texture_archive() -> MakeArchive:
    """Make an archive of textures: every focus measure peaks at true depth 0."""
    return _texture_archive
