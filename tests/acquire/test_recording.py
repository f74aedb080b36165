"""From the open devices to published files, and what is left when that fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgaf import ExistsError, FgafError, SettingError
from fgaf.acquire import (
    Devices,
    Exposure,
    Frame,
    Interrupt,
    InterruptError,
    Labels,
    Rig,
    StackPlan,
    load_rig,
    open_rig,
    record_stacks,
    stack_paths,
)
from fgaf.acquire.recording.writing import BackgroundWriter
from fgaf.curate.candidates import times_of
from fgaf.dataset import RawHeader, RawStack, RawWriter, read_truth, recover
from fgaf.dataset.quality.validate_raw import raw_findings

PLAN = StackPlan(0.5, 1.0)
NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


class CameraThat:
    """The rig's camera, and something that happens before its n-th frame."""

    def __init__(self, camera: Any, frame: int, event: Any) -> None:
        self._camera, self._left, self._event = camera, frame, event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._camera, name)

    def trigger(self, timeout_s: float) -> Frame:
        self._left -= 1
        if self._left == 0:
            self._event()
        frame: Frame = self._camera.trigger(timeout_s)
        return frame


def record(rig: Rig, paths: list[Path], *, devices: Devices | None = None, **options: Any) -> float:
    """Record with the rig's devices, and say where the drive is afterwards."""
    with open_rig(rig) as opened:
        record_stacks(devices or opened, rig, PLAN, paths, **options)
        return opened.stage.position_um()


def test_a_stack_holds_the_planes_the_labels_and_the_rig(rig: Rig, tmp_path: Path) -> None:
    (path,) = stack_paths(tmp_path, name="one")
    where = record(rig, [path], labels=Labels("S1", "me", "F1"))
    assert abs(where) < 0.05
    with RawStack.open(path) as stack:
        stack.verify()
        header = stack.header
        assert stack.shape == (5, 48, 64)
        assert stack.planes["z_requested_um"].tolist() == list(PLAN)
        assert np.abs(stack.z_um - list(PLAN)).max() < 0.05
        assert stack.planes["frame_id"].tolist() == [0, 1, 2, 3, 4]
        assert np.all(np.diff(stack.planes["time_host_ns"]) > 0)
        assert stack.planes["exposure_us"].tolist() == [5000] * 5
        assert len(np.unique(stack.frames, axis=0)) == 5
        truth = stack.truth()
        times = stack.planes["time_host_ns"].tolist()
    assert (header.sample_id, header.operator, header.field) == ("S1", "me", "F1")
    assert (header.step_um, header.half_range_um, header.center_um) == (0.5, 1.0, 0.0)
    assert header.complete
    assert header.optics == rig.optics
    assert truth is not None
    assert [frame.time_ns for frame in truth.frames] == times
    (tmp_path / "again.toml").write_text(header.rig, encoding="utf-8")
    assert load_rig(tmp_path / "again.toml") == rig
    assert sorted(file.name for file in tmp_path.glob("one*")) == [
        "one.stack.h5",
        "one.truth.json",
    ]


def test_repeats_share_a_field_and_differ_in_time(rig: Rig, tmp_path: Path) -> None:
    paths = stack_paths(tmp_path, repeat=3, sample_id="A 7")
    record(rig, paths)
    fields, begins, uuids = [], [], set()
    for path in sorted(tmp_path.glob("A_7_*.stack.h5")):
        with RawStack.open(path) as stack:
            fields.append(stack.header.field)
            begins.append(int(stack.planes["time_host_ns"][0]))
            uuids.add(stack.header.uuid)
    assert len(set(fields)) == 1
    assert len(uuids) == 3
    assert begins == sorted(begins)


def test_names_sort_and_never_collide(tmp_path: Path) -> None:
    first = stack_paths(tmp_path, 2, sample_id="S", now=NOON)
    assert [path.name for path in first] == [
        "S_20260102-120000_r001.stack.h5",
        "S_20260102-120000_r002.stack.h5",
    ]
    first[0].with_name(first[0].name + ".part").touch()
    (second,) = stack_paths(tmp_path, sample_id="S", now=NOON)
    assert second.name == "S_20260102-120000-2_r001.stack.h5"
    many = [path.name for path in stack_paths(tmp_path, 1200, now=NOON)]
    assert many == sorted(many)
    assert stack_paths(tmp_path, name="x")[0].name == "x.stack.h5"
    assert stack_paths(tmp_path, name="x.stack.h5")[0].name == "x.stack.h5"
    assert stack_paths(tmp_path, 2, "x")[1].name == "x_r002.stack.h5"


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a b", "c:d"])
def test_a_name_that_is_no_plain_file_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="not a plain file name"):
        stack_paths(tmp_path, name=name)


def test_an_existing_stack_is_refused_before_anything_moves(rig: Rig, tmp_path: Path) -> None:
    paths = stack_paths(tmp_path, 2, "x")
    paths[1].write_bytes(b"precious")
    with open_rig(rig) as devices:
        before = devices.clock.now_ns()
        with pytest.raises(ExistsError, match=r"x_r002.stack.h5 exists already"):
            record_stacks(devices, rig, PLAN, paths)
        assert devices.clock.now_ns() - before < 5_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["x_r002.stack.h5"]
    assert paths[1].read_bytes() == b"precious"


def test_overwriting_leaves_no_truth_of_the_older_stack(rig: Rig, tmp_path: Path) -> None:
    paths = stack_paths(tmp_path, name="x")
    record(rig, paths)
    record(rig, paths, overwrite=True)
    with RawStack.open(paths[0]) as stack:
        assert stack.truth() is not None
    record(rig, paths, overwrite=True, truth=False)
    assert read_truth(paths[0]) is None


def test_a_fault_keeps_the_planes_before_it(rig: Rig, tmp_path: Path) -> None:
    def unplug() -> None:
        raise OSError("unplugged")

    paths = stack_paths(tmp_path, name="x")
    with open_rig(rig) as devices:
        broken = Devices(CameraThat(devices.camera, 4, unplug), devices.stage, devices.clock)
        with pytest.raises(FgafError, match=r"plane 4 of 5 .*unplugged; 3 planes are kept.*back"):
            record_stacks(broken, rig, PLAN, paths)
        assert abs(devices.stage.position_um()) < 0.05
    assert [path.name for path in tmp_path.iterdir()] == ["x.stack.h5.part"]
    found = recover(tmp_path / "x.stack.h5.part")
    assert (found.planes, found.planned) == (3, 5)
    with RawStack.open(found.path) as stack:
        stack.verify()
        assert not stack.header.complete


@pytest.mark.parametrize("compress", [False, True])
def test_a_stack_taken_downwards_lies_in_order_of_z(
    compress: bool, rig: Rig, tmp_path: Path
) -> None:
    rig = rig.model_copy(update={"compress": compress})
    plan = StackPlan.spanning(0.5, -1.0, 1.5, downwards=True)
    (path,) = stack_paths(tmp_path, name="x")
    with open_rig(rig) as devices:
        record_stacks(devices, rig, plan, [path])
    with RawStack.open(path) as stack:
        stack.verify()
        assert stack.planes["z_requested_um"].tolist() == list(plan)
        assert np.abs(stack.z_um - list(plan)).max() < 0.1
        assert stack.planes["frame_id"].tolist() == [5, 4, 3, 2, 1, 0]
        assert (np.diff(stack.planes["time_host_ns"]) < 0).all()
        truth = stack.truth()
        times = stack.planes["time_host_ns"].tolist()
        assert list(raw_findings(stack)) == []
        assert times_of(stack) is not None
    assert truth is not None
    assert [frame.time_ns for frame in truth.frames] == times


def test_of_a_broken_stack_downwards_the_highest_planes_are_kept(rig: Rig, tmp_path: Path) -> None:
    def unplug() -> None:
        raise OSError("unplugged")

    plan = StackPlan(0.5, 1.0, downwards=True)
    (path,) = stack_paths(tmp_path, name="x")
    with open_rig(rig) as devices:
        broken = Devices(CameraThat(devices.camera, 4, unplug), devices.stage, devices.clock)
        with pytest.raises(FgafError, match=r"plane 2 of 5 .*unplugged; 3 planes are kept"):
            record_stacks(broken, rig, plan, [path])
    found = recover(path.with_name(path.name + ".part"))
    assert (found.planes, found.planned) == (3, 5)
    with RawStack.open(path) as stack:
        stack.verify()
        assert stack.planes["z_requested_um"].tolist() == [0.0, 0.5, 1.0]
        assert stack.planes["frame_id"].tolist() == [2, 1, 0]
        assert not stack.header.complete


def test_a_fault_at_the_first_plane_leaves_nothing(rig: Rig, tmp_path: Path) -> None:
    def unplug() -> None:
        raise OSError("unplugged")

    with open_rig(rig) as devices:
        broken = Devices(CameraThat(devices.camera, 1, unplug), devices.stage, devices.clock)
        with pytest.raises(FgafError, match="no plane was kept"):
            record_stacks(broken, rig, PLAN, stack_paths(tmp_path, name="x"))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_between_stacks_says_how_many_are_done(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fgaf")
    interrupt = Interrupt()
    paths = stack_paths(tmp_path, 3, "x")
    with open_rig(rig) as devices:
        last = CameraThat(devices.camera, 10, interrupt.request)
        pressing = Devices(last, devices.stage, devices.clock)
        with pytest.raises(InterruptError, match=r"SIGINT.*; the drive is back"):
            record_stacks(pressing, rig, PLAN, paths, interrupt=interrupt)
    assert min(path.name for path in tmp_path.glob("*.stack.h5")) == "x_r001.stack.h5"
    assert caplog.messages.count("SIGINT: a stop of the run is requested") == 1


@contextmanager
def mounted(*options: str, at: Path) -> Iterator[Path]:
    """Mount for the test, or skip where that is not allowed."""
    at.mkdir(exist_ok=True)
    try:
        done = subprocess.run(["mount", *options, str(at)], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if done.returncode != 0:
        pytest.skip(f"may not mount: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def test_a_disk_that_fills_up_keeps_what_fitted(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=5m", "tmpfs", at=tmp_path / "disk") as disk:

        def fill() -> None:
            with pytest.raises(OSError, match="No space left"):
                (disk / "other").write_bytes(bytes(5 << 20))

        big = load_rig("sim", ("simulation.shape=[256, 256]", "simulation.cells=1"))
        with open_rig(big) as devices:
            filling = Devices(CameraThat(devices.camera, 20, fill), devices.stage, devices.clock)
            with pytest.raises(
                FgafError, match=r"No space left on device.*back at 0.000"
            ) as caught:
                record_stacks(filling, big, StackPlan(0.5, 8.0), stack_paths(disk, name="x"))
            assert abs(devices.stage.position_um()) < 0.05
        assert "\n" not in str(caught.value)
        assert not (disk / "x.stack.h5").exists()
        (disk / "other").unlink()
        found = recover(disk / "x.stack.h5.part")
        assert 2 <= found.planes < 33
        with RawStack.open(found.path) as stack:
            stack.verify()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
@pytest.mark.parametrize("limit", [pytest.param(100, marks=pytest.mark.slow), 20_000, 60_000])
@pytest.mark.parametrize(
    "words", [("stack", "--out", ".", "--name", "x"), ("simulate-cells", "--out", "x.h5")]
)
def test_a_write_that_fails_at_any_point_is_a_one_line_error(
    words: tuple[str, ...], limit: int, tmp_path: Path
) -> None:
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "from fgaf.acquire.commands.main import main; main(sys.argv[1:])"
    )
    small = {
        "stack": ("--set", "simulation.cells=0", "--set", "simulation.shape=[128, 128]"),
        "simulate-cells": ("--cells", "1"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *words, *small[words[0]]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: cannot write ")
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.h5"))


def test_a_disk_without_room_is_refused_before_anything_moves(tmp_path: Path) -> None:
    rig = load_rig("sim", ("simulation.shape=[256, 256]",))
    tmpfs = mounted("-t", "tmpfs", "-o", "size=64k", "tmpfs", at=tmp_path / "disk")
    with tmpfs as disk, open_rig(rig) as devices:
        before = devices.clock.now_ns()
        with pytest.raises(FgafError, match="free some space"):
            record_stacks(devices, rig, PLAN, stack_paths(disk, name="x"))
        assert devices.clock.now_ns() - before < 5_000_000


def test_a_read_only_folder_is_refused(rig: Rig, tmp_path: Path) -> None:
    folder, view = tmp_path / "real", tmp_path / "view"
    folder.mkdir()
    with mounted("--bind", str(folder), at=view):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(view)], check=True)
        with pytest.raises(FgafError, match=r"cannot write .*Read-only file system"):
            record(rig, stack_paths(view, name="x"))


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_folder_without_permission_is_refused(rig: Rig, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(FgafError, match=r"cannot write .*Permission denied"):
        record(rig, stack_paths(tmp_path, name="x"))
    tmp_path.chmod(0o755)


def test_a_folder_below_a_file_is_refused(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FgafError, match="cannot make the folder"):
        record(rig, stack_paths(tmp_path / "file" / "out", name="x"))


def hand_over(background: BackgroundWriter, planes: Iterator[int]) -> None:
    for plane in planes:
        frame = Frame(np.full((16, 16), plane, np.uint8), plane, 0, 0, 1.0)
        background.put(Exposure(plane, float(plane), float(plane), frame))


@dataclass
class StuckDisk:
    """Stands for a disk that stops answering: the real one cannot be made to."""

    path: Path
    freed: threading.Event
    plane_bytes: int = 256

    def write(self, *_values: Any, **_columns: Any) -> None:
        self.freed.wait(10)


def test_a_disk_that_stops_answering_stops_the_run_and_memory_is_bounded(tmp_path: Path) -> None:
    disk: Any = StuckDisk(tmp_path / "x.stack.h5", threading.Event())
    background = BackgroundWriter(disk, depth=2, timeout_s=0.05)
    planes = iter(range(100))
    with pytest.raises(FgafError, match=r"has not taken a plane for 0.05 s"), background:
        hand_over(background, planes)
    assert next(planes) <= 4
    disk.freed.set()


@pytest.mark.parametrize(("plane_bytes", "places"), [(256, 64), (2_304_000, 55), (100_000_000, 4)])
def test_as_many_planes_may_wait_as_memory_allows(
    plane_bytes: int, places: int, tmp_path: Path
) -> None:
    disk: Any = StuckDisk(tmp_path / "x.stack.h5", threading.Event(), plane_bytes)
    planes = iter(range(100))
    background = BackgroundWriter(disk, timeout_s=0.2)
    with pytest.raises(FgafError, match="has not taken a plane"), background:
        hand_over(background, planes)
    assert places <= next(planes) - 1 <= places + 1
    disk.freed.set()


def test_a_failed_write_is_raised_and_ends_the_series(tmp_path: Path) -> None:
    header = RawHeader.new(step_um=1.0, half_range_um=1.0, center_um=0.0, bit_depth=8)
    with RawWriter(tmp_path / "x.stack.h5", header, (3, 16, 16), np.uint8) as writer:
        background = BackgroundWriter(writer)
        with (
            pytest.raises(FgafError, match="plane 3 was given instead of plane 2"),
            background,
        ):
            hand_over(background, iter([0, 2]))
        assert writer.n_written == 1


class HeldWriter(RawWriter):
    """Writes nothing before it is let go."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.freed = threading.Event()

    def write(self, *values: Any, **columns: Any) -> None:
        assert self.freed.wait(10)
        super().write(*values, **columns)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_planes_are_left_uncompressed_while_the_queue_is_more_than_half_full(
    kind: type[np.unsignedinteger], tmp_path: Path
) -> None:
    header = RawHeader.new(step_um=1.0, half_range_um=4.0, center_um=0.0, bit_depth=8)
    shape = (9, 16, 16)
    with HeldWriter(tmp_path / "x.stack.h5", header, shape, kind, compress=True) as writer:
        with BackgroundWriter(writer, depth=8) as background:
            for plane in range(9):
                frame = Frame(np.full(shape[1:], plane, kind), plane, 0, 0, 1.0)
                background.put(Exposure(plane, float(plane), float(plane), frame))
            writer.freed.set()
        writer.publish()
    with RawStack.open(writer.path) as stack:
        stack.verify()
        assert stack.frames[:, 5, 5].tolist() == list(range(9))
        spots = [stack.frames.id.get_chunk_info_by_coord((plane, 0, 0)) for plane in range(1, 9)]
    left = [bool(spot.filter_mask) for spot in spots]
    assert left[:3] == [True] * 3
    assert left[4:] == [False] * 4
