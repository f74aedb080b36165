"""Raw stack files ``NAME.stack.h5``: the planes as the camera gave them, one file per stack."""

import logging
import os
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from fgaf.base.bounds import AnyCount, BitDepth, HalfRangeUm, PositionUm, StepUm
from fgaf.base.console import command_line, count
from fgaf.base.errors import ExistsError, FgafError, FormatError, SettingError
from fgaf.base.files import (
    cannot_write,
    publish,
    publishing,
    remove_empty,
    require_free,
    require_new,
    sync,
)
from fgaf.base.lock import is_written
from fgaf.dataset.storage.chunks import PlaneChunks
from fgaf.dataset.storage.columns import Schema, dataset_of, read_columns
from fgaf.dataset.storage.deferred_error_file import DeferredErrorFile
from fgaf.dataset.storage.header import new_header, read_header, write_header
from fgaf.dataset.storage.integrity import (
    Bar,
    RowSums,
    SumsDigest,
    fingerprint_of,
    open_format,
    reading,
    seal,
    seal_end,
    verify,
)
from fgaf.dataset.storage.optics import Optics
from fgaf.dataset.storage.url import Location, Url, location
from fgaf.dataset.truth import StackTruth, read_truth

_log = logging.getLogger(__name__)

FORMAT, FORMAT_VERSION = "fgaf-raw", 2
SUFFIX = ".stack.h5"
_PART = ".part"

PLANE_COLUMNS: Schema = {
    "z_requested_um": "<f8",
    "z_measured_um": "<f8",
    "time_device_ns": "<i8",
    "time_host_ns": "<i8",
    "frame_id": "<i8",
    "exposure_us": "<f8",
    "crc32": "<u4",
}
_NOT_WRITTEN = -1
_SPARE_BYTES = 1 << 20


class RawHeader(BaseModel):
    """What is known of a stack besides its planes.

    Attributes
    ----------
    uuid, created_utc, software
        Identity, ISO 8601 time and program version of the recording.
    step_um, half_range_um, center_um
        The plan: planes from centre - half range to centre + half range, in drive µm.
    planned_planes
        Planes that the plan has; more than the file holds when `complete` is false.
    optics
        Optics, None where unknown.
    bit_depth
        Significant bits of a pixel.
    sample_id, operator
        Free text of the laboratory; empty when not given.
    field
        Name of the field of view. Stacks of one field share it; empty for a field of its own.
    position_x_um, position_y_um
        Where on the specimen, by the x/y stage; None where nobody said.
    camera, stage, rig
        Names of the devices, and the rig's TOML as read.
    device_settings
        What camera and drive worked with, read back from them, as JSON with an object for each;
        empty where they tell nothing.
    complete
        False for the recovered part of a broken run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uuid: str
    created_utc: str
    software: str
    step_um: StepUm
    half_range_um: HalfRangeUm
    center_um: PositionUm
    planned_planes: AnyCount = 0
    optics: Optics = Optics()
    bit_depth: BitDepth
    sample_id: str = ""
    operator: str = ""
    field: str = ""
    position_x_um: PositionUm | None = None
    position_y_um: PositionUm | None = None
    camera: str = ""
    stage: str = ""
    rig: str = ""
    device_settings: str = ""
    complete: bool = True

    @classmethod
    def new(cls, **fields: Any) -> Self:
        """Make a header with a new identity, stamped now; see `new_header` for the errors."""
        return new_header(cls, uuid=str(uuid.uuid4()), **fields)


class RawWriter:
    """Writes one stack plane by plane into ``NAME.stack.h5.part`` and publishes it when whole.

    A plane is on its way to the disk when `write` returns: a killed process loses none of them
    (`recover`). Leaving the ``with`` block without `publish` keeps the ``.part``, if it holds a
    plane.

    Parameters
    ----------
    path
        The target, ending in ``.stack.h5``.
    header
        The stack's header.
    shape
        (P, Y, X): planes, rows, columns.
    dtype
        uint8 or uint16.
    overwrite
        Whether existing files may be replaced.
    scratch
        Where to build a stack that can be made again, in place of the ``.part``; who gives it
        publishes what `seal` has finished there.
    compress
        Whether to make the file smaller, without loss, at the cost of some speed.
    downwards
        Whether the planes come from the last to the first. They lie in the file in order of z all
        the same; what a broken run leaves are its last planes then.

    Attributes
    ----------
    path, part
        The target, and where it is built.
    header
        The header as written.

    Raises
    ------
    ExistsError
        `path` or its ``.part`` exists and `overwrite` is false.
    SettingError
        Another suffix or dtype.
    FgafError
        The folder cannot be written, or its disk cannot hold the stack.
    """

    def __init__(
        self,
        path: Path,
        header: RawHeader,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any] | type[np.unsignedinteger[Any]],
        overwrite: bool = False,
        scratch: Path | None = None,
        compress: bool = False,
        downwards: bool = False,
    ) -> None:
        if not path.name.endswith(SUFFIX):
            raise SettingError(f"a raw stack's name ends in {SUFFIX}: {path} does not")
        pixels = np.dtype(dtype)
        if pixels not in (np.dtype("u1"), np.dtype("u2")):
            raise SettingError(f"raw stacks hold uint8 or uint16, not {pixels}; convert the images")
        self.path = path
        self.part = scratch or part_of(path)
        self._overwrite = overwrite
        require_new(path, overwrite)
        if scratch is None:
            require_no_part(path, overwrite)
        require_free(path, int(np.prod(shape)) * pixels.itemsize + _SPARE_BYTES)
        self._shape, self._dtype = shape, pixels
        self._sums: dict[int, RowSums] = {}
        self._planes = range(shape[0])[::-1] if downwards else range(shape[0])
        self.header = header.model_copy(
            update={"planned_planes": header.planned_planes or shape[0]}
        )
        self._disk, self._made = DeferredErrorFile.begin(self.part, overwrite)
        self._file = h5py.File(self._disk, "w")
        try:
            write_header(self._file, FORMAT, FORMAT_VERSION, self.header)
            self._chunks = PlaneChunks(self._file, "frames", shape, pixels, compress)
            self._rows = _PlaneRows(self._file.create_group("planes"), shape[0], self._disk)
            self._flush()
            self._disk.sync()  # no checksum guards the header before the seal
        except OSError as error:
            self._file.close()
            self._disk.close()
            self.part.unlink(missing_ok=True)
            remove_empty(self._made)
            raise cannot_write(self.part, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.n_written:
            self._close()
        else:
            self.discard()

    @property
    def n_planes(self) -> int:
        """Planes of the whole stack."""
        return self._shape[0]

    @property
    def plane_bytes(self) -> int:
        """Bytes of the pixels of one plane."""
        return int(np.prod(self._shape[1:])) * self._dtype.itemsize

    @property
    def n_written(self) -> int:
        """Planes written so far."""
        return len(self._sums)

    def write(
        self,
        plane: int,
        frame: NDArray[Any],
        *,
        z_requested_um: float,
        z_measured_um: float,
        time_device_ns: int,
        time_host_ns: int,
        frame_id: int,
        exposure_us: float,
        hurry: bool = False,
    ) -> None:
        """Write the next plane and flush it.

        Parameters
        ----------
        plane
            Index of the plane, from the lowest: planes are written in order, none is left out.
        frame
            (Y, X) pixels of the stack's type.
        z_requested_um, z_measured_um
            Drive position asked for and read back, in µm.
        time_device_ns, time_host_ns
            Middle of the exposure by the camera's and the computer's clock, ns since the epoch.
        frame_id
            The camera's frame counter, 0 or more.
        exposure_us
            Exposure time in µs.
        hurry
            Leave this plane uncompressed, because others wait.

        Raises
        ------
        FgafError
            Out of order, another shape or type, a position that is not finite, or a full disk.
        """
        due = self._planes[self.n_written] if self.n_written < self.n_planes else self.n_planes
        if plane != due:
            raise FgafError(f"plane {plane} came when plane {due} was due")
        if frame.shape != self._shape[1:] or frame.dtype != self._dtype:
            raise FgafError(
                f"plane {plane} is {frame.dtype}{list(frame.shape)}, "
                f"the stack {self._dtype}{list(self._shape[1:])}"
            )
        if not (np.isfinite(z_requested_um) and np.isfinite(z_measured_um)):
            raise FgafError(f"plane {plane} has no finite z position")
        frame = np.ascontiguousarray(frame)
        values = {
            "z_requested_um": z_requested_um,
            "z_measured_um": z_measured_um,
            "time_device_ns": time_device_ns,
            "time_host_ns": time_host_ns,
            "frame_id": frame_id,
            "exposure_us": exposure_us,
        }
        try:
            sums = self._chunks.write(plane, frame, hurry)
            for name, value in {**values, "crc32": _crc32(sums.crc32, values)}.items():
                if name != "frame_id":
                    self._rows.write(plane, name, value)
            self._flush()
            # The frame number marks the plane as held, so it goes to the file last.
            self._rows.write(plane, "frame_id", frame_id)
            self._disk.check()
        except OSError as error:
            raise cannot_write(self.part, error) from error
        self._sums[plane] = sums

    def sync(self) -> None:
        """Wait until all that is written is on the disk; planes get there by and by without it.

        Raises
        ------
        FgafError
            The disk is full or gone.
        """
        try:
            self._disk.sync()
        except OSError as error:
            raise cannot_write(self.part, error) from error

    def publish(self) -> Path:
        """Seal, sync, reopen and verify the file, then give it its name.

        Raises
        ------
        FgafError
            A plane is missing, or the file read back differs from what was written.
        ExistsError
            `path` has come up meanwhile, and may not be replaced.
        """
        self.seal()
        if os.name != "posix":  # what is open there cannot be renamed
            self._disk.close()
        try:
            publish(self.part, self.path, self._overwrite)
        except FileExistsError:
            require_new(self.path)
            raise
        except OSError as error:
            raise cannot_write(self.path, error) from error
        finally:
            self._disk.close()
        return self.path

    def seal(self) -> None:
        """Seal, sync, reopen and verify the file; others cannot write to it meanwhile.

        Raises
        ------
        FgafError
            See `publish`.
        """
        if self.n_written != self._shape[0]:
            raise FgafError(
                f"{self.path.name} holds {self.n_written} of {count(self.n_planes, 'plane')} "
                f"and is not published; `{command_line('acq', 'recover', self.part)}` keeps them"
            )
        try:
            digest = SumsDigest(self._dtype, self._shape)
            for plane in range(self._shape[0]):
                digest.update(self._sums[plane])
            seal(self._file, known={"frames": digest})
            pixels = self._chunks.stretches()
            self._file.close()
            self._disk.check()
            self._disk.share()
            seal_end(self.part, pixels)
            sync(self.part)
            with _open(self.part) as file:
                verify(file, self.part, but="frames")
                self._chunks.require_whole(file, self.part)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def discard(self) -> None:
        """Remove the unpublished ``.part``, and the folders that were made for it."""
        self._close()
        self.part.unlink(missing_ok=True)
        remove_empty(self._made)

    def _flush(self) -> None:
        self._file.flush()
        self._disk.check()

    def _close(self) -> None:
        self._chunks.close()
        self._file.close()
        self._disk.close()


class _PlaneRows:
    """The table of planes, written value by value to where HDF5 has laid its columns.

    HDF5 itself would take a tenth of the time that a fast camera leaves for a plane. It keeps no
    copy of the columns meanwhile: nobody has them open until the file is sealed.
    """

    def __init__(self, group: h5py.Group, planes: int, disk: DeferredErrorFile) -> None:
        self._disk = disk
        self._begins: dict[str, int] = {}
        for name, kind in PLANE_COLUMNS.items():
            empty = np.full(planes, _NOT_WRITTEN if name == "frame_id" else 0, dtype=kind)
            self._begins[name] = group.create_dataset(name, data=empty).id.get_offset()

    def write(self, plane: int, name: str, value: float) -> None:
        data = np.array(value, PLANE_COLUMNS[name]).tobytes()
        self._disk.seek(self._begins[name] + plane * len(data))
        self._disk.write(data)


@dataclass(frozen=True)
class RawStack:
    """A raw stack open for reading; use ``with RawStack.open(path) as stack``.

    Attributes
    ----------
    path
        The file.
    header
        Plan, optics and provenance.
    frames
        (P, Y, X) pixels, read from disk when indexed.
    planes
        Column name to array (P,), see `PLANE_COLUMNS`.
    fingerprint
        Checksum of the content, content_sha256.
    """

    path: Path
    header: RawHeader
    frames: h5py.Dataset
    planes: dict[str, NDArray[Any]]
    fingerprint: str

    @classmethod
    @contextmanager
    def open(cls, path: Location, whole: bool = False, progress: Bar = iter) -> Iterator[Self]:
        """Open a published stack; attributes and columns are checked.

        Parameters
        ----------
        path
            The file, or its address; pixels are read, or fetched, when they are asked for.
        whole
            Compare all of it with its checksums first.
        progress
            Wraps the planes while it is compared.

        Raises
        ------
        FormatError
            Not a raw stack, newer, truncated, a column is missing, or a checksum that was compared
            differs.
        """
        path = location(path)
        with _open(path) as file:
            if whole:
                verify(file, path, progress=progress)
            with reading(path):
                frames = _frames(file, path)
                planes = read_columns(_group(file, path), PLANE_COLUMNS, frames.shape[0], path)
                header = read_header(file, RawHeader, path)
                known = Path(path.name) if isinstance(path, Url) else path
                stack = cls(known, header, frames, planes, fingerprint_of(file))
            _log.debug("opened %s: %d planes, content %s", path, len(frames), stack.fingerprint)
            yield stack

    @property
    def n_planes(self) -> int:
        """Planes in the file."""
        return int(self.frames.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(P, Y, X)."""
        planes, rows, columns = self.frames.shape
        return int(planes), int(rows), int(columns)

    @property
    def z_um(self) -> NDArray[np.float64]:
        """(P,) drive positions read back, in µm."""
        return self.planes["z_measured_um"]

    def verify(self) -> None:
        """Compare the whole file with its checksums.

        Raises
        ------
        FormatError
            Something differs; the line names what.
        """
        verify(self.frames.file, self.path)

    def truth(self) -> StackTruth | None:
        """Read the simulation's truth beside the stack, where there is one.

        Raises
        ------
        FormatError
            The truth is that of another stack, or unreadable.
        """
        truth = read_truth(self.path)
        if truth is None:
            return None
        if truth.stack_uuid != self.header.uuid or len(truth.frames) < self.n_planes:
            raise FormatError(f"the truth beside {self.path} is of another stack; delete it")
        return truth


@dataclass(frozen=True)
class Recovery:
    """What `recover` published."""

    path: Path
    planes: int
    planned: int


def recover(part: Path, overwrite: bool = False) -> Recovery:
    """Publish the planes that a broken run left in its ``.part``, marked incomplete.

    Each plane is checked against its checksum; the first missing or damaged one, in the order in
    which they were taken, ends the stack.
    The ``.part`` is removed only when the recovered file is published.

    Parameters
    ----------
    part
        The file that the run left.
    overwrite
        Whether a stack that is there may be replaced.

    Raises
    ------
    FormatError
        Not the ``.part`` of a raw stack, damaged, or still being written.
    FgafError
        It holds no plane, or the target exists.
    """
    target = stack_of(part)
    require_new(target, overwrite)
    with _open(part, unfinished=True) as file, publishing(target, overwrite) as work:
        with reading(part):
            frames = _frames(file, part)
            planned = frames.shape[0]
            header = read_header(file, RawHeader, part)
            columns = read_columns(_group(file, part), PLANE_COLUMNS, planned, part)
            held = _held(frames, columns, part)
        if not held:
            raise FgafError(f"{part} holds no whole plane; delete it and take the stack again")
        header = header.model_copy(update={"complete": len(held) == header.planned_planes})
        shape = (len(held), *frames.shape[1:])
        compress = frames.compression is not None
        with RawWriter(
            target, header, shape, frames.dtype, overwrite, scratch=work, compress=compress
        ) as writer:
            for number, plane in enumerate(held):
                values = {name: columns[name][plane].item() for name in columns if name != "crc32"}
                writer.write(number, frames[plane], **values)
            writer.seal()
    part.unlink()
    return Recovery(target, len(held), header.planned_planes)


def require_no_part(path: Path, overwrite: bool = False) -> None:
    """Refuse to record over the ``.part`` of another run.

    Parameters
    ----------
    path
        The stack to record.
    overwrite
        Whether what a broken run left may be replaced.

    Raises
    ------
    ExistsError
        A program records this stack now; or a broken run left planes, and `overwrite` is false.
    """
    part = part_of(path)
    if is_written(part):
        raise ExistsError(f"{part} is being written by another program; choose another name")
    if part.exists() and not overwrite:
        raise ExistsError(
            f"{part} holds what a broken run left; publish it with "
            f"`{command_line('acq', 'recover', part)}`, choose another name, or pass --overwrite"
        )


def broken_runs(folder: Path) -> list[Path]:
    """List the ``.part`` files that nobody writes any more; `recover` publishes their planes."""
    return [part for part in sorted(folder.glob(f"*{SUFFIX}{_PART}")) if not is_written(part)]


def part_of(path: Path) -> Path:
    """Where a stack is recorded until it is whole."""
    return path.with_name(path.name + _PART)


def stack_of(part: Path) -> Path:
    """Where the planes of a ``.part`` are published.

    Raises
    ------
    SettingError
        It is not the name of one.
    """
    if not part.name.endswith(SUFFIX + _PART):
        raise SettingError(f"{part} is not a broken run; those end in {SUFFIX}.part")
    return part.with_name(part.name.removesuffix(_PART))


def _open(path: Path | Url, unfinished: bool = False) -> Any:
    return open_format(path, FORMAT, FORMAT_VERSION, unfinished)


def _frames(file: h5py.File, path: Path | Url) -> h5py.Dataset:
    frames = dataset_of(file, "frames", path)
    if frames.ndim != 3 or frames.dtype not in (np.dtype("u1"), np.dtype("u2")):
        raise FormatError(
            f"{path}: /frames is {frames.dtype}{list(frames.shape or ())}, should be uint8 or "
            "uint16 (planes, rows, columns); take the file from its source again"
        )
    return frames


def _group(file: h5py.File, path: Path | Url) -> h5py.Group:
    group = file.get("planes")
    if not isinstance(group, h5py.Group):
        raise FormatError(f"{path}: the table /planes is missing; take the file again")
    return group


def _held(frames: h5py.Dataset, columns: dict[str, NDArray[Any]], path: Path) -> range:
    """Planes that are whole, from the one that was taken first to the first that is not."""
    planes, ids = range(frames.shape[0]), columns["frame_id"]
    downwards = ids[-1] != _NOT_WRITTEN and not _NOT_WRITTEN < ids[0] <= ids[-1]
    held = 0
    for plane in planes[::-1] if downwards else planes:
        if not _is_whole(plane, frames, columns, path):
            break
        held += 1
    return planes[len(planes) - held :] if downwards else planes[:held]


def _is_whole(
    plane: int, frames: h5py.Dataset, columns: dict[str, NDArray[Any]], path: Path
) -> bool:
    row = {name: columns[name][plane] for name in columns}
    if row["frame_id"] == _NOT_WRITTEN:
        return False
    try:
        with reading(path):
            pixels = RowSums.of(frames[plane]).crc32
    except FormatError:  # a torn block of deflated pixels cannot even be read
        return False
    return bool(_crc32(pixels, row) == row["crc32"])


def _crc32(pixels: int, row: Mapping[str, Any]) -> int:
    """Continue the checksum of a plane's pixels with its columns, but this one, in their order."""
    checksum = pixels
    for name, kind in PLANE_COLUMNS.items():
        if name != "crc32":
            checksum = zlib.crc32(np.asarray(row[name], kind).tobytes(), checksum)
    return checksum
