"""Raw stacks: published whole, recovered plane by plane, refused in one line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fgaf.base.errors import ExistsError, FgafError, FormatError, SettingError
from fgaf.dataset.raw import RawHeader, RawStack, RawWriter, recover
from fgaf.dataset.storage.crc import crc32_combine
from fgaf.dataset.storage.optics import Optics
from fgaf.dataset.truth import CellTruth, FrameTruth, StackTruth, read_truth, write_truth

HEADER = RawHeader.new(step_um=0.5, half_range_um=1.0, center_um=0.0, bit_depth=16)
PIXELS = np.random.default_rng(0).integers(0, 2**16, (5, 12, 10), dtype=np.uint16)


def fill(writer: RawWriter, planes: int = 5) -> None:
    for k in range(planes):
        writer.write(
            k,
            PIXELS[k],
            z_requested_um=0.5 * k,
            z_measured_um=0.5 * k,
            time_device_ns=k,
            time_host_ns=k,
            frame_id=k + 7,
            exposure_us=1.0,
        )


texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"))


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25
)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    compress=st.booleans(),
    step=st.floats(1e-3, 1e3),
    center=st.floats(-1e6, 1e6),
    sample=texts,
    pixel=st.none() | st.floats(1e-3, 10),
)
def test_what_is_written_is_read(
    shape: tuple[int, int, int],
    dtype: type[np.unsignedinteger],
    compress: bool,
    step: float,
    center: float,
    sample: str,
    pixel: float | None,
    tmp_path: Path,
) -> None:
    header = RawHeader.new(
        step_um=step,
        half_range_um=1.0,
        center_um=center,
        bit_depth=8,
        sample_id=sample,
        optics=Optics(pixel_size_um=pixel),
    )
    frames = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    with RawWriter(
        tmp_path / "a.stack.h5", header, shape, dtype, overwrite=True, compress=compress
    ) as writer:
        for k, frame in enumerate(frames):
            writer.write(
                k,
                frame,
                z_requested_um=center + step * k,
                z_measured_um=center,
                time_device_ns=2**62 + k,
                time_host_ns=k,
                frame_id=k,
                exposure_us=0.1,
            )
        path = writer.publish()
    with RawStack.open(path) as stack:
        stack.verify()
        assert stack.header == header.model_copy(update={"planned_planes": shape[0]})
        np.testing.assert_array_equal(stack.frames[:], frames)
        np.testing.assert_array_equal(
            stack.planes["z_requested_um"], center + step * np.arange(shape[0])
        )
        assert stack.planes["time_device_ns"][0] == 2**62


def test_a_stack_appears_only_when_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.stack.h5"
    with RawWriter(path, HEADER, PIXELS.shape, np.uint16) as writer:
        fill(writer, 3)
        with pytest.raises(FgafError, match="has 3 of 5 planes"):
            writer.publish()
    assert not path.exists()
    done = recover(tmp_path / "a.stack.h5.part")
    assert (done.path, done.planes, done.planned) == (path, 3, 5)
    with RawStack.open(path) as stack:
        stack.verify()
        assert not stack.header.complete
        np.testing.assert_array_equal(stack.frames[:], PIXELS[:3])
    assert [p.name for p in tmp_path.iterdir()] == ["a.stack.h5"]


@pytest.mark.parametrize("compress", [False, True])
def test_a_damaged_plane_ends_what_is_recovered(compress: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.stack.h5"
    with RawWriter(path, HEADER, PIXELS.shape, np.uint16, compress=compress) as writer:
        fill(writer)
    with h5py.File(writer.part, "r+") as file:
        file["frames"][3, 0, 0] ^= 1
    assert recover(writer.part).planes == 3
    with h5py.File(path) as file:
        assert file["frames"].compression == ("gzip" if compress else None)


def test_a_compressed_stack_is_smaller_and_needs_no_filter_but_those_of_every_hdf5(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.stack.h5"
    noise = np.random.default_rng(0).normal(1500, 20, (5, 64, 100)).astype(np.uint16)
    with RawWriter(path, HEADER, noise.shape, np.uint16, compress=True) as writer:
        for k, frame in enumerate(noise):
            writer.write(
                k,
                frame,
                z_requested_um=k,
                z_measured_um=k,
                time_device_ns=k,
                time_host_ns=k,
                frame_id=k,
                exposure_us=0,
            )
        writer.publish()
    with h5py.File(path) as file:
        frames = file["frames"]
        assert (frames.compression, frames.shuffle) == ("gzip", True)
        assert frames.id.get_create_plist().get_nfilters() == 2
        assert frames.id.get_storage_size() < noise.nbytes / 1.5
        np.testing.assert_array_equal(frames[:], noise)


def test_a_file_that_is_not_read_back_as_written_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(path: Path, _known: object) -> None:
        with h5py.File(path, "r+", locking=False) as file:
            file["frames"][3, 0, 0] ^= 1

    monkeypatch.setattr("fgaf.dataset.raw.writer.seal_end", spoil)
    path = tmp_path / "a.stack.h5"
    with RawWriter(path, HEADER, PIXELS.shape, np.uint16) as writer:
        fill(writer)
        with pytest.raises(FormatError, match="/frames read back differs from what was written"):
            writer.publish()
    assert not path.exists()
    assert writer.part.exists()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("planes", [1, 2, 4])
def test_a_killed_writer_loses_no_plane(planes: int, compress: bool, tmp_path: Path) -> None:
    code = (
        "import sys, time, numpy as np; from pathlib import Path\n"
        "from fgaf.dataset import RawHeader, RawWriter\n"
        "h = RawHeader.new(step_um=.5, half_range_um=1, center_um=0, bit_depth=16)\n"
        "w = RawWriter(Path(sys.argv[1]), h, (5, 12, 10), np.uint16, compress=sys.argv[3] == '1')\n"
        "for k in range(int(sys.argv[2])):\n"
        "    w.write(k, np.full((12, 10), k, np.uint16), z_requested_um=k, z_measured_um=k,\n"
        "        time_device_ns=0, time_host_ns=0, frame_id=k, exposure_us=0)\n"
        "print('written', flush=True); time.sleep(60)\n"
    )
    path = tmp_path / "a.stack.h5"
    command = [sys.executable, "-c", code, str(path), str(planes), str(int(compress))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    assert recover(path.with_name("a.stack.h5.part")).planes == planes
    with RawStack.open(path) as stack:
        assert stack.frames[:, 0, 0].tolist() == list(range(planes))


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.stack.h5"
    with pytest.raises(SettingError, match=r"must end in \.stack\.h5"):
        RawWriter(tmp_path / "a.h5", HEADER, PIXELS.shape, np.uint16)
    with pytest.raises(SettingError, match="uint8 or uint16 pixels, not float32"):
        RawWriter(path, HEADER, PIXELS.shape, np.float32)  # type: ignore[arg-type]
    with RawWriter(path, HEADER, PIXELS.shape, np.uint16) as writer:
        with pytest.raises(FgafError, match="instead of plane 1"):
            writer.write(
                1,
                PIXELS[1],
                z_requested_um=0,
                z_measured_um=0,
                time_device_ns=0,
                time_host_ns=0,
                frame_id=0,
                exposure_us=0,
            )
        fill(writer)
        writer.publish()
    with pytest.raises(ExistsError, match="pass --overwrite"):
        RawWriter(path, HEADER, PIXELS.shape, np.uint16)


def test_a_discarded_stack_leaves_nothing(tmp_path: Path) -> None:
    with RawWriter(tmp_path / "a.stack.h5", HEADER, PIXELS.shape, np.uint16) as writer:
        fill(writer, 2)
        writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_only_the_part_of_a_broken_run_is_recovered(tmp_path: Path, good_stack: Path) -> None:
    with pytest.raises(SettingError, match="is not the file of a broken run"):
        recover(good_stack)
    with RawWriter(tmp_path / "a.stack.h5", HEADER, PIXELS.shape, np.uint16) as writer:
        copy = shutil.copy(writer.part, tmp_path / "b.stack.h5.part")
    assert not writer.part.exists()
    with pytest.raises(FgafError, match="has no complete plane"):
        recover(copy)


def test_the_truth_lies_beside_its_stack(write_stack: Callable[..., Path], tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a.stack.h5")
    assert read_truth(path) is None
    cell = CellTruth(id=1, kind="sperm", y_px=3.5, x_px=4.0, focus_um=10.2)
    frames = tuple(FrameTruth(time_ns=k, cells=(cell,)) for k in range(5))
    with RawStack.open(path) as stack:
        truth = StackTruth(stack_uuid=stack.header.uuid, frames=frames)
        write_truth(path, truth)
        assert stack.truth() == truth
        write_truth(path, truth.model_copy(update={"stack_uuid": "other"}), overwrite=True)
        with pytest.raises(FormatError, match="of another stack"):
            stack.truth()
    (tmp_path / "a.truth.json").write_text("{}")
    with pytest.raises(FormatError, match="not a readable truth file"):
        read_truth(path)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=5))
def test_checksums_join_as_if_taken_at_once(parts: list[bytes]) -> None:
    checksum = 0
    for part in parts:
        checksum = crc32_combine(checksum, zlib.crc32(part), len(part))
    assert checksum == zlib.crc32(b"".join(parts))


def test_depth_of_field_is_that_of_the_paper() -> None:
    """Equation (2) for the paper's objective: 0.55/0.65² + 0.1465/0.65 = 1.527 µm."""
    known = {"numerical_aperture": 0.65, "medium_index": 1.0, "wavelength_um": 0.55}
    optics = Optics(pixel_size_um=0.1465, **known)
    assert optics.depth_of_field_um == pytest.approx(1.5272, abs=1e-4)
    assert Optics(**known).depth_of_field_um is None
