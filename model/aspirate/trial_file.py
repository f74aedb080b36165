"""Trials on disk: results, events, every frame's numbers, and a video around the tip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import h5py
import numpy as np
import numpy.typing as npt

from fgaf.model.aspirate.command import Result, State
from fgaf.model.aspirate.loop import Step
from fgaf.model.live.growing_file import GrowingFile, add_rows, create_columns

_TEXT: Final = h5py.string_dtype()

FRAME_COLUMNS: Final = {
    "frame_id": "<i8",
    "time_ns": "<i8",
    "result_ns": "<i8",
    "commanded_ns": "<i8",
    "dropped": "<i8",
    "trial": "<i4",
    "state": _TEXT,
    "cell": "<i8",
    "cell_seen": "?",
    "cell_y_px": "<f4",
    "cell_x_px": "<f4",
    "cell_vy_um_s": "<f4",
    "cell_vx_um_s": "<f4",
    "cell_depth_um": "<f4",
    "cell_z_um": "<f8",
    "cell_z_error_um": "<f4",
    "tip_y_px": "<f4",
    "tip_x_px": "<f4",
    "tip_z_um": "<f8",
    "pipette_x_um": "<f8",
    "pipette_y_um": "<f8",
    "pipette_z_um": "<f8",
    "pipette_height_um": "<f8",
    "wanted_height_um": "<f8",
    "flow_nl_s": "<f8",
    "wanted_flow_nl_s": "<f8",
    "drive_um": "<f8",
    "stage_x_um": "<f8",
    "stage_y_um": "<f8",
    "goal_y_px": "<f4",
    "goal_x_px": "<f4",
}
RESULT_COLUMNS: Final = {
    "trial": "<i4",
    "cell": "<i8",
    "outcome": _TEXT,
    "text": _TEXT,
    "begun_ns": "<i8",
    "ended_ns": "<i8",
    "drawn_ns": "<i8",
    "released_ns": "<i8",
    "entered_ns": "<i8",
    "miss_um": "<f8",
    "heading_deg": "<f8",
    "swim_um_s": "<f8",
    "entry_aside_um": "<f8",
    "entry_over_um": "<f8",
    "entry_um_s": "<f8",
    "depth_um": "<f8",
    "inside_s": "<f8",
    "drawn_nl": "<f8",
}
EVENT_COLUMNS: Final = {"time_ns": "<i8", "trial": "<i4", "state": _TEXT, "text": _TEXT}

_SIDE_PX: Final = 256
_MOST_FRAMES: Final = 1230
"""Of the video of a trial: half a minute at 41 frames per second; the oldest are replaced."""
_MOST_WAITING: Final = 205
"""When so many frames wait for the disk, further ones are written without a picture."""
_NOT_FILMED: Final = (State.CHOOSE, State.ENDED)


@dataclass(frozen=True)
class _Entry:
    """A step without its frame, and the picture around the tip; or a result alone."""

    step: Step | None
    results: tuple[Result, ...]
    picture: npt.NDArray[Any] | None
    corner: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class _Film:
    """New pictures of one trial, the rows of their frames, and their corners."""

    pixels: list[npt.NDArray[Any]]
    frame: list[int]
    corner: list[tuple[int, int]]


class TrialFile(GrowingFile[_Entry]):
    """Writes trials; see `GrowingFile`."""

    FORMAT: ClassVar[str] = "fgaf-trials"

    def record(self, step: Step) -> None:
        """Queue one frame; returns at once.

        Parameters
        ----------
        step
            The frame; its pixels may be changed afterwards.
        """
        picture, corner = None, (0, 0)
        if step.command.state not in _NOT_FILMED and self.waiting < _MOST_WAITING:
            corner = _corner(step)
            top, left = corner
            picture = step.frame.pixels[top : top + _SIDE_PX, left : left + _SIDE_PX].copy()
        result = step.command.result
        self.put(_Entry(step, () if result is None else (result,), picture, corner))

    def end(self, results: tuple[Result, ...]) -> None:
        """Queue results that no frame brought, such as that of a stopped trial."""
        if results:
            self.put(_Entry(None, results, None))

    def _create(self, file: h5py.File) -> None:
        create_columns(file, "frames", FRAME_COLUMNS)
        create_columns(file, "trials", RESULT_COLUMNS)
        create_columns(file, "events", EVENT_COLUMNS)
        file.create_group("video")

    def _add(self, file: h5py.File, items: list[_Entry]) -> None:
        rows: dict[str, list[Any]] = {name: [] for name in FRAME_COLUMNS}
        trials: dict[str, list[Any]] = {name: [] for name in RESULT_COLUMNS}
        events: dict[str, list[Any]] = {name: [] for name in EVENT_COLUMNS}
        films: dict[int, _Film] = {}
        first = len(file["frames/frame_id"])
        for entry in items:
            if entry.step is not None:
                if entry.picture is not None:
                    film = films.setdefault(entry.step.command.trial, _Film([], [], []))
                    film.pixels.append(entry.picture)
                    film.frame.append(first + len(rows["frame_id"]))
                    film.corner.append(entry.corner)
                for name, value in _row(entry.step).items():
                    rows[name].append(value)
                for event in entry.step.command.events:
                    for name in EVENT_COLUMNS:
                        events[name].append(getattr(event, name))
            for result in entry.results:
                for name, kind in RESULT_COLUMNS.items():
                    trials[name].append(_plain(getattr(result, name), kind))
        for trial, film in films.items():
            _add_film(file, f"video/{trial:04d}", film)
        add_rows(file, "frames", rows)
        add_rows(file, "trials", trials)
        add_rows(file, "events", events)


def _corner(step: Step) -> tuple[int, int]:
    """Top and left of the picture: the tip in its middle, as far as the frame allows."""
    rows, columns = step.frame.pixels.shape
    top = min(max(round(step.seen.tip.y_px) - _SIDE_PX // 2, 0), max(rows - _SIDE_PX, 0))
    left = min(max(round(step.seen.tip.x_px) - _SIDE_PX // 2, 0), max(columns - _SIDE_PX, 0))
    return top, left


def _row(step: Step) -> dict[str, Any]:
    frame, seen, command = step.frame, step.seen, step.command
    cell = next((each for each in seen.cells if each.id == command.target), None)
    x_um, y_um, z_um = step.place_um
    values: dict[str, Any] = {
        "frame_id": frame.frame_id,
        "time_ns": frame.time_ns,
        "result_ns": frame.result_ns,
        "commanded_ns": step.commanded_ns,
        "dropped": frame.dropped,
        "trial": command.trial,
        "state": str(command.state),
        "cell": command.target,
        "cell_seen": cell is not None and cell.seen,
        "tip_y_px": seen.tip.y_px,
        "tip_x_px": seen.tip.x_px,
        "tip_z_um": seen.tip.z_um,
        "pipette_x_um": x_um,
        "pipette_y_um": y_um,
        "pipette_z_um": z_um,
        "pipette_height_um": seen.pipette_z_um,
        "wanted_height_um": command.pipette_z_um,
        "flow_nl_s": seen.flow_nl_s,
        "wanted_flow_nl_s": command.flow_nl_s,
        "drive_um": frame.drive_um,
        "stage_x_um": frame.stage_x_um,
        "stage_y_um": frame.stage_y_um,
        "goal_y_px": command.goal_y_px,
        "goal_x_px": command.goal_x_px,
    }
    for field in ("y_px", "x_px", "vy_um_s", "vx_um_s", "depth_um", "z_um", "z_error_um"):
        values[f"cell_{field}"] = None if cell is None else getattr(cell, field)
    return {name: _plain(values[name], kind) for name, kind in FRAME_COLUMNS.items()}


def _plain(value: Any, kind: Any) -> Any:
    """Values for missing data: NaN, or -1 among whole numbers; enumerations as text."""
    if value is None:
        return -1 if str(kind).startswith("<i") else np.nan
    return str(value) if kind is _TEXT else value


def _add_film(file: h5py.File, name: str, film: _Film) -> None:
    """Add pictures to the video of a trial, in the place of the oldest once it is full.

    All at once: each access to a file of HDF5 costs time of Python, for which the loop would wait.
    """
    if name not in file:
        _create_film(file, name, film.pixels[0])
    group = file[name]
    made = int(group.attrs["pictures"])
    for column, values in vars(film).items():
        stored = group[column]
        news = np.array(values, stored.dtype)
        for place, part in _places(made, len(news)):
            if place.stop > len(stored):
                stored.resize(place.stop, axis=0)
            stored[place] = news[part]
    group.attrs["pictures"] = made + len(film.frame)


def _create_film(file: h5py.File, name: str, picture: npt.NDArray[Any]) -> None:
    """Make the empty video of a trial."""
    group = file.create_group(name)
    group.create_dataset(
        "pixels",
        (0, *picture.shape),
        picture.dtype,
        maxshape=(_MOST_FRAMES, *picture.shape),
        chunks=(1, *picture.shape),
        compression="lzf",
    )
    group.create_dataset("frame", (0,), "<i8", maxshape=(_MOST_FRAMES,), chunks=(_MOST_FRAMES,))
    group.create_dataset(
        "corner", (0, 2), "<i4", maxshape=(_MOST_FRAMES, 2), chunks=(_MOST_FRAMES, 2)
    )
    group.attrs["pictures"] = 0


def _places(made: int, count: int) -> Iterator[tuple[slice, slice]]:
    """Where new pictures go in a video that began again from its start when it was full."""
    done = 0
    while done < count:
        place = (made + done) % _MOST_FRAMES
        run = min(count - done, _MOST_FRAMES - place)
        yield slice(place, place + run), slice(done, done + run)
        done += run
