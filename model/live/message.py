"""The result of each frame: the cells with their heights, and the speed of the loop."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy.typing as npt

from fgaf.dataset.truth import FrameTruth

VERSION: Final = 1


@dataclass(frozen=True)
class LiveCell:
    """One cell in one frame. Depth and height are None where they are unknown.

    Attributes
    ----------
    id
        Its number, the same as long as the cell is followed.
    seen
        Whether it was found in this frame; else its position is predicted, and its depth is not
        read.
    segmented
        Whether its position is that of a segmented head; else the finder's, or predicted.
    y_px, x_px
        Centre of the head in the frame.
    vy_um_s, vx_um_s
        Velocity in the specimen.
    score
        Similarity of the spot to a head, 0 to 1.
    age_s
        Time since it was first found.
    depth_um
        Depth from this frame only: z of the drive minus z of the cell's focus.
    spread_um
        Its standard deviation, as the network gives it.
    in_range
        Whether the patch is like those of training; a depth out of range does not enter `z_um`.
    z_um
        Filtered height in the middle of the exposure: z of the drive at which the cell is in focus.
    z_error_um
        Its standard error.
    vz_um_s
        Its speed.
    """

    id: int
    seen: bool
    y_px: float
    x_px: float
    vy_um_s: float
    vx_um_s: float
    score: float
    age_s: float
    depth_um: float | None = None
    spread_um: float | None = None
    in_range: bool | None = None
    z_um: float | None = None
    z_error_um: float | None = None
    vz_um_s: float | None = None
    segmented: bool = False


@dataclass(frozen=True)
class LivePipette:
    """The micropipette in one frame.

    Attributes
    ----------
    y_px, x_px
        Its tip in the frame.
    z_um
        z of the drive at which the tip is in focus.
    x_um, y_um, height_um
        Position x, y, z of the manipulator.
    flow_nl_s
        Flow of the pump; above 0 draws in.
    state
        What is done, such as "approach".
    trial, trials
        Number of the trial, from 1, and of all.
    last
        How the last trial ended; empty before.
    """

    y_px: float
    x_px: float
    z_um: float
    x_um: float
    y_um: float
    height_um: float
    flow_nl_s: float
    state: str
    trial: int
    trials: int
    last: str = ""


@dataclass(frozen=True)
class LiveFrame:
    """One frame and its results.

    Attributes
    ----------
    frame_id
        The camera's number.
    time_ns, result_ns
        Middle of the exposure, and time of the result; ns since the epoch.
    latency_ms
        Time from one to the other.
    drive_um
        Position of the drive in the middle of the exposure.
    dropped
        Frames dropped since the start because the loop or the camera's link was too slow.
    rate_hz
        Frames per second of the rig's clock, over the last seconds.
    latency_p50_ms, latency_p99_ms
        Percentiles of the latency, over the last frames.
    target
        Id of the cell that the drive follows; None when there is none.
    aim_um
        Target of the drive after this frame; None when it was not moved.
    at_limit
        Whether the cell is beyond the drive's limits.
    cells
        All cells in view.
    pixels
        The frame itself, (Y, X); not part of the JSON.
    unconfirmed
        Number of spots that may be heads, but are not yet a cell.
    stage_x_um, stage_y_um
        Position of the x/y stage in the middle of the exposure; None when it follows no cells.
    goal_y_px, goal_x_px
        Where in the frame the stage keeps the target; None when it keeps none.
    off_um
        Distance of the target from there, in µm of the specimen.
    stage_at_limit
        Whether the target can be kept there only outside the stage's limits.
    truth
        Truth of a simulated camera; not part of the JSON.
    pipette
        The micropipette; None, and no part of the JSON, where none works.
    """

    frame_id: int
    time_ns: int
    result_ns: int
    latency_ms: float
    drive_um: float
    dropped: int
    rate_hz: float
    latency_p50_ms: float
    latency_p99_ms: float
    target: int | None
    aim_um: float | None
    at_limit: bool
    cells: tuple[LiveCell, ...]
    pixels: npt.NDArray[Any]
    unconfirmed: int = 0
    stage_x_um: float | None = None
    stage_y_um: float | None = None
    goal_y_px: float | None = None
    goal_x_px: float | None = None
    off_um: float | None = None
    stage_at_limit: bool = False
    truth: FrameTruth | None = None
    pipette: LivePipette | None = None

    def to_dict(self) -> dict[str, Any]:
        """All but the pixels as JSON values, numbers rounded to their precision."""
        plain = {
            f.name: _rounded(getattr(self, f.name))
            for f in fields(self)
            if f.name not in ("cells", "pixels", "truth", "pipette")
        }
        if self.pipette is not None:
            plain["pipette"] = {k: _rounded(v) for k, v in asdict(self.pipette).items()}
        cells = [{k: _rounded(v) for k, v in asdict(cell).items()} for cell in self.cells]
        return {"format": "fgaf-live", "version": VERSION, **plain, "cells": cells}

    def to_json(self) -> str:
        """One line of JSON, without the line break."""
        return json.dumps(self.to_dict(), allow_nan=False, separators=(",", ":"))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
