"""The standard simulated benchmark: patches of single cells whose depth is known exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.camera import sensor
from fgaf.acquire.simulation.camera.light import mottle
from fgaf.acquire.simulation.microscope import FADE_UM
from fgaf.acquire.simulation.painter import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.scenery.particles import draw_debris
from fgaf.acquire.simulation.settings import Contrast, SimulationSettings
from fgaf.acquire.simulation.silhouette import silhouette
from fgaf.acquire.simulation.sperm import Sperm
from fgaf.acquire.simulation.swimming import Pose, draw_swimming
from fgaf.base.errors import SettingError
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive, ArchiveHeader, Cells
from fgaf.dataset.splits.split import make_split
from fgaf.dataset.storage.header import utc_now
from fgaf.dataset.storage.masks import OTHER_HEAD, OWN_HEAD
from fgaf.dataset.storage.outlines import fill

Array = npt.NDArray[Any]
Progress = Callable[[Iterable[int]], Iterable[int]]
Shown = tuple[Sperm, Pose, tuple[float, float, float]]
"""A sperm in a patch, its pose, and the shift (y, x, z) of its position, in µm."""

INTERVAL_S = 0.03
"""Time from plane to plane: one step of a fast drive and a short exposure."""

_MOST_PATCH_PX, _MOST_BYTES = 512, 16e9
_NEIGHBOUR, _DEBRIS = 0.3, 0.35


def simulate_cells(
    cells: int = 232,
    motile: bool = True,
    seed: int = 2026,
    off_grid: bool = False,
    contrast: Contrast = "brightfield",
    step_um: float = 0.5,
    half_range_um: float = 2.0,
    patch_px: int = 96,
    interval_s: float = INTERVAL_S,
    bit_depth: Literal[8, 12] = 8,
    settings: SimulationSettings | None = None,
    progress: Progress | None = None,
    masks: bool = False,
) -> Archive:
    """Simulate the focus stacks of single cells, cropped around their true position.

    Every cell has its own size, shape, index, pose, illumination and neighbours. Planes are taken
    `interval_s` apart, z ascending; a motile cell turns, rolls and beats between them. Each patch
    is rendered with the cell exactly at the depth of its label: the drive is assumed to follow
    changes of the cell's own z, so ``depth_um == true_depth_um`` exactly. The patch is centred on
    the pixel that contains the centre of the head's phase; the position within that pixel is
    arbitrary.

    Parameters
    ----------
    cells
        Number of cells.
    motile
        Whether they swim; else all planes of a cell show the same pose.
    seed
        Random seed; cell k is the same for any number of cells.
    off_grid
        Draw each depth uniformly within ±`half_range_um` instead of on the grid.
    contrast
        Of the microscope, such as "brightfield".
    step_um, half_range_um
        The grid of depths, in drive µm.
    patch_px
        Side of a patch.
    interval_s
        Time from one plane to the next.
    bit_depth
        8 or 12.
    settings
        Microscope, camera and ranges of motion; `contrast`, `bit_depth`, `seed` and the settings of
        a field are not used.
    progress
        Wraps the loop over the cells, to show progress.
    masks
        Make the masks of the heads too, from their true outlines in the middle of each exposure:
        that of the cell, and that of a second cell in the patch. Images are the same without.

    Returns
    -------
    Archive
        With `true_depth_um` and a split named "default".

    Raises
    ------
    SettingError
        Less than one cell, patches under 16 or over 512 px, a step or range that is not a number or
        reaches to where cells fade, a range that is not a multiple of the step, or more than 16 GB.
    """
    if cells < 1 or not 16 <= patch_px <= _MOST_PATCH_PX:
        raise SettingError(
            f"at least one cell and patches of 16 to {_MOST_PATCH_PX} px are needed, "
            f"not {cells} of {patch_px} px"
        )
    if seed < 0:
        raise SettingError(f"the seed is {seed}; give 0 or more")
    if not (0 < step_um <= half_range_um <= FADE_UM):
        raise SettingError(
            f"the step must be above 0 and the half range from it to {FADE_UM:g} µm, "
            f"not {step_um:g} and {half_range_um:g}"
        )
    steps = half_range_um / step_um
    size = cells * (2 * steps + 1) * patch_px**2 * ((1 if bit_depth == 8 else 2) + masks)
    if size > _MOST_BYTES:
        raise SettingError(
            f"{cells} cells make {size / 1e9:.0f} GB of images, more than {_MOST_BYTES / 1e9:g}; "
            "give fewer, smaller patches or larger steps"
        )
    if round(steps) < 1 or abs(steps - round(steps)) > 1e-6:
        raise SettingError(
            f"a half range of {half_range_um:g} µm is no whole multiple of {step_um:g} µm; "
            f"use {max(1, round(steps)) * step_um:g}"
        )
    settings = (settings or SimulationSettings()).model_copy(
        update={"contrast": contrast, "bit_depth": bit_depth, "seed": seed, "motile": motile}
    )
    grid = step_um * np.arange(-round(steps), round(steps) + 1)
    painter = Painter(settings)
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    images = np.empty((cells, grid.size, patch_px, patch_px), dtype)
    depths = np.empty((cells, grid.size))
    heads = np.zeros(images.shape if masks else (cells, 0), np.uint8)
    centres = np.empty((cells, grid.size, 2), np.int32)
    for number in (progress or iter)(range(cells)):
        rng = np.random.default_rng([seed, 3, number])
        depths[number] = (
            np.sort(rng.uniform(-half_range_um, half_range_um, grid.size)) if off_grid else grid
        )
        seen = _stack(painter, settings, rng, depths[number], interval_s, patch_px)
        for k, (image, centre, shown) in enumerate(seen):
            images[number, k], centres[number, k] = image, centre
            if masks:
                _draw_heads(heads[number, k], shown, settings.pixel_size_um)

    now = utc_now()
    rows = [
        {
            "id": f"cell-{number:05d}",
            "source": f"simulated-{seed}-{number:05d}",
            "source_sha256": "",
            "sample_id": "",
            "field": f"field-{number:05d}",
            "focus_um": 0.0,
            "focus_plane": int(np.argmin(np.abs(depths[number]))),
            "annotator": "simulation",
            "labelled_utc": now,
            "method": "simulation",
            "confidence": 1.0,
        }
        for number in range(cells)
    ]
    table = Cells.from_rows(rows)
    cell = np.repeat(np.arange(cells, dtype=np.int32), grid.size)
    center_y, center_x = centres.reshape(-1, 2).T.copy()
    split = make_split(table, center_y, center_x, cell, patch_px, seed=seed)
    return Archive(
        header=ArchiveHeader.new(
            step_um=step_um,
            half_range_um=half_range_um,
            patch_px=patch_px,
            optics=settings.optics,
            name=f"simulated {'motile' if motile else 'immotile'} sperm, {contrast}, seed {seed}",
            description=(
                f"{'depths drawn uniformly' if off_grid else 'depths on the grid'}, "
                f"planes {interval_s * 1e3:g} ms apart, every label is the true depth"
            ),
        ),
        images=images.reshape(-1, patch_px, patch_px),
        depth_um=depths.ravel(),
        plane=np.tile(np.arange(grid.size, dtype=np.int32), cells),
        cell=cell,
        center_y=center_y,
        center_x=center_x,
        cells=table,
        true_depth_um=depths.ravel().copy(),
        masks=heads.reshape(-1, patch_px, patch_px) if masks else None,
        splits={DEFAULT_SPLIT: split.sides},
    )


def _stack(
    painter: Painter,
    settings: SimulationSettings,
    rng: np.random.Generator,
    depths: Array,
    interval_s: float,
    side: int,
) -> Iterator[tuple[Array, Array, list[Shown]]]:
    """Render one cell's stack: the patch, its centre in the frame, and the sperm in it."""
    pixel = settings.pixel_size_um
    exposure = settings.reference_exposure_s
    swimmers = [_draw(rng, settings, Pose(0, 0, 0, yaw=float(rng.uniform(0, 2 * np.pi))))]
    begin = float(rng.uniform(0, 10))
    if rng.uniform() < _NEIGHBOUR:
        swimmers.append(_neighbour(rng, settings, swimmers[0], begin))
    specks = []
    for _ in range(int(rng.choice(3, p=(1 - _DEBRIS, _DEBRIS * 0.7, _DEBRIS * 0.3)))):
        met = swimmers[0].way.pose(begin + interval_s * float(rng.uniform(0, len(depths))))
        aside, z = rng.uniform(-7, 7, 2), float(rng.uniform(-3, 3))
        specks.append(
            draw_debris(rng, settings, met.y_um + aside[0], met.x_um + aside[1], met.z_um + z)
        )
    frame = rng.uniform(side, np.array(settings.shape) - side, 2) * pixel
    brightness, slope = rng.normal(1, 0.08), rng.normal(0, 0.015, 2)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    light = (brightness + slope[0] * ramp[:, None] + slope[1] * ramp).astype(np.float32)
    origin = swimmers[0].way.pose(begin)
    for k, depth in enumerate(depths):
        time = begin + k * interval_s
        pose = swimmers[0].way.pose(time)
        place = np.array([pose.y_um - origin.y_um, pose.x_um - origin.x_um]) + frame
        centre = np.rint(place / pixel).astype(int)
        inside = (place / pixel - centre + side // 2) * pixel
        shift = (inside[0] - pose.y_um, inside[1] - pose.x_um, -pose.z_um)
        canvas = Canvas((side, side), float(depth))
        for swimmer in swimmers:
            painter.sperm(canvas, swimmer, time, exposure, shift)
        for speck in specks:
            canvas.multiply(speck.image(painter.waves, canvas.focus_um, shift))
        if settings.motile or k == 0:
            clouds = light * mottle(rng, (side, side), settings)
        shown = [(swimmer.body, swimmer.way.pose(time), shift) for swimmer in swimmers]
        yield sensor.expose(canvas.relative() * clouds, exposure, settings, rng), centre, shown


def _draw_heads(mask: Array, shown: list[Shown], pixel_um: float) -> None:
    """Draw the heads in a patch into its mask (S, S), the cell's own, which comes first, on top."""
    for number, (body, pose, shift) in reversed(list(enumerate(shown))):
        place = np.array([pose.y_um + shift[0], pose.x_um + shift[1]])
        outline = (silhouette(body, pose) + place) / pixel_um
        fill(mask, outline, OTHER_HEAD if number else OWN_HEAD)


def _draw(rng: np.random.Generator, settings: SimulationSettings, start: Pose) -> Swimmer:
    way = draw_swimming(
        rng, start, settings.motile, settings.beat_hz, settings.speed_um_s, settings.rolled_heads
    )
    return Swimmer(draw_sperm(rng, settings.motile, settings), way)


def _neighbour(
    rng: np.random.Generator, settings: SimulationSettings, cell: Swimmer, begin_s: float
) -> Swimmer:
    """A second cell that swims away from the first one; its tail may cross the patch."""
    direction = float(rng.uniform(0, 2 * np.pi))
    distance = float(rng.uniform(14, 40))
    start = Pose(0.0, 0.0, float(rng.uniform(-3, 3)), yaw=direction + float(rng.normal(0, 0.4)))
    neighbour = _draw(rng, settings, start)
    y, x = cell.way.path(begin_s)
    own_y, own_x = neighbour.way.path(begin_s)
    return replace(
        neighbour,
        way=neighbour.way.at(
            y + distance * np.sin(direction) - own_y, x + distance * np.cos(direction) - own_x
        ),
    )
