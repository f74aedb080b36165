"""Labels that networks corrected: what they were, how far they moved, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError
from fgaf.dataset.storage.columns import TEXT, Schema, read_columns, write_columns

NAME: Final = "refined"
"""The group in an archive."""
METHOD: Final = "refined"
"""Method of a cell whose label was corrected."""
_ROWS: Final[Schema] = {"depth_um_before": "<f8", "depth_se_um": "<f8"}
_CELLS: Final[Schema] = {
    "focus_um_before": "<f8",
    "method_before": TEXT,
    "change_um": "<f8",
    "change_se_um": "<f8",
    "slope": "<f8",
    "slope_se": "<f8",
    "misfit": "<f8",
    "suspect": TEXT,
}
_MAY_LACK: Final = ("depth_se_um", "change_se_um", "slope_se", "misfit")


@dataclass(frozen=True)
class Refinement:
    """The corrections of an archive's labels: M patches, K cells.

    Attributes
    ----------
    depth_um_before
        (M,) label before.
    depth_se_um
        (M,) standard error of the label now, relative to the other cells; NaN where it was not
        touched.
    focus_um_before, method_before
        (K,) entries of the table of cells before.
    change_um, change_se_um
        (K,) change of the label in the focus plane, and its standard error; 0 and NaN of cells that
        were not touched.
    slope, slope_se
        (K,) further change per µm of the label before, of a cell that climbs or dives.
    misfit
        (K,) how much the planes of a cell disagree, 1 on average; NaN of cells not touched.
    suspect
        (K,) why a person should look at the cell; empty for most.
    """

    depth_um_before: NDArray[np.float64]
    depth_se_um: NDArray[np.float64]
    focus_um_before: NDArray[np.float64]
    method_before: NDArray[Any]
    change_um: NDArray[np.float64]
    change_se_um: NDArray[np.float64]
    slope: NDArray[np.float64]
    slope_se: NDArray[np.float64]
    misfit: NDArray[np.float64]
    suspect: NDArray[Any]

    @property
    def touched(self) -> NDArray[np.bool_]:
        """(K,) whether the labels of a cell were corrected, be it by nothing."""
        return np.isfinite(self.change_se_um)

    @classmethod
    def of_none(cls, depth_um: NDArray[Any], focus_um: NDArray[Any], method: NDArray[Any]) -> Self:
        """The table of an archive in which nothing was corrected.

        Parameters
        ----------
        depth_um
            (M,) labels.
        focus_um, method
            (K,) entries of the table of cells.
        """
        unknown_rows = np.full(len(depth_um), np.nan)
        k = len(focus_um)
        return cls(
            depth_um_before=depth_um,
            depth_se_um=unknown_rows,
            focus_um_before=focus_um,
            method_before=method,
            change_um=np.zeros(k),
            change_se_um=np.full(k, np.nan),
            slope=np.zeros(k),
            slope_se=np.full(k, np.nan),
            misfit=np.full(k, np.nan),
            suspect=np.full(k, "", dtype=object),
        )

    def take(self, rows: NDArray[Any], cells: NDArray[Any]) -> Self:
        """The table of some patches and cells.

        Parameters
        ----------
        rows
            (N,) patches.
        cells
            (J,) the cells that they belong to.
        """
        picked = {name: getattr(self, name)[rows] for name in _ROWS}
        return type(self)(**picked, **{name: getattr(self, name)[cells] for name in _CELLS})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The tables of several archives, one after the other.

        Parameters
        ----------
        parts
            One or more.
        """
        names = (*_ROWS, *_CELLS)
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})

    def problem(self, patches: int, cells: int) -> str:
        """What contradicts the format; empty if it is valid.

        Parameters
        ----------
        patches, cells
            M and K of the archive.
        """
        for schema, length in ((_ROWS, patches), (_CELLS, cells)):
            for name, kind in schema.items():
                values = getattr(self, name)
                if len(values) != length:
                    return f"/{NAME}/{name} has {len(values)} entries, should have {length}"
                if kind != TEXT and name not in _MAY_LACK and not np.isfinite(values).all():
                    return f"/{NAME}/{name} holds numbers that are not finite"
        return ""


def refinement_in(file: h5py.File, patches: int, cells: int, path: object) -> Refinement | None:
    """Read the corrections of an archive; None if it has none.

    Parameters
    ----------
    file
        The archive.
    patches, cells
        Its numbers of them.
    path
        The file, named in the error.

    Raises
    ------
    FormatError
        A column is missing, or has another type or length.
    """
    if NAME not in file:
        return None
    group = file[NAME]
    if not isinstance(group, h5py.Group):
        raise FormatError(f"{path}: /{NAME} is no table; copy the file from its source again")
    rows = read_columns(group, _ROWS, patches, path)
    return Refinement(**rows, **read_columns(group, _CELLS, cells, path))


def write_refinement(file: h5py.File, refinement: Refinement) -> None:
    """Write the corrections into an archive that is open for writing.

    Parameters
    ----------
    file
        The archive.
    refinement
        To write.
    """
    group = file.create_group(NAME)
    write_columns(group, {**_ROWS, **_CELLS}, refinement.__dict__)
