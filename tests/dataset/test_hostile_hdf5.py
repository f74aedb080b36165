"""Files that declare terabytes or refer to other files are refused before anything is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hostile import Said, require_refused, run

from fgaf.base.errors import FormatError
from fgaf.dataset.archive import Archive
from fgaf.dataset.raw import SUFFIX, RawStack, RawWriter, recover

Change = Callable[[h5py.File], Any]
DATA = "fgaf-data"


def instead(name: str, **made: Any) -> Change:
    """Put another dataset in the place of one, with its attributes."""

    def change(file: h5py.File) -> None:
        attributes = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, **made).attrs.update(attributes)

    return change


def link(name: str, to: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = to

    return change


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((5, 24, 24), "u2")
    layout[:] = h5py.VirtualSource("/etc/hostname", "frames", (5, 24, 24))
    del file["frames"]
    file.create_virtual_dataset("frames", layout)


def zeros(file: h5py.File) -> None:
    """A deflated bomb: a thousand bytes for each that is stored."""
    del file["frames"]
    made = file.create_dataset("frames", (200, 1024, 1024), "u2", chunks=(1, 1024, 1024), **ZIP)
    for plane in range(200):
        made[plane] = 0


def deep(file: h5py.File) -> None:
    group: Any = file
    for _ in range(2000):
        group = group.create_group("g")


def twice(file: h5py.File) -> None:
    """References, each to the same long text."""
    text = "x" * 100_000
    made = file.create_dataset("planes/more", (100,), h5py.string_dtype())
    made[:] = [text] * 100


ZIP = {"compression": "gzip", "compression_opts": 9}
HUGE = {"shape": (10**12, 24, 24), "dtype": "u2", "chunks": (1, 24, 24)}
EXTERNAL = [("/etc/hostname", 0, 5760)]


@dataclass(frozen=True)
class Hostile:
    """A change to a good raw stack, and what the line says."""

    name: str
    change: Change
    says: str


CASES = [
    Hostile("no chunks", instead("frames", **HUGE), "declares 1152 TB"),
    Hostile("deflated, no chunks", instead("frames", **HUGE, **ZIP), "declares 1152 TB"),
    Hostile("a table", instead("planes/crc32", shape=(10**11,), dtype="u4"), "declares 400 GB"),
    Hostile("a long word", instead("planes/crc32", shape=(5,), dtype="S1000000000"), "5 GB"),
    Hostile("bomb", zeros, "declares 419 MB"),
    Hostile("external link", link("frames", h5py.ExternalLink("o.h5", "/frames")), "is a link"),
    Hostile("soft link", link("planes", h5py.SoftLink("/frames")), "is a link"),
    Hostile(
        "external storage",
        instead("frames", shape=(5, 24, 24), dtype="u2", external=EXTERNAL),
        "are in other files",
    ),
    Hostile("virtual", virtual, "are in other files"),
    Hostile("references", instead("frames", shape=(5,), dtype=h5py.ref_dtype), "neither numbers"),
    Hostile("text of any length", twice, "neither numbers nor text"),
    Hostile("an endless tree", deep, "more groups"),
    Hostile("a loop", lambda file: file.__setitem__("planes/loop", file["/"]), "more groups"),
    Hostile("a list", lambda file: file.attrs.__setitem__("step_um", [0.5] * 9), "is a list"),
]


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, list[Said]]:
    """What validate, info and export say of each, all under a limit of memory."""
    good: Path = request.getfixturevalue("good_stack")
    folder = tmp_path_factory.mktemp("hostile")
    commands = []
    for number, case in enumerate(CASES):
        path = folder / f"{number}{SUFFIX}"
        shutil.copy(good, path)
        with h5py.File(path, "r+") as file:
            case.change(file)
        commands += [
            (DATA, "validate", str(path)),
            (DATA, "info", str(path)),
            (DATA, "export", str(path), "--to", "ome-tiff", "--out", str(folder / "out.tif")),
        ]
    said = run(commands)
    return {case.name: said[3 * k : 3 * k + 3] for k, case in enumerate(CASES)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_file_is_refused_in_one_line(
    case: Hostile, answers: dict[str, list[Said]]
) -> None:
    for said in answers[case.name]:
        require_refused(said, case.says)


def test_archives_are_refused_alike(good_archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    shutil.copy(good_archive, path)
    with h5py.File(path, "r+") as file:
        instead("images", shape=(10**10, 16, 16), dtype="u2", chunks=(64, 16, 16))(file)
    with pytest.raises(FormatError, match=r"declares 5\.12 TB but stores"), Archive.open(path):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / f"a{SUFFIX}"
    os.mkfifo(pipe)
    with pytest.raises(FormatError, match="is a pipe, not a regular file"), RawStack.open(pipe):
        pass


def test_what_another_program_compressed_well_is_read(good_archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    shutil.copy(good_archive, path)
    with h5py.File(path, "r+") as file:
        images = file["images"][()]
        instead("images", data=images, chunks=True, **ZIP)(file)
    np.testing.assert_array_equal(Archive.read(path).images, images)


def test_a_broken_run_that_hardly_began_is_recovered(
    tmp_path: Path, write_stack: Callable[..., Path]
) -> None:
    """A compressed stack makes room for all its planes at once, and has none of them yet."""
    path = write_stack(tmp_path / f"a{SUFFIX}")
    with RawStack.open(path) as stack:
        header = stack.header
        pixels = stack.frames[0]
    big = np.tile(pixels, (43, 43))
    part = tmp_path / f"b{SUFFIX}.part"
    with RawWriter(
        tmp_path / f"b{SUFFIX}", header, (300, *big.shape), np.uint16, compress=True
    ) as writer:
        writer.write(
            0,
            big,
            z_requested_um=0.0,
            z_measured_um=0.0,
            time_device_ns=0,
            time_host_ns=0,
            frame_id=0,
            exposure_us=1.0,
        )
        writer.sync()
        shutil.copy(part, tmp_path / f"c{SUFFIX}.part")
    assert recover(tmp_path / f"c{SUFFIX}.part").planes == 1
