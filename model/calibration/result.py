"""What a calibration finds of its cells, and the files that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.base.console import count
from fgaf.base.csv_tables import write_table
from fgaf.base.files import publishing
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.splits.split import TEST, TRAIN, VALIDATION
from fgaf.dataset.storage.header import utc_now
from fgaf.dataset.storage.optics import Optics
from fgaf.model.calibration.adapt import Planes
from fgaf.model.calibration.cells import Searched, Usable
from fgaf.model.calibration.offsets import Foci
from fgaf.model.calibration.steps import Steps
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.predict import CHECKPOINT
from fgaf.model.networks.settings import to_toml
from fgaf.model.training.resume import METRICS, SETTINGS
from fgaf.model.training.run_folder import write_metrics

ARCHIVE: Final = "cells.h5"
TABLE: Final = "cells.csv"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What cells held out have shown.

    Attributes
    ----------
    planes
        All planes.
    held_out_um
        (N,) depth of each by a network that did not see its cell.
    foci
        Where the focus of each cell lies by these.
    folds
        (K,) fold in which each cell was held out.
    before, after
        How the start, and these networks, follow the steps.
    """

    planes: Planes
    held_out_um: Floats
    foci: Foci
    folds: npt.NDArray[np.intp]
    before: Steps
    after: Steps

    @property
    def depth_um(self) -> Floats:
        """(N,) depth of each plane by the steps and the focus of its cell."""
        return self.foci.depth_um(self.planes.height_um, self.planes.cell)


@dataclass(frozen=True)
class Labelled:
    """The cells, and the depths that were found for them.

    Attributes
    ----------
    stacks, found
        Stacks and cells.
    evidence
        What was found.
    start
        The network that was calibrated; it gives the range of depths.
    """

    stacks: Sequence[Searched]
    found: Usable
    evidence: Evidence
    start: Checkpoint

    @property
    def name(self) -> str:
        """Name of the archive."""
        return f"calibration on {count(len(self.stacks), 'stack')} without labels"

    @property
    def optics(self) -> Optics:
        """What all stacks know of their optics."""
        known = {
            key: value
            for key, value in self.stacks[0].optics.model_dump().items()
            if all(getattr(stack.optics, key) is not None for stack in self.stacks)
        }
        return Optics(**known)

    @property
    def within(self) -> npt.NDArray[np.bool_]:
        """(N,) whether a plane lies in the range of depths."""
        return np.asarray(np.abs(self.evidence.depth_um) <= self.start.half_range_um)

    def rows(self) -> list[dict[str, Any]]:
        """The table of cells."""
        evidence, foci, within = self.evidence, self.evidence.foci, self.within
        rows = []
        for number, (cell, rule) in enumerate(zip(self.found.cells, self.found.foci, strict=True)):
            own = (evidence.planes.cell == number) & within
            off = (evidence.held_out_um - evidence.depth_um)[own]
            rows.append(
                {
                    "id": cell.id,
                    "stack": self.stacks[cell.stack].path.name,
                    "planes": int(own.sum()),
                    "rule": rule.rule,
                    "rule_focus_um": round(rule.focus_um, 4),
                    "focus_um": round(self._focus_um(number), 4),
                    "focus_error_um": round(float(foci.error_um[number]), 4),
                    "drift": round(float(foci.slope[number]), 4),
                    "drift_error": round(float(foci.slope_error[number]), 4),
                    "steps_off_um": round(float(np.abs(off - off.mean()).mean()), 4)
                    if len(off)
                    else None,
                }
            )
        return rows

    def archive(self) -> Archive:
        """The planes within the range, for exports and for a look at them."""
        evidence, within, cells = self.evidence, self.within, self.found.cells
        planes = evidence.planes
        kept = np.unique(planes.cell[within])
        now = utc_now()
        table = []
        for number in kept.tolist():
            cell, focus_um = cells[number], self._focus_um(number)
            stack = self.stacks[cell.stack]
            table.append(
                {
                    "id": cell.id,
                    "source": stack.path.name,
                    "source_sha256": stack.fingerprint,
                    "sample_id": stack.sample_id,
                    "field": "",
                    "focus_um": focus_um,
                    "focus_plane": int(cell.planes[np.argmin(np.abs(cell.z_um - focus_um))]),
                    "annotator": "fgaf-calibrate",
                    "labelled_utc": now,
                    "method": "steps",
                    "confidence": self.found.foci[number].confidence,
                }
            )
        fold = evidence.folds[kept]
        header = ArchiveHeader.new(
            step_um=self.start.step_um,
            half_range_um=self.start.half_range_um,
            patch_px=self.start.patch_px,
            optics=self.optics,
            name=self.name,
            description="Depths by fgaf-calibrate, from the steps of the drive. The calibrated "
            "network has seen the cells of every side of the split.",
            created_utc=now,
        )
        return Archive(
            header=header,
            images=planes.images[within],
            depth_um=evidence.depth_um[within],
            plane=np.concatenate([cell.planes for cell in cells])[within].astype(np.int32),
            cell=np.searchsorted(kept, planes.cell[within]).astype(np.int32),
            center_y=np.concatenate([cell.y for cell in cells])[within],
            center_x=np.concatenate([cell.x for cell in cells])[within],
            cells=Cells.from_rows(table),
            splits={DEFAULT_SPLIT: np.array([TEST, VALIDATION, TRAIN], np.int8)[fold]},
        )

    def _focus_um(self, number: int) -> float:
        return self.found.foci[number].focus_um + float(self.evidence.foci.shift_um[number])


@dataclass(frozen=True)
class Result:
    """A calibrated network with all that is written beside it."""

    checkpoint: Checkpoint
    archive: Archive
    rows: list[dict[str, Any]]
    metrics: dict[str, Any]

    def write(self, out: Path) -> None:
        """Write all files, the checkpoint last.

        Parameters
        ----------
        out
            Folder of the run.
        """
        path = write_archive(out / ARCHIVE, self.archive, overwrite=True)
        with Archive.open(path) as archive:
            fingerprint = archive.fingerprint
        with (
            publishing(out / TABLE, overwrite=True) as part,
            part.open("w", newline="", encoding="utf-8") as file,
        ):
            write_table(file, list(self.rows[0]), (row.values() for row in self.rows))
        with publishing(out / SETTINGS, overwrite=True) as part:
            part.write_text(to_toml(self.checkpoint.settings), encoding="utf-8")
        write_metrics(out / METRICS, self.metrics)
        finished = replace(self.checkpoint, metrics=self.metrics, archive_fingerprint=fingerprint)
        finished.save(out / CHECKPOINT)
