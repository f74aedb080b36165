"""Failures of focus measures on archives or raw stacks of different cells, as in Fig. 6.

A measure fails on a cell when the plane of its peak is further from the focus than half a step, or
than the depth of field of eq. (2). Nothing is learned here, so every cell counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from fgaf.base.console import count
from fgaf.base.errors import FgafError, SettingError
from fgaf.curate.auto import auto
from fgaf.curate.compile import compile_archive
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.session.finding import find_stacks
from fgaf.dataset.archive import Archive, ArchiveHeader
from fgaf.model.bench.focus_curves import mean_curve, peak_offsets
from fgaf.model.bench.methods.focus import FocusMethod, measure_named
from fgaf.model.bench.methods.search import focus_values
from fgaf.model.bench.preset import Preset

Floats = NDArray[np.float64]

_SLACK_UM: Final = 1e-9


def peak_measures(preset: Preset) -> dict[str, str]:
    """Label to name of the focus measures that a preset searches for their peak.

    Raises
    ------
    SettingError
        The preset has none.
    """
    found = {
        method.label or method.id: method.measure
        for method in preset.methods
        if isinstance(method, FocusMethod) and method.rule == "peak"
    }
    if not found:
        raise SettingError(
            f"preset {preset.name!r} has no focus measure that is searched for its peak, which "
            "--beside needs; use --preset fig6"
        )
    return found


def read_group(path: Path, like: ArchiveHeader) -> Archive:
    """Read cells to compare with others: an archive, or the raw stacks of a folder.

    Parameters
    ----------
    path
        An archive's file; or a folder, whose stacks are curated as by `fgaf-curate auto`.
    like
        Gives step, half range and patch size for raw stacks.

    Raises
    ------
    FgafError
        The path does not exist, or has no usable cell.
    """
    if not path.is_dir():
        if not path.is_file():
            raise SettingError(
                f"there is no archive or folder {path} to compare with; check --beside"
            )
        return Archive.read(path)
    stacks = find_stacks([path])
    settings = PatchSettings(like.patch_px, like.step_um, like.half_range_um)
    with tempfile.TemporaryDirectory() as scratch:
        report = auto(stacks, Path(scratch) / "session", settings)
        if not report.kept:
            raise FgafError(
                f"no cell of the {count(len(stacks), 'stack')} in {path} can be used; run "
                "`fgaf-curate auto` on that folder for the reasons"
            )
        archive = compile_archive(report.state)
    return replace(archive, header=archive.header.model_copy(update={"name": path.name}))


def compare_groups(groups: Sequence[Archive], measures: Mapping[str, str]) -> list[dict[str, Any]]:
    """Measure every cell of several archives.

    Parameters
    ----------
    groups
        The archives, in the order they are shown.
    measures
        Label to name of each focus measure.

    Returns
    -------
    list of dict
        The result of `focus_failure` for each group. Groups with the same name are numbered from
        the second on.
    """
    found = [focus_failure(archive, measures) for archive in groups]
    seen: dict[str, int] = {}
    for group in found:
        seen[group["name"]] = seen.get(group["name"], 0) + 1
        if seen[group["name"]] > 1:
            group["name"] += f" ({seen[group['name']]})"
    return found


def focus_failure(archive: Archive, measures: Mapping[str, str]) -> dict[str, Any]:
    """Count how often the peak of each focus measure misses the focus.

    Parameters
    ----------
    archive
        The true depth is used where it is known, else the labels.
    measures
        Label to name of each focus measure.

    Returns
    -------
    dict
        `name`, `cells`, `judged_by` ("truth" or "labels"), `circular` (whether a focus curve
        suggested these labels), `step_um`, `depth_of_field_um`, and `curves`: per measure `label`,
        the mean curve (`depth_um`, `mean`, `low`, `high`), `failed` and `failed_depth_of_field`
        (None where the optics are unknown): share of cells beyond half a step and beyond the depth
        of field, each with its 95 % Wilson interval; `off_um`, the mean distance.
    """
    header, truth = archive.header, archive.true_depth_um
    depth_um = archive.depth_um if truth is None else truth
    rows = np.arange(len(archive.cell))
    limit_um = header.optics.depth_of_field_um
    curves = []
    for label, name in measures.items():
        values = focus_values(archive, rows, measure_named(name))
        off = np.abs(peak_offsets(values, depth_um, archive.cell))
        curves.append(
            {
                "label": label,
                **mean_curve(values, depth_um, archive.cell, archive.class_depths_um),
                "failed": _share(off, header.step_um / 2),
                "failed_depth_of_field": None if limit_um is None else _share(off, limit_um),
                "off_um": float(off.mean()),
            }
        )
    by_curve = bool((np.asarray(archive.cells.method) == "focus-curve").any())
    return {
        "name": header.name or (archive.path.name if archive.path else "unnamed"),
        "cells": archive.n_cells,
        "judged_by": "labels" if truth is None else "truth",
        "circular": truth is None and by_curve,
        "step_um": header.step_um,
        "depth_of_field_um": limit_um,
        "curves": curves,
    }


def _share(off_um: Floats, limit_um: float) -> dict[str, float]:
    """Share of distances beyond a limit, with its 95 % Wilson interval."""
    beyond = int((off_um > limit_um + _SLACK_UM).sum())
    interval = binomtest(beyond, off_um.size).proportion_ci(method="wilson")
    return {
        "value": beyond / off_um.size,
        "low": float(interval.low),
        "high": float(interval.high),
    }
