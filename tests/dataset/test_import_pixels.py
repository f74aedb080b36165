"""Pixels become counts in one way, whatever the file says of colours, white, bits and axes."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from microscope_tiffs import MmStack, write_lsm, write_zstd
from numpy.typing import NDArray
from PIL import Image

from fgaf.base.errors import FgafError
from fgaf.curate.commands.main import main as curate
from fgaf.dataset.commands.main import main as data
from fgaf.dataset.importers.images import pixel_size_of, read_alike, read_image, read_images
from fgaf.dataset.importers.plan import ImportSettings
from fgaf.dataset.importers.stacks import import_stacks
from fgaf.dataset.raw import RawStack

PIXELS = np.random.default_rng(5).integers(0, 4000, (5, 20, 30), dtype=np.uint16)
BYTES = (PIXELS >> 4).astype(np.uint8)
STEP = ImportSettings(step_um=0.5)
Write = Callable[[Path], Path]


def tiff(pixels: NDArray[Any] = PIXELS, name: str = "s.tif", **options: Any) -> Write:
    def write(folder: Path) -> Path:
        tifffile.imwrite(folder / name, pixels, **({"metadata": None} | options))
        return folder / name

    return write


def colours(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(pixels[..., None], 3, axis=-1)


def grey_table() -> NDArray[np.uint16]:
    return np.tile(np.arange(255, -1, -1, dtype=np.uint16) * 257, (3, 1))


@dataclass(frozen=True)
class Case:
    """A file, and the pixels and bits of the stack that it becomes."""

    name: str
    write: Write
    pixels: NDArray[Any] = field(default_factory=lambda: PIXELS)
    bits: int = 12
    settings: ImportSettings = STEP


CASES = [
    Case("R = G = B", tiff(colours(BYTES), photometric="rgb"), BYTES, 8),
    Case("R = G = B, 16 bit", tiff(colours(PIXELS), photometric="rgb")),
    Case(
        "R = G = B, planes apart",
        tiff(np.moveaxis(colours(BYTES), -1, 1), photometric="rgb", planarconfig="separate"),
        BYTES,
        8,
    ),
    Case(
        "grey with alpha",
        tiff(np.dstack([colours(BYTES[0]), np.full((20, 30), 255, np.uint8)])[None].repeat(5, 0),
             photometric="rgb", extrasamples=["unassalpha"]),
        BYTES[:1].repeat(5, 0),
        8,
    ),
    Case("R = G = B, OME", tiff(colours(BYTES), ome=True, photometric="rgb",
         metadata={"axes": "ZYXS"}), BYTES, 8),
    Case("white is zero", tiff(255 - BYTES, photometric="miniswhite"), BYTES, 8),
    Case("white is zero, 16 bit", tiff(65535 - PIXELS, photometric="miniswhite")),
    Case("grey palette", tiff(255 - BYTES, photometric="palette", colormap=grey_table()), BYTES, 8),
    Case("12 bits shifted", tiff(np.where(PIXELS > 3800, 4095, PIXELS) << 4),
         np.where(PIXELS > 3800, 4095, PIXELS).astype(np.uint16)),
    Case("14 bits shifted", tiff((PIXELS * 4 + 1).astype(np.uint16) << 2),
         (PIXELS * 4 + 1).astype(np.uint16), 14),
    Case("16 bits in use", tiff(PIXELS * 16 + 1), PIXELS * 16 + 1, 16),
    Case("few counts, all even", tiff(PIXELS // 4 * 4), PIXELS // 4 * 4),
    Case("BigTIFF .btf", tiff(name="s.btf", bigtiff=True)),
    Case("BigTIFF .tf8", tiff(name="s.tf8", bigtiff=True)),
    Case("LSM", lambda folder: write_lsm(folder / "s.lsm", PIXELS, 0.5, 0.2),
         settings=ImportSettings()),
    Case("axes named", tiff(PIXELS[None], metadata={"axes": "TZYX"})),
    Case("axes given", tiff(PIXELS[:, None], metadata={}),
         settings=ImportSettings(step_um=0.5, axes="ZTYX")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_counts_come_out_as_the_camera_gave_them(case: Case, tmp_path: Path) -> None:
    (done,) = import_stacks([case.write(tmp_path)], tmp_path / "raw", case.settings)
    with RawStack.open(done.path) as stack:
        np.testing.assert_array_equal(stack.frames, case.pixels)
        assert (stack.header.bit_depth, stack.header.step_um) == (case.bits, 0.5)


def test_channels_of_an_lsm_file_are_taken_apart(tmp_path: Path) -> None:
    three = np.stack([PIXELS, PIXELS[::-1], PIXELS], axis=1)
    source = write_lsm(tmp_path / "s.lsm", three, 0.5, 0.2)
    (done,) = import_stacks([source], tmp_path / "raw", ImportSettings(take={"channel": "1"}))
    with RawStack.open(done.path) as stack:
        np.testing.assert_array_equal(stack.frames, PIXELS[::-1])
        assert stack.header.optics.pixel_size_um == pytest.approx(0.2)


def test_images_that_are_not_said_to_be_one_are_not_joined(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "s.tif") as writer:
        writer.write(PIXELS)
        writer.write(PIXELS)
    with pytest.raises(FgafError, match="holds 2 images that are not said to be planes of one"):
        list(import_stacks([tmp_path / "s.tif"], tmp_path / "raw", STEP))


def patched(path: Path, tag: int, value: int, page: int = 1) -> Path:
    """Change a number that a page says of itself."""
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[page].tags[tag].overwrite(value)
    return path


INCOMPLETE_SAYS = "lacks a part of the pixels|truncated, damaged or not a TIFF"
INCOMPLETE = [
    ("no place", 273, 0, None),
    ("no bytes", 279, 0, "zlib"),
    ("too few bytes", 279, 100, None),
    ("strips left out", 278, 5, "zlib"),
    ("more lines than are stored", 257, 40, None),
]


@pytest.mark.parametrize("case", INCOMPLETE, ids=[case[0] for case in INCOMPLETE])
def test_pixels_that_were_never_written_are_not_black(
    case: tuple[str, int, int, str | None], tmp_path: Path
) -> None:
    _, tag, value, compression = case
    path = tiff(compression=compression, rowsperstrip=20)(tmp_path)
    with pytest.raises(FgafError, match=INCOMPLETE_SAYS):
        list(import_stacks([patched(path, tag, value)], tmp_path / "raw", STEP))
    first = tiff(PIXELS[:1], name="a.tif", compression=compression, rowsperstrip=20)(tmp_path)
    with pytest.raises(FgafError, match=INCOMPLETE_SAYS):
        read_image(patched(first, tag, value, page=0))


def test_a_page_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = tiff(PIXELS[:1], compression="zlib")(tmp_path)
    for tag in (256, 257, 278):
        patched(path, tag, 30_000, page=0)
    with pytest.raises(FgafError, match=r"claims 1716 MB of pixels on page 1"):
        read_image(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in folders are POSIX")
def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.tif")
    with pytest.raises(FgafError, match="is a pipe, not a regular file"):
        read_image(tmp_path / "s.tif")


def test_bits_that_were_shifted_are_told(tmp_path: Path) -> None:
    source = tiff(np.full_like(PIXELS, 4095) << 4)(tmp_path)
    args = ["import", str(source), "--out", str(tmp_path / "raw"), "--step", "0.5"]
    result = CliRunner().invoke(data, args)
    assert "1 of 12 bits that were shifted into 16 and shifted back" in result.output
    checked = CliRunner().invoke(data, ["validate", str(tmp_path / "raw" / "s.stack.h5")])
    assert "saturated" in checked.output


def test_bits_are_shifted_back_where_the_metadata_tell_them(tmp_path: Path) -> None:
    dim = np.minimum(PIXELS, 1000) << 4
    (file,) = MmStack(dim[None, None, :, None]).write(tmp_path)
    (done,) = import_stacks([file], tmp_path / "raw")
    assert (done.shifted_bits, done.bit_depth) == (4, 12)


HYPER = PIXELS[None].repeat(3, 0)
AXES = [
    ("", "has the shape 3 x 5 x 20 x 30 and does not say which axis is z; name all with --axes"),
    ("ZYX", "give a letter for each of its 4 axes"),
    ("TZXY", "YX at the end"),
    ("TTYX", "each once"),
    ("TCYX", "each once: Z"),
    ("TSYX", "a letter for each"),
]


@pytest.mark.parametrize(("axes", "says"), AXES, ids=[a or "none" for a, _ in AXES])
def test_axes_are_never_guessed(axes: str, says: str, tmp_path: Path) -> None:
    source = tiff(HYPER, metadata={})(tmp_path)
    settings = ImportSettings(step_um=0.5, axes=axes, take={"time": "all"})
    with pytest.raises(FgafError) as caught:
        list(import_stacks([source], tmp_path / "raw", settings))
    assert says in str(caught.value)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("axes", "take", "expected"),
    [("TZYX", "time", PIXELS), ("ZCYX", "channel", HYPER[:, 1]), ("PZYX", "position", PIXELS)],
)
def test_axes_that_are_named_are_gone_by(
    axes: str, take: str, expected: NDArray[Any], tmp_path: Path
) -> None:
    source = tiff(HYPER, metadata={})(tmp_path)
    args = ["import", str(source), "--out", str(tmp_path / "raw"), "--step", "0.5"]
    result = CliRunner().invoke(data, [*args, "--axes", axes, "--take", f"{take}=1"])
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "raw").iterdir()
    with RawStack.open(path) as stack:
        np.testing.assert_array_equal(stack.frames, expected)


def test_axes_that_the_file_names_are_not_named_again(tmp_path: Path) -> None:
    source = tiff(HYPER, metadata={"axes": "TZYX"})(tmp_path)
    settings = ImportSettings(step_um=0.5, axes="TZYX", take={"time": "0"})
    with pytest.raises(FgafError, match=r"names its axes itself \(TZYX\); leave --axes out"):
        list(import_stacks([source], tmp_path / "raw", settings))


def test_zstandard_names_what_it_needs(tmp_path: Path) -> None:
    path = write_zstd(tmp_path / "s.tif", BYTES)
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from fgaf.dataset.commands.main import main\n"
        "main(sys.argv[1:])\n"
    )
    args = ["import", path, "--step", "0.5", "--out", tmp_path / "raw"]
    call = [sys.executable, "-c", code, *map(str, args)]
    result = subprocess.run(call, capture_output=True, text=True)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "compressed in a way (ZSTD) that needs the package imagecodecs" in result.stderr
    assert "pip install 'fgaf[interchange]'" in result.stderr


def test_zstandard_is_read_with_what_it_needs(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    np.testing.assert_array_equal(read_alike(write_zstd(tmp_path / "s.tif", BYTES)), BYTES)


IMAGES: dict[str, Write] = {
    "white is zero": tiff(255 - BYTES[0], photometric="miniswhite"),
    "R = G = B": tiff(colours(BYTES[0]), photometric="rgb"),
    "PNG, R = G = B": lambda folder: _png(folder, Image.fromarray(colours(BYTES[0]))),
    "PNG, grey palette": lambda folder: _png(folder, Image.fromarray(BYTES[0]).convert("P")),
    "PNG, alpha": lambda folder: _png(folder, Image.fromarray(BYTES[0]).convert("LA")),
}


def _png(folder: Path, image: Image.Image) -> Path:
    image.save(folder / "s.png")
    return folder / "s.png"


@pytest.mark.parametrize("name", IMAGES)
def test_single_images_are_read_in_the_same_way(name: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(IMAGES[name](tmp_path)), BYTES[0])


def test_a_large_stack_of_imagej_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, PIXELS, imagej=True, metadata={"axes": "ZYX"})
    raw = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", raw, 4)
    (n,) = struct.unpack_from("<H", raw, first)
    struct.pack_into("<I", raw, first + 2 + 12 * n, 0)  # only the first page is described
    path.write_bytes(raw)
    np.testing.assert_array_equal(list(read_images(path)), PIXELS)
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(FgafError, match="truncated"):
        list(read_images(path))


def test_the_detector_reads_the_pixel_size_that_import_reads(tmp_path: Path) -> None:
    image = tmp_path / "BF.tif"
    blank = np.full((60, 60), 100, np.uint8)
    tifffile.imwrite(image, blank, imagej=True, resolution=(5, 5), metadata={"unit": "micron"})
    out = tmp_path / "heads.csv"
    result = CliRunner().invoke(curate, ["detect", str(image), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert len(out.read_text().splitlines()) == 1
    args = ["detect", str(image), "--out", str(tmp_path / "b.csv"), "--pixel-size", "0.1"]
    result = CliRunner().invoke(curate, args)
    assert "0.2 µm by ImageJ resolution and 0.1 µm by --pixel-size" in result.output


@pytest.mark.parametrize(
    ("write", "size"),
    [
        (lambda f: MmStack(PIXELS[None, None, :, None]).write(f)[0], 0.1465),
        (lambda f: write_lsm(f / "s.lsm", PIXELS, 0.5, 0.2), 0.2),
    ],
    ids=["Micro-Manager", "LSM"],
)
def test_the_pixel_size_of_an_image(write: Write, size: float, tmp_path: Path) -> None:
    assert pixel_size_of(write(tmp_path), None) == pytest.approx(size, rel=1e-4)
