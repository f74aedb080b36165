"""Label error of cells that swim up or down while their stack is taken.

A label is the distance of a plane to the single focus of a cell's stack. For a cell that moves
along the axis at speed `v`, the focus changes from plane to plane: when the planes pass at speed
`u`, a plane at distance `d` from the focus has a label error of ``v d / u``. `expected_error`
computes this; `measure_drift` simulates such stacks, labels them like `fgaf-curate auto`, and
compares with the truth. It therefore includes the error of the focus suggestion, and the cells it
rejects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.camera import sensor
from fgaf.acquire.simulation.camera.light import mottle
from fgaf.acquire.simulation.painter import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.swimming import Pose, draw_swimming
from fgaf.base.errors import SettingError
from fgaf.curate.detection.crop import planes_round
from fgaf.curate.focus.curves import Curves, measure
from fgaf.curate.focus.suggest import suggest_all

Floats = npt.NDArray[np.float64]
Progress = Callable[[Iterable[int]], Iterable[int]]

_SIDE_PX: Final = 128
"""Side of the rendered image, large enough for the suggestion's crop."""
_MARGIN_UM: Final = 2.0
"""Extra range of a stack beyond the labelled planes, as in a lab."""
_SPREAD_UM: Final = 0.25
"""At half time, the focus is within ± this of the stack's middle."""


@dataclass(frozen=True)
class DriftError:
    """Label errors of cells that swim along the axis.

    Attributes
    ----------
    duration_s
        From the first to the last labelled plane of a cell, -half range to +half range.
    speed_um_s
        Speed of the cells along the axis, drive µm per second; half of them up, half down.
    cells, kept
        Number simulated, and number kept by the suggestion.
    mean_um, p95_um
        Mean and 95th percentile of the labels' absolute error over all patches of kept cells;
        NaN where none is kept.
    bias_um
        Mean of label minus truth.
    within
        Share of the labels with an error of at most `tolerance_um`.
    tolerance_um
        Maximum error of a good label.
    expected_mean_um, expected_max_um
        `expected_error` for the mean and for the outermost plane.
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
    """Label error of planes at a distance from the focus, if the focus is exact, µm.

    Parameters
    ----------
    distance_um
        Distance of the planes from the focus plane.
    speed_um_s
        Speed of the cell along the axis.
    duration_s
        Time from -`half_range_um` to +`half_range_um`.
    half_range_um
        Half range of the labelled planes.
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

    Each cell swims in the plane, turns, rolls and beats like motile cells; along the axis it moves
    at constant speed, up or down. Its position in the plane is known exactly: only the axial error
    is measured. The planes are equally spaced, z ascending, and extend beyond the labelled ones.

    Parameters
    ----------
    durations_s
        From the first to the last labelled plane, -`half_range_um` to +`half_range_um`.
    speeds_um_s
        Speeds of the cells along the axis, drive µm per second.
    cells
        Number of each; they vote together on the suggestion's rule, like the cells of a stack.
    seed
        Random seed.
    step_um, half_range_um
        The labelled planes.
    tolerance_um
        Maximum error of a good label.
    settings
        Microscope, camera and ranges of motion.
    progress
        Wraps the loop over all pairs of duration and speed.

    Returns
    -------
    list of DriftError
        One for every duration and speed, the speeds varying fastest; the cells are the same in all
        of them.

    Raises
    ------
    SettingError
        No cells, a duration that is not above 0, or a range that is not a multiple of the step.
    """
    steps = round(half_range_um / step_um)
    if cells < 1 or steps < 1 or abs(steps * step_um - half_range_um) > 1e-9:
        raise SettingError(
            f"{cells} cells and ±{half_range_um:g} µm in steps of {step_um:g} µm make no stack; "
            "give at least one cell, and a range of whole steps"
        )
    if not all(duration > 0 for duration in durations_s):
        raise SettingError("a duration is 0 or negative; give durations above 0")
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
    """Render one cell's stack and measure it as in curation."""
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
        clouds = mottle(rng, (_SIDE_PX, _SIDE_PX), settings)
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
