"""Which plane of a TIFF is the highest, and how far apart planes are: by all that tell of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from microscope_tiffs import MmStack

from fgaf.base.errors import FgafError
from fgaf.dataset.importers.plan import ImportSettings
from fgaf.dataset.importers.stacks import import_stacks
from fgaf.dataset.raw import RawStack

PIXELS = np.random.default_rng(5).integers(1, 4000, (5, 20, 30), dtype=np.uint16)
DOWN = (5.0, 4.5, 4.0, 3.5, 3.0)
Write = Callable[[Path], Path]


def ome(
    positions: Sequence[float | None] = (), unit: str | None = None, step: float | None = 0.5
) -> Write:
    """Write an OME-TIFF whose planes have positions, but for those that are None."""

    def write(folder: Path) -> Path:
        told = "" if unit is None else f'PositionZUnit="{unit}"'
        planes = "".join(
            f'<Plane TheZ="{k}" TheC="0" TheT="0" PositionZ="{z}" {told}/>'
            for k, z in enumerate(positions)
            if z is not None
        )
        size = "" if step is None else f'PhysicalSizeZ="{step}"'
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="30" SizeY="20" SizeZ="5" SizeC="1" SizeT="1" {size}>'
            f'<TiffData IFD="0" PlaneCount="5"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(folder / "s.ome.tif", PIXELS, description=xml.encode(), metadata=None)
        return folder / "s.ome.tif"

    return write


def imagej(**meta: Any) -> Write:
    def write(folder: Path) -> Path:
        told = {"axes": "ZYX", "unit": "um"} | meta
        tifffile.imwrite(folder / "s.tif", PIXELS, imagej=True, resolution=(5, 5), metadata=told)
        return folder / "s.tif"

    return write


def mm(z_step: float, z_um: Sequence[float], steps: Sequence[float] = ()) -> Write:
    def write(folder: Path) -> Path:
        stack = MmStack(
            PIXELS[None, None, :, None], z_step_um=z_step, z_um=z_um, steps_of_images=steps
        )
        return stack.write(folder)[0]

    return write


def plain(folder: Path) -> Path:
    tifffile.imwrite(folder / "s.tif", PIXELS, metadata=None)
    return folder / "s.tif"


@dataclass(frozen=True)
class Case:
    """A file, and the order of its planes when they are sorted with z ascending."""

    name: str
    write: Write
    down: bool
    z_um: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)
    settings: ImportSettings = field(default_factory=ImportSettings)


FLAT = (7.0,) * 5
UP = (3.0, 3.5, 4.0, 4.5, 5.0)
CASES = [
    Case("µm", ome(DOWN, "µm"), True, UP),
    Case("no unit", ome(DOWN), True),
    Case("no unit, up", ome(UP), False),
    Case("reference frame", ome(DOWN, "reference frame"), True),
    Case("one plane missing", ome((5.0, 4.5, None, 3.5, 3.0), "µm"), True, UP),
    Case("first and last missing", ome((None, 4.5, 4.0, 3.5, None), "µm"), True, UP),
    Case("missing, no unit", ome((5.0, 4.5, None, 3.5, 3.0)), True),
    Case("nothing told", ome(), False),
    Case("stood still", ome(FLAT, "µm"), False),
    Case("ImageJ", imagej(spacing=0.5), False),
    Case("ImageJ, negative spacing", imagej(spacing=-0.5), True),
    Case(
        "ImageJ, negative spacing, no unit",
        imagej(spacing=-0.5, unit="pixel"),
        True,
        settings=ImportSettings(step_um=0.5),
    ),
    Case("ImageJ, unit of z", imagej(spacing=500.0, zunit="nm"), False),
    Case("ImageJ, unit of z alone", imagej(spacing=0.5, unit="pixel", zunit="micron"), False),
    Case("Micro-Manager, negative step", mm(-0.5, FLAT), True),
    Case("Micro-Manager, positions down", mm(-0.5, DOWN), True, UP),
    Case("Micro-Manager, positions alone go down", mm(0.5, DOWN), True, UP),
    Case("plain", plain, False, settings=ImportSettings(step_um=0.5)),
    Case("plain, told", plain, True, settings=ImportSettings(step_um=0.5, highest_first=True)),
    Case(
        "metadata wrong",
        ome(DOWN, "µm"),
        False,
        settings=ImportSettings(step_um=0.5, ignore_metadata=True),
    ),
    Case(
        "metadata wrong, told",
        ome(UP, "µm"),
        True,
        settings=ImportSettings(step_um=0.5, ignore_metadata=True, highest_first=True),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_planes_come_out_with_z_ascending(case: Case, tmp_path: Path) -> None:
    (done,) = import_stacks([case.write(tmp_path)], tmp_path / "raw", case.settings)
    assert (done.planes_reversed, done.step_um) == (case.down, 0.5)
    with RawStack.open(done.path) as stack:
        np.testing.assert_array_equal(stack.frames, PIXELS[::-1] if case.down else PIXELS)
        np.testing.assert_allclose(stack.z_um, case.z_um)


@pytest.mark.parametrize(
    "two",
    [
        (ome(UP, "µm"), ome(DOWN, "µm")),
        (ome(UP), ome(DOWN, "reference frame")),
        (imagej(spacing=0.5), imagej(spacing=-0.5)),
        (mm(0.5, FLAT), mm(-0.5, FLAT)),
    ],
    ids=["OME", "OME, no unit", "ImageJ", "Micro-Manager"],
)
def test_a_cell_taken_downwards_has_the_labels_of_one_taken_upwards(
    two: tuple[Write, Write], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for k, (write, pixels) in enumerate(zip(two, (PIXELS, PIXELS[::-1]), strict=True)):
        (tmp_path / str(k)).mkdir()
        monkeypatch.setitem(globals(), "PIXELS", pixels)
        (done,) = import_stacks([write(tmp_path / str(k))], tmp_path / str(k) / "raw")
        with RawStack.open(done.path) as stack:
            found.append((stack.frames[:], stack.z_um))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1])


HALF = ImportSettings(step_um=0.5)
BAD = [
    ("up and down", mm(-0.5, UP), ("down by Micro-Manager z-step_um", "up by Micro-Manager ZPos")),
    ("to and fro, no unit", ome((1, 2, 1, 2, 1)), ("OME PositionZ go up and down",)),
    (
        "a plane left out",
        ome((3.0, 3.5, 4.5, 5.0, 5.5), "µm", step=None),
        ("planes 2 and 3 are 1 µm apart by OME PositionZ, others 0.5 µm",),
    ),
    ("step of zero", ome(step=0.0), ("z step of 0 µm by OME PhysicalSizeZ makes no sense",)),
    (
        "step by OME and by Micro-Manager",
        mm(0.5, FLAT, steps=(0.25,)),
        ("0.25 µm by OME PhysicalSizeZ", "0.5 µm by Micro-Manager z-step_um"),
    ),
    ("no unit of z", imagej(spacing=0.5, zunit="pixel"), ("does not contain its z step",)),
]


@pytest.mark.parametrize(("write", "says"), [case[1:] for case in BAD], ids=[c[0] for c in BAD])
def test_what_contradicts_itself_is_refused_with_both(
    write: Write, says: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(FgafError) as caught:
        list(import_stacks([write(tmp_path)], tmp_path / "raw"))
    for part in says:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_positions_of_two_programs_are_compared(tmp_path: Path) -> None:
    stack = MmStack(PIXELS[None, None, :, None], ome_z_um=(3.0, 4.0, 5.0, 6.0, 7.0))
    (file,) = stack.write(tmp_path)
    with pytest.raises(FgafError, match=r"0.5 µm apart by Micro-Manager ZPositionUm and 1 µm by O"):
        list(import_stacks([file], tmp_path / "raw"))


def test_the_option_may_not_contradict_the_file(tmp_path: Path) -> None:
    settings = ImportSettings(highest_first=True)
    with pytest.raises(FgafError, match="go down by --highest-first and up by OME PositionZ"):
        list(import_stacks([ome(UP)(tmp_path)], tmp_path / "raw", settings))


def test_x_and_y_have_units_of_their_own(tmp_path: Path) -> None:
    path = imagej(spacing=0.5, yunit="nm")(tmp_path)
    with pytest.raises(FgafError, match=r"0\.2 µm by ImageJ resolution and 0\.0002 µm"):
        list(import_stacks([path], tmp_path / "raw"))
