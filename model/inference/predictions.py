"""Depths of all patches in some files, as rows, and the rows as table, CSV or Parquet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgaf.base.csv_tables import write_table
from fgaf.base.extras import require
from fgaf.base.files import publishing
from fgaf.model.inference.depth import DepthModel
from fgaf.model.inference.inputs import Patches, find_files, read_patches

Row = dict[str, Any]
Columns = tuple[tuple[str, str], ...]

COLUMNS: Columns = (
    ("source", "string"),
    ("cell", "int64"),
    ("plane", "int64"),
    ("y_px", "float64"),
    ("x_px", "float64"),
    ("depth_um", "float64"),
    ("spread_um", "float64"),
    ("class_um", "float64"),
    ("confidence", "float64"),
    ("in_range", "bool"),
)
"""Name and type of each column; `y_px`, `x_px` and `in_range` may be unknown."""

OUT_OF_RANGE = "out of range"


def predict_files(
    model: DepthModel,
    paths: list[Path],
    *,
    pixel_size_um: float | None = None,
    head_um: float | None = None,
    force: bool = False,
    verify: bool = True,
    warn: Callable[[str], None] = lambda _: None,
    progress: Callable[[list[Path]], Iterable[Path]] = iter,
) -> list[Row]:
    """Estimate the depth of every patch in files and folders.

    Parameters
    ----------
    model
        From `fgaf.model.deploy.open_model.open_model`.
    paths
        Images, raw stacks, archives, and folders of them.
    pixel_size_um, head_um
        For finding cells in fields; see `fgaf.model.inference.inputs.read_patches`.
    force
        Use the model although pixels or optics differ from those of training.
    verify
        Whether the checksums of raw stacks and archives are verified first.
    warn
        Called with the differences then.
    progress
        Wraps the files.

    Returns
    -------
    list of dict
        One per patch, keys as in `COLUMNS`; `in_range` is None where the model cannot judge it.

    Raises
    ------
    FgafError
        A file cannot be read, or is not for this model.
    """
    rows: list[Row] = []
    for path in progress(find_files(paths)):
        patches = read_patches(
            path, model.card, pixel_size_um, head_um, force=force, verify=verify, warn=warn
        )
        rows += _rows(path, patches, model)
    return rows


def _rows(path: Path, patches: Patches, model: DepthModel) -> list[Row]:
    readings = model.read(patches.images, str(path))
    grid, p = model.class_depths_um, readings.probabilities
    known = model.card.tells_range
    return [
        {
            "source": os.fspath(path),
            "cell": int(patches.cell[k]),
            "plane": int(patches.plane[k]),
            "y_px": None if np.isnan(patches.y[k]) else round(float(patches.y[k]), 2),
            "x_px": None if np.isnan(patches.x[k]) else round(float(patches.x[k]), 2),
            "depth_um": round(float(readings.depth_um[k]), 4),
            "spread_um": round(float(readings.spread_um[k]), 4),
            "class_um": float(grid[p[k].argmax()]),
            "confidence": round(float(p[k].max()), 4),
            "in_range": bool(readings.in_range[k]) if known else None,
        }
        for k in range(len(p))
    ]


def place(value: float | None) -> str:
    """Write a position in pixels for a table; empty if unknown."""
    return "" if value is None else f"{value:.1f}"


def table(rows: list[Row]) -> str:
    """Format rows as a text table, planes from 1; a patch that is out of range gets no depth."""

    def depth(row: Row) -> str:
        if row["in_range"] is False:
            return OUT_OF_RANGE
        return f"{row['depth_um']:+.2f} ± {row['spread_um']:.2f} µm"

    lines = [("source", "cell", "plane", "y px", "x px", "depth")] + [
        (
            str(row["source"]),
            str(row["cell"]),
            str(row["plane"] + 1),
            place(row["y_px"]),
            place(row["x_px"]),
            depth(row),
        )
        for row in rows
    ]
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Format a table: the first and last column to the left, the others to the right.

    Parameters
    ----------
    lines
        Rows of equally many texts.
    """
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [
                line[0].ljust(wide[0]),
                *(text.rjust(width) for text, width in zip(line[1:-1], wide[1:], strict=False)),
                line[-1],
            ]
        )
        for line in lines
    )


def write_csv(
    path: Path, rows: list[Row], overwrite: bool = False, columns: Columns = COLUMNS
) -> None:
    """Write rows as CSV, unknown values empty; see `fgaf.base.files.publishing`.

    Parameters
    ----------
    path
        The file to write.
    rows
        With a value or None for each of the columns.
    overwrite
        Replace a file that is there.
    columns
        Name and type of each column.
    """
    with publishing(path, overwrite) as part, part.open("w", newline="", encoding="utf-8") as file:
        names = [name for name, _ in columns]
        write_table(file, names, ([row[name] for name in names] for row in rows))


def write_parquet(
    path: Path, rows: list[Row], overwrite: bool = False, columns: Columns = COLUMNS
) -> None:
    """Write rows as Parquet, unknown values null.

    Parameters
    ----------
    path
        The file to write.
    rows
        With a value or None for each of the columns.
    overwrite
        Replace a file that is there.
    columns
        Name and type of each column.

    Raises
    ------
    FgafError
        pyarrow is not installed, or the file cannot be written.
    """
    require("pyarrow")
    import pyarrow
    from pyarrow import parquet

    kinds = {name: pyarrow.type_for_alias(kind) for name, kind in columns}
    content = pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(list(kinds.items())))
    with publishing(path, overwrite) as part:
        parquet.write_table(content, part)
