"""Images and exports that claim what they do not hold, or name files elsewhere, are refused."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hostile import Said, require_refused, run
from PIL import Image

from fgaf.dataset.archive import Archive
from fgaf.dataset.exporters.image_folder import write_image_folder
from fgaf.dataset.exporters.webdataset import write_webdataset
from fgaf.dataset.record import NAME

Make = Callable[[Path, Archive], Path]


def header(shape: tuple[int, ...]) -> bytes:
    """Write the head of an array of bytes that does not follow."""
    told = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        told, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return told.getvalue()


def npz(entries: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries.items():
            file.writestr(f"{name}.npy", data)
    return path


def npz_claims(folder: Path, _: Archive) -> Path:
    held = header((10**6, 1000, 1000)) + bytes(1000)
    return npz({"images": held, "labels": header((10,)) + bytes(10)}, folder / "a.npz")


def npz_bomb(folder: Path, _: Archive) -> Path:
    held = header((400, 512, 1024)) + bytes(400 * 512 * 1024)
    return npz({"images": held, "labels": header((400,)) + bytes(400)}, folder / "b.npz")


def npz_of_one_array(folder: Path, _: Archive) -> Path:
    path = folder / "c.npz"
    path.write_bytes(header((10**15,)))
    return path


def vast_zarr(folder: Path, _: Archive) -> Path:
    path = folder / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", shape=(10**6, 10**4, 10**4), chunks=(1, 1000, 1000), dtype="u1")
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    return path


def tiff_bomb(folder: Path, _: Archive) -> Path:
    """A hundred planes of zeros, each of which alone would pass."""
    path = folder / "a.tif"
    plane = np.zeros((1024, 1024), np.uint16)
    with tifffile.TiffWriter(path) as file:
        for _ in range(100):
            file.write(plane, compression="zlib", contiguous=False, metadata=None)
    return path


def ome_claims(folder: Path, _: Archive) -> Path:
    path = folder / "b.ome.tif"
    planes = np.zeros((3, 32, 32), np.uint16)
    tifffile.imwrite(path, planes, metadata={"axes": "ZYX"}, photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        told = (file.ome_metadata or "").replace('SizeZ="3"', 'SizeZ="1000000000"')
    tifffile.imwrite(
        path, planes, description=told.encode(), metadata=None, photometric="minisblack"
    )
    return path


def png_bombs(folder: Path, _: Archive) -> Path:
    made = folder / "pngs"
    made.mkdir()
    for number in range(3):
        Image.new("L", (9000, 9000)).save(made / f"{number}.png")
    return made


def ndtiff(folder: Path, file: str, axes: str, width: int) -> Path:
    made = folder / f"ndtiff {len(list(folder.iterdir()))}"
    made.mkdir()
    entries = b""
    for z in range(2):
        told = axes.replace("Z", str(z)).encode()
        entries += struct.pack("<I", len(told)) + told
        entries += struct.pack("<I", len(file)) + file.encode()
        entries += struct.pack("<8I", 0, width, width, 1, 0, 0, 2, 0)
    (made / "NDTiff.index").write_bytes(entries)
    (made / "a.tif").write_bytes(bytes(100))
    return made


def exported(folder: Path, archive: Archive, change: Callable[[dict], None]) -> Path:
    made = write_image_folder(archive, folder / f"export {len(list(folder.iterdir()))}")
    record = json.loads((made / NAME).read_text(encoding="utf-8"))
    change(record)
    (made / NAME).write_text(json.dumps(record), encoding="utf-8")
    return made


def deep_record(folder: Path, _: Archive) -> Path:
    made = folder / "deep"
    made.mkdir()
    (made / NAME).write_text('{"a":' * 100_000)
    return made


def shards(folder: Path, archive: Archive) -> Path:
    """Shards whose first member is a link to a file elsewhere."""
    made = write_webdataset(archive, folder / f"shards {len(list(folder.iterdir()))}")
    record = json.loads((made / NAME).read_text(encoding="utf-8"))
    place = Path(record["files"][0])
    with tarfile.open(made / place.parent, "w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo(place.name)
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(member)
    return made


@dataclass(frozen=True)
class Hostile:
    """What is made, how it is imported, and what the line says."""

    name: str
    make: Make
    command: str
    says: str


PATCHES, STACKS = "import-patches", "import"
CASES = [
    Hostile("npz claims", npz_claims, PATCHES, "another number of bytes"),
    Hostile("npz bomb", npz_bomb, PATCHES, "declares 200 MB"),
    Hostile("npz of one array", npz_of_one_array, PATCHES, "is a single array"),
    Hostile("100 TB of Zarr", vast_zarr, STACKS, "declares 95367431 MB"),
    Hostile("TIFF bomb", tiff_bomb, STACKS, "declares 200 MB"),
    Hostile("OME claims", ome_claims, STACKS, "1000000000"),
    Hostile("PNG bombs", png_bombs, STACKS, "declares"),
    Hostile(
        "NDTiff elsewhere",
        lambda folder, _: ndtiff(folder, "../a.tif", '{"z": Z}', 4),
        STACKS,
        "not beside it",
    ),
    Hostile(
        "NDTiff claims",
        lambda folder, _: ndtiff(folder, "a.tif", '{"z": Z}', 2**32 - 1),
        STACKS,
        "is truncated",
    ),
    Hostile(
        "NDTiff nested",
        lambda folder, _: ndtiff(folder, "a.tif", "[" * 100_000, 4),
        STACKS,
        "is damaged",
    ),
    Hostile(
        "a record that climbs",
        lambda folder, archive: exported(
            folder, archive, lambda r: r["files"].__setitem__(0, "../../secret.png")
        ),
        PATCHES,
        "is not in its folder",
    ),
    Hostile(
        "a record of the whole disk",
        lambda folder, archive: exported(
            folder, archive, lambda r: r["files"].__setitem__(0, "/etc/secret.png")
        ),
        PATCHES,
        "is not in its folder",
    ),
    Hostile(
        "one file for all",
        lambda folder, archive: exported(
            folder, archive, lambda r: r.__setitem__("files", r["files"][:1] * 10**5)
        ),
        PATCHES,
        "a file for two patches",
    ),
    Hostile("a record without end", deep_record, PATCHES, "is not the record"),
    Hostile(
        "a link in a shard",
        shards,
        PATCHES,
        "lacks",
    ),
]


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, Said]:
    """What the import says of each, all in one process of bounded memory."""
    good = Archive.read(request.getfixturevalue("good_archive"))
    folder = tmp_path_factory.mktemp("images")
    out = tmp_path_factory.mktemp("out")
    commands = []
    for case in CASES:
        made = case.make(folder, good)
        more = ["--out", str(out / "new.h5")] if case.command == PATCHES else ["--out", str(out)]
        optics = ["--step", "0.5"] if case.command == STACKS else []
        commands.append(["fgaf-data", case.command, str(made), *more, *optics])
    return dict(zip((case.name for case in CASES), run(commands), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_image_is_refused_in_one_line(case: Hostile, answers: dict[str, Said]) -> None:
    require_refused(answers[case.name], case.says)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
@pytest.mark.parametrize(
    "predicts", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["imports", "predicts"]
)
def test_nothing_waits_for_a_pipe(predicts: bool, tmp_path: Path) -> None:
    commands = []
    for name in ("a.tif", "b.png", "c.nd2", "d.npz"):
        os.mkfifo(tmp_path / name)
        command = "import-patches" if name.endswith("npz") else "import"
        out = tmp_path / "out.h5"
        commands.append(["fgaf-data", command, str(tmp_path / name), "--out", str(out)])
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("0.tif", "1.tif"):
        os.mkfifo(folder / name)
    commands.append(["fgaf-data", "import", str(folder), "--out", str(tmp_path)])
    commands.append(["fgaf-curate", "detect", str(tmp_path / "a.tif"), "--out", str(out)])
    if predicts:
        commands = [["fgaf-predict", "sim", str(tmp_path / "a.tif")]]
    for said in run(commands):
        require_refused(said)
