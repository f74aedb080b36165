"""Summary of a file in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgaf.base.inputs import parse_json
from fgaf.dataset.archive import Archive
from fgaf.dataset.history import split_fingerprints
from fgaf.dataset.raw import FORMAT as RAW_FORMAT, RawStack
from fgaf.dataset.splits.split import SIDES, TEST
from fgaf.dataset.storage.hdf5 import format_of
from fgaf.dataset.storage.integrity import Bar
from fgaf.dataset.storage.refinement import Refinement
from fgaf.dataset.storage.url import Url


def describe(path: Path | Url, verify: bool = True, progress: Bar = iter) -> dict[str, Any]:
    """Summarise a raw stack or an archive in plain types, fit for JSON.

    Parameters
    ----------
    path
        The file; from an address only the parts that are used are fetched.
    verify
        Compare the whole file with its checksums first.
    progress
        Wraps the blocks that are compared.

    Raises
    ------
    FormatError
        It is neither of the two, is unreadable, or a compared checksum differs.
    """
    whole = verify and isinstance(path, Path)
    known = {"path": str(path), "checksums": "agree" if whole else "not compared"}
    if format_of(path) == RAW_FORMAT:
        with RawStack.open(path, whole, progress) as stack:
            return known | {"format": RAW_FORMAT} | describe_stack(stack)
    with Archive.open(path, whole, progress) as archive:
        return known | {"format": "fgaf-dataset"} | describe_archive(archive)


def describe_stack(stack: RawStack) -> dict[str, Any]:
    """Summarise an open raw stack."""
    header = stack.header.model_dump(exclude={"rig"})
    return header | {
        "planes": stack.n_planes,
        "shape": list(stack.shape),
        "dtype": str(stack.frames.dtype),
        "z_from_um": float(stack.z_um[0]),
        "z_to_um": float(stack.z_um[-1]),
        "fingerprint": stack.fingerprint,
    }


def describe_archive(archive: Archive) -> dict[str, Any]:
    """Summarise an open archive."""
    cells = archive.cells
    counts = np.bincount(archive.depth_class, minlength=archive.n_classes)
    table = archive.refinement
    return archive.header.model_dump() | {
        "patches": len(archive.images),
        "dtype": str(archive.images.dtype),
        "cells": archive.n_cells,
        "samples": len(set(cells.sample_id.tolist()) - {""}),
        "sources": len(set(cells.source.tolist()) - {""}),
        "patches_per_depth": {
            f"{depth:g}": int(n) for depth, n in zip(archive.class_depths_um, counts, strict=True)
        },
        "methods": _tally(cells.method),
        "annotators": _tally(cells.annotator),
        "truth_known": archive.true_depth_um is not None,
        "masks": archive.masks is not None,
        "refined": {} if table is None else _refined(archive, table),
        "splits": {
            name: {side: int((sides == number).sum()) for number, side in enumerate(SIDES)}
            for name, sides in archive.splits.items()
        },
        "split_fingerprints": split_fingerprints(archive),
        "history": [_step(line) for line in archive.history],
        "fingerprint": archive.fingerprint,
    }


def _refined(archive: Archive, table: Refinement) -> dict[str, Any]:
    """How many cells have corrected labels, also of the test cells of each split."""
    tested = {
        f"test cells of {name}": int(table.touched[sides == TEST].sum())
        for name, sides in archive.splits.items()
    }
    suspects = int((table.suspect != "").sum())
    return {"cells": int(table.touched.sum()), **tested, "to look at": suspects}


def as_text(summary: dict[str, Any]) -> str:
    """Format a summary, one line per entry, without empty or unknown entries."""
    flat = summary | summary.get("optics", {})
    lines = []
    for name, value in flat.items():
        if name == "optics" or value is None or value in ("", {}, []):
            continue
        shown = (
            ", ".join(f"{k}: {_brief(v)}" for k, v in value.items())
            if isinstance(value, dict)
            else _brief(value)
        )
        lines.append(f"{name:>18}  {shown}")
    return "\n".join(lines)


def _step(line: str) -> str:
    """The step in a line of the history."""
    try:
        return str(parse_json(line)["did"])
    except (ValueError, KeyError, TypeError):
        return "unreadable"


def _tally(values: NDArray[Any]) -> dict[str, int]:
    names, counts = np.unique(values.astype(str), return_counts=True)
    return {str(name): int(n) for name, n in zip(names, counts, strict=True) if name}


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return "/".join(f"{v} {k}" for k, v in value.items())
    if isinstance(value, list):
        return (", " if isinstance(value[0], str) else " x ").join(map(str, value))
    return str(value)
