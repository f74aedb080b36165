"""Depth from focus: search all planes of a cell for its focus.

A method here sees every plane of a test cell at once, while a classifier sees one patch. Its answer
for a plane is the distance of that plane to the focus it found. Answers beyond the depth classes
count as the outermost class, as for a classifier; this favours depth from focus.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from fgaf.curate.detection.parabola import peak_offset
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.curate.focus.curves import REACH, measure
from fgaf.curate.focus.suggest import suggest_all
from fgaf.dataset.archive import Archive
from fgaf.model.bench.methods.focus_measures import FocusMeasure
from fgaf.model.bench.methods.method import Floats, Integers, Prediction
from fgaf.model.metrics.depth import nearest_class


def focus_values(archive: Archive, rows: Integers, sharpness: FocusMeasure) -> Floats:
    """Focus measure of each patch, (N,), read cell by cell.

    Parameters
    ----------
    archive
        Holds the patches.
    rows
        (N,) row numbers of the patches.
    sharpness
        The focus measure: of patches (P, S, S) it gives (P,) values.
    """
    values = np.empty(rows.size, dtype=np.float64)
    for here in cells_of(archive.cell[rows]):
        values[here] = sharpness(np.stack([archive.images[int(row)] for row in rows[here]]))
    return values


def cells_of(cell: NDArray[Any]) -> list[Integers]:
    """Positions of each cell's rows in `cell` (N,), one array per cell."""
    order = np.argsort(cell, kind="stable")
    ends = np.cumsum(np.unique(cell, return_counts=True)[1])[:-1]
    return [np.asarray(part, dtype=np.int64) for part in np.split(order, ends)]


def search_focus(
    values: Floats, z_um: Floats, cell: NDArray[Any], class_depths_um: Floats
) -> Prediction:
    """Depth from focus as in the paper: the plane where the measure peaks is the focus.

    Parameters
    ----------
    values
        (N,) focus measure of each patch.
    z_um
        (N,) position of its plane, µm, from any origin common to the patches of a cell.
    cell
        (N,) the cell it shows.
    class_depths_um
        (C,) the depth classes, ascending.

    Returns
    -------
    Prediction
        The second best plane is the second guess, and so on, each half as probable as the one
        before. This keeps their order, also when guesses beyond the range add to the outermost
        classes. The expected depth is measured from the vertex of the parabola through the peak and
        its two neighbours.
    """
    probabilities = np.zeros((values.size, class_depths_um.size), dtype=np.float64)
    expected = np.empty(values.size, dtype=np.float64)
    for here in cells_of(cell):
        z, v = z_um[here], values[here]
        weight = 0.5 ** rankdata(-v)
        classes = nearest_class(z[:, None] - z[None, :], class_depths_um)
        np.add.at(probabilities, (here[:, None], classes), weight[None, :])
        expected[here] = z - vertex(z, v)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Prediction(probabilities, _inside(expected, class_depths_um))


def from_focus(
    focus_um: Floats, z_um: Floats, cell: NDArray[Any], class_depths_um: Floats
) -> Prediction:
    """Depths of all planes, from the focus of each cell.

    Parameters
    ----------
    focus_um
        (K,) focus of each cell, in ascending order of the numbers in `cell`, on the axis of
        `z_um`.
    z_um, cell, class_depths_um
        As for `search_focus`.

    Returns
    -------
    Prediction
        Classes nearer to the found depth are more probable.
    """
    expected = np.empty(z_um.size, dtype=np.float64)
    for focus, here in zip(focus_um, cells_of(cell), strict=True):
        expected[here] = z_um[here] - focus
    distance = np.abs(expected[:, None] - class_depths_um[None, :])
    weight = 0.5 ** rankdata(distance, axis=1)
    return Prediction(
        weight / weight.sum(axis=1, keepdims=True), _inside(expected, class_depths_um)
    )


def dip_focus(values: Floats, z_um: Floats, cell: NDArray[Any]) -> Floats:
    """Focus of each cell as a phase object: where a measure is smallest between two maxima.

    Parameters
    ----------
    values, z_um, cell
        As for `search_focus`.

    Returns
    -------
    (K,) focus of each cell, ascending by the numbers in `cell`; the middle plane where a cell
    shows no dip.
    """
    cells = cells_of(cell)
    found = (dip(z_um[here], values[here]) for here in cells)
    return np.array(
        [
            np.sort(z_um[here])[here.size // 2] if focus is None else focus
            for here, focus in zip(cells, found, strict=True)
        ]
    )


def dip(z_um: Floats, values: Floats) -> float | None:
    """Position of a curve's deepest dip between two maxima, µm; None if there is no dip.

    Parameters
    ----------
    z_um
        (P,) positions of the planes, µm, in any order.
    values
        (P,) the curve.
    """
    order = np.argsort(z_um)
    z, v = z_um[order], values[order]
    best, place = 0.0, None
    for k in range(1, v.size - 1):
        depth = float(min(v[:k].max(), v[k + 1 :].max()) - v[k])
        if v[k] <= min(v[k - 1], v[k + 1]) and depth > best:
            best, place = depth, vertex(z[k - 1 : k + 2], -v[k - 1 : k + 2])
    return place


def suggested_focus(archive: Archive, rows: Integers) -> Floats:
    """Focus of each cell by the rule of `fgaf.curate`, which handles phase objects.

    Cells of one source vote together on whether their contrast dips or peaks in focus, as they
    do when an archive is made. Where the rule finds no focus, the middle plane is the answer.

    Parameters
    ----------
    archive
        Without a pixel size, or with patches too small for the default head length, a head is
        assumed to fill a third of a patch.
    rows
        (N,) patches of the cells to predict, all planes of each.

    Returns
    -------
    (K,) focus of each cell among `rows`, in ascending order of their numbers, µm on the axis of
    the labels.
    """
    optics, side = archive.header.optics, archive.header.patch_px
    pixel_um = optics.pixel_size_um or 3 * HEAD_UM[0] / side
    head_um = min(HEAD_UM[0], pixel_um * (side // 2 - 0.5) / REACH)
    cutoff = optics.cutoff_per_um
    cells = cells_of(archive.cell[rows])
    curves = []
    for here in cells:
        frames = np.stack([archive.images[int(row)] for row in rows[here]])
        middle = np.full(here.size, side / 2)
        z_um = archive.depth_um[rows[here]]
        curves.append(
            measure(frames, middle, middle, z_um, pixel_um, cutoff_per_um=cutoff, head_um=head_um)
        )
    sources = archive.cells.source[[archive.cell[rows[here[0]]] for here in cells]]
    focus = np.empty(len(cells), dtype=np.float64)
    for source in set(sources.tolist()):
        together = np.flatnonzero(sources == source)
        found = suggest_all([curves[k] for k in together])
        focus[together] = [suggestion.focus_um for suggestion in found]
    return focus


def vertex(z_um: Floats, values: Floats) -> float:
    """Where the parabola through the largest value and its neighbours peaks, µm.

    At the first or last plane, or on a flat top, that plane itself.

    Parameters
    ----------
    z_um
        (P,) positions, µm, ascending.
    values
        (P,) the curve there.
    """
    k = int(values.argmax())
    if k in (0, values.size - 1):
        return float(z_um[k])
    before, here, after = values[k - 1 : k + 2]
    below, above = np.diff(z_um[k - 1 : k + 2])
    return float(z_um[k] + peak_offset(before, here, after, below, above))


def _inside(depth_um: Floats, class_depths_um: Floats) -> Floats:
    return np.clip(depth_um, class_depths_um[0], class_depths_um[-1])
