"""Files that are one recording together: each position once, with what is said of itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from microscope_tiffs import MmStack, write_ome_set

from fgaf.base.errors import FgafError
from fgaf.dataset.commands.main import main
from fgaf.dataset.importers.images import pixel_size_of
from fgaf.dataset.importers.plan import ImportSettings, find_sources
from fgaf.dataset.importers.stacks import import_stacks
from fgaf.dataset.importers.tiff import read_tiff
from fgaf.dataset.raw import RawStack

PIXELS = np.random.default_rng(8).integers(1, 4000, (3, 5, 20, 30), dtype=np.uint16)
STEPS = (0.5, 0.25, 1.0)
Write = Callable[[Path], list[Path]]


def mm(folder: Path) -> list[Path]:
    return MmStack(PIXELS[:, None, :, None]).write(folder)


def ome(folder: Path) -> list[Path]:
    return write_ome_set(folder, PIXELS, STEPS)


def companion(folder: Path) -> list[Path]:
    return write_ome_set(folder, PIXELS, STEPS, companion=True)


SETS: dict[str, tuple[Write, str, tuple[float, ...]]] = {
    "Micro-Manager": (mm, "cells_1_MMStack", (0.5, 0.5, 0.5)),
    "OME": (ome, "plate", STEPS),
    "OME companion": (companion, "plate", STEPS),
}


def imported(sources: list[Path], out: Path, **take: str) -> dict[str, RawStack]:
    found = {}
    for done in import_stacks(sources, out, ImportSettings(take=take)):
        with RawStack.open(done.path) as s:
            found[done.path.name.removesuffix(".stack.h5")] = RawStack(
                s.path, s.header, s.frames[:], s.planes, s.fingerprint
            )
    return found


@pytest.mark.parametrize("case", SETS)
@pytest.mark.parametrize("member", [0, 1, 2])
def test_any_file_of_a_set_gives_each_position_once(case: str, member: int, tmp_path: Path) -> None:
    write, name, steps = SETS[case]
    stacks = imported([write(tmp_path / "in")[member]], tmp_path / "raw", position="all")
    assert list(stacks) == [f"{name}_p{r}" for r in range(3)]
    for stack, pixels, step in zip(stacks.values(), PIXELS, steps, strict=True):
        np.testing.assert_array_equal(stack.frames, pixels)
        assert stack.header.step_um == step


@pytest.mark.parametrize("case", SETS)
@pytest.mark.parametrize(("take", "n"), [("0", 1), ("all", 3), ("1:", 2)])
def test_all_files_of_a_set_are_one_source(case: str, take: str, n: int, tmp_path: Path) -> None:
    files = SETS[case][0](tmp_path / "in")
    args = ["import", *map(str, files), "--out", str(tmp_path / "raw"), "--json"]
    result = CliRunner().invoke(main, [*args, "--take", f"position={take}"])
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["stacks"]) == n
    assert "are one set, taken once" in result.stderr
    assert len(list((tmp_path / "raw").iterdir())) == n


@pytest.mark.parametrize("case", SETS)
def test_a_file_that_is_alone_keeps_what_is_said_of_it(case: str, tmp_path: Path) -> None:
    write, _, steps = SETS[case]
    files = write(tmp_path / "in")
    for file in files[-3:-1]:
        file.unlink()
    if case == "Micro-Manager":  # its own file says all; the OME-XML is gone with the first
        assert not (tmp_path / "in" / "cells_1_MMStack_Pos0.ome.tif").exists()
    (alone,) = imported([files[-1]], tmp_path / "raw", position="2").values()
    np.testing.assert_array_equal(alone.frames, PIXELS[2])
    assert alone.header.step_um == steps[2]
    with pytest.raises(FgafError, match=r"not beside it") as caught:
        imported([files[-1]], tmp_path / "other", position="all")
    assert "\n" not in str(caught.value)


def test_the_file_that_is_missing_is_named(tmp_path: Path) -> None:
    ome_files, mm_files = ome(tmp_path / "a"), mm(tmp_path / "b")
    for files, gone in ((ome_files, "plate_s1.ome.tif"), (mm_files, "cells_1_MMStack_Pos1.ome")):
        files[1].unlink()
        with pytest.raises(FgafError, match=gone):
            imported([files[0]], tmp_path / "raw", position="1")


def test_without_the_file_that_describes_it_one_line_says_so(tmp_path: Path) -> None:
    described, *files = companion(tmp_path)
    stacks = imported([described], tmp_path / "raw", position="1")
    np.testing.assert_array_equal(stacks["plate_p1"].frames, PIXELS[1])
    described.unlink()
    with pytest.raises(FgafError, match=r"a set that plate\.companion\.ome describes"):
        imported(files[:1], tmp_path / "other")


def test_a_file_that_was_renamed_is_still_read(tmp_path: Path) -> None:
    (file,) = write_ome_set(tmp_path, PIXELS[:1], STEPS[:1])
    renamed = file.rename(tmp_path / "mine.ome.tif")
    np.testing.assert_array_equal(read_tiff(renamed).frames, PIXELS[0])


def test_another_recording_of_the_same_name_is_left_out(tmp_path: Path) -> None:
    pixels = PIXELS[:2, None, :, None]
    first = MmStack(pixels).write(tmp_path)
    other = MmStack(PIXELS[2:, None, :, None], prefix="cells_1_MMStack_Pos", taken="later")
    (stranger,) = other.write(tmp_path)
    assert stranger.name.startswith("cells_1_MMStack")
    assert len(imported([first[0]], tmp_path / "raw", position="all")) == 2


def test_times_and_channels_of_a_set_are_taken_apart(tmp_path: Path) -> None:
    pixels = np.random.default_rng(9).integers(1, 4000, (2, 3, 5, 2, 20, 30), dtype=np.uint16)
    files = MmStack(pixels, planned_times=100).write(tmp_path)
    take = {"position": "1", "time": "all", "channel": "1"}
    stacks = imported(files, tmp_path / "raw", **take)
    for t, stack in enumerate(stacks.values()):
        np.testing.assert_array_equal(stack.frames, pixels[1, t, :, 1])
        np.testing.assert_allclose(stack.z_um, [103, 103.5, 104, 104.5, 105])
        np.testing.assert_array_equal(stack.planes["time_device_ns"][0], t * 10**9)
    assert len(stacks) == 3


def test_positions_in_one_file_are_taken_apart(tmp_path: Path) -> None:
    (file,) = MmStack(PIXELS[:, None, :, None], together=True).write(tmp_path)
    stacks = imported([file], tmp_path / "raw", position="all")
    assert list(stacks) == [f"cells_1_MMStack_p{r}" for r in range(3)]
    for r, stack in enumerate(stacks.values()):
        np.testing.assert_array_equal(stack.frames, PIXELS[r])
        assert stack.z_um[0] == 3.0 + 100 * r


def test_a_recording_without_its_index_keeps_what_each_page_says(tmp_path: Path) -> None:
    (file,) = MmStack(PIXELS[:1, None, :, None], z_um=(5.0, 4.5, 4.0, 3.5, 3.0)).write(tmp_path)
    data = bytearray(file.read_bytes())
    data[8:12] = b"none"
    file.write_bytes(data)
    (stack,) = imported([file], tmp_path / "raw").values()
    np.testing.assert_array_equal(stack.frames, PIXELS[0, ::-1])
    np.testing.assert_allclose(stack.planes["exposure_us"], 20000)


def test_an_image_of_a_set_has_the_pixel_size_said_of_it(tmp_path: Path) -> None:
    files = ome(tmp_path)
    for file in files:
        xml = tifffile.tiffcomment(file)
        for r, size in enumerate(("0.1", "0.2", "0.3")):
            head, pixels, tail = xml.partition(f'<Pixels ID="Pixels:{r}"')
            xml = head + pixels + tail.replace("0.1465", size, 2)
        tifffile.imwrite(file, PIXELS[0], description=xml, metadata=None)
    assert [pixel_size_of(file, None) for file in files] == [0.1, 0.2, 0.3]
    first, lone, _ = mm(tmp_path / "mm")
    first.unlink()
    assert pixel_size_of(lone, None) == pytest.approx(0.1465, rel=1e-4)


def test_a_recording_that_was_cut_off_is_one_line(tmp_path: Path) -> None:
    first, second, _ = mm(tmp_path)
    second.write_bytes(second.read_bytes()[: second.stat().st_size // 2])
    assert len(imported([first], tmp_path / "raw", position="0")) == 1
    with pytest.raises(FgafError, match="truncated"):
        imported([first], tmp_path / "raw", position="1")


def test_the_sets_of_these_tests_are_read_by_tifffile(tmp_path: Path) -> None:
    with tifffile.TiffFile(mm(tmp_path / "mm")[1]) as tiff:
        assert tiff.is_mmstack
        np.testing.assert_array_equal(tiff.series[0].asarray(), PIXELS)
    with tifffile.TiffFile(ome(tmp_path / "ome")[0]) as tiff:
        assert [series.shape for series in tiff.series] == [PIXELS[0].shape] * 3


LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 20}">' for a, b in itertools.pairwise("abcdefghij")
)
HOSTILE = [
    ('SizeZ="5"', 'SizeZ="99999999999"', "its OME-XML declares"),
    ('SizeZ="5"', 'SizeZ="900000"', "lacks plane 6"),
    ('PlaneCount="5"', 'PlaneCount="99999999999"', ""),
    ('IFD="0"', 'IFD="99999999999"', "is said to have more"),
    ('IFD="0"', 'IFD="-3"', "is said to have more"),
    ('FileName="plate_s0.ome.tif">urn:uuid:0', 'FileName="../secret.tif">urn:uuid:9', ""),
    ('<?xml version="1.0"?><OME', LAUGHS + ']><OME Creator="&j;"', "cannot be parsed"),
    ("<Pixels ", "<Pixels><Pixels ", "cannot be parsed"),
]


@pytest.mark.parametrize(("old", "new", "says"), HOSTILE, ids=[c[1][:24] for c in HOSTILE])
def test_what_ome_xml_claims_is_held_against_the_file(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    (file,) = write_ome_set(tmp_path / "in", PIXELS[:1], STEPS[:1])
    tifffile.imwrite(tmp_path / "secret.tif", PIXELS[1], metadata=None)
    xml = tifffile.tiffcomment(file)
    assert old in xml
    tifffile.imwrite(file, PIXELS[0], description=xml.replace(old, new), metadata=None)
    if says:
        with pytest.raises(FgafError, match=says) as caught:
            imported([file], tmp_path / "raw")
        assert "\n" not in str(caught.value)
    else:
        (stack,) = imported([file], tmp_path / "raw").values()
        np.testing.assert_array_equal(stack.frames, PIXELS[0])


def test_a_folder_of_a_set_with_a_file_for_each_plane_is_that_set(tmp_path: Path) -> None:
    names = [f"f_z{z}.ome.tif" for z in range(5)]
    data = "".join(
        f'<TiffData FirstZ="{4 - z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}'
        "</UUID></TiffData>"
        for z, name in enumerate(names)
    )
    for z, name in enumerate(names):
        xml = (
            f'<?xml version="1.0"?><OME UUID="urn:uuid:{z}"><Image ID="Image:0"><Pixels '
            'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="30" SizeY="20" SizeZ="5" '
            f'SizeC="1" SizeT="1" PhysicalSizeZ="0.5">{data}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / name, PIXELS[0, z], description=xml, metadata=None)
    (stack,) = imported(find_sources([tmp_path]), tmp_path / "raw").values()
    np.testing.assert_array_equal(stack.frames, PIXELS[0, ::-1])
    assert stack.header.step_um == 0.5
