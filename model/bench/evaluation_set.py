"""The test cells of an archive: the reference depths, and warnings for the reader."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.splits.groups import fields_of
from fgaf.dataset.splits.split import SIDES, TEST, TRAIN

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FEW_CELLS: Final = 20
"""With fewer test cells than this the reader is warned of wide intervals."""


@dataclass(frozen=True)
class EvaluationSet:
    """The test cells of an archive, and the depths that answers are compared with.

    Attributes
    ----------
    archive, split
        The data, and the name of the split whose test side is predicted.
    folds
        0 for that split. Otherwise the number of folds: each cell is tested in one fold, by methods
        that learned from the other folds.
    """

    archive: Archive
    split: str = DEFAULT_SPLIT
    folds: int = 0

    @cached_property
    def parts(self) -> tuple[EvaluationSet, ...]:
        """The evaluation set of each fold; without folds, only this one.

        Raises
        ------
        SettingError
            The cells cannot be divided into so many folds.
        """
        if not self.folds:
            return (self,)
        from fgaf.model.training.folds import draw_folds

        return tuple(
            EvaluationSet(replace(self.archive, splits={name: sides}), name)
            for name, sides in (
                (f"fold_{number}_of_{self.folds}", sides)
                for number, sides in enumerate(draw_folds(self.archive, self.folds, seed=0), 1)
            )
        )

    @property
    def title(self) -> str:
        """How the cells are divided: the name of the split, or "5 folds"."""
        return f"{self.folds} folds" if self.folds else self.split

    @cached_property
    def rows(self) -> Integers:
        """(N,) rows of the test patches, ascending."""
        if self.folds:
            return np.arange(len(self.archive.cell))
        return self.rows_of(TEST)

    @cached_property
    def training_rows(self) -> Integers:
        """(T,) rows of the training patches; with folds, each fold has its own."""
        if self.folds:
            return np.zeros(0, dtype=np.int64)
        return self.rows_of(TRAIN)

    def rows_of(self, side: int) -> Integers:
        """Rows of the patches on one side of the split: `TRAIN`, `VALIDATION` or `TEST`."""
        return np.flatnonzero(self.archive.split_of_rows(self.split) == side)

    @cached_property
    def cell(self) -> Integers:
        """(N,) the cell of each test patch."""
        return self.archive.cell[self.rows].astype(np.int64)

    @property
    def labels_um(self) -> Floats:
        """(N,) label of each test patch, µm."""
        return self.archive.depth_um[self.rows]

    @property
    def depth_um(self) -> Floats:
        """(N,) reference depth of each test patch, µm: the truth if known, else the label."""
        truth = self.archive.true_depth_um
        return self.labels_um if truth is None else truth[self.rows]

    @property
    def judged_by(self) -> str:
        """What the answers are compared with: "truth" or "labels"."""
        return "labels" if self.archive.true_depth_um is None else "truth"

    @property
    def unconfirmed(self) -> int:
        """Number of test cells whose label a focus curve suggested and no person confirmed."""
        return int((self.archive.cells.method[np.unique(self.cell)] == "focus-curve").sum())

    @property
    def circular(self) -> bool:
        """Whether focus measures are evaluated against labels that a focus measure suggested."""
        return self.judged_by == "labels" and self.unconfirmed > 0

    def check(self) -> None:
        """Refuse data that are too few for a benchmark.

        Raises
        ------
        FgafError
            No cells, one cell, no such split, or an empty training or test side.
        SettingError
            The cells cannot be divided into so many folds.
        """
        n = self.archive.n_cells
        if n < 2:
            held = "one cell" if n else "no cells"
            raise FgafError(
                f"the archive has {held}; a benchmark needs cells to train on and others to test "
                "on: record or import more"
            )
        if self.folds:
            for part in self.parts:
                part.check()
            return
        for side, rows in (("training", self.training_rows), ("test", self.rows)):
            if rows.size == 0:
                raise FgafError(
                    f"the split {self.split!r} has no {side} cells; "
                    "make another with `fgaf-data split`"
                )


def label_error(data: EvaluationSet) -> dict[str, Any] | None:
    """How far the archive's labels are from the truth; None where the truth is unknown.

    Returns
    -------
    dict or None
        For the `test` patches and for `all`: `mean_um`, `p95_um` and `bias_um` of label minus
        truth, `wrong_class` (share), `patches`.
    """
    archive = data.archive
    if archive.true_depth_um is None:
        return None
    error = archive.depth_um - archive.true_depth_um
    wrong = archive.depth_class != archive.classes_of(archive.true_depth_um)
    return {
        name: {
            "mean_um": float(np.abs(error[rows]).mean()),
            "p95_um": float(np.percentile(np.abs(error[rows]), 95)),
            "bias_um": float(error[rows].mean()),
            "wrong_class": float(wrong[rows].mean()),
            "patches": int(error[rows].size),
        }
        for name, rows in (("test", data.rows), ("all", np.arange(error.size)))
    }


def notices(data: EvaluationSet) -> list[dict[str, str]]:
    """Warnings and notes for the reader of the figures, the most serious first.

    Returns
    -------
    list of dict
        `level` ("warning" or "note") and `text`.
    """
    found = []
    n_cells = np.unique(data.cell).size
    if data.circular:
        found.append(
            {
                "level": "warning",
                "text": "This comparison is circular. The true depth is unknown, and the labels "
                f"of {data.unconfirmed} of {n_cells} test cells were suggested by a focus measure "
                "and not confirmed by a person. Such labels favour that measure: the figures show "
                "how well each method agrees with it, not how accurate its depth is.",
            }
        )
    elif data.judged_by == "labels":
        found.append(
            {
                "level": "note",
                "text": "Methods are compared with the archive's labels, because the true depth is "
                "unknown: errors of the labels are part of every figure.",
            }
        )
    if n_cells < FEW_CELLS:
        noun = "cell" if n_cells == 1 else "cells"
        found.append(
            {
                "level": "note",
                "text": f"Only {n_cells} test {noun}: differences between methods are uncertain, "
                "and intervals from so few cells tend to be too narrow.",
            }
        )
    return found


def describe(data: EvaluationSet) -> dict[str, Any]:
    """Describe the data: the archive, its grid and optics, the split and who labelled."""
    archive, cells = data.archive, data.archive.cells
    one = data.parts[0]
    sides = one.archive.splits[one.split]
    made, counts = np.unique(np.asarray(cells.method, dtype=str), return_counts=True)
    return {
        "name": archive.header.name,
        "file": archive.path.name if archive.path else "",
        "fingerprint": archive.fingerprint,
        "license": archive.header.license,
        "created_utc": archive.header.created_utc,
        "software": archive.header.software,
        "cells": archive.n_cells,
        "patches": len(archive.cell),
        "patch_px": archive.header.patch_px,
        "step_um": archive.header.step_um,
        "half_range_um": archive.header.half_range_um,
        "classes": archive.n_classes,
        "optics": archive.header.optics.model_dump(mode="json"),
        "depth_of_field_um": archive.header.optics.depth_of_field_um,
        "labels": {str(name): int(n) for name, n in zip(made, counts, strict=True)},
        "split": data.title,
        "folds": data.folds,
        "split_by": _split_level(one),
        "cells_per_side": {name: int((sides == side).sum()) for side, name in enumerate(SIDES)},
        "test_cells": int(np.unique(data.cell).size),
        "test_patches": int(data.rows.size),
    }


def _split_level(data: EvaluationSet) -> str:
    """Name the largest unit that the split does not divide: "sample", "field" or "cell"."""
    cells, sides = data.archive.cells, data.archive.splits[data.split]
    samples = np.asarray(cells.sample_id, dtype=str)
    if (samples != "").all() and 1 < len(set(samples)) < len(samples) and _whole(samples, sides):
        return "sample"
    fields = fields_of(cells)
    return "field" if len(set(fields)) < len(fields) and _whole(fields, sides) else "cell"


def _whole(group: NDArray[Any], sides: NDArray[np.int8]) -> bool:
    return len(set(zip(group.tolist(), sides.tolist(), strict=True))) == len(set(group.tolist()))
