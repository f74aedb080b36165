"""Results on disk: one HDF5 file per run; an unfinished file is readable too."""

from __future__ import annotations

import threading
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np

from fgaf.base.errors import ExistsError, FgafError
from fgaf.base.files import cannot_write, publish, remove_empty, require_new, sync
from fgaf.base.lock import is_written
from fgaf.dataset.storage.deferred_error_file import DeferredErrorFile
from fgaf.dataset.storage.header import software, utc_now
from fgaf.model.live.message import LiveCell, LiveFrame

FORMAT: Final = "fgaf-live"
FORMAT_VERSION: Final = 1
PART: Final = ".part"

FRAME_COLUMNS: Final = {
    "frame_id": "<i8",
    "time_ns": "<i8",
    "result_ns": "<i8",
    "latency_ms": "<f4",
    "drive_um": "<f8",
    "dropped": "<i8",
    "target": "<i8",
    "aim_um": "<f8",
    "at_limit": "?",
    "stage_x_um": "<f8",
    "stage_y_um": "<f8",
    "goal_y_px": "<f4",
    "goal_x_px": "<f4",
    "off_um": "<f4",
    "stage_at_limit": "?",
    "n_cells": "<i4",
}
CELL_COLUMNS: Final = {
    "frame": "<i8",
    "id": "<i8",
    "seen": "?",
    "y_px": "<f4",
    "x_px": "<f4",
    "vy_um_s": "<f4",
    "vx_um_s": "<f4",
    "score": "<f4",
    "age_s": "<f4",
    "depth_um": "<f4",
    "spread_um": "<f4",
    "in_range": "?",
    "z_um": "<f8",
    "z_error_um": "<f4",
    "vz_um_s": "<f4",
    "segmented": "?",
}
_EVERY_S: Final = 0.5
_CHUNK: Final = 1024
_END_S: Final = 30.0
_NO_PIXELS: Final = np.zeros((0, 0), np.uint8)


class Recorder:
    """Writes frames and cells in its own thread, twice a second, with a flush each time.

    The file is ``NAME.part`` until the block ends without error: a killed run leaves it, and every
    HDF5 program can read it. A run without a frame leaves nothing.

    Parameters
    ----------
    path
        The file. Its folder is made when missing.
    about
        Attributes of the file, such as the rig and the model.
    overwrite
        Replace a file that is there.

    Raises
    ------
    FgafError
        It exists, or cannot be written.
    """

    def __init__(self, path: Path, about: dict[str, Any], overwrite: bool = False) -> None:
        require_new(path, overwrite)
        self.path = path
        self.part = path.with_name(path.name + PART)
        if is_written(self.part):
            raise ExistsError(
                f"{self.part} is being written by another program; choose another name"
            )
        if self.part.exists() and not overwrite:
            raise FgafError(f"{self.part} is left from a killed run; move it, or pass --overwrite")
        self.frames = 0
        self._waiting: list[LiveFrame] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self._error: Exception | None = None
        self._disk, self._made = DeferredErrorFile.begin(self.part, overwrite)
        self._file = h5py.File(self._disk, "w")
        try:
            self._file.attrs.update(
                {"format": FORMAT, "format_version": FORMAT_VERSION, "created_utc": utc_now()}
                | {"software": software(), "complete": False}
                | about
            )
            for group, columns in (("frames", FRAME_COLUMNS), ("cells", CELL_COLUMNS)):
                for name, kind in columns.items():
                    self._file.create_dataset(
                        f"{group}/{name}", (0,), kind, maxshape=(None,), chunks=(_CHUNK,)
                    )
            self._file.flush()
            self._disk.check()
        except OSError as error:
            self._close()
            self._discard()
            raise cannot_write(self.part, error) from error
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self._wake.set()
        self._thread.join(_END_S)
        try:
            self._publish(whole=error is None)
        except FgafError:
            if error is None:  # the error that ended the run is more important
                raise

    def put(self, frame: LiveFrame) -> None:
        """Queue one frame; returns at once.

        Raises
        ------
        FgafError
            An earlier one could not be written.
        """
        self._check()
        with self._lock:
            self._waiting.append(replace(frame, pixels=_NO_PIXELS))

    def _publish(self, whole: bool) -> None:
        if self._thread.is_alive():
            raise FgafError(
                f"the disk of {self.part} has written nothing for {_END_S:g} s; write to a faster "
                "disk"
            )
        try:
            if self._error is None:
                self._file.attrs["complete"] = whole
        finally:
            self._close()
        if self.frames == 0:
            self._discard()
        self._check()
        if self.frames == 0:
            return
        try:
            self._disk.check()
            sync(self.part)
            publish(self.part, self.path)
        except OSError as failure:
            raise cannot_write(self.path, failure) from failure

    def _close(self) -> None:
        self._file.close()
        self._disk.close()

    def _discard(self) -> None:
        self.part.unlink()
        remove_empty(self._made)

    def _check(self) -> None:
        if self._error is not None:
            error = self._error
            cause = error if isinstance(error, OSError) else OSError(str(error))
            raise cannot_write(self.part, cause) from error

    def _run(self) -> None:
        while True:
            self._wake.wait(_EVERY_S)
            ended = self._ended
            with self._lock:
                frames, self._waiting = self._waiting, []
            try:
                if frames and self._error is None:
                    self._write(frames)
            except Exception as error:
                self._error = error
            if ended:
                return

    def _write(self, frames: list[LiveFrame]) -> None:
        first = self.frames
        rows: dict[str, list[Any]] = {name: [] for name in FRAME_COLUMNS}
        cells: dict[str, list[Any]] = {name: [] for name in CELL_COLUMNS}
        names = [f.name for f in fields(LiveCell)]
        for number, frame in enumerate(frames, first):
            for name in FRAME_COLUMNS:
                rows[name].append(
                    len(frame.cells) if name == "n_cells" else _plain(name, getattr(frame, name))
                )
            for cell in frame.cells:
                cells["frame"].append(number)
                for name in names:
                    cells[name].append(_plain(name, getattr(cell, name)))
        for group, columns in (("frames", rows), ("cells", cells)):
            for name, values in columns.items():
                column = self._file[f"{group}/{name}"]
                begin = len(column)
                column.resize(begin + len(values), axis=0)
                column[begin:] = np.array(values, column.dtype)
        self._file.flush()
        self._disk.check()
        self.frames += len(frames)


def _plain(name: str, value: Any) -> Any:
    """Values for missing data: target 0, depth NaN, and `in_range` False without a depth."""
    if value is None:
        return {"target": 0, "in_range": False}.get(name, np.nan)
    return value
