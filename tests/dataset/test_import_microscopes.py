"""Stacks as the programs of microscopes write them: NDTiff, ND2, OME-Zarr of others."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nd2
import numpy as np
import pytest
import zarr
from nd2_file import write_nd2
from ndstorage import NDTiffDataset

from fgaf.base.errors import FgafError, SettingError
from fgaf.dataset.importers.plan import ImportSettings, find_sources
from fgaf.dataset.importers.stacks import import_stacks
from fgaf.dataset.raw import RawStack

PIXELS = np.random.default_rng(4).integers(1, 4000, (3, 5, 2, 20, 30), dtype=np.uint16)
SUMMARY = {"z-step_um": 0.5, "PixelSize_um": 0.1465}
ONE = PIXELS[:1, :, :1]


def ndtiff(
    folder: Path,
    pixels: np.ndarray = ONE,
    summary: dict[str, Any] = SUMMARY,
    leave_out: tuple[int, ...] = (),
    **more: int,
) -> Path:
    """Write (T, Z, C, Y, X) with Micro-Manager's own Python library."""
    with contextlib.redirect_stdout(io.StringIO()):
        data = NDTiffDataset(str(folder), name="field", summary_metadata=summary, writable=True)
        for k, (t, z, c) in enumerate(np.ndindex(pixels.shape[:3])):
            axes = {"z": z} | more
            axes |= {"time": t} if len(pixels) > 1 else {}
            axes |= {"channel": ("DIC", "GFP")[c]} if pixels.shape[2] > 1 else {}
            told = {
                "ZPositionUm": 7.0 + 0.5 * z,
                "ElapsedTime-ms": 10.0 * k,
                "Exposure-ms": 2.0,
                "BitDepth": 12,
            }
            if k not in leave_out:
                data.put_image(axes, pixels[t, z, c], told)
        writer = data.current_writer
        data.finish()
        writer.reader.close()
        data.close()
    return folder / "field_1"


def nikon(folder: Path, pixels: np.ndarray = ONE, **options: Any) -> Path:
    return write_nd2(folder / "field.nd2", pixels, **options)


def ome_zarr(
    folder: Path, pixels: np.ndarray = ONE, version: int = 3, unit: str = "micrometer", **more: Any
) -> Path:
    """Write an image with two levels, scales given for each and for all, as others do."""
    path = folder / "field.ome.zarr"
    names = "tzcyx"
    kinds = {"t": "time", "c": "channel"}
    level = {"type": "scale", "scale": [1, 0.25, 1, 0.14, 0.14]}
    meta = {
        "axes": [
            {"name": n, "type": kinds.get(n, "space")} | ({} if n in kinds else {"unit": unit})
            for n in names
        ],
        "datasets": [{"path": f"s{k}", "coordinateTransformations": [level]} for k in range(2)],
        "coordinateTransformations": [{"type": "scale", "scale": [1, 2.0, 1, 1, 1]}],
    } | more
    attributes = {"multiscales": [meta | {"version": "0.4"}]}
    if version == 3:
        attributes = {"ome": {"version": "0.5", "multiscales": [meta]}}
    group = zarr.open_group(path, mode="w", zarr_format=version, attributes=attributes)
    for k, data in enumerate((pixels, pixels[..., ::2, ::2])):
        group.create_array(f"s{k}", data=np.ascontiguousarray(data), chunks=(1, 2, 1, 16, 16))
    return path


Write = Callable[..., Path]
WRITERS: dict[str, Write] = {"NDTiff": ndtiff, "ND2": nikon, "OME-Zarr": ome_zarr}


def imported(source: Path, folder: Path, **settings: Any) -> list[RawStack]:
    found = []
    for done in import_stacks([source], folder, ImportSettings(**settings)):
        with RawStack.open(done.path) as stack:
            stack.verify()
            found.append(
                RawStack(stack.path, stack.header, stack.frames[:], stack.planes, stack.fingerprint)
            )
    return found


@pytest.mark.parametrize("name", WRITERS)
def test_one_stack_comes_out_as_it_went_in(name: str, tmp_path: Path) -> None:
    source = WRITERS[name](tmp_path)
    assert find_sources([tmp_path]) == find_sources([source]) == [source]
    (stack,) = imported(source, tmp_path / "raw")
    np.testing.assert_array_equal(stack.frames, ONE[0, :, 0])
    assert stack.header.step_um == 0.5
    assert stack.header.optics.pixel_size_um == pytest.approx(
        0.14 if name == "OME-Zarr" else 0.1465
    )
    assert stack.header.bit_depth == 12
    assert f'reader = "{name}"' in stack.header.rig


@pytest.mark.parametrize("name", WRITERS)
def test_times_and_channels_are_taken_as_asked(name: str, tmp_path: Path) -> None:
    source = WRITERS[name](tmp_path, PIXELS)
    take = {"time": "0:3:2", "channel": "1"}
    first, last = imported(source, tmp_path / "raw", take=take)
    np.testing.assert_array_equal(first.frames, PIXELS[0, :, 1])
    np.testing.assert_array_equal(last.frames, PIXELS[2, :, 1])
    assert first.header.field == last.header.field != ""
    with pytest.raises(FgafError, match=r"time points: 3, channels: 2\); choose with --take"):
        imported(source, tmp_path / "other")


def test_ndtiff_tells_positions_times_and_exposures(tmp_path: Path) -> None:
    (stack,) = imported(ndtiff(tmp_path), tmp_path / "raw")
    np.testing.assert_allclose(stack.z_um, [7, 7.5, 8, 8.5, 9])
    np.testing.assert_allclose(stack.planes["exposure_us"], 2000.0)
    np.testing.assert_array_equal(np.diff(stack.planes["time_device_ns"]), 10_000_000)


def test_nd2_tells_optics_times_and_direction(tmp_path: Path) -> None:
    (stack,) = imported(nikon(tmp_path, bottom_to_top=False), tmp_path / "raw")
    np.testing.assert_array_equal(stack.frames, ONE[0, ::-1, 0])
    optics = stack.header.optics
    assert (optics.numerical_aperture, optics.magnification, optics.medium_index) == (0.65, 40, 1)
    np.testing.assert_allclose(np.diff(stack.planes["time_host_ns"]) / 1e9, -0.1, atol=1e-3)
    assert abs(stack.planes["time_host_ns"][0] / 1e9 - 1735689600) < 1


@pytest.mark.parametrize("dark", [0, 2, 4])
def test_a_dark_plane_of_nd2_is_a_plane(dark: int, tmp_path: Path) -> None:
    pixels = ONE.copy()
    pixels[0, dark] = 0
    (stack,) = imported(nikon(tmp_path, pixels), tmp_path / "raw")
    np.testing.assert_array_equal(stack.frames, pixels[0, :, 0])


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("highest_first", [True, False])
@pytest.mark.parametrize("ignored", [True, False])
def test_the_direction_of_nd2_is_held_against_the_option(
    up: bool, highest_first: bool, ignored: bool, tmp_path: Path
) -> None:
    path = nikon(tmp_path, bottom_to_top=up)
    said = {"highest_first": highest_first, "ignore_metadata": ignored, "step_um": 0.5}
    if up and highest_first and not ignored:
        with pytest.raises(SettingError, match=r"down by --highest-first and up by the ND2 z loop"):
            imported(path, tmp_path / "raw", **said)
        return
    (stack,) = imported(path, tmp_path / "raw", **said)
    down = highest_first if ignored else not up
    np.testing.assert_array_equal(stack.frames, ONE[0, :: -1 if down else 1, 0])


def test_the_nd2_files_of_these_tests_are_read_by_their_own_package(tmp_path: Path) -> None:
    path = nikon(tmp_path, PIXELS)
    with nd2.ND2File(path) as file:
        assert dict(file.sizes) == {"T": 3, "Z": 5, "C": 2, "Y": 20, "X": 30}
        np.testing.assert_array_equal(file.asarray(), PIXELS)


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_of_others_is_read_at_full_resolution(version: int, tmp_path: Path) -> None:
    (stack,) = imported(ome_zarr(tmp_path, version=version), tmp_path / "raw", center_um=50.0)
    assert stack.shape == (5, 20, 30)
    np.testing.assert_allclose(stack.z_um, [49, 49.5, 50, 50.5, 51])


@dataclass(frozen=True)
class Bad:
    """A source that is refused, and what the line says."""

    name: str
    write: Write
    says: str


def cut(write: Write, name: str) -> Write:
    def shortened(folder: Path) -> Path:
        path = write(folder)
        file = path / name if name else path
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        return path

    return shortened


def without(write: Write, name: str) -> Write:
    def removed(folder: Path) -> Path:
        path = write(folder)
        gone = path / name
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        return path

    return removed


def plate(folder: Path) -> Path:
    attributes = {"ome": {"version": "0.5", "plate": {}}}
    zarr.open_group(folder / "p.zarr", mode="w", zarr_format=3, attributes=attributes)
    return folder / "p.zarr"


def older_zarr(version: str, axes: list[str] | None) -> Callable[[Path], Path]:
    """Write an image as versions before 0.4 have it: axes are letters, or not there at all."""

    def write(folder: Path) -> Path:
        path = folder / "old.zarr"
        meta = {"version": version, "datasets": [{"path": "0"}]} | ({"axes": axes} if axes else {})
        group = zarr.open_group(path, mode="w", zarr_format=2, attributes={"multiscales": [meta]})
        group.create_array("0", data=ONE.transpose(0, 2, 1, 3, 4), chunks=(1, 1, 1, 20, 30))
        return path

    return write


BAD = [
    Bad("NDTiff, index cut", cut(ndtiff, "NDTiff.index"), "is damaged; copy"),
    Bad("NDTiff, pixels cut", cut(ndtiff, "field_NDTiffStack.tif"), "is truncated"),
    Bad("NDTiff, no pixels", without(ndtiff, "field_NDTiffStack.tif"), "is missing beside"),
    Bad(
        "NDTiff, one of its files",
        lambda f: ndtiff(f, PIXELS) / "field_NDTiffStack.tif",
        "is a file of an NDTiff dataset; name its folder",
    ),
    Bad("NDTiff, one plane", lambda f: ndtiff(f, ONE[:, :1]), "not a z-stack of two or more"),
    Bad("NDTiff, steps differ", lambda f: ndtiff(f, summary={"z-step_um": 1.0}), "1 µm by Micro"),
    Bad("ND2, cut", cut(nikon, ""), "is damaged or not a readable ND2"),
    Bad("ND2, one plane", lambda f: nikon(f, ONE[:, :1]), "not a z-stack of two or more"),
    Bad("ND2, no step", lambda f: nikon(f, step_um=0.0), "does not contain its z step"),
    Bad("ND2, broken off", lambda f: nikon(f, absent=(4,)), "no data in plane 5"),
    Bad("NDTiff, a z index missing", lambda f: ndtiff(f, leave_out=(2,)), "no image of z index 2"),
    Bad("NDTiff, down by its step", lambda f: ndtiff(f, summary={"z-step_um": -0.5}), "go down by"),
    Bad("Zarr 0.1", older_zarr("0.1", None), "is OME-Zarr 0.1, which has neither"),
    Bad("Zarr 0.2", older_zarr("0.2", None), "is OME-Zarr 0.2, which has neither"),
    Bad("Zarr 0.3", older_zarr("0.3", list("tczyx")), "is OME-Zarr 0.3, which has neither"),
    Bad("Zarr, no unit", lambda f: ome_zarr(f, unit=""), "does not contain its z step"),
    Bad("Zarr, one plane", lambda f: ome_zarr(f, ONE[:, :1]), "not a z-stack of two or more"),
    Bad("Zarr, float", lambda f: ome_zarr(f, ONE / 2.0), "float64 pixels"),
    Bad("Zarr, no array", without(ome_zarr, "s0"), "not a readable OME-Zarr image"),
    Bad("Zarr, no metadata", lambda f: ome_zarr(f, datasets=[]), "not a readable OME-Zarr image"),
    Bad("Zarr, a plate", plate, "a plate; name one image inside it"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda c: c.name)
def test_what_is_no_stack_is_refused_in_one_line(case: Bad, tmp_path: Path) -> None:
    source = case.write(tmp_path)
    with pytest.raises(FgafError) as caught:
        imported(source, tmp_path / "raw")
    assert case.says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "raw").exists() or not list((tmp_path / "raw").iterdir())


def test_a_time_point_that_is_not_whole_does_not_hinder_the_others(tmp_path: Path) -> None:
    source = ndtiff(tmp_path, PIXELS[:, :, :1], leave_out=(14,))
    whole = imported(source, tmp_path / "raw", take={"time": "0:2"})
    np.testing.assert_array_equal(whole[1].frames, PIXELS[1, :, 0])
    with pytest.raises(FgafError, match="lacks z index 4 of time 2"):
        imported(source, tmp_path / "other", take={"time": "2"})


def test_a_damaged_chunk_is_said_to_be_one(tmp_path: Path) -> None:
    source = ome_zarr(tmp_path)
    chunk = next(p for p in sorted((source / "s0" / "c").rglob("*")) if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(FgafError, match="is damaged"):
        imported(source, tmp_path / "raw")
