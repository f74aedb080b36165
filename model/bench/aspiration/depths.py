"""How the height of a cell is known in a trial: truth, network, search for focus, or nothing."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from fgaf.model.bench.aspiration.cell import MICROSCOPE, Look
from fgaf.model.bench.methods.focus import measure_named
from fgaf.model.bench.methods.search import vertex
from fgaf.model.inference.depth import DepthModel
from fgaf.model.live.height import Height, error_of

Array = npt.NDArray[Any]

FRAME_S: Final = 1 / 41
"""Time from frame to frame."""
EVERY: Final = 6
"""The network reads every sixth frame: errors of neighbouring frames are alike."""
NEAR_UM: Final = 1.5
"""The drive is at first within so many µm of the focus of the cell."""
PLANE_S: Final = 0.05
"""Time for each plane of a search: a move of the drive and an exposure."""
SWEEP_UM, STEP_UM = 3.0, 0.5
"""A search goes so far up and down, in such steps, drive µm."""
PATCH_PX: Final = 96
"""Side of the patches of a search."""

SURE_UM: Final = 0.01
"""Standard error of heights that are taken as they are."""

Known = tuple[float, float]
"""z of the drive at which the cell is in focus, and its standard error, µm."""


class Depth(Protocol):
    """Tells the height of a cell, frame by frame."""

    patch_px: int

    def look(self, look: Look, time_s: float) -> Known | None:
        """Take the frame of a time; what is known then, or None.

        Parameters
        ----------
        look
            The cell as the camera sees it.
        time_s
            Middle of the exposure.
        """
        ...


class Truth:
    """The true height."""

    patch_px = PATCH_PX

    def look(self, look: Look, time_s: float) -> Known | None:
        """As `Depth.look`."""
        return look.focus_um(time_s), SURE_UM


class Fixed:
    """One height for all cells.

    Parameters
    ----------
    focus_um
        z of the drive from the dish.
    """

    patch_px = PATCH_PX

    def __init__(self, focus_um: float) -> None:
        self._focus_um = focus_um

    def look(self, look: Look, time_s: float) -> Known | None:  # noqa: ARG002
        """As `Depth.look`."""
        return self._focus_um, SURE_UM


class Network:
    """Depths of single frames by a network, filtered as live; the drive goes to the height.

    While the cell is drawn in, its error stays what it was: errors of a cell in one pose are alike
    for many frames (docs/live.md).

    Parameters
    ----------
    model
        The network.
    """

    def __init__(self, model: DepthModel) -> None:
        self._model = model
        self.patch_px = model.card.patch_px
        self._height: Height | None = None
        self._drive_um: float | None = None
        self._frame = 0
        self._off_um = self._error_um = 0.0

    def look(self, look: Look, time_s: float) -> Known | None:
        """As `Depth.look`."""
        if look.drawn and self._height is not None:
            return look.focus_um(time_s) + self._off_um, self._error_um
        card, at_ns = self._model.card, round(time_s * 1e9)
        if self._frame % EVERY == 0:
            if self._drive_um is None:
                self._drive_um = look.focus_um(time_s) + float(look.rng.uniform(-NEAR_UM, NEAR_UM))
            patch = look.patch(time_s, self._drive_um)
            (depth,), (spread,) = self._model.predict(patch[None], "a simulated cell")
            error_um = error_of(float(depth), float(spread), card.half_range_um, card.step_um)
            z_um = self._drive_um - float(depth)
            if self._height is None:
                self._height = Height(z_um, error_um, at_ns)
            else:
                self._height.measure(z_um, error_um, at_ns)
                self._drive_um = self._height.at(at_ns)[0]
        self._frame += 1
        if self._height is None:
            return None
        z_um, self._error_um, _ = self._height.at(at_ns)
        self._off_um = z_um - look.focus_um(time_s)
        return z_um, self._error_um


class Search:
    """One sweep: the plane in which a focus measure peaks, by the parabola through its neighbours.

    Parameters
    ----------
    measure
        Name of the focus measure.
    """

    patch_px = PATCH_PX

    def __init__(self, measure: str) -> None:
        self._measure = measure_named(measure)
        self._z_um: Array | None = None
        self._frames: list[Array] = []
        self._begun_s = 0.0
        self._known: Known | None = None

    def look(self, look: Look, time_s: float) -> Known | None:
        """As `Depth.look`."""
        if self._known is not None:
            return self._known
        if self._z_um is None:
            middle = look.focus_um(time_s) + float(look.rng.uniform(-NEAR_UM, NEAR_UM))
            self._z_um = middle + np.arange(-SWEEP_UM, SWEEP_UM + STEP_UM / 2, STEP_UM)
            self._begun_s = time_s
        while len(self._frames) < len(self._z_um):
            plane_s = self._begun_s + PLANE_S * len(self._frames)
            if plane_s > time_s + 1e-9:
                return None
            self._frames.append(look.patch(plane_s, float(self._z_um[len(self._frames)])))
        self._known = vertex(self._z_um, self._measure(np.stack(self._frames))), SURE_UM
        return self._known


def depth_named(name: str, model: str, fixed_um: float) -> Depth:
    """Make a source of depth for one cell.

    Parameters
    ----------
    name
        "truth", "network", "fixed", or a focus measure for a search.
    model
        The network: "sim", a run, a checkpoint or an export.
    fixed_um
        Height over the dish, in the specimen, that "fixed" takes for every cell.

    Raises
    ------
    SettingError
        There is none of this name.
    """
    if name == "truth":
        return Truth()
    if name == "fixed":
        return Fixed(fixed_um * MICROSCOPE.reduction)
    if name == "network":
        return Network(_opened(model))
    return Search(name)


@lru_cache(maxsize=2)
def _opened(model: str) -> DepthModel:
    """The network, once per process, for one view of each patch."""
    from fgaf.model.live.loop import open_live

    return open_live(model)
