"""Files of every format version so far are read, and judged as good as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgaf.dataset import archive, raw
from fgaf.dataset.archive import Archive
from fgaf.dataset.quality.validate import validate
from fgaf.dataset.raw import RawStack

FORMATS = Path(__file__).parent / "formats"


@pytest.mark.parametrize("version", range(1, archive.FORMAT_VERSION + 1))
def test_an_archive_of_each_version_is_read(version: int) -> None:
    path = FORMATS / f"archive-{version}.h5"
    assert validate(path).ok
    read = Archive.read(path)
    assert (read.n_cells, read.n_classes, read.images.shape) == (4, 5, (20, 8, 8))
    assert read.images.sum() == 2531195
    assert read.cells.sample_id.tolist() == [f"donor {k}" for k in range(4)]
    assert set(read.splits) == {"default"}
    assert read.format_version == version
    assert (read.masks is None) == (version == 1)


@pytest.mark.parametrize("version", range(1, raw.FORMAT_VERSION + 1))
def test_a_raw_stack_of_each_version_is_read(version: int) -> None:
    path = FORMATS / f"raw-{version}.stack.h5"
    assert validate(path).ok
    with RawStack.open(path) as stack:
        stack.verify()
        assert stack.shape == (3, 8, 8)
        assert stack.frames[:].sum() == 388925
        assert stack.z_um.tolist() == [9.51, 10.01, 10.51]
