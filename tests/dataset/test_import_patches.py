"""A laboratory's patch set joins as an archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.importers.patch_sets import import_patches
from fgaf.dataset.importers.patches import PatchSettings
from fgaf.dataset.quality.validate import validate
from fgaf.dataset.storage.optics import Optics

RNG = np.random.default_rng(2)
SET = RNG.integers(0, 255, (10, 9, 24, 24), dtype=np.uint8)
STEP = PatchSettings(step_um=0.5)


def write_set(folder: Path) -> Path:
    for k, cell in enumerate(SET):
        path = folder / f"donor{k % 5}" / f"cell{k}.tif"
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, cell, metadata=None)
    return folder


def test_a_patch_set_becomes_a_sound_archive(tmp_path: Path) -> None:
    settings = PatchSettings(
        step_um=0.5,
        sample_from=r"^(?P<sample>[^/]+)/",
        optics=Optics(pixel_size_um=0.1465),
        annotator="lab",
    )
    archive = import_patches(write_set(tmp_path), settings)
    path = write_archive(tmp_path / "dataset.h5", archive)
    assert validate(path).findings == ()
    read = Archive.read(path)
    assert (read.n_cells, read.n_classes, read.header.half_range_um) == (10, 9, 2.0)
    assert sorted(set(read.cells.sample_id)) == [f"donor{k}" for k in range(5)]
    assert set(read.cells.method) == {"import"}
    cell = list(read.cells.id).index("donor1/cell6")
    np.testing.assert_array_equal(read.images[read.rows_of(cell)], SET[6])
    np.testing.assert_allclose(read.depth_um[read.rows_of(cell)], np.arange(-4, 5) * 0.5)
    for donor in set(read.cells.sample_id):
        assert len(set(read.splits["default"][read.cells.sample_id == donor].tolist())) == 1


def test_a_stack_that_is_stored_downwards_is_turned_round(tmp_path: Path) -> None:
    for k, cell in enumerate(SET):
        down = k % 2 == 1
        told = {"axes": "ZYX", "spacing": -0.5 if down else 0.5, "unit": "um"}
        pages = cell[::-1] if down else cell
        tifffile.imwrite(tmp_path / f"cell{k}.tif", pages, imagej=True, metadata=told)
    archive = import_patches(tmp_path)
    for k, name in enumerate(archive.cells.id):
        np.testing.assert_array_equal(archive.images[archive.rows_of(k)], SET[int(name[4:])])


@dataclass(frozen=True)
class Bad:
    """A file added to a good set, and what the line says."""

    name: str
    says: str
    pages: np.ndarray = field(default_factory=lambda: SET[0])
    settings: PatchSettings = STEP
    file: str = "odd.tif"


BAD = [
    Bad("page counts differ", "odd.tif is 7 pages of 24 x 24", SET[0][:7]),
    Bad("sizes differ", "odd.tif is 9 pages of 20 x 20", SET[0][:, :20, :20]),
    Bad("types differ", "uint16 pixels", SET[0].astype(np.uint16)),
    Bad("even", "0.tif holds 8 pages, an even number", SET[0][:8], file="0.tif"),
    Bad(
        "not square", "0.tif is 24 x 20 pixels; patches are square", SET[0][..., :20], file="0.tif"
    ),
    Bad("one page", "single plane", SET[0][0]),
    Bad("float", "float32", SET[0].astype(np.float32)),
    Bad("no step", "give it with --step", settings=PatchSettings()),
    Bad("twice", "only in its suffix", file="donor0/cell0.tiff"),
    Bad("sample not found", "finds no sample in", settings=PatchSettings(0.5, sample_from="(x)/")),
    Bad("no group", "has no group", settings=PatchSettings(0.5, sample_from="donor")),
    Bad("no pattern", "not a regular expression", settings=PatchSettings(0.5, sample_from="(")),
]


@pytest.mark.parametrize("case", BAD, ids=lambda c: c.name)
def test_a_file_that_does_not_fit_is_named(case: Bad, tmp_path: Path) -> None:
    write_set(tmp_path)
    tifffile.imwrite(tmp_path / case.file, case.pages, metadata=None)
    with pytest.raises(FgafError) as caught:
        import_patches(tmp_path, case.settings)
    assert case.says in str(caught.value)


def test_the_metadata_may_tell_the_step_but_not_another(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "spacing": 0.5, "unit": "um"}
    for k, cell in enumerate(SET[:3]):
        tifffile.imwrite(tmp_path / f"{k}.tif", cell, imagej=True, metadata=metadata)
    assert import_patches(tmp_path).header.step_um == 0.5
    with pytest.raises(FgafError, match=r"0\.5 µm by ImageJ spacing and 1 µm by --step"):
        import_patches(tmp_path, PatchSettings(step_um=1.0))
    tifffile.imwrite(tmp_path / "3.tif", SET[3], imagej=True, metadata=metadata | {"spacing": 1.0})
    with pytest.raises(FgafError, match=r"3\.tif: the z step is 1 µm"):
        import_patches(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FgafError, match="holds no TIFF"):
        import_patches(tmp_path, STEP)


def with_positions(folder: Path, spacing: float) -> Path:
    """Write the set as OME-TIFF with the position of every plane and no step."""
    for k, cell in enumerate(SET):
        planes = {"PositionZ": [spacing * z for z in range(len(cell))], "PositionZUnit": ["µm"] * 9}
        told = {"axes": "ZYX", "Plane": planes}
        tifffile.imwrite(folder / f"cell{k}.ome.tif", cell, metadata=told)
    return folder


def test_positions_of_the_planes_tell_the_step_and_the_order(tmp_path: Path) -> None:
    archive = import_patches(with_positions(tmp_path, -0.4))
    assert archive.header.step_um == 0.4
    np.testing.assert_array_equal(archive.images[archive.rows_of(0)], SET[0][::-1])


def test_positions_that_contradict_the_step_are_refused_or_ignored(tmp_path: Path) -> None:
    folder = with_positions(tmp_path, 0.4)
    with pytest.raises(FgafError, match=r"0\.5 µm by --step and 0\.4 µm by OME PositionZ"):
        import_patches(folder, STEP)
    archive = import_patches(folder, PatchSettings(step_um=0.5, ignore_metadata=True))
    assert archive.header.step_um == 0.5
