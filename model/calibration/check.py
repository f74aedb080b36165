"""How well a network as it is follows the steps of raw stacks that nobody labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from fgaf.model.calibration.adapt import Floats, Planes
from fgaf.model.calibration.cells import Files, Usable, find_cells
from fgaf.model.calibration.offsets import Foci, estimate
from fgaf.model.calibration.settings import CalibrationSettings
from fgaf.model.calibration.steps import Steps, measure_steps, sign_of
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.predict import Predictor, load_checkpoint

_INNER: Final = 0.8
"""Share of the range in which the network's answers tell the focus."""


def check(
    paths: Sequence[Path],
    settings: CalibrationSettings | None = None,
    *,
    workers: int = 1,
    files: Files | None = None,
) -> dict[str, Any]:
    """Compare the depths of a network as it is with the steps of raw stacks; no label is used.

    Parameters
    ----------
    paths
        Raw stacks of one microscope.
    settings
        `start` is the network; nothing is adapted.
    workers
        Processes that search the stacks.
    files
        Wraps the stacks.

    Returns
    -------
    dict
        `n_stacks`, `n_cells`, `cells_left_out`; `sign`, -1 where depths fall with the drive;
        `steps`, as `fgaf.model.calibration.steps.Steps`; `offset_spread_um`, standard deviation of
        the foci by the network less those of the focus rule; `out_of_range`, share of the planes
        within the range of depths that are unlike those of training, None if the network cannot
        tell.

    Raises
    ------
    FgafError
        Too few cells; the sign is undecided; stacks of several microscopes; or no depth network.
    """
    settings = settings or CalibrationSettings()
    start = load_checkpoint(Path(settings.start), "depth")
    stacks, found = find_cells(paths, start, settings, workers=workers, files=files)
    facts = {"n_stacks": len(stacks), "n_cells": len(found.cells), "start": settings.start}
    figures = compare(start, found, settings.drifts)
    return {**facts, "cells_left_out": found.left_out, **figures}


def compare(start: Checkpoint, found: Usable, drifts: bool) -> dict[str, Any]:
    """Compare a network's depths of cells with the steps of the drive; see `check`.

    Parameters
    ----------
    start
        The network.
    found
        The cells.
    drifts
        Whether cells may drift.

    Raises
    ------
    FgafError
        The sign is undecided.
    """
    planes, half = Planes.of(found), start.half_range_um
    reading = Predictor(start).read(planes.images)
    near = np.abs(planes.height_um) <= half
    n = len(found.cells)
    sign = sign_of(planes.height_um[near], reading.depth_um[near], planes.cell[near], n)
    foci, steps = follow(planes, sign * reading.depth_um, found.prior_error_um, half, drifts)
    within = np.abs(foci.depth_um(planes.height_um, planes.cell)) <= half
    unlike = float(np.mean(~reading.in_range[within])) if start.familiar else None
    off = planes.height_um[near] - sign * reading.depth_um[near] / foci.scale
    offsets = np.bincount(planes.cell[near], off, n) / np.bincount(planes.cell[near], minlength=n)
    return {
        "sign": sign,
        "steps": asdict(steps),
        "offset_spread_um": float(np.std(offsets)),
        "out_of_range": unlike,
    }


def follow(
    planes: Planes, depth_um: Floats, prior_error_um: Floats, half_range_um: float, drifts: bool
) -> tuple[Foci, Steps]:
    """Foci of cells by the depths of a network, and how well these then follow the steps.

    Parameters
    ----------
    planes
        Of K cells.
    depth_um
        (N,) by the network, which rise with the drive.
    prior_error_um
        (K,) standard error of the rule's focus.
    half_range_um
        Range of the network.
    drifts
        Whether cells may drift.
    """
    inner = (np.abs(planes.height_um) <= half_range_um) & (
        np.abs(depth_um) <= _INNER * half_range_um
    )
    foci = estimate(
        planes.height_um[inner],
        depth_um[inner],
        planes.cell[inner],
        prior_error_um,
        drifts=drifts,
    )
    better = foci.depth_um(planes.height_um, planes.cell)
    within = np.abs(better) <= half_range_um
    n = len(prior_error_um)
    return foci, measure_steps(better[within], depth_um[within], planes.cell[within], n)
