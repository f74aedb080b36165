"""Whether `fgaf-curate auto` keeps well separated cells, and why not; focus against the truth.

A cell counts when it stays in the frame, its crops of 96 px lie inside it and hold the centre of no
other head, and its true focus is at least the half range of the patches inside the stack, so that
nothing but the toolkit stands in its way. It is kept rightly when its focus is within half a step
of the truth. Stacks of ±4 µm at 0.5 µm. Seeds of the default (80000...) were used for nothing else.

Run ``python benchmarks/kept.py [--fields N] [--first-seed S] [--case NAME]``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from curation import INTERVAL_S, NEAR_UM, STEP_UM, distance_um, inside, plain, stack_of, way_of

from fgaf.curate.candidates import focused, rejection_reason
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.tracking.find import find_tracks
from fgaf.dataset.truth import CellTruth

HELD_OUT: Final = 80_000
RIGHT, WRONG, MISSED = "kept", "kept, focus off by more", "not found"
PATCHES: Final = PatchSettings()
ABSORBING: Final = {
    "head_strength": (0.8, 1.2),
    "midpiece_strength": (0.3, 0.6),
    "flagellum_loss": (0.0, 0.004),
}
CASES: Final[dict[str, dict[str, Any]]] = {
    "bright field immotile": {"contrast": "brightfield", "motile": False},
    "bright field swimming": {"contrast": "brightfield", "motile": True},
    "relief immotile": {"contrast": "relief", "motile": False},
    "relief swimming": {"contrast": "relief", "motile": True},
    **{
        f"{name}, heads that absorb {amount}": {
            "contrast": contrast,
            "motile": True,
            "nucleus_loss": loss,
            **ABSORBING,
        }
        for name, contrast in (("bright field", "brightfield"), ("relief", "relief"))
        for amount, loss in (
            ("little", (0.003, 0.008)),
            ("much", (0.01, 0.02)),
            ("most", (0.02, 0.04)),
        )
    },
    "bright field as in make demo": {
        "contrast": "brightfield",
        "motile": True,
        "cells": 20,
        "shape": (1200, 1920),
        "separation_um": 20.0,
    },
}


def judge(seed: int, **settings: Any) -> tuple[Counter[str], list[float]]:
    """What becomes of the cells of one field that count, and the focus errors of those kept, µm."""
    optics = plain(seed, **settings)
    frames, z, truth = stack_of(optics)
    shape = (frames.shape[1], frames.shape[2])
    pixel = optics.pixel_size_um
    tracks = find_tracks(frames, pixel, shape, np.arange(len(z)) * INTERVAL_S)
    candidates = focused(frames, z, tracks, pixel, cutoff_per_um=optics.cutoff)
    outcome: Counter[str] = Counter()
    errors = []
    sperm = {cell.id for plane in truth for cell in plane if cell.kind == "sperm"}
    ways = {cell: way for cell in sperm if (way := way_of(truth, cell)) is not None}
    for cell, way in ways.items():
        if not _counts(cell, way, truth, z, shape):
            continue
        away = [distance_um(found.track, truth, cell, pixel) for found in candidates]
        if not away or min(away) > NEAR_UM:
            outcome[MISSED] += 1
            continue
        found = candidates[int(np.argmin(away))]
        reason = rejection_reason(found, candidates, z, STEP_UM, shape, PATCHES, "stack")
        if reason:
            outcome[reason] += 1
            continue
        focus = found.suggestion.focus_um
        errors.append(focus - float(way[int(np.argmin(np.abs(z - focus))), 2]))
        outcome[RIGHT if abs(errors[-1]) <= STEP_UM / 2 else WRONG] += 1
    return outcome, errors


def _counts(
    cell: int,
    way: npt.NDArray[np.float64],
    truth: list[tuple[CellTruth, ...]],
    z: npt.NDArray[np.float64],
    shape: tuple[int, int],
) -> bool:
    """Whether a cell is well separated, inside the frame and its focus inside the stack."""
    focus = float(way[int(np.argmin(np.abs(z - way[:, 2]))), 2])
    reach = PATCHES.half_range_um
    if not z[0] + reach <= focus <= z[-1] - reach:
        return False
    planes = np.abs(z - focus) <= reach + STEP_UM
    if not inside(way[planes, :2], shape, PATCHES.patch_px / 2 + 1):
        return False
    return not any(
        max(abs(other.y_px - y), abs(other.x_px - x)) <= PATCHES.patch_px / 2
        for plane, (y, x, _), used in zip(truth, way, planes, strict=True)
        for other in plane
        if used and other.kind == "sperm" and other.id != cell
    )


def main() -> None:
    """Judge the cases and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=6, help="fields per case")
    parser.add_argument("--first-seed", type=int, default=HELD_OUT)
    parser.add_argument("--case", choices=list(CASES), help="this one only")
    options = parser.parse_args()
    for name in [options.case] if options.case else CASES:
        outcome: Counter[str] = Counter()
        errors: list[float] = []
        for seed in range(options.first_seed, options.first_seed + options.fields):
            of_field, off = judge(seed, **CASES[name])
            outcome += of_field
            errors += off
        cells = outcome.total()
        error = np.abs(errors)
        print(
            f"{name}: {cells} cells, kept {outcome[RIGHT] / max(cells, 1):.3f}, focus median "
            f"{np.median(error):.2f} µm, 90 % {np.percentile(error, 90):.2f} µm, bias "
            f"{np.median(errors):+.2f} µm; {dict(outcome.most_common())}",
            flush=True,
        )


if __name__ == "__main__":
    main()
