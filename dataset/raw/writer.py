"""Writes a raw stack plane by plane."""

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from fgaf.base.console import command_line, count
from fgaf.base.errors import ExistsError, FgafError, SettingError
from fgaf.base.files import (
    cannot_write,
    publish,
    remove_empty,
    require_free,
    require_new,
    sync,
)
from fgaf.base.lock import is_written
from fgaf.dataset.raw.header import RawHeader
from fgaf.dataset.raw.layout import (
    FORMAT,
    FORMAT_VERSION,
    NOT_WRITTEN,
    PLANE_COLUMNS,
    SUFFIX,
    open_raw,
    part_of,
    plane_crc32,
)
from fgaf.dataset.storage.checksums import RowSums, SumsDigest
from fgaf.dataset.storage.chunks import PlaneChunks
from fgaf.dataset.storage.deferred_error_file import DeferredErrorFile
from fgaf.dataset.storage.header import write_header
from fgaf.dataset.storage.integrity import seal, seal_end, verify

_SPARE_BYTES = 1 << 20


class RawWriter:
    """Writes one stack plane by plane into ``NAME.stack.h5.part`` and publishes it when complete.

    When `write` returns, the plane has been passed to the system, so it is not lost if the process
    is killed (`recover`). Leaving the ``with`` block without `publish` keeps the ``.part``, if it
    has a plane.

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
        File in which to build a stack that can be made again, instead of the ``.part``; the caller
        publishes it after `seal`.
    compress
        Whether to compress, without loss; slower.
    downwards
        Whether planes are written from the last to the first. They are stored in order of z anyway;
        a broken run then leaves the last planes.

    Attributes
    ----------
    path, part
        The target, and the file in which it is built.
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
            raise SettingError(f"the name of a raw stack must end in {SUFFIX}: rename {path}")
        pixels = np.dtype(dtype)
        if pixels not in (np.dtype("u1"), np.dtype("u2")):
            raise SettingError(
                f"raw stacks have uint8 or uint16 pixels, not {pixels}; convert the images"
            )
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
            self._disk.sync()  # the header has no checksum before the seal
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
            Index of the plane, counted from the lowest; planes are written in order, without gaps.
        frame
            (Y, X) pixels of the stack's type.
        z_requested_um, z_measured_um
            Drive position requested and read back, in µm.
        time_device_ns, time_host_ns
            Middle of the exposure by the camera's and the computer's clock, ns since the epoch.
        frame_id
            The camera's frame counter, 0 or more.
        exposure_us
            Exposure time in µs.
        hurry
            Write this plane uncompressed, because others are waiting.

        Raises
        ------
        FgafError
            Out of order, another shape or type, a position that is not finite, or a full disk.
        """
        due = self._planes[self.n_written] if self.n_written < self.n_planes else self.n_planes
        if plane != due:
            raise FgafError(
                f"plane {plane + 1} was given instead of plane {due + 1}; write planes in order"
            )
        if frame.shape != self._shape[1:] or frame.dtype != self._dtype:
            raise FgafError(
                f"plane {plane + 1} is {frame.dtype}{list(frame.shape)}, "
                f"the stack {self._dtype}{list(self._shape[1:])}"
            )
        if not (np.isfinite(z_requested_um) and np.isfinite(z_measured_um)):
            raise FgafError(f"the z position of plane {plane + 1} is not finite; give numbers")
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
            for name, value in {**values, "crc32": plane_crc32(sums.crc32, values)}.items():
                if name != "frame_id":
                    self._rows.write(plane, name, value)
            self._flush()
            # The frame number marks the plane as written, so it is stored last.
            self._rows.write(plane, "frame_id", frame_id)
            self._disk.check()
        except OSError as error:
            raise cannot_write(self.part, error) from error
        self._sums[plane] = sums

    def sync(self) -> None:
        """Wait until everything written is on the disk (fsync).

        Raises
        ------
        FgafError
            The disk is full or was removed.
        """
        try:
            self._disk.sync()
        except OSError as error:
            raise cannot_write(self.part, error) from error

    def publish(self) -> Path:
        """Seal, sync, reopen and verify the file, then rename it to `path`.

        Raises
        ------
        FgafError
            A plane is missing, or the file read back differs from what was written.
        ExistsError
            `path` was made meanwhile, and may not be replaced.
        """
        self.seal()
        if os.name != "posix":  # Windows cannot rename an open file
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
        """Seal, sync, reopen and verify the file; other programs cannot write to it meanwhile.

        Raises
        ------
        FgafError
            See `publish`.
        """
        if self.n_written != self._shape[0]:
            raise FgafError(
                f"{self.path.name} has {self.n_written} of {count(self.n_planes, 'plane')} and is "
                f"not published; `{command_line('acq', 'recover', self.part)}` publishes these"
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
            with open_raw(self.part) as file:
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
    """The table of planes; values are written directly to the places of its columns in the file.

    Writing through HDF5 would need a tenth of the time of a plane of a fast camera. HDF5 has no
    copy of the columns in memory, because they are not opened until the file is sealed.
    """

    def __init__(self, group: h5py.Group, planes: int, disk: DeferredErrorFile) -> None:
        self._disk = disk
        self._begins: dict[str, int] = {}
        for name, kind in PLANE_COLUMNS.items():
            empty = np.full(planes, NOT_WRITTEN if name == "frame_id" else 0, dtype=kind)
            self._begins[name] = group.create_dataset(name, data=empty).id.get_offset()

    def write(self, plane: int, name: str, value: float) -> None:
        data = np.array(value, PLANE_COLUMNS[name]).tobytes()
        self._disk.seek(self._begins[name] + plane * len(data))
        self._disk.write(data)


def require_no_part(path: Path, overwrite: bool = False) -> None:
    """Refuse to record over the ``.part`` of another run.

    Parameters
    ----------
    path
        The stack to record.
    overwrite
        Whether the ``.part`` of a broken run may be replaced.

    Raises
    ------
    ExistsError
        A program is recording this stack; or a broken run left planes, and `overwrite` is false.
    """
    part = part_of(path)
    if is_written(part):
        raise ExistsError(f"{part} is being written by another program; choose another name")
    if part.exists() and not overwrite:
        raise ExistsError(
            f"{part} has planes of a broken run; publish them with "
            f"`{command_line('acq', 'recover', part)}`, choose another name, or pass --overwrite"
        )
