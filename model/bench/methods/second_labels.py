"""Labels of another person, and the cells of an archive that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import SettingError
from fgaf.curate.session.journal import read_journal
from fgaf.curate.session.state import AUTO, read_state
from fgaf.dataset.archive import Archive
from fgaf.model.bench.methods.method import Floats

_NEAR: Final = 0.125
"""Two labels are of one cell if their centres are closer than this, in units of a patch's side."""
_PERSON: Final = "person"


@dataclass(frozen=True)
class SecondLabel:
    """One person's label of the focus of one cell.

    Attributes
    ----------
    source_sha256
        SHA-256 of its raw stack.
    annotator
        The person.
    blind
        Whether it is from a blind second pass, which never makes an archive.
    focus_um
        Drive position of the focus, µm.
    plane, y, x
        (P,) planes of the stack, and the cell's centre there in pixels.
    """

    source_sha256: str
    annotator: str
    blind: bool
    focus_um: float
    plane: NDArray[np.int64]
    y: Floats
    x: Floats


def from_session(folder: Path) -> list[SecondLabel]:
    """Read the labels that people gave in a curation session.

    Raises
    ------
    FormatError
        There is no session in the folder.
    """
    state = read_state(read_journal(folder)[0], folder)
    labels = []
    for cell in state.cells.values():
        for decision, blind in ((cell.second, True), (cell.decision, False)):
            if decision is None or decision.focus_um is None or decision.annotator == AUTO:
                continue
            labels.append(
                SecondLabel(
                    state.stacks[cell.stack].fingerprint,
                    decision.annotator,
                    blind,
                    decision.focus_um,
                    np.arange(len(cell.y)),
                    np.asarray(cell.y, dtype=np.float64),
                    np.asarray(cell.x, dtype=np.float64),
                )
            )
    return labels


def from_archive(path: Path) -> list[SecondLabel]:
    """Read the labels that people gave the cells of another archive.

    Raises
    ------
    SettingError
        There is no such file.
    FormatError
        It is not an archive, or is damaged.
    """
    if not path.is_file():
        raise SettingError(f"there is no archive {path}; give one that another person labelled")
    with Archive.open(path, whole=True) as archive:
        cells = archive.cells
        return [
            SecondLabel(
                str(cells.source_sha256[k]),
                str(cells.annotator[k]),
                False,
                float(cells.focus_um[k]),
                archive.plane[archive.rows_of(k)].astype(np.int64),
                archive.center_y[archive.rows_of(k)].astype(np.float64),
                archive.center_x[archive.rows_of(k)].astype(np.float64),
            )
            for k in range(archive.n_cells)
            if str(cells.method[k]) == _PERSON
        ]


def match(labels: Sequence[SecondLabel], archive: Archive) -> dict[int, float]:
    """Find the cells of an archive among another person's labels.

    Parameters
    ----------
    labels
        From the functions above.
    archive
        Its cells are matched by the stack's content, then by position. A label by the archive's own
        annotator counts only if it is from a blind second pass. Of several labels a blind one is
        used first, then the nearest.

    Returns
    -------
    dict
        From the number of each matched cell to how far the other focus lies above the archive's,
        µm.
    """
    of_source: dict[str, list[SecondLabel]] = {}
    for label in labels:
        of_source.setdefault(label.source_sha256, []).append(label)
    found = {}
    for k in range(archive.n_cells):
        rows = archive.rows_of(k)
        source = str(archive.cells.source_sha256[k])
        near = [
            (not label.blind, apart, label.focus_um)
            for label in (of_source.get(source, []) if source else [])
            if label.blind or label.annotator != str(archive.cells.annotator[k])
            if (apart := _apart(label, archive, rows)) <= _NEAR * archive.header.patch_px
        ]
        if near:
            found[k] = min(near)[2] - float(archive.cells.focus_um[k])
    return found


def _apart(label: SecondLabel, archive: Archive, rows: slice) -> float:
    """Median distance of the centres in the planes that both have, pixels."""
    shared, mine, theirs = np.intersect1d(archive.plane[rows], label.plane, return_indices=True)
    if not shared.size:
        return float("inf")
    dy = archive.center_y[rows][mine] - label.y[theirs]
    dx = archive.center_x[rows][mine] - label.x[theirs]
    return float(np.median(np.hypot(dy, dx)))
