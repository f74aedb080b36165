"""Raw stacks leave as OME-TIFF and OME-Zarr, other programs read them, and they come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ome_types
import pytest
import tifffile
import yaozarrs
import zarr

from fgaf.base.errors import ExistsError, FgafError, SettingError
from fgaf.dataset.exporters.export import ExportSettings, export
from fgaf.dataset.importers.plan import ImportSettings, find_sources
from fgaf.dataset.importers.stacks import import_stacks
from fgaf.dataset.raw import RawStack
from fgaf.dataset.storage.optics import Optics

Write = Callable[..., Path]
KINDS = [("ome-tiff", "0.5"), ("ome-zarr", "0.4"), ("ome-zarr", "0.5")]


def exported(stack: Path, kind: str, version: str, out: Path) -> Path:
    (path,) = export([stack], kind, out, ExportSettings(ome_zarr=version))
    return path


def fingerprint(path: Path) -> str:
    with RawStack.open(path) as stack:
        stack.verify()
        return stack.fingerprint


@pytest.mark.parametrize(("kind", "version"), KINDS)
@pytest.mark.parametrize(
    "header",
    [
        {},
        {"optics": Optics(), "sample_id": "Müller <&> 7", "field": "f", "operator": "anna"},
        {"complete": False, "planned_planes": 9, "rig": 'name = "]]>"\n'},
    ],
    ids=["usual", "no optics, odd names", "recovered"],
)
def test_a_stack_comes_back_as_it_was(
    kind: str, version: str, header: dict[str, Any], write_stack: Write, tmp_path: Path
) -> None:
    stack = write_stack(tmp_path / "a.stack.h5", **header)
    there = exported(stack, kind, version, tmp_path / "out")
    (back,) = import_stacks([there], tmp_path / "back")
    assert back.path.name == stack.name
    assert fingerprint(back.path) == fingerprint(stack)


def test_ome_tiff_says_to_other_programs_what_the_stack_says(
    good_stack: Path, tmp_path: Path
) -> None:
    path = exported(good_stack, "ome-tiff", "0.5", tmp_path)
    image = ome_types.from_tiff(path).images[0]
    pixels = image.pixels
    assert (pixels.physical_size_x, pixels.physical_size_z) == (0.1465, 0.5)
    assert (pixels.size_z, pixels.size_y, pixels.significant_bits) == (5, 24, 12)
    assert [plane.position_z for plane in pixels.planes] == [9.01, 9.51, 10.01, 10.51, 11.01]
    assert {plane.exposure_time for plane in pixels.planes} == {0.0005}
    objective = ome_types.from_tiff(path).instruments[0].objectives[0]
    assert (objective.lens_na, objective.nominal_magnification) == (0.65, 40.0)
    with RawStack.open(good_stack) as stack, tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "ZYX"
        np.testing.assert_array_equal(tiff.series[0].asarray(), stack.frames[:])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_says_to_other_programs_what_the_stack_says(
    version: str, good_stack: Path, tmp_path: Path
) -> None:
    path = exported(good_stack, "ome-zarr", version, tmp_path)
    yaozarrs.validate_zarr_store(path)
    group = zarr.open_group(path, mode="r")
    attributes = dict(group.attrs)
    scales = attributes.get("ome", attributes)["multiscales"][0]
    assert [axis["unit"] for axis in scales["axes"]] == ["micrometer"] * 3
    scale, shift = scales["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [0.5, 0.1465, 0.1465]
    assert shift["translation"] == [9.01, 0.0, 0.0]
    with RawStack.open(good_stack) as stack:
        np.testing.assert_array_equal(group["0"][:], stack.frames[:])


@pytest.mark.parametrize(("kind", "version"), KINDS)
def test_changed_pixels_no_longer_count_as_the_stack(
    kind: str, version: str, good_stack: Path, tmp_path: Path
) -> None:
    path = exported(good_stack, kind, version, tmp_path)
    if kind == "ome-zarr":
        zarr.open_group(path, mode="r+")["0"][2, 3, 4] += 1
    else:
        with tifffile.TiffFile(path) as tiff:
            offset = tiff.pages[2].dataoffsets[0]
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(b"\x01")
    (back,) = import_stacks([path], tmp_path / "back")
    with RawStack.open(back.path) as stack, RawStack.open(good_stack) as first:
        assert stack.header.uuid != first.header.uuid
        assert (stack.header.camera, stack.header.step_um) == ("imported", 0.5)
        np.testing.assert_allclose(stack.z_um, first.z_um)


def test_what_the_person_importing_says_is_taken_over(good_stack: Path, tmp_path: Path) -> None:
    path = exported(good_stack, "ome-tiff", "0.5", tmp_path)
    settings = ImportSettings(sample_id="other", optics=Optics(wavelength_um=0.6))
    (back,) = import_stacks([path], tmp_path / "back", settings)
    with RawStack.open(back.path) as stack, RawStack.open(good_stack) as first:
        assert stack.header.sample_id == "other"
        assert stack.header.optics.wavelength_um == 0.6
        assert stack.header.optics.pixel_size_um == 0.1465
        assert stack.header.uuid != first.header.uuid
        assert stack.header.camera == "camera"
    with pytest.raises(SettingError, match=r"0\.5 µm by OME PhysicalSizeZ and 1 µm by --step"):
        list(import_stacks([path], tmp_path / "b", ImportSettings(step_um=1.0)))


def test_nothing_is_overwritten_and_no_foreign_folder_deleted(
    good_stack: Path, tmp_path: Path
) -> None:
    for kind in ("ome-tiff", "ome-zarr"):
        path = exported(good_stack, kind, "0.5", tmp_path)
        with pytest.raises(ExistsError):
            exported(good_stack, kind, "0.5", tmp_path)
        assert export([good_stack], kind, tmp_path, ExportSettings(overwrite=True)) == [path]
    mine = tmp_path / "mine" / "good.ome.zarr"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("years")
    with pytest.raises(FgafError, match="not a folder that an export wrote"):
        export([good_stack], "ome-zarr", tmp_path / "mine", ExportSettings(overwrite=True))
    assert (mine / "thesis.txt").read_text() == "years"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.ome.tif", "good.ome.zarr", "mine"]


def test_what_cannot_be_exported_is_refused(
    good_stack: Path, good_archive: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match="choose npz, imagefolder"):
        export([good_archive], "ome-tiff", tmp_path)
    with pytest.raises(SettingError, match="choose ome-tiff, ome-zarr"):
        export([good_stack], "npz", tmp_path / "a.npz")
    with pytest.raises(SettingError, match="there is no format 'ome'"):
        export([good_stack], "ome", tmp_path)
    with pytest.raises(SettingError, match="several stacks would become"):
        export([good_stack, good_stack], "ome-tiff", tmp_path)
    damaged = tmp_path / "bad.stack.h5"
    data = bytearray(good_stack.read_bytes())
    with RawStack.open(good_stack) as stack:
        offset = stack.frames.id.get_chunk_info(0).byte_offset
    data[offset] ^= 1
    damaged.write_bytes(data)
    for kind in ("ome-tiff", "ome-zarr"):
        with pytest.raises(FgafError, match="checksum differs in /frames"):
            export([damaged], kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_exports_stands_for_them(good_stack: Path, tmp_path: Path) -> None:
    written = [exported(good_stack, kind, "0.5", tmp_path) for kind in ("ome-zarr", "ome-tiff")]
    assert find_sources([tmp_path]) == sorted(written)
    written[1].unlink()
    assert find_sources([tmp_path]) == find_sources([written[0]]) == [written[0]]
