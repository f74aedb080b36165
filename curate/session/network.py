"""Focus suggested by a trained network, which reads the distance to focus from every plane.

This package may not import `fgaf.model`: the reader of depth from patches is found by its name
among the installed entry points, like camera drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from fgaf.base.extras import MissingPackageError
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.detection.scale import Floats
from fgaf.curate.session.closeup import Closeups
from fgaf.curate.session.finding import Found
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import CellState, StackRef, Suggested

GROUP: Final = "fgaf.depth"
_NAME: Final = "network"
_ROUNDS: Final = 3
_UNSURE: Final = "the planes do not agree"


class Depths(Protocol):
    """Reads depth from patches."""

    def predict(self, images: Any, source: str) -> tuple[Floats, Floats]:
        """Depth (N,) of patches (N, S, S) and its standard deviation, µm.

        Parameters
        ----------
        images
            (N, S, S) patches.
        source
            Their origin, named in errors.
        """
        ...


class Network:
    """A trained network that suggests focus.

    Parameters
    ----------
    depths
        Reads depth from patches.
    name
        Written into the journal.
    """

    def __init__(self, depths: Depths, name: str) -> None:
        self.depths, self.name = depths, name

    @classmethod
    def load(cls, run: Path) -> Network:
        """Load the network of a training run.

        Raises
        ------
        FgafError
            There is no run, or no installed package can use it.
        """
        found = entry_points(group=GROUP, name=_NAME)
        try:
            load: Callable[[Path, bool], Depths] = next(iter(found)).load()
        except (StopIteration, ImportError) as error:
            raise MissingPackageError("a network needs torch: pip install 'fgaf[train]'") from error
        symmetries = False  # eight times slower, and a person checks every cell
        return cls(load(run, symmetries), f"network {run.resolve().name}")

    def suggest(
        self,
        patches: npt.NDArray[Any],
        z_um: Floats,
        settings: PatchSettings,
        source: str = "the cell",
    ) -> Suggested:
        """Suggest the focus of a cell from its patches (P, S, S) at `z_um` (P,).

        Planes far from focus, beyond the training range, have little weight; the estimate is
        repeated with the planes near it until they agree.

        Parameters
        ----------
        patches
            (P, S, S), one for each plane.
        z_um
            (P,) position of each plane, µm.
        settings
            Step and range of the patches.
        source
            Name of the cell, for errors.
        """
        depth, spread = self.depths.predict(patches, source)
        focus = z_um - depth
        usable = np.abs(depth) < settings.half_range_um - 0.5 * settings.step_um
        sure = 1 / np.maximum(spread, 0.2 * settings.step_um) ** 2
        weight = np.where(usable, sure, 1e-3 * sure)
        middle = float(focus[int(np.argmax(weight))])
        for _ in range(_ROUNDS):
            near = np.abs(z_um - middle) <= settings.half_range_um
            near &= np.abs(focus - middle) <= settings.half_range_um
            counted = np.where(near, weight, 1e-6 * weight)
            middle = _weighted_median(focus, counted)
        apart = float(np.average(np.abs(focus - middle), weights=counted))
        confidence = 1 / (1 + (apart / settings.step_um) ** 2)
        problem = "" if confidence >= 0.5 else _UNSURE
        return Suggested(round(middle, 4), round(confidence, 4), "network", problem, self.name)

    def improve(self, found: Found, settings: PatchSettings, head_um: float) -> Found:
        """Replace the focus suggestions of a found stack by the network's.

        Parameters
        ----------
        found
            A stack and its cells; it is not changed.
        settings
            Size, step and range of the patches.
        head_um
            Length of a head, µm.
        """
        closeups = Closeups(settings.patch_px, head_um)
        try:
            cells = [
                replace(cell, suggestion=self._of(cell, found.ref, closeups, settings))
                for cell in found.cells
            ]
        finally:
            closeups.close()
        return replace(found, cells=cells)

    def suggest_all(
        self,
        session: Session,
        progress: Callable[[list[CellState]], Iterable[CellState]] = iter,
    ) -> int:
        """Renew the suggestions for the undecided cells of a session; returns their number.

        Parameters
        ----------
        session
            Open for decisions.
        progress
            Wraps the cells.
        """
        state = session.state
        waiting = [
            cell
            for cell in state.cells.values()
            if state.usable(cell)
            and not cell.by_person
            and (cell.suggestion is None or cell.suggestion.by != self.name)
        ]
        closeups = Closeups(state.settings.patch_px, state.head_um)
        try:
            suggested = {
                cell.id: self._of(cell, state.stacks[cell.stack], closeups, state.settings)
                for cell in progress(waiting)
            }
        finally:
            closeups.close()
        if suggested:
            session.suggest(suggested)
        return len(suggested)

    def _of(
        self, cell: CellState, ref: StackRef, closeups: Closeups, settings: PatchSettings
    ) -> Suggested:
        closeup = closeups.of(cell, ref, quick=True)
        return self.suggest(closeup.patches, closeup.z_um, settings, cell.id)


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order][int(np.searchsorted(share, 0.5 * share[-1]))])
