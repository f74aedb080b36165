"""Sound checksums are not enough: each finding is provoked by a file that deserves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.derive.subset import Selection, subset
from fgaf.dataset.history import recorded
from fgaf.dataset.quality.duplicates import SAME_EXPOSURE
from fgaf.dataset.quality.patch_descriptor import correlation
from fgaf.dataset.quality.validate import validate
from fgaf.dataset.raw import RawHeader, RawWriter
from fgaf.dataset.storage.optics import Optics


def test_good_files_have_no_findings(good_stack: Path, good_archive: Path) -> None:
    assert validate(good_stack).findings == ()
    assert validate(good_archive).findings == ()
    assert validate(good_archive).as_dict()["ok"] is True


@dataclass(frozen=True)
class Flaw:
    """A change to a good archive, and the finding it deserves."""

    finding: str
    severity: str
    change: Callable[[Archive], Archive]


def images(archive: Archive, rows: Any, value: Any) -> Archive:
    changed = archive.images.copy()
    changed[rows] = value
    return replace(archive, images=changed)


def cells(archive: Archive, column: str, value: Any) -> Archive:
    values = np.full(archive.n_cells, value, dtype=getattr(archive.cells, column).dtype)
    return replace(archive, cells=replace(archive.cells, **{column: values}))


def sides(archive: Archive, values: list[int]) -> Archive:
    return replace(archive, splits={"default": np.resize(np.array(values, np.int8), 12)})


def overlapping(archive: Archive) -> Archive:
    """Cells 0, 4 and 8 are of one stack; the last two now lie close together."""
    center = archive.center_y.copy()
    center[archive.rows_of(8)] = center[archive.rows_of(4)] + 10
    moved = replace(archive, center_y=center, center_x=center.copy())
    by_cell = np.zeros(12, np.int8)
    by_cell[8:10] = (2, 1)
    return replace(moved, splits={"default": by_cell})


def headed(archive: Archive, **values: Any) -> Archive:
    return replace(archive, header=archive.header.model_copy(update=values))


def disguised(archive: Archive) -> Archive:
    """The first plane of cell 1 is that of cell 0: dimmer, noisier, mirrored and turned."""
    noise = np.random.default_rng(0).normal(0, 40, archive.images[0].shape)
    copy = np.rot90(archive.images[0][::-1] * 0.6 + 100 + noise)
    return images(archive, archive.rows_of(1).start, copy.astype(np.uint16))


def lacking(archive: Archive) -> Archive:
    """Cells 3 to 11 lack their lowest plane."""
    keep = ~((archive.depth_class == 0) & (archive.cell >= 3))
    columns = ("images", "depth_um", "plane", "cell", "center_y", "center_x", "true_depth_um")
    return replace(archive, **{name: getattr(archive, name)[keep] for name in columns})


def tampered(archive: Archive) -> Archive:
    changed = archive.splits["default"].copy()
    changed[changed == 0] = 1
    return replace(recorded(archive, "split"), splits={"default": changed})


FLAWS = [
    Flaw("near-duplicate", "warning", disguised),
    Flaw("leak-content", "error", lambda a: sides(disguised(a), [0, 1, 2])),
    Flaw("class-balance", "warning", lacking),
    Flaw("split-changed", "error", tampered),
    Flaw("split-changed", "error", lambda a: replace(a, history=("{}",))),
    Flaw("constant-image", "error", lambda a: images(a, 3, 7)),
    Flaw("saturated-image", "warning", lambda a: images(a, (3, slice(0, 4)), 4095)),
    Flaw("duplicate-patch", "warning", lambda a: images(a, 3, a.images[4])),
    Flaw("leak-duplicate", "error", lambda a: sides(images(a, 0, a.images[5]), [0, 1, 2])),
    Flaw("leak-overlap", "error", overlapping),
    Flaw("leak-sample", "warning", lambda a: sides(a, [0, 1, 2])),
    Flaw("leak-field", "warning", lambda a: sides(cells(a, "sample_id", ""), [0, 1, 2])),
    Flaw("side-empty", "warning", lambda a: sides(a, [0])),
    Flaw("split-missing", "warning", lambda a: replace(a, splits={})),
    Flaw("depth-beyond-range", "error", lambda a: replace(a, depth_um=a.depth_um + 0.36)),
    Flaw("depth-off-grid", "note", lambda a: replace(a, depth_um=a.depth_um + 0.1)),
    Flaw("class-empty", "warning", lambda a: headed(a, half_range_um=1.5)),
    Flaw("plane-order", "warning", lambda a: replace(a, plane=a.plane[::-1].copy())),
    Flaw("confidence", "warning", lambda a: cells(a, "confidence", 2.0)),
    Flaw("non-finite", "error", lambda a: cells(a, "focus_um", np.nan)),
    Flaw("method", "warning", lambda a: cells(a, "method", "guess")),
    Flaw("sample-unknown", "note", lambda a: cells(a, "sample_id", "")),
    Flaw("pixel-size", "note", lambda a: headed(a, optics=Optics())),
]


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda f: f.finding)
def test_a_flawed_archive_is_found_out(flaw: Flaw, archive: Archive, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "flawed.h5", flaw.change(archive))
    report = validate(path)
    assert (flaw.finding, flaw.severity) in {(f.name, f.severity) for f in report.findings}
    assert report.ok == all(f.severity != "error" for f in report.findings)


def test_planes_that_the_drive_missed_a_little_are_not_beyond_the_range(
    archive: Archive, tmp_path: Path
) -> None:
    """A focus midway between planes: the last is half a step, and the scatter of two, beyond."""
    late = replace(archive, depth_um=archive.depth_um + 0.34)
    report = validate(write_archive(tmp_path / "late.h5", late))
    assert "depth-beyond-range" not in {f.name for f in report.findings}


def test_cells_that_look_alike_in_one_plane_are_no_copies_where_a_camera_smooths(
    archive: Archive, tmp_path: Path
) -> None:
    """Two cells are ovals of one kind where they are sharp; planes of a cell differ no more."""
    rng = np.random.default_rng(3)
    own = gaussian_filter(rng.normal(size=(archive.n_cells, 16, 16)), (0, 2, 2))
    kind = gaussian_filter(rng.normal(size=(16, 16)), 2)
    shown = own[archive.cell] + 1e-4 * rng.normal(size=archive.images.shape)
    last = [archive.rows_of(cell).stop - 1 for cell in (0, 1)]
    shown[last] = kind + 0.03 * own[:2]
    alike = replace(archive, images=(30000 + 50000 * shown).clip(0, 65535).astype(np.uint16))
    assert (
        correlation(*alike.images[[archive.rows_of(k).stop - 1 for k in (0, 1)]]) >= SAME_EXPOSURE
    )
    report = validate(write_archive(tmp_path / "alike.h5", alike))
    assert not {f.name for f in report.findings} & {"near-duplicate", "leak-content"}


def test_a_cell_labelled_two_planes_off_is_suspected(archive: Archive, tmp_path: Path) -> None:
    """Cells whose texture fades towards their focus; the labels of one are 1 µm too high."""
    rng = np.random.default_rng(5)
    n_cells, n_planes, wrong = 12, 9, 7
    plane = np.tile(np.arange(n_planes, dtype=np.int32), n_cells)
    cell = np.repeat(np.arange(n_cells, dtype=np.int32), n_planes)
    true = (plane - 4) * 0.5 - np.where(cell == wrong, 1.0, 0.0)
    texture = rng.normal(0, 1, (n_cells, 16, 16))[cell]
    strength = 150 * (0.4 + np.minimum(np.abs(true), 2.0)) * rng.uniform(0.8, 1.2, n_cells)[cell]
    pixels = 2000 + strength[:, None, None] * texture + rng.normal(0, 10, (len(cell), 16, 16))
    path = write_archive(
        tmp_path / "labels.h5",
        replace(
            archive,
            header=archive.header.model_copy(update={"half_range_um": 2.0}),
            images=pixels.astype(np.uint16),
            depth_um=(plane - 4) * 0.5,
            plane=plane,
            cell=cell,
            center_y=(cell * 40 + 20).astype(np.int32),
            center_x=(cell * 40 + 20).astype(np.int32),
            true_depth_um=None,
        ),
    )
    (finding,) = validate(path).findings
    assert (finding.name, finding.severity) == ("label-suspect", "warning")
    assert f"1 of 12 cells changes as if their depths were others: cell-{wrong} (by -1" in (
        finding.message
    )


def test_an_archive_of_few_depths_and_little_contrast_is_checked(
    archive: Archive, tmp_path: Path
) -> None:
    """Three classes are too few for a focus curve, and all patches look much alike."""
    alike = (2000 + archive.images % 3).astype(np.uint16)
    part = subset(replace(archive, images=alike), Selection(half_range_um=0.5))
    report = validate(write_archive(tmp_path / "few.h5", part))
    assert report.ok
    assert {f.name for f in report.findings} <= {"near-duplicate"}


def test_an_empty_archive_is_an_error(archive: Archive, tmp_path: Path) -> None:
    a = archive
    none = np.zeros(0, int)
    empty = replace(
        a,
        **{
            n: getattr(a, n)[none] for n in ("images", "depth_um", "plane", "cell", "true_depth_um")
        },
        center_y=a.center_y[none],
        center_x=a.center_x[none],
        cells=a.cells.take(none),
        splits={"default": np.zeros(0, np.int8)},
    )
    report = validate(write_archive(tmp_path / "empty.h5", empty))
    assert [f.name for f in report.findings] == ["empty"]


@dataclass(frozen=True)
class BadStack:
    """A stack with a flaw, and the finding it deserves."""

    finding: str
    severity: str
    header: dict[str, Any]
    column: str = ""
    values: tuple[float, ...] = ()
    frame: Callable[[int], np.ndarray[Any, Any]] | None = None


def noise(plane: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(plane).integers(100, 4000, (16, 16), dtype=np.uint16)


STACKS = [
    BadStack("z-order", "error", {}, "z_measured_um", (0, 1, 0.5)),
    BadStack("z-off-target", "warning", {}, "z_measured_um", (0, 0.5, 1.3)),
    BadStack("z-step", "warning", {}, "z_requested_um", (0, 0.5, 2.0)),
    BadStack("range", "warning", {"half_range_um": 4.0}),
    BadStack("incomplete", "warning", {"planned_planes": 9, "complete": False}),
    BadStack("frame-repeated", "error", {}, "frame_id", (1, 2, 2)),
    BadStack("frame-skipped", "note", {}, "frame_id", (1, 2, 4)),
    BadStack("time-order", "warning", {}, "time_host_ns", (5, 9, 7)),
    BadStack("non-finite", "error", {}, "exposure_us", (1, 1, np.nan)),
    BadStack("pixel-size", "note", {"optics": Optics()}),
    BadStack("bit-depth", "error", {"bit_depth": 8}),
    BadStack("constant-image", "error", {}, frame=lambda _: np.full((16, 16), 9, np.uint16)),
    BadStack("repeated-plane", "error", {}, frame=lambda _: noise(0)),
    BadStack("saturated-image", "warning", {}, frame=lambda k: np.minimum(noise(k) * 4, 4095)),
]


@pytest.mark.parametrize("case", STACKS, ids=lambda c: c.finding)
def test_a_flawed_stack_is_found_out(case: BadStack, tmp_path: Path) -> None:
    fields = {
        "step_um": 0.5,
        "half_range_um": 0.5,
        "center_um": 0.5,
        "bit_depth": 12,
        "optics": Optics(pixel_size_um=0.1465),
    }
    header = RawHeader.new(**fields | case.header)
    with RawWriter(tmp_path / "a.stack.h5", header, (3, 16, 16), np.uint16) as writer:
        for k in range(3):
            values = {
                "z_requested_um": 0.5 * k,
                "z_measured_um": 0.5 * k,
                "time_device_ns": 0,
                "time_host_ns": 0,
                "frame_id": k,
                "exposure_us": 100.0,
            }
            if case.column:
                values[case.column] = case.values[k]
            writer.write(k, (case.frame or noise)(k), **values)
        report = validate(writer.publish())
    assert (case.finding, case.severity) in {(f.name, f.severity) for f in report.findings}


def test_the_worst_comes_first(write_stack: Callable[..., Path], tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a.stack.h5", bit_depth=8, optics=Optics())
    assert [f.severity for f in validate(path).findings] == ["error", "warning", "note"]
