"""How well swimming cells are followed live, in x, y and z, beside depth from focus.

The simulated microscope swims its cells in simulated time at 41 frames/s; a frame's processing is
taken to last 10 ms of it, so that results do not hang on the machine. Truth is known.

Heights: the drive stands; depth read from single frames, against the filtered track, and against
the best linear filter there could be: weights of the last 13 frames, fitted to the truth itself.
What that leaves is no noise but error that lasts, of this cell in this pose. Identity: the share
of 5 s in which a cell that is in view all the time, well inside the frame and within 3 µm of focus,
keeps its number.
Focus: the drive follows one cell by its depth, or searches its focus by a hill climb, by scans of
five planes, or stands.

Run ``python benchmarks/tracking.py MODEL [--fields 2] [--cells 20] [--seconds 5]``.
"""

# ruff: noqa: ARG002, D102 - searches share one signature; the protocols say what methods do

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire import Devices, Frame, load_rig, open_rig
from fgaf.acquire.rig import Rig
from fgaf.acquire.simulation.scene import Scene
from fgaf.dataset.truth import CellTruth
from fgaf.model.inference.depth import DepthModel
from fgaf.model.live import Live, LiveCell, LiveFrame, LiveSettings
from fgaf.model.live.loop import open_live

FRAME_S = 1 / 41
PROCESSING_S = 0.010
PLAY_UM = 0.4
NEAR_UM = 4.0
GRACE_S = 0.5
FIELD, ALLEY = (1200, 1920), (448, 1600)
SPEEDS_UM_S = (15, 50)
SEEN_UM = 3.0
TAPS = 12
MARGIN_UM = 9.0
CLIMBS = (1.0, 10.0)
Pixels = npt.NDArray[Any]


def rig_of(shape: tuple[int, int], seed: int, cells: int, **simulation: Any) -> Rig:
    """The simulated microscope at 41 frames/s."""
    settings = {
        "seed": seed,
        "shape": list(shape),
        "cells": cells,
        "debris": cells + 2,
        "round_cells": 0,
        "separation_s": 5.0,
    } | simulation
    return load_rig(
        "sim",
        [
            *(
                f"simulation.{key}={list(value) if isinstance(value, tuple) else value}"
                for key, value in settings.items()
            ),
            f"camera.options.row_us={FRAME_S * 1e6 / shape[0]}",
        ],
    )


class Witness:
    """A camera that remembers the truth of its frames."""

    def __init__(self, camera: Any) -> None:
        self._camera = camera
        self.truth: dict[int, tuple[CellTruth, ...]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._camera, name)

    def next_frame(self, timeout_s: float) -> Frame | None:
        frame: Frame | None = self._camera.next_frame(timeout_s)
        if frame is not None and frame.truth is not None:
            self.truth[frame.frame_id] = frame.truth.cells
        return frame


@contextmanager
def watched(rig: Rig) -> Iterator[tuple[Devices, Witness]]:
    """Open a rig with a witness in place of its camera."""
    with open_rig(rig) as devices:
        witness = Witness(devices.camera)
        yield replace(devices, camera=witness), witness  # type: ignore[arg-type]


def nearest(cell: LiveCell, truth: tuple[CellTruth, ...], pixel_um: float) -> CellTruth | None:
    """The sperm that a followed cell is, if any."""
    sperm = [each for each in truth if each.kind == "sperm"]
    away = [pixel_um * math.hypot(cell.y_px - t.y_px, cell.x_px - t.x_px) for t in sperm]
    if not away or min(away) > NEAR_UM:
        return None
    return sperm[int(np.argmin(away))]


@dataclass
class Heights:
    """Errors of heights, µm: of single frames and filtered, and how far the drive was off.

    `ways` holds height as read and true height of every cell, by the number of the frame.
    """

    single: list[float] = field(default_factory=list)
    filtered: list[float] = field(default_factory=list)
    depth: list[float] = field(default_factory=list)
    off_px: list[float] = field(default_factory=list)
    ways: dict[tuple[int, int], dict[int, tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def best_linear(self) -> tuple[float, float]:
        """R.m.s. error of single frames, and of the weights of the last frames that suit best.

        Only of frames before which a cell was read in `TAPS` frames on end.
        """
        before, off = [], []
        for way in self.ways.values():
            for number, (seen, truth) in way.items():
                last = [way.get(number - k) for k in range(1, TAPS + 1)]
                if all(last):
                    before.append([each[0] - seen for each in last if each])
                    off.append(truth - seen)
        if not off:
            return math.nan, math.nan
        weights, *_ = np.linalg.lstsq(np.array(before), np.array(off), rcond=None)
        return rms(np.array(off)), rms(np.array(off) - np.array(before) @ weights)

    def rows(self) -> Iterator[tuple[str, int, float, float]]:
        single, filtered, depth = (np.array(v) for v in (self.single, self.filtered, self.depth))
        for name, some in (
            ("all", np.isfinite(depth)),
            ("drive within 2 µm of the focus", np.abs(depth) < 2),
            ("drive within 1 µm of the focus", np.abs(depth) < 1),
        ):
            yield name, int(some.sum()), rms(single[some]), rms(filtered[some])


def rms(values: Pixels) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(values**2))) if len(values) else math.nan


def standing(
    model: DepthModel, fields: int, cells: int, seconds: float, climb: float
) -> tuple[Heights, list[bool]]:
    """Let cells swim by with the drive standing."""
    heights, kept = Heights(), []
    for seed in range(fields):
        rig = rig_of(FIELD, 5000 + seed, cells, climb=climb, speed_um_s=SPEEDS_UM_S)
        pixel_um = float(rig.optics.pixel_size_um or math.nan)
        owners: dict[int, dict[int, int]] = defaultdict(dict)
        inside: dict[int, list[int]] = defaultdict(list)
        with watched(rig) as (devices, witness):
            loop = Live(devices, rig, model, LiveSettings(processing_s=PROCESSING_S))
            frames = round((seconds + 1) / FRAME_S)
            for number, result in enumerate(loop.frames(frames)):
                truth = witness.truth.pop(result.frame_id)
                for each in truth:
                    near = abs(result.drive_um - each.focus_um) < SEEN_UM
                    if each.kind == "sperm" and near and well_inside(each, FIELD, pixel_um):
                        inside[each.id].append(number)
                for cell in result.cells:
                    own = nearest(cell, truth, pixel_um)
                    if own is None:
                        continue
                    owners[own.id][number] = cell.id
                    if cell.depth_um is not None and cell.z_um is not None:
                        seen_um = result.drive_um - cell.depth_um
                        heights.single.append(seen_um - own.focus_um)
                        heights.ways[seed, own.id][number] = (seen_um, own.focus_um)
                        heights.filtered.append(cell.z_um - own.focus_um)
                        heights.depth.append(result.drive_um - own.focus_um)
                        heights.off_px.append(
                            math.hypot(cell.y_px - own.y_px, cell.x_px - own.x_px)
                        )
        kept += kept_numbers(owners, inside, round(seconds / FRAME_S))
    return heights, kept


def well_inside(cell: CellTruth, shape: tuple[int, int], pixel_um: float) -> bool:
    """Whether a head is so far from the border that its patch fits."""
    margin = MARGIN_UM / pixel_um
    return margin <= cell.y_px < shape[0] - margin and margin <= cell.x_px < shape[1] - margin


def kept_numbers(
    owners: dict[int, dict[int, int]], inside: dict[int, list[int]], length: int
) -> list[bool]:
    """Say for every cell inside for `length` frames on end whether it kept one number.

    The span begins half a second after the cell came in: before, it may not have been found yet.
    """
    kept = []
    wait = round(GRACE_S / FRAME_S)
    for cell, frames in inside.items():
        runs = np.split(frames, np.nonzero(np.diff(frames) != 1)[0] + 1)
        for run in runs:
            if len(run) < length + wait:
                continue
            span = run[wait : wait + length]
            first, last = (owners[cell].get(int(n)) for n in (span[0], span[-1]))
            others = {owners[cell].get(int(n)) for n in span} - {None, first}
            kept.append(first is not None and first == last and not others)
    return kept


# --- closed loop ---


class Stay:
    """The drive stands where it is."""

    def step(self, result: LiveFrame, patch: Pixels) -> float | None:
        return None


def tenengrad(patch: Pixels) -> float:
    """Mean squared Sobel gradient over the squared mean, of the middle of a patch."""
    from scipy.ndimage import sobel

    middle = patch[16:-16, 16:-16].astype(np.float64)
    return float(np.mean(sobel(middle, 0) ** 2 + sobel(middle, 1) ** 2) / middle.mean() ** 2)


class Climb:
    """Depth from focus by a hill climb: step on while it gets sharper, else turn round."""

    def __init__(self, sign: float, step_um: float = 0.5) -> None:
        self._sign, self._step_um = sign, step_um
        self._last: float | None = None
        self._settled_ns = 0

    def step(self, result: LiveFrame, patch: Pixels) -> float | None:
        if result.time_ns < self._settled_ns:
            return None
        measure = self._sign * tenengrad(patch)
        if self._last is not None and measure < self._last:
            self._step_um = -self._step_um
        self._last = measure
        self._settled_ns = result.result_ns + 30_000_000
        return result.drive_um + self._step_um


class Scan:
    """Depth from focus by scans of five planes about the best one of the last scan."""

    def __init__(self, sign: float, step_um: float = 0.5) -> None:
        self._sign, self._step_um = sign, step_um
        self._planes: list[float] = []
        self._seen: list[tuple[float, float]] = []
        self._settled_ns = 0

    def step(self, result: LiveFrame, patch: Pixels) -> float | None:
        if result.time_ns < self._settled_ns:
            return None
        if self._settled_ns:
            self._seen.append((self._sign * tenengrad(patch), result.drive_um))
        if not self._planes:
            best = max(self._seen)[1] if self._seen else result.drive_um
            self._planes = [best + k * self._step_um for k in (2, 1, 0, -1, -2)]
            self._seen = []
        self._settled_ns = result.result_ns + 30_000_000
        return self._planes.pop()


@dataclass
class Followed:
    """Of each frame after the grace: how far the objective was from the cell's focus, µm."""

    off_um: list[float]
    lost: int = 0


def alley_seeds(speed: float, climb: float, seconds: float, pixel_um: float) -> Iterator[int]:
    """Seeds whose one cell stays inside the frame.

    Raises
    ------
    SystemExit
        None of a thousand does: the frame is too small for so fast a cell, or the time too long.
    """
    last = 9000
    for seed in count(last):
        if seed - last > 1000:
            raise SystemExit(f"no cell at {speed:g} µm/s stays in the frame for {seconds:g} s")
        rig = rig_of(ALLEY, seed, 1, speed_um_s=[speed, speed], climb=climb)
        assert rig.simulation is not None
        scene = Scene(rig.simulation)
        way = scene.swimmers[0].way
        size = [n * pixel_um for n in ALLEY]
        places = np.array([way.path(t) for t in np.linspace(0, seconds + GRACE_S, 40)])
        if ((places > MARGIN_UM + 2) & (places < np.array(size) - MARGIN_UM - 2)).all():
            last = seed
            yield seed


def followed(
    model: DepthModel,
    rig: Rig,
    seconds: float,
    search: Callable[[], Any] | None,
) -> Followed:
    """Follow the only cell of a field; by its depth when no search is given."""
    done = Followed([])
    half = model.card.patch_px // 2
    with watched(rig) as (devices, witness):
        settings = LiveSettings(track=search is None, play_um=PLAY_UM, processing_s=PROCESSING_S)
        loop = Live(devices, rig, model, settings)
        how = search() if search is not None else None
        stage: Any = devices.stage
        begun_ns = None
        for result in loop.frames(round((seconds + GRACE_S) / FRAME_S)):
            (own,) = [t for t in witness.truth.pop(result.frame_id) if t.kind == "sperm"]
            begun_ns = begun_ns or result.time_ns
            if (result.time_ns - begun_ns) / 1e9 >= GRACE_S:
                done.off_um.append(stage.objective_um(result.time_ns) - own.focus_um)
                pixel_um = float(rig.optics.pixel_size_um or math.nan)
                cells = [c for c in result.cells if nearest(c, (own,), pixel_um)]
                done.lost += not cells
            if how is not None:
                # A search is told where the cell is: only its z is searched for.
                y, x = round(own.y_px), round(own.x_px)
                patch = result.pixels[y - half : y + half, x - half : x + half]
                aim = how.step(result, patch)
                if aim is not None:
                    stage.move_to(aim)
    return done


def report_standing(model: DepthModel, fields: int, cells: int, seconds: float) -> None:
    """Print errors of heights, and how many numbers were kept."""
    for climb in CLIMBS:
        heights, kept = standing(model, fields, cells, seconds, climb)
        print(f"drive standing, {fields} fields of {cells} swimming cells, climb {climb:g}:")
        for name, number, single, filtered in heights.rows():
            print(
                f"  {name:32} {number:6} depths: r.m.s. error {single:.3f} µm of a single frame, "
                f"{filtered:.3f} filtered ({100 * (filtered / single - 1):+.0f} %)"
            )
        single, least = heights.best_linear()
        print(
            f"  the best linear filter of {TAPS + 1} frames, fitted to the truth: {single:.3f} to "
            f"{least:.3f} µm ({100 * (least / single - 1):+.0f} %)"
        )
        off = np.percentile(heights.off_px, (50, 90)) if heights.off_px else (math.nan, math.nan)
        print(f"  heads found {off[0]:.1f} px off in the median, 90 % within {off[1]:.1f}")
        print(
            f"  {sum(kept)} of {len(kept)} spans of {seconds:g} s under one number "
            f"({100 * np.mean(kept) if kept else math.nan:.0f} %)"
        )


def report_following(model: DepthModel, cells: int, seconds: float, speed: float) -> None:
    """Print how long cells were in focus."""
    depth_of_field = model.card.optics.depth_of_field_um
    assert depth_of_field is not None
    half = depth_of_field / 2
    ways: dict[str, Callable[[], Any] | None] = {
        "depth (--track)": None,
        "hill climb, sharpest": lambda: Climb(1.0),
        "hill climb, least contrast": lambda: Climb(-1.0),
        "scans, sharpest": lambda: Scan(1.0),
        "scans, least contrast": lambda: Scan(-1.0),
        "drive standing": Stay,
    }
    for climb in CLIMBS:
        print(f"{cells} cells at {speed:g} µm/s, climb {climb:g}, within ±{half:.2f} µm of focus:")
        pixel_um = 5.86 / 40
        seeds = alley_seeds(speed, climb, seconds, pixel_um)
        rigs = [
            rig_of(ALLEY, next(seeds), 1, speed_um_s=[speed, speed], climb=climb)
            for _ in range(cells)
        ]
        for name, search in ways.items():
            runs = [followed(model, rig, seconds, search) for rig in rigs]
            off = np.concatenate([run.off_um for run in runs])
            worst = min(np.mean(np.abs(run.off_um) < half) for run in runs)
            lost = sum(run.lost for run in runs) / max(1, len(off))
            print(
                f"  {name:28} {100 * np.mean(np.abs(off) < half):5.1f} % of the time "
                f"(worst cell {100 * worst:.0f} %), r.m.s. {rms(off):.2f} µm off, "
                f"not found in {100 * lost:.1f} %",
                flush=True,
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="sim")
    parser.add_argument("--fields", type=int, default=2)
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--followed", type=int, default=4, help="Cells that the drive follows.")
    parser.add_argument("--seconds", type=float, default=5.0, help="That cells swim by.")
    parser.add_argument("--follow", type=float, default=3.0, help="Seconds that one is followed.")
    parser.add_argument("--speed", type=float, default=50.0)
    parser.add_argument("--only", choices=("standing", "following"))
    options = parser.parse_args()
    model = open_live(options.model)
    if options.only != "following":
        report_standing(model, options.fields, options.cells, options.seconds)
    if options.only != "standing":
        report_following(model, options.followed, options.follow, options.speed)


if __name__ == "__main__":
    main()
