"""How wrong labels get when a cell swims up or down while its stack is taken.

A label is the distance of a plane to the one focus that a stack was given. A cell that moves by
`v` per second has its focus elsewhere in every plane: with planes that pass at `u` per second, a
plane a distance `d` from the focus is labelled wrong by ``v d / u``. `expected_error` says that
much; `measure_drift` simulates such stacks, labels them as `fgaf-curate auto` would, and compares
with the truth, so that it also holds what the focus suggestion itself errs and which cells it
gives up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation import sensor
from fgaf.acquire.simulation.scene import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.sperm import draw_sperm
from fgaf.acquire.simulation.swimming import Pose, draw_swimming
from fgaf.base.errors import SettingError
from fgaf.curate.detection.crop import planes_round
from fgaf.curate.focus.suggest import Curves, measure, suggest_all

Floats = npt.NDArray[np.float64]
Progress = Callable[[Iterable[int]], Iterable[int]]

_SIDE_PX: Final = 128
"""Side of what is rendered: room for the suggestion's own crop."""
_MARGIN_UM: Final = 2.0
"""A stack reaches so far beyond the labelled planes, as a lab's does."""
_SPREAD_UM: Final = 0.25
"""The focus lies within ± this of the stack's middle at half time."""


@dataclass(frozen=True)
class DriftError:
    """Labels of cells that swim along the axis, against the truth.

    Attributes
    ----------
    duration_s
        From the first to the last labelled plane of a cell, -half range to +half range.
    speed_um_s
        Of the cells along the axis, drive µm per second; half of them up, half down.
    cells, kept
        How many were simulated, and how many the suggestion kept.
    mean_um, p95_um
        Mean and 95th percentile of the labels' absolute error over all patches of kept cells;
        NaN where none is kept.
    bias_um
        Mean of label minus truth.
    within
        Share of the labels that are off by at most `tolerance_um`.
    tolerance_um
        What counts as good.
    expected_mean_um, expected_max_um
        `expected_error` of the mean and of the outermost plane.
    """

    duration_s: float
    speed_um_s: float
    cells: int
    kept: int
    mean_um: float
    p95_um: float
    bias_um: float
    within: float
    tolerance_um: float
    expected_mean_um: float
    expected_max_um: float


def expected_error(
    distance_um: npt.ArrayLike, speed_um_s: float, duration_s: float, half_range_um: float = 2.0
) -> Floats:
    """Label error of planes so far from the focus, if that is found without error, µm.

    Parameters
    ----------
    distance_um
        Of the planes from the focus plane.
    speed_um_s
        Of the cell along the axis.
    duration_s
        From -`half_range_um` to +`half_range_um`.
    half_range_um
        Of the labelled planes.
    """
    planes_um_s = 2 * half_range_um / duration_s
    return np.asarray(np.abs(distance_um) * abs(speed_um_s) / planes_um_s, dtype=np.float64)


def measure_drift(
    durations_s: Sequence[float],
    speeds_um_s: Sequence[float],
    *,
    cells: int = 24,
    seed: int = 0,
    step_um: float = 0.5,
    half_range_um: float = 2.0,
    tolerance_um: float = 0.25,
    settings: SimulationSettings | None = None,
    progress: Progress | None = None,
) -> list[DriftError]:
    """Simulate stacks of cells that swim along the axis, label them, and compare.

    Each cell swims in the plane, turns, rolls and beats as motile cells do; along the axis it
    moves at one speed, up or down. It is followed sideways without error: what is measured is
    the axis alone. The planes are taken evenly, z ascending, and reach beyond the labelled ones.

    Parameters
    ----------
    durations_s
        From the first to the last labelled plane, -`half_range_um` to +`half_range_um`.
    speeds_um_s
        Of the cells along the axis, drive µm per second.
    cells
        How many of each; they vote together on the suggestion's rule, as those of a stack do.
    seed
        Everything follows from it.
    step_um, half_range_um
        The labelled planes.
    tolerance_um
        What counts as a good label.
    settings
        Microscope, camera and ranges of motion.
    progress
        Wraps the loop over all pairs of duration and speed.

    Returns
    -------
    list of DriftError
        Of every duration with every speed, the speeds running fastest; the cells are the same
        in all of them.

    Raises
    ------
    SettingError
        No cells, a duration that is not above 0, or a range the step does not divide.
    """
    steps = round(half_range_um / step_um)
    if cells < 1 or steps < 1 or abs(steps * step_um - half_range_um) > 1e-9:
        raise SettingError(
            f"{cells} cells and ±{half_range_um:g} µm in steps of {step_um:g} µm make no stack; "
            "give at least one cell and whole steps"
        )
    if not all(duration > 0 for duration in durations_s):
        raise SettingError("a stack takes time; give durations above 0")
    settings = settings or SimulationSettings()
    painter = Painter(settings)
    n = steps + max(1, round(_MARGIN_UM / step_um))
    z: Floats = step_um * np.arange(-n, n + 1, dtype=np.float64)
    pairs = [(duration, speed) for duration in durations_s for speed in speeds_um_s]
    found = []
    for pair in (progress or iter)(range(len(pairs))):
        duration, speed = pairs[pair]
        time: Floats = np.arange(z.size, dtype=np.float64) * duration / (2 * steps)
        curves, truths = [], []
        for number in range(cells):
            rng = np.random.default_rng([seed, 7, number])
            middle = float(rng.uniform(-_SPREAD_UM, _SPREAD_UM))
            way: Floats = middle + (1 if number % 2 else -1) * speed * (time - time[-1] / 2)
            curves.append(_curves(painter, settings, rng, z, time, way))
            truths.append(way)
        found.append(
            _compare(curves, truths, z, steps, duration, speed, half_range_um, tolerance_um)
        )
    return found


def _curves(
    painter: Painter,
    settings: SimulationSettings,
    rng: np.random.Generator,
    z: Floats,
    time: Floats,
    way: Floats,
) -> Curves:
    """Render one cell's stack and measure it as the curation does."""
    pixel, exposure = settings.pixel_size_um, settings.reference_exposure_s
    start = Pose(0.0, 0.0, 0.0, yaw=float(rng.uniform(0, 2 * np.pi)))
    swimmer = Swimmer(
        draw_sperm(rng, True),
        draw_swimming(rng, start, True, settings.beat_hz, settings.speed_um_s),
    )
    begin = float(rng.uniform(0, 10))
    frames = []
    place = np.empty((z.size, 2))
    for k, focus_um in enumerate(z):
        now = begin + float(time[k])
        pose = swimmer.way.pose(now)
        offset = rng.uniform(-0.5, 0.5, 2)
        place[k] = _SIDE_PX // 2 + offset
        shift = (
            place[k, 0] * pixel - pose.y_um,
            place[k, 1] * pixel - pose.x_um,
            float(way[k]) - pose.z_um,
        )
        canvas = Canvas((_SIDE_PX, _SIDE_PX), float(focus_um))
        painter.sperm(canvas, swimmer, now, exposure, shift)
        clouds = sensor.mottle(rng, (_SIDE_PX, _SIDE_PX), settings)
        frames.append(sensor.expose(canvas.relative() * clouds, exposure, settings, rng))
    return measure(
        np.stack(frames), place[:, 0], place[:, 1], z, pixel, cutoff_per_um=settings.cutoff
    )


def _compare(
    curves: list[Curves],
    truths: list[Floats],
    z: Floats,
    steps: int,
    duration_s: float,
    speed_um_s: float,
    half_range_um: float,
    tolerance_um: float,
) -> DriftError:
    errors: list[Any] = []
    for suggestion, way in zip(suggest_all(curves), truths, strict=True):
        planes = None
        if not suggestion.problem:
            planes = planes_round(suggestion.focus_um, z, 1, steps)
        if planes is not None:
            errors.append(way[planes] - suggestion.focus_um)
    error = np.concatenate(errors) if errors else np.full(1, np.nan)
    labelled = half_range_um / steps * np.arange(-steps, steps + 1)
    expected = expected_error(labelled, speed_um_s, duration_s, half_range_um)
    return DriftError(
        duration_s=duration_s,
        speed_um_s=speed_um_s,
        cells=len(curves),
        kept=len(errors),
        mean_um=float(np.abs(error).mean()),
        p95_um=float(np.percentile(np.abs(error), 95)),
        bias_um=float(error.mean()),
        within=float((np.abs(error) <= tolerance_um).mean()) if errors else float("nan"),
        tolerance_um=tolerance_um,
        expected_mean_um=float(expected.mean()),
        expected_max_um=float(expected.max()),
    )
