"""Focus suggested by a trained network: every plane says how far away the focus is.

The rooms stand in a row and this one may not import the next: what reads depth from patches is
found by its name among the installed programs' entry points, as camera drivers are.
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
from fgaf.curate.detection.detect import Floats
from fgaf.curate.session.closeup import Closeups
from fgaf.curate.session.finding import Found
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import CellState, StackRef, Suggested

GROUP: Final = "fgaf.depth"
_NAME: Final = "network"
_ROUNDS: Final = 3
_UNSURE: Final = "the planes do not agree"


class Depths(Protocol):
    """What reads depth from patches."""

    def predict(self, images: Any, source: str) -> tuple[Floats, Floats]:
        """Depth (N,) of patches (N, S, S) and its standard deviation, µm.

        Parameters
        ----------
        images
            (N, S, S) patches.
        source
            Where they are from, named in errors.
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
            No run there, or no program is installed that can use it.
        """
        found = entry_points(group=GROUP, name=_NAME)
        try:
            load: Callable[[Path, bool], Depths] = next(iter(found)).load()
        except (StopIteration, ImportError) as error:
            raise MissingPackageError("a network needs torch: pip install 'fgaf[train]'") from error
        symmetries = False  # eight times slower, and a person looks at every cell
        return cls(load(run, symmetries), f"network {run.resolve().name}")

    def suggest(
        self,
        patches: npt.NDArray[Any],
        z_um: Floats,
        settings: PatchSettings,
        source: str = "the cell",
    ) -> Suggested:
        """Suggest the focus of a cell from its patches (P, S, S) at `z_um` (P,).

        Planes that say the focus is far, beyond what the network has seen, count little; those
        near it are asked again until they agree.

        Parameters
        ----------
        patches
            (P, S, S), one for each plane.
        z_um
            (P,) position of each plane, µm.
        settings
            Step and range of the patches that are wanted.
        source
            The cell, named in errors.
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
        """Put the network's suggestions in the place of those that a stack was found with.

        Parameters
        ----------
        found
            A stack and its cells; it stays as it is.
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
        """Suggest anew for the cells of a session that wait for a person; returns how many.

        Parameters
        ----------
        session
            Open for decisions.
        progress
            Wraps the cells while they are looked at.
        """
        state = session.state
        waiting = [
            cell
            for cell in state.cells.values()
            if not cell.by_person and (cell.suggestion is None or cell.suggestion.by != self.name)
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
