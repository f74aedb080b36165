"""Simulated fields with their truth as labels, so that a benchmark needs no data."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.realistic import draw_settings
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.detection.scale import upright_box
from fgaf.dataset.truth import MIRRORED, CellTruth
from fgaf.model.bench.detection.fields import Field, Fields, Progress
from fgaf.model.bench.detection.labels import Labels

Image = npt.NDArray[Any]

IN_FOCUS_UM: Final = 3.5
"""Heads within ± this of the focus plane count; others count neither way."""
_BORDER_UM: Final = 2.35
"""Heads whose centre is this near to the border are cut by it, and count neither way."""
_FOCUS_UM: Final = 2.5
"""The plane lies within ± this of the middle of the cells' depths."""
_EXPOSURE_S: Final = 0.005
_KEPT: Final = 256
"""Images that are kept, since each is needed for its labels, for the search and for pictures."""


def draw_fields(number: int, first_seed: int, progress: Progress = iter, **fixed: object) -> Fields:
    """Draw realistic fields of the simulated microscope, one image of each.

    Parameters
    ----------
    number
        How many.
    first_seed
        Seed of the first; the others follow.
    progress
        Wraps the list of seeds.
    fixed
        Settings that are not drawn, see `fgaf.acquire.simulation.realistic.draw_settings`.
    """
    seeds = range(first_seed, first_seed + number)
    return Fields(
        tuple(_field(draw_settings(seed, **fixed)) for seed in progress(seeds)),
        "as simulated",
        (
            f"simulated fields, seeds {seeds[0]} to {seeds[-1]}; heads more than {IN_FOCUS_UM:g} "
            "µm from the focus plane, or cut by the border, count neither way",
        ),
    )


def _field(settings: SimulationSettings) -> Field:
    _, truth, plane_um = _exposed(settings)
    return Field(
        f"simulated {settings.seed}",
        f"{settings.contrast} {settings.magnification:g}x",
        settings.pixel_size_um,
        _labels(truth, settings, plane_um),
        partial(_image, settings),
    )


def _image(settings: SimulationSettings) -> Image:
    return _exposed(settings)[0]


@lru_cache(maxsize=_KEPT)
def _exposed(settings: SimulationSettings) -> tuple[Image, tuple[CellTruth, ...], float]:
    """The image of a field, what it shows, and the drive's z."""
    rng = np.random.default_rng([19, settings.seed])
    plane_um = settings.center_um + float(rng.uniform(-_FOCUS_UM, _FOCUS_UM))
    image, truth = Scene(settings).expose(0.0, _EXPOSURE_S, plane_um)
    image.flags.writeable = False
    return image, truth, plane_um


def _labels(truth: tuple[CellTruth, ...], settings: SimulationSettings, plane_um: float) -> Labels:
    """Heads with their upright boxes; the mirror image of a head counts neither way."""
    heads = [cell for cell in truth if cell.kind in ("sperm", MIRRORED)]
    y, x, focus_um, yaw, length_um, width_um = (
        np.array([getattr(cell, name) for cell in heads], np.float64)
        for name in ("y_px", "x_px", "focus_um", "yaw_rad", "length_um", "width_um")
    )
    rows, columns = settings.shape
    edge_um = settings.pixel_size_um * np.minimum.reduce([y, x, rows - 1 - y, columns - 1 - x])
    sharp = np.abs(focus_um - plane_um) <= IN_FOCUS_UM
    first = np.array([cell.kind == "sperm" for cell in heads], np.bool_)
    height_um, box_width_um = upright_box(length_um, width_um, yaw)
    return Labels(
        y,
        x,
        height_um / settings.pixel_size_um,
        box_width_um / settings.pixel_size_um,
        (edge_um > _BORDER_UM) & sharp & first,
    )
