"""Results on disk: one HDF5 file per run; an unfinished file is readable too."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, ClassVar, Final

import h5py
import numpy as np

from fgaf.model.live.growing_file import GrowingFile, add_rows, create_columns
from fgaf.model.live.message import LiveCell, LiveFrame

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
_NO_PIXELS: Final = np.zeros((0, 0), np.uint8)


class Recorder(GrowingFile[LiveFrame]):
    """Writes frames and cells; see `GrowingFile`."""

    FORMAT: ClassVar[str] = "fgaf-live"

    def put(self, item: LiveFrame) -> None:
        """Queue one frame, without its pixels; see `GrowingFile.put`."""
        super().put(replace(item, pixels=_NO_PIXELS, truth=None))

    def _create(self, file: h5py.File) -> None:
        create_columns(file, "frames", FRAME_COLUMNS)
        create_columns(file, "cells", CELL_COLUMNS)

    def _add(self, file: h5py.File, items: list[LiveFrame]) -> None:
        rows: dict[str, list[Any]] = {name: [] for name in FRAME_COLUMNS}
        cells: dict[str, list[Any]] = {name: [] for name in CELL_COLUMNS}
        names = [f.name for f in fields(LiveCell)]
        for number, frame in enumerate(items, self.written):
            for name in FRAME_COLUMNS:
                rows[name].append(
                    len(frame.cells) if name == "n_cells" else _plain(name, getattr(frame, name))
                )
            for cell in frame.cells:
                cells["frame"].append(number)
                for name in names:
                    cells[name].append(_plain(name, getattr(cell, name)))
        add_rows(file, "frames", rows)
        add_rows(file, "cells", cells)


def _plain(name: str, value: Any) -> Any:
    """Values for missing data: target 0, depth NaN, and `in_range` False without a depth."""
    if value is None:
        return {"target": 0, "in_range": False}.get(name, np.nan)
    return value
