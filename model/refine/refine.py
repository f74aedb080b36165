"""An archive with corrected labels, from one with uncertain labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.base import console
from fgaf.base.console import count
from fgaf.base.errors import ExistsError, FgafError, SettingError
from fgaf.base.files import write_text
from fgaf.base.folder_lock import working_in
from fgaf.base.inputs import parse_json
from fgaf.dataset.archive import Archive
from fgaf.dataset.derive.subset import take_rows
from fgaf.dataset.history import recorded
from fgaf.dataset.splits.split import TEST
from fgaf.dataset.storage.refinement import METHOD, Refinement
from fgaf.model.refine.estimate import Estimate
from fgaf.model.refine.networks import Bar
from fgaf.model.refine.rounds import rounds
from fgaf.model.refine.settings import RefineSettings
from fgaf.model.training.fit import require_fit

PLAN: Final = "refine.json"
_FEWEST: Final = 20
"""Cells below which deviations over cells mean little."""
_FEWEST_PLANES: Final = 3
_SURE: Final = 3.0
"""Standard errors that a change must exceed to be doubtful."""
_UNLIKE: Final = 4.0
"""Misfit, 1 on average, from which the planes of a cell disagree."""
_STEEPEST: Final = 0.5
"""Slope from which a cell climbs as fast as the planes do: its labels mean little."""


@dataclass(frozen=True)
class Refined:
    """What a refinement gives.

    Attributes
    ----------
    archive
        With the new labels.
    estimate
        Of the cells that were refined, in their order.
    cells
        (J,) the numbers of these cells in the archive that was refined.
    left_out
        Patches that the new labels put beyond the range of depths.
    """

    archive: Archive
    estimate: Estimate
    cells: npt.NDArray[np.int64]
    left_out: int

    def summary(self) -> dict[str, Any]:
        """The figures in plain types."""
        table = self.archive.refinement
        assert table is not None  # noqa: S101 - made by `refine`
        doubtful = [
            {"cell": str(name), "change_um": float(change), "se_um": float(se), "why": str(why)}
            for name, change, se, why in zip(
                self.archive.cells.id,
                table.change_um,
                table.change_se_um,
                table.suspect,
                strict=True,
            )
            if why
        ]
        changes = table.change_um[table.touched]
        return {
            "cells": self.archive.n_cells,
            "refined": len(self.cells),
            "change_rms_um": float(np.sqrt(np.mean(changes**2))),
            "spread": asdict(self.estimate.spread),
            "left_out_patches": self.left_out,
            "suspects": sorted(doubtful, key=lambda each: -abs(each["change_um"])),
        }


def refine(
    archive: Archive,
    settings: RefineSettings,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Bar = console.progress,
    say: Callable[[str], None] = lambda _: None,
) -> Refined:
    """Correct the labels of an archive by what is learned from the other cells.

    Parameters
    ----------
    archive
        In memory or open; it stays as it is.
    settings
        How.
    out
        Folder for networks, and for what was begun.
    resume
        Go on with what the folder holds.
    overwrite
        Remove what the folder holds.
    progress
        Wraps the epochs, as `fgaf.base.console.progress`.
    say
        Called with a line after each round.

    Raises
    ------
    FgafError
        Too few cells or planes, refined already, or as `fgaf.model.training.train.train`.
    """
    cells = _cells(archive, settings)
    require_fit(archive)
    part = take_rows(archive, np.flatnonzero(np.isin(archive.cell, cells)))
    if isinstance(archive.images, np.ndarray):
        part = part.loaded()
    part = replace(part, fingerprint=archive.fingerprint)
    with working_in(out):
        if overwrite:
            _clear(out)
        _plan(archive, settings, out, resume)
        found = rounds(part, settings, out, progress, say)
    return _applied(archive, found, cells, settings)


def _cells(archive: Archive, settings: RefineSettings) -> npt.NDArray[np.int64]:
    """Numbers of the cells to refine."""
    where = archive.path or "the archive"
    if archive.refinement is not None:
        raise FgafError(
            f"{where} is refined already; refine the archive that it was made from, with more "
            "--rounds if you like"
        )
    sides = archive.split_of_rows(settings.split)
    chosen = np.ones(archive.n_cells, bool)
    if not settings.test:
        chosen[archive.cell[sides == TEST]] = False
    if (archive.cells.method[chosen] == "simulation").all() and chosen.any():
        raise FgafError(
            f"the labels of {where} are a simulation's truth; there is nothing to refine"
        )
    planes = np.bincount(archive.cell, minlength=archive.n_cells)
    if chosen.any() and np.median(planes[chosen]) < _FEWEST_PLANES:
        raise FgafError(
            f"most cells of {where} have fewer than {_FEWEST_PLANES} planes; labels are refined "
            "from the planes of a stack"
        )
    if chosen.sum() < _FEWEST:
        left = "" if settings.test else ", not counting test cells"
        raise FgafError(
            f"{where} has {count(int(chosen.sum()), 'cell')}{left}; refining needs {_FEWEST} or "
            "more: curate more stacks"
        )
    return np.flatnonzero(chosen)


def _clear(out: Path) -> None:
    """Remove the rounds of an earlier refinement."""
    (out / PLAN).unlink(missing_ok=True)
    for folder in out.glob("round-*"):
        shutil.rmtree(folder)


def _plan(archive: Archive, settings: RefineSettings, out: Path, resume: bool) -> None:
    """Write down what is done in a folder, or compare it with what was begun there."""
    path = out / PLAN
    plan = {"archive_fingerprint": archive.fingerprint, **asdict(settings)}
    if not path.is_file():
        write_text(path, json.dumps(plan, indent=2) + "\n")
        return
    if not resume:
        raise ExistsError(
            f"{out} already holds a refinement; pass --resume or choose another --out"
        )
    begun = parse_json(path.read_bytes())
    if not isinstance(begun, dict) or begun.get("archive_fingerprint") != archive.fingerprint:
        raise SettingError(f"{out} was begun with another archive; give that one, or another --out")
    if begun != plan:
        differs = ", ".join(_differing(begun, plan))
        raise SettingError(
            f"{out} was begun with another {differs}; give the same to resume, or another --out"
        )


def _differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Names of the settings that differ."""
    names = []
    for key in second:
        mine, its = second[key], first.get(key)
        if isinstance(mine, dict) and isinstance(its, dict):
            names += _differing(its, mine)
        elif mine != its:
            names.append(key)
    return names


def _applied(
    archive: Archive, found: Estimate, cells: npt.NDArray[np.int64], settings: RefineSettings
) -> Refined:
    """The archive with its new labels and the table of corrections."""
    usable = np.abs(found.slope) < _STEEPEST
    place = np.full(archive.n_cells, -1)
    place[cells[usable]] = np.flatnonzero(usable)
    old = archive.cells
    table = Refinement.of_none(archive.depth_um, old.focus_um, old.method)
    columns = {name: values.copy() for name, values in vars(table).items()}
    at, row = cells[usable], place[archive.cell] >= 0
    which = place[archive.cell][row]
    before = archive.depth_um[row]
    depth = archive.depth_um.copy()
    depth[row] = before + found.change_um(before, which)
    columns["depth_se_um"][row] = found.error_um(before, which)
    columns["change_um"][at] = found.offset_um[usable]
    columns["slope"][at] = found.slope[usable]
    errors = np.sqrt(np.diagonal(found.covariance[usable], axis1=1, axis2=2))
    columns["change_se_um"][at], columns["slope_se"][at] = errors.T
    columns["misfit"][at] = found.misfit[usable]
    for each, cell in enumerate(cells):
        columns["suspect"][cell] = _doubt(found, each, archive.header.step_um)
    focus, method = old.focus_um.copy(), old.method.copy()
    focus[at] -= found.offset_um[usable] / (1 + found.slope[usable])
    method[at] = METHOD
    labelled = replace(
        archive,
        depth_um=depth,
        cells=replace(old, focus_um=focus, method=method, focus_plane=_planes(archive, depth, at)),
        refinement=Refinement(**columns),
    )
    edge = archive.header.half_range_um + archive.header.step_um / 2
    stays = ~row | (np.abs(depth) <= np.maximum(edge, np.abs(archive.depth_um)))
    labelled = take_rows(labelled, np.flatnonzero(stays))
    left_out = int((~stays).sum())
    labelled = recorded(
        labelled,
        "refine",
        source=archive.fingerprint,
        cells=len(at),
        of=archive.n_cells,
        split=settings.split,
        test=settings.test,
        folds=settings.folds,
        rounds=settings.rounds,
        seed=settings.seed,
        networks="" if settings.networks is None else settings.networks.backbone,
        spread=asdict(found.spread),
        left_out_patches=left_out,
    )
    return Refined(labelled, found, cells, left_out)


def _planes(
    archive: Archive, depth_um: npt.NDArray[np.float64], cells: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    """Plane nearest to the focus of each cell; that of before where the cell was not refined."""
    planes = archive.cells.focus_plane.copy()
    for cell in cells:
        rows = archive.rows_of(int(cell))
        planes[cell] = archive.plane[rows][np.argmin(np.abs(depth_um[rows]))]
    return np.asarray(planes, dtype=np.int32)


def _doubt(found: Estimate, cell: int, step_um: float) -> str:
    """Why a person should look at a cell; empty if nobody need."""
    if abs(found.slope[cell]) >= _STEEPEST:
        return "climbs as fast as the planes follow each other; its label is unchanged"
    change, se = found.offset_um[cell], np.sqrt(found.covariance[cell, 0, 0])
    if abs(change) > max(_SURE * se, step_um / 2):
        return f"the label is off by {change:+.2f} µm"
    if found.misfit[cell] > _UNLIKE:
        return "the planes do not agree"
    return ""
