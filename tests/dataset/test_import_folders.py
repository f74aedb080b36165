"""Folders of images: what their names and a metadata.txt say of the planes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fgaf import FgafError
from fgaf.dataset import ImportSettings, RawStack, import_stacks

NONE, STEP = ImportSettings(), ImportSettings(step_um=1.0)


def write(folder: Path, names: list[str]) -> None:
    """Write an image for each name; the k-th has the level 10 k."""
    folder.mkdir()
    for k, name in enumerate(names):
        image = np.full((12, 16), 10 * k, np.uint8)
        image[0, 0] = 255
        tifffile.imwrite(folder / f"{name}.tif", image, photometric="minisblack")


def levels(folder: Path, settings: ImportSettings, tmp_path: Path) -> tuple[list[int], list[float]]:
    """Import a folder; the level of every plane, lowest first, and its position."""
    (done,) = import_stacks([folder], tmp_path / "raw", settings)
    with RawStack.open(done.path) as stack:
        return [int(frame[5, 5]) for frame in stack.frames], stack.z_um.round(4).tolist()


@dataclass(frozen=True)
class Named:
    """Names in the order of their level, and the order and positions that they tell."""

    names: list[str]
    settings: ImportSettings
    order: list[int]
    z_um: list[float]


NAMED = {
    "minus": Named(["z-6um", "z-3um", "z0um", "z3um"], NONE, [0, 1, 2, 3], [-6, -3, 0, 3]),
    "plus": Named(["z+1um", "z+0um", "z-1um"], NONE, [2, 1, 0], [-1, 0, 1]),
    "decimal": Named(
        ["z0.5um", "z-1.0um", "z-0.5um", "z0um"], NONE, [1, 2, 3, 0], [-1, -0.5, 0, 0.5]
    ),
    "unsigned": Named(["a_10.5um", "a_9.5um", "a_10.0um"], NONE, [1, 2, 0], [9.5, 10, 10.5]),
    "nanometres": Named(["z0nm", "z-500nm", "z500nm"], NONE, [1, 0, 2], [-0.5, 0, 0.5]),
    "a constant unit beside": Named(
        ["px0.15um_z-1um", "px0.15um_z0um", "px0.15um_z1um"],
        ImportSettings(),
        [0, 1, 2],
        [-1, 0, 1],
    ),
    "numbers": Named(["img_000", "img_001", "img_002"], STEP, [0, 1, 2], [-1, 0, 1]),
    "dashed numbers": Named(["img-1", "img-2", "img-3"], STEP, [0, 1, 2], [-1, 0, 1]),
    "signed numbers": Named(["z-1", "z0", "z1"], STEP, [0, 1, 2], [-1, 0, 1]),
}


@pytest.mark.parametrize("case", NAMED.values(), ids=NAMED)
def test_names_tell_order_and_depth(case: Named, tmp_path: Path) -> None:
    write(tmp_path / "images", case.names)
    found, z_um = levels(tmp_path / "images", case.settings, tmp_path)
    assert found == [10 * k for k in case.order]
    assert z_um == case.z_um


REFUSED = {
    "a dash or a minus": (["z-0um", "z-1um", "z-2um"], "may be a minus or a dash"),
    "some without a unit": (["z-1um", "z0", "z1um"], "is named by a depth with a unit and"),
    "two numbers vary": (["a1_z0um", "a2_z1um", "a3_z2um"], "mixes images named"),
    "twice": (["z0um", "z0.0um", "z1um"], "several images of 0 µm"),
    "uneven": (["z0um", "z1um", "z4um"], "unevenly spaced by the files' names"),
    "gap in signed numbers": (["z-1", "z1", "z2"], "no image numbered 0"),
}


@pytest.mark.parametrize(("names", "says"), REFUSED.values(), ids=REFUSED)
def test_names_that_do_not_tell_are_refused(names: list[str], says: str, tmp_path: Path) -> None:
    write(tmp_path / "images", names)
    with pytest.raises(FgafError, match=says):
        levels(tmp_path / "images", ImportSettings(), tmp_path)


def test_a_step_that_contradicts_the_names_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "images", ["z-1um", "z0um", "z1um"])
    with pytest.raises(FgafError, match=r"0\.5 µm by --step and 1 µm by the files' names"):
        levels(tmp_path / "images", ImportSettings(step_um=0.5), tmp_path)


def frame_keys(names: list[str], z: list[float | None], step: float) -> dict[str, Any]:
    """As Micro-Manager 1.4 writes metadata.txt."""
    told: dict[str, Any] = {
        "Summary": {"z-step_um": step, "PixelSize_um": 0.1, "Slices": len(names)}
    }
    for k, (name, height) in enumerate(zip(names, z, strict=True)):
        told[f"FrameKey-0-0-{k}"] = {"FileName": f"{name}.tif", "Slice": k} | (
            {} if height is None else {"ZPositionUm": height}
        )
    return told


def metadata_keys(names: list[str], z: list[float | None], step: float) -> dict[str, Any]:
    """As Micro-Manager 2.0 writes it, in the folder of a position."""
    told: dict[str, Any] = {"Summary": {"z-step_um": step, "PixelSize_um": 0.1}}
    for k, (name, height) in enumerate(zip(names, z, strict=True)):
        told[f"Coords-Default/{name}.tif"] = {"z": k}
        told[f"Metadata-Default/{name}.tif"] = {"PixelSizeUm": 0.1} | (
            {} if height is None else {"ZPositionUm": height}
        )
    return told


PLANES = [f"img_channel000_position000_time000000000_z{k:03}" for k in range(3)]


@pytest.mark.parametrize("keys", [frame_keys, metadata_keys])
@pytest.mark.parametrize(
    ("z", "step", "order", "z_um"),
    [
        ([10.0, 11.0, 12.0], 1.0, [0, 1, 2], [10, 11, 12]),
        ([12.0, 11.0, 10.0], 1.0, [2, 1, 0], [10, 11, 12]),
        ([12.0, None, 10.0], -1.0, [2, 1, 0], [10, 11, 12]),
        ([None, None, None], -1.0, [2, 1, 0], [-1, 0, 1]),
    ],
    ids=["up", "down", "one missing", "by a negative step alone"],
)
def test_a_metadata_txt_tells_position_and_direction(
    keys: Any,
    z: list[float | None],
    step: float,
    order: list[int],
    z_um: list[float],
    tmp_path: Path,
) -> None:
    write(tmp_path / "Default", PLANES)
    told = keys(PLANES, z, step)
    (tmp_path / "Default" / "metadata.txt").write_text(json.dumps(told))
    found, at = levels(tmp_path / "Default", ImportSettings(), tmp_path)
    assert found == [10 * k for k in order]
    assert at == z_um


@pytest.mark.parametrize(
    ("z", "step", "says"),
    [
        ([10.0, 11.0, 14.0], 1.0, "unevenly spaced by Micro-Manager ZPositionUm"),
        ([10.0, 12.0, 14.0], 1.0, "1 µm by Micro-Manager z-step_um and 2 µm"),
        ([10.0, 11.0, 12.0], -1.0, "go down by Micro-Manager z-step_um and up by"),
        ([10.0, 12.0, 11.0], 1.0, "go up and down"),
    ],
)
def test_a_metadata_txt_that_contradicts_itself_is_refused(
    z: list[float | None], step: float, says: str, tmp_path: Path
) -> None:
    write(tmp_path / "Default", PLANES)
    (tmp_path / "Default" / "metadata.txt").write_text(json.dumps(frame_keys(PLANES, z, step)))
    with pytest.raises(FgafError, match=says):
        levels(tmp_path / "Default", ImportSettings(), tmp_path)


def test_a_damaged_metadata_txt_is_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "Default", PLANES)
    (tmp_path / "Default" / "metadata.txt").write_text('{"Summary": {"z-step')
    with pytest.raises(FgafError, match=r"metadata\.txt is damaged"):
        levels(tmp_path / "Default", STEP, tmp_path)
