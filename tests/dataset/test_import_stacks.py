"""Z-stacks of other programs become raw stacks, or one line says why not."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fgaf.base.errors import ExistsError, FgafError, SettingError
from fgaf.dataset.importers.plan import ImportSettings, find_sources
from fgaf.dataset.importers.stacks import import_stacks
from fgaf.dataset.quality.validate import validate
from fgaf.dataset.raw import RawStack
from fgaf.dataset.storage.optics import Optics

SHAPE = (5, 20, 30)
PIXELS = np.random.default_rng(5).integers(0, 4000, SHAPE, dtype=np.uint16)
OME = {
    "axes": "ZYX",
    "PhysicalSizeX": 146.5,
    "PhysicalSizeXUnit": "nm",
    "PhysicalSizeY": 146.5,
    "PhysicalSizeYUnit": "nm",
    "PhysicalSizeZ": 0.5,
    "PhysicalSizeZUnit": "µm",
}
IMAGEJ = {"axes": "ZYX", "spacing": 0.5, "unit": "um"}
Writer = Callable[[Path], Path]


def ome(
    pixels: NDArray[Any] = PIXELS, name: str = "stack.ome.tif", meta: dict[str, Any] = OME
) -> Writer:
    def write(folder: Path) -> Path:
        tifffile.imwrite(folder / name, pixels, ome=True, metadata=meta, photometric="minisblack")
        return folder / name

    return write


def imagej(pixels: NDArray[Any] = PIXELS, **meta: Any) -> Writer:
    def write(folder: Path) -> Path:
        path = folder / "stack.tif"
        scale = (1 / 0.1465, 1 / 0.1465)
        tifffile.imwrite(path, pixels, imagej=True, resolution=scale, metadata=IMAGEJ | meta)
        return path

    return write


def plain(pixels: NDArray[Any] = PIXELS, **options: Any) -> Writer:
    def write(folder: Path) -> Path:
        path = folder / "stack.tif"
        tifffile.imwrite(path, pixels, metadata=None, **options)
        return path

    return write


def images(names: list[str], pixels: NDArray[Any] = PIXELS) -> Writer:
    def write(folder: Path) -> Path:
        stack = folder / "images"
        stack.mkdir()
        for name, frame in zip(names, pixels, strict=False):
            if name.endswith("tif"):
                tifffile.imwrite(stack / name, frame)
            else:
                Image.fromarray(frame).save(stack / name)
        (stack / "notes.txt").write_text("no image")
        return stack

    return write


def micromanager(z_step: float = 0.5, z_um: tuple[float, ...] = (3, 3.5, 4, 4.5, 5)) -> Writer:
    """A file as Micro-Manager lays it out: its summary right behind the TIFF header."""

    def write(folder: Path) -> Path:
        path = folder / "mm_stack.tif"
        summary = json.dumps({"z-step_um": z_step, "PixelSize_um": 0.1465}).encode()
        head = struct.pack("<8I", 54773648, 0, 483765892, 0, 99384722, 0, 2355492, len(summary))
        body = bytearray(b"II*\0" + b"\0" * 4 + head + summary)
        link = 4
        rows, columns = SHAPE[1:]
        for frame, z in zip(PIXELS, z_um, strict=True):
            tag = json.dumps({"ZPositionUm": z, "Exposure-ms": 20, "BitDepth": 12}).encode()
            pixel_at = len(body)
            body += frame.tobytes() + tag
            struct.pack_into("<I", body, link, len(body))
            entries = [
                (256, 3, 1, columns),
                (257, 3, 1, rows),
                (258, 3, 1, 16),
                (259, 3, 1, 1),
                (262, 3, 1, 1),
                (273, 4, 1, pixel_at),
                (277, 3, 1, 1),
                (278, 3, 1, rows),
                (279, 4, 1, frame.nbytes),
                (51123, 2, len(tag), pixel_at + frame.nbytes),
            ]
            body += struct.pack("<H", len(entries))
            for entry in entries:
                body += struct.pack("<HHII", *entry)
            link = len(body)
            body += b"\0" * 4
        path.write_bytes(body)
        return path

    return write


def run(folder: Path, write: Writer, settings: ImportSettings | None = None) -> RawStack:
    source = write(folder)
    (done,) = import_stacks([source], folder / "raw", settings)
    with RawStack.open(done.path) as stack:
        stack.verify()
        np.testing.assert_array_equal(stack.planes["frame_id"], np.arange(stack.n_planes))
        return RawStack(stack.path, stack.header, stack.frames[:], stack.planes, stack.fingerprint)


@dataclass(frozen=True)
class Good:
    """A source that imports, and what comes out."""

    name: str
    write: Writer
    reader: str
    settings: ImportSettings = field(default_factory=ImportSettings)
    step: float = 0.5
    pixel: float | None = 0.1465
    center: float = 0.0
    bits: int = 12
    pixels: NDArray[Any] = field(default_factory=lambda: PIXELS)


STEP = ImportSettings(step_um=0.5)
POSITIONS = OME | {"Plane": {"PositionZ": [10, 10.5, 11, 11.5, 12], "PositionZUnit": ["µm"] * 5}}
DOWN = OME | {"Plane": {"PositionZ": [12, 11.5, 11, 10.5, 10], "PositionZUnit": ["µm"] * 5}}
STILL = OME | {"Plane": {"PositionZ": [7.0] * 5, "PositionZUnit": ["µm"] * 5}}
EIGHT = (PIXELS >> 4).astype(np.uint8)
GOOD = [
    Good("OME", ome(), "OME-TIFF"),
    Good("OME, step confirmed", ome(), "OME-TIFF", STEP),
    Good("OME, positions", ome(meta=POSITIONS), "OME-TIFF", center=11.0),
    Good("OME, positions down", ome(meta=DOWN), "OME-TIFF", center=11.0, pixels=PIXELS[::-1]),
    Good("OME, a drive that stood still", ome(meta=STILL), "OME-TIFF"),
    Good("OME, bits", ome(meta=OME | {"SignificantBits": 14}), "OME-TIFF", bits=14),
    Good("OME, big endian", ome(PIXELS.astype(">u2")), "OME-TIFF"),
    Good(
        "OME, wrong metadata",
        ome(),
        "OME-TIFF",
        ImportSettings(step_um=1.0, ignore_metadata=True),
        step=1.0,
        pixel=None,
    ),
    Good("ImageJ", imagej(), "ImageJ TIFF"),
    Good("ImageJ, nm", imagej(spacing=500, unit="nm"), "ImageJ TIFF", pixel=0.0001465),
    Good("ImageJ, 8 bit", imagej(EIGHT), "ImageJ TIFF", bits=8, pixels=EIGHT),
    Good("Micro-Manager", micromanager(), "Micro-Manager TIFF", center=4.0),
    Good("plain", plain(), "TIFF", STEP, pixel=None),
    Good("plain, deflate", plain(compression="zlib"), "TIFF", STEP, pixel=None),
    Good("center", plain(), "TIFF", ImportSettings(0.5, center_um=40), pixel=None, center=40),
    Good(
        "PNG folder",
        images(["z10.png", "z8.png", "z9.png", "z11.png", "z12.png"]),
        "folder of png",
        STEP,
        pixel=None,
        pixels=PIXELS[[1, 2, 0, 3, 4]],
    ),
    Good("TIFF folder", images([f"{k}.tif" for k in range(5)]), "folder of tif", STEP, pixel=None),
    Good(
        "BMP folder",
        images([f"t001_z{k}.bmp" for k in range(5)], EIGHT),
        "folder of bmp",
        STEP,
        pixel=None,
        bits=8,
        pixels=EIGHT,
    ),
]


@pytest.mark.parametrize("case", GOOD, ids=lambda c: c.name)
def test_a_stack_comes_out_as_it_went_in(case: Good, tmp_path: Path) -> None:
    stack = run(tmp_path, case.write, case.settings)
    np.testing.assert_array_equal(stack.frames, case.pixels)
    assert stack.frames.dtype == case.pixels.dtype
    assert stack.header.step_um == pytest.approx(case.step)
    assert stack.header.half_range_um == pytest.approx(2 * case.step)
    assert stack.header.optics.pixel_size_um == pytest.approx(case.pixel)
    assert stack.header.bit_depth == case.bits
    z = case.center + (np.arange(5) - 2) * case.step
    np.testing.assert_allclose(stack.z_um, z)
    np.testing.assert_allclose(stack.planes["z_requested_um"], z)
    assert tomllib.loads(stack.header.rig)["import"]["reader"] == case.reader


def test_what_the_person_knows_is_recorded(tmp_path: Path) -> None:
    settings = ImportSettings(
        sample_id="donor 7",
        operator="anna",
        field="beads",
        optics=Optics(numerical_aperture=0.65, medium_index=1.0),
    )
    header = run(tmp_path, ome(), settings).header
    assert (header.sample_id, header.operator, header.field) == ("donor 7", "anna", "beads")
    assert header.optics.numerical_aperture == 0.65
    assert header.optics.pixel_size_um == pytest.approx(0.1465)


def test_times_and_exposures_come_from_the_metadata(tmp_path: Path) -> None:
    plane = {
        "DeltaT": [0.0, 0.1, 0.2, 0.3, 0.4],
        "DeltaTUnit": ["s"] * 5,
        "ExposureTime": [5.0] * 5,
        "ExposureTimeUnit": ["ms"] * 5,
    }
    meta = OME | {"Plane": plane, "AcquisitionDate": "2026-01-02T03:04:05+00:00"}
    stack = run(tmp_path, ome(meta=meta))
    np.testing.assert_array_equal(np.diff(stack.planes["time_host_ns"]), 100_000_000)
    assert stack.planes["time_host_ns"][0] == 1767323045 * 10**9
    np.testing.assert_allclose(stack.planes["exposure_us"], 5000.0)


@dataclass(frozen=True)
class Bad:
    """A source that is refused, and what the line says."""

    name: str
    write: Writer
    says: str
    settings: ImportSettings = STEP


def cut(write: Writer, share: float) -> Writer:
    def shortened(folder: Path) -> Path:
        path = write(folder)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return path

    return shortened


def mixed_sizes(folder: Path) -> Path:
    path = folder / "stack.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(PIXELS[0], metadata=None)
        tiff.write(PIXELS[1, :10], metadata=None)
    return path


def unequal_images(folder: Path) -> Path:
    path = images(["1.png", "2.png"])(folder)
    Image.fromarray(PIXELS[2, :10]).save(path / "3.png")
    return path


def text(folder: Path) -> Path:
    path = folder / "stack.tif"
    path.write_text("this is no image at all")
    return path


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in OME.items() if key != name}


NONE = ImportSettings()
RGB = np.random.default_rng(1).integers(0, 255, (5, 20, 30, 3), dtype=np.uint8)
FLOATS = np.where(PIXELS > 3990, np.nan, PIXELS / 4000).astype(np.float32)
BAD = [
    Bad("no step", plain(), "does not contain its z step; give it with --step", NONE),
    Bad("no OME step", ome(meta=without("PhysicalSizeZ")), "does not contain its z step", NONE),
    Bad("step without unit", imagej(unit=""), "does not contain its z step", NONE),
    Bad(
        "steps differ",
        ome(),
        "0.5 µm by OME PhysicalSizeZ and 1 µm by --step",
        ImportSettings(step_um=1.0),
    ),
    Bad(
        "pixels differ",
        ome(),
        "0.1465 µm by OME PhysicalSizeX and 0.2 µm by --pixel-size",
        ImportSettings(optics=Optics(pixel_size_um=0.2)),
    ),
    Bad("pixels not square", ome(meta=OME | {"PhysicalSizeY": 200}), "0.2 µm by OME PhysicalSizeY"),
    Bad(
        "positions differ",
        ome(meta=POSITIONS | {"PhysicalSizeZ": 1.0}),
        "1 µm by OME PhysicalSizeZ and 0.5 µm by OME PositionZ",
        NONE,
    ),
    Bad(
        "positions to and fro",
        ome(
            meta=OME | {"Plane": {"PositionZ": [1, 2, 1, 2, 1], "PositionZUnit": ["µm"] * 5}},
        ),
        "go up and down",
    ),
    Bad(
        "center differs",
        ome(meta=POSITIONS),
        "11 µm by OME PositionZ and 50 µm by --center",
        ImportSettings(center_um=50.0),
    ),
    Bad("Micro-Manager steps differ", micromanager(1.0), "1 µm by Micro-Manager z-step_um", NONE),
    Bad("colour", plain(RGB, photometric="rgb"), "colour image; convert it to 8 or 16 bit grey"),
    Bad("float", plain(FLOATS), "float32 pixels"),
    Bad("signed", plain(PIXELS.astype(np.int16)), "int16 pixels"),
    Bad("one plane", plain(PIXELS[0]), "single plane"),
    Bad("one plane OME", ome(PIXELS[0], meta=without("axes")), "single plane"),
    Bad("channels", imagej(PIXELS[:, None].repeat(2, 1), axes="ZCYX"), "channels: 2"),
    Bad("times", imagej(axes="TYX"), "time points: 5"),
    Bad("times OME", ome(PIXELS[None].repeat(3, 0), meta=OME | {"axes": "TZYX"}), "time points: 3"),
    Bad("sizes differ", mixed_sizes, "pages of different sizes"),
    Bad("half a file", cut(plain(), 0.5), "truncated"),
    Bad("half an OME file", cut(ome(), 0.5), "truncated"),
    Bad("half an ImageJ file", cut(imagej(), 0.5), "truncated"),
    Bad("nearly a file", cut(plain(), 0.97), "truncated"),
    Bad("text", text, "damaged or not a TIFF"),
    Bad("not there", lambda folder: folder / "absent.tif", "does not exist"),
    Bad("gap", images(["1.png", "2.png", "4.png"]), "no image numbered 3"),
    Bad("repeat", images(["z1.png", "z01.png", "z2.png"]), "several images numbered 1"),
    Bad("no number", images(["a.png", "b.png"]), "mixes images named"),
    Bad("two numbers", images(["t1_z1.png", "t1_z2.png", "t2_z1.png"]), "differ in 2 numbers"),
    Bad("one image", images(["1.png"]), "holds 1 image;"),
    Bad("sizes in a folder", unequal_images, "10 x 30 pixels"),
    Bad("colour in a folder", images(["1.png", "2.png"], RGB), "colour image"),
    Bad(
        "broken PNG", lambda f: _shorten(images(["1.png", "2.png"])(f), "2.png"), "2.png is damaged"
    ),
]


def _shorten(folder: Path, name: str) -> Path:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    return folder


@pytest.mark.parametrize("case", BAD, ids=lambda c: c.name)
def test_what_is_no_z_stack_is_refused_in_one_line(case: Bad, tmp_path: Path) -> None:
    source = case.write(tmp_path)
    with pytest.raises(FgafError) as caught:
        list(import_stacks([source], tmp_path / "raw", case.settings))
    assert case.says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "raw").glob("*"))


def test_nothing_is_overwritten_or_mixed_up(tmp_path: Path) -> None:
    source = ome()(tmp_path)
    twin = tmp_path / "twin"
    twin.mkdir()
    other = ome(PIXELS[::-1])(twin)
    with pytest.raises(FgafError, match="several sources would become"):
        list(import_stacks([source, other], tmp_path / "raw"))
    (first,) = import_stacks([source], tmp_path / "raw")
    before = first.path.read_bytes()
    with pytest.raises(ExistsError):
        list(import_stacks([other], tmp_path / "raw"))
    assert first.path.read_bytes() == before
    list(import_stacks([other], tmp_path / "raw", overwrite=True))
    assert first.path.read_bytes() != before


def test_a_folder_of_stacks_stands_for_its_files(tmp_path: Path) -> None:
    first, second = ome(name="a.ome.tif")(tmp_path), ome(name="b.ome.tif")(tmp_path)
    assert find_sources([tmp_path]) == [first, second]
    folder = images(["1.png", "2.png"])(tmp_path)
    assert find_sources([folder]) == [folder]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FgafError, match="holds no images"):
        find_sources([tmp_path / "empty"])


def test_micromanager_image_folders_tell_their_step(tmp_path: Path) -> None:
    names = [f"img_000000000_Default_{k:03d}.tif" for k in range(5)]
    folder = images(names)(tmp_path)
    summary = {"Summary": {"z-step_um": 0.25, "PixelSize_um": 0}}
    (folder / "metadata.txt").write_text(json.dumps(summary))
    (done,) = import_stacks([folder], tmp_path / "raw")
    assert (done.step_um, done.pixel_size_um) == (0.25, None)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03])
def test_a_killed_import_leaves_the_old_file_or_the_new(delay: float, tmp_path: Path) -> None:
    source = ome()(tmp_path)
    (done,) = import_stacks([source], tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from fgaf.dataset import import_stacks\n"
        "source = Path(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "for _ in range(100): list(import_stacks([source], source.parent, overwrite=True))\n"
    )
    command = [sys.executable, "-c", code, str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        until = time.monotonic() + delay
        while time.monotonic() < until:
            pass
        process.send_signal(signal.SIGKILL)
    assert validate(done.path).ok
    list(import_stacks([source], tmp_path, overwrite=True))
    assert {p.name for p in tmp_path.iterdir()} == {"stack.ome.tif", "stack.stack.h5"}


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_after_a_killed_import_the_same_command_simply_works(tmp_path: Path) -> None:
    source = ome()(tmp_path)
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from fgaf.dataset import import_stacks\n"
        "from fgaf.dataset.raw import RawWriter\n"
        "def die(self): os.kill(os.getpid(), signal.SIGKILL)\n"
        "RawWriter.seal = die\n"
        "list(import_stacks([Path(sys.argv[1])], Path(sys.argv[2])))\n"
    )
    raw = tmp_path / "raw"
    killed = subprocess.run([sys.executable, "-c", code, str(source), str(raw)])
    assert killed.returncode == -signal.SIGKILL
    (left,) = raw.iterdir()
    (done,) = import_stacks([source], raw)
    assert validate(done.path).ok
    assert list(raw.iterdir()) == [done.path]
    assert left != done.path


def test_an_import_leaves_a_broken_recording_alone(
    write_stack: Callable[..., Path], tmp_path: Path
) -> None:
    recording = write_stack(tmp_path / "stack.stack.h5").rename(tmp_path / "stack.stack.h5.part")
    before = recording.read_bytes()
    list(import_stacks([ome()(tmp_path)], tmp_path))
    list(import_stacks([ome()(tmp_path)], tmp_path, overwrite=True))
    assert recording.read_bytes() == before


@dataclass(frozen=True)
class Several:
    """A file of several stacks, which of them are taken, and what they become."""

    name: str
    write: Writer
    take: dict[str, str]
    become: dict[str, NDArray[Any]]


TIMES = np.random.default_rng(6).integers(0, 4000, (4, 5, 20, 30), dtype=np.uint16)
TWO = np.stack([TIMES, TIMES[::-1]], axis=2)
SEVERAL = [
    Several(
        "OME, all times",
        ome(TIMES, meta=OME | {"axes": "TZYX"}),
        {"time": "all"},
        {f"stack_t{k}": TIMES[k] for k in range(4)},
    ),
    Several(
        "OME, one", ome(TIMES, meta=OME | {"axes": "TZYX"}), {"time": "-1"}, {"stack_t3": TIMES[3]}
    ),
    Several(
        "ImageJ",
        imagej(TIMES, axes="TZYX"),
        {"time": "1:4:2"},
        {"stack_t1": TIMES[1], "stack_t3": TIMES[3]},
    ),
    Several(
        "compressed",
        lambda folder: compressed(folder),
        {"time": "2"},
        {"stack_t2": TIMES[2]},
    ),
    Several(
        "times and channels",
        ome(TWO, meta=OME | {"axes": "TZCYX"}),
        {"time": "0", "channel": "all"},
        {"stack_t0_c0": TIMES[0], "stack_t0_c1": TIMES[3]},
    ),
    Several(
        "positions",
        lambda folder: positions(folder),
        {"position": "all"},
        {"stack_p0": TIMES[0], "stack_p1": TIMES[1]},
    ),
]


@pytest.mark.parametrize(
    "write",
    [plain(TIMES.reshape(20, 20, 30)), imagej(TIMES.reshape(20, 20, 30), axes="TYX")],
    ids=["plain", "ImageJ, all as times"],
)
def test_pages_that_run_through_z_again_and_again(write: Writer, tmp_path: Path) -> None:
    source = write(tmp_path)
    settings = ImportSettings(step_um=0.5, planes=5, take={"time": "all"})
    done = list(import_stacks([source], tmp_path / "raw", settings))
    for one, pixels in zip(done, TIMES, strict=True):
        with RawStack.open(one.path) as stack:
            np.testing.assert_array_equal(stack.frames, pixels)
            assert stack.header.field == "stack"
    for planes, write_other, says in (
        (6, plain(TIMES.reshape(20, 20, 30)), "has 20 pages, not a whole number"),
        (1, plain(TIMES.reshape(20, 20, 30)), "two or more planes"),
        (5, ome(TIMES, meta=OME | {"axes": "TZYX"}), "says itself which page"),
        (5, images(["1.png", "2.png"]), "--planes is for TIFF"),
    ):
        with pytest.raises(SettingError, match=says):
            list(
                import_stacks(
                    [write_other(tmp_path)], tmp_path / "b", ImportSettings(0.5, planes=planes)
                )
            )


def compressed(folder: Path) -> Path:
    meta = OME | {"axes": "TZYX"}
    tifffile.imwrite(folder / "stack.ome.tif", TIMES, ome=True, metadata=meta, compression="zlib")
    return folder / "stack.ome.tif"


def positions(folder: Path) -> Path:
    with tifffile.TiffWriter(folder / "stack.ome.tif", ome=True) as tiff:
        for pixels in TIMES[:2]:
            tiff.write(pixels, metadata=OME)
    return folder / "stack.ome.tif"


@pytest.mark.parametrize("case", SEVERAL, ids=lambda c: c.name)
def test_hyperstacks_become_a_stack_for_each_time_and_place(case: Several, tmp_path: Path) -> None:
    done = list(
        import_stacks([case.write(tmp_path)], tmp_path / "raw", ImportSettings(take=case.take))
    )
    assert [one.path.name for one in done] == [f"{name}.stack.h5" for name in case.become]
    fields = set()
    for one, pixels in zip(done, case.become.values(), strict=True):
        with RawStack.open(one.path) as stack:
            np.testing.assert_array_equal(stack.frames, pixels)
            assert stack.header.step_um == 0.5
            fields.add(stack.header.field)
    repeats = len(done) > 1 and "position" not in case.take
    assert fields == ({"stack"} if repeats else {""})


def test_each_time_point_has_its_own_positions_and_times(tmp_path: Path) -> None:
    z = [10 + 0.5 * (k % 5) + 100 * (k // 5) for k in range(20)]
    plane = {
        "PositionZ": z,
        "PositionZUnit": ["µm"] * 20,
        "DeltaT": [0.1 * k for k in range(20)],
        "DeltaTUnit": ["s"] * 20,
    }
    source = ome(TIMES, meta=OME | {"axes": "TZYX", "Plane": plane})(tmp_path)
    settings = ImportSettings(take={"time": "2"}, field="well 3")
    (done,) = import_stacks([source], tmp_path / "raw", settings)
    with RawStack.open(done.path) as stack:
        np.testing.assert_allclose(stack.z_um, [210, 210.5, 211, 211.5, 212])
        np.testing.assert_array_equal(
            stack.planes["time_device_ns"], (np.arange(10, 15) * 10**8).astype(np.int64)
        )
        assert stack.header.field == "well 3"


@pytest.mark.parametrize(
    ("take", "says"),
    [
        ({}, "holds several z-stacks (time points: 4); choose with --take time=0"),
        ({"time": "4"}, "has 4 time points, numbered 0 to 3"),
        ({"time": "first"}, "give a number, a range such as 0:10"),
        ({"time": "7:9"}, "has 4 time points"),
        ({"time": "0", "channel": "1"}, "has only one channel; leave it out"),
    ],
)
def test_which_stack_is_meant_is_never_guessed(
    take: dict[str, str], says: str, tmp_path: Path
) -> None:
    source = ome(TIMES, meta=OME | {"axes": "TZYX"})(tmp_path)
    with pytest.raises(SettingError) as caught:
        list(import_stacks([source], tmp_path / "raw", ImportSettings(take=take)))
    assert says in str(caught.value)
    assert not (tmp_path / "raw").exists()


BEADS = Path(__file__).parents[3] / "shared" / "real" / "idpt_beads"


@pytest.mark.skipif(not BEADS.is_dir(), reason="the real beads are not at hand")
def test_real_beads_import_as_they_are(tmp_path: Path) -> None:
    settings = ImportSettings(field="beads")
    done = list(import_stacks(sorted(BEADS.glob("*.ome.tif")), tmp_path, settings))
    assert [stack.shape for stack in done] == [(33, 512, 512)] * 2
    assert {(stack.step_um, stack.pixel_size_um) for stack in done} == {(2.0, 1.6)}
    with RawStack.open(done[0].path) as stack:
        assert stack.header.field == "beads"
        np.testing.assert_array_equal(stack.frames, tifffile.imread(done[0].source))
