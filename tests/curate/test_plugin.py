"""The napari plugin in a real napari window."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fgaf.curate.plugin import get_reader
from fgaf.dataset import Archive, ArchiveHeader, Cells, write_archive

pytestmark = [
    # Warnings of the libraries below the window are not ours to mend.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        sys.platform == "linux" and "DISPLAY" not in os.environ, reason="no screen; see `make test`"
    ),
]

PIXEL_UM = 0.1465


@pytest.fixture
def stack(flat_stack: Callable[..., Path], tmp_path: Path) -> Path:
    return flat_stack(tmp_path / "field.stack.h5", seed=0, pixel_size_um=PIXEL_UM)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    row = dict.fromkeys(
        ("source", "source_sha256", "sample_id", "field", "annotator", "labelled_utc"), ""
    )
    cell = row | {"id": "a", "focus_um": 0, "focus_plane": 1, "method": "person", "confidence": 1}
    return write_archive(
        tmp_path / "dataset.h5",
        Archive(
            header=ArchiveHeader.new(step_um=0.5, half_range_um=0.5, patch_px=16),
            images=np.zeros((3, 16, 16), np.uint8),
            depth_um=np.array([-0.5, 0, 0.5]),
            plane=np.arange(3, dtype=np.int32),
            cell=np.zeros(3, np.int32),
            center_y=np.zeros(3, np.int32),
            center_x=np.zeros(3, np.int32),
            cells=Cells.from_rows([cell]),
        ),
    )


def test_files_of_ours_open_in_a_window(stack: Path, archive: Path) -> None:
    import napari

    viewer = napari.Viewer(show=True)
    try:
        viewer.open([str(stack)], plugin="fgaf")
        viewer.open([str(archive)], plugin="fgaf")
        planes, patches = viewer.layers
        assert planes.data.shape == (5, 40, 50)
        np.testing.assert_allclose(planes.scale, (0.5, PIXEL_UM, PIXEL_UM))
        assert planes.axis_labels == ("z", "y", "x")
        assert [str(unit) for unit in planes.units] == ["micrometer"] * 3
        assert patches.data.shape == (3, 16, 16)
        shown = viewer.screenshot(canvas_only=True, flash=False)
        assert shown.std() > 0
    finally:
        viewer.close()


def test_other_files_are_left_to_others(tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(b"not HDF5")
    assert get_reader(str(other)) is None
