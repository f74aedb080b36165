"""Heads in some files: their centres as rows, and their masks as pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.base.files import publishing, require_new
from fgaf.base.workers.progress import steps
from fgaf.model.inference.heads import HeadModel, heads_of
from fgaf.model.inference.inputs import Patches, find_files, read_patches
from fgaf.model.inference.predictions import Columns, Row, aligned, place
from fgaf.model.metrics.heads import Regions

COLUMNS: Columns = (
    ("source", "string"),
    ("cell", "int64"),
    ("plane", "int64"),
    ("y_px", "float64"),
    ("x_px", "float64"),
    ("area_px", "int64"),
    ("area_um2", "float64"),
    ("confidence", "float64"),
)
"""Name and type of each column; all behind `plane` are unknown where no head was found."""

NO_HEAD = "no head"
_BATCH = 64
_ON_HEAD = np.uint8(255)

Masks = npt.NDArray[np.uint8]


def segment_files(
    model: HeadModel,
    paths: list[Path],
    *,
    masks: Path | None = None,
    pixel_size_um: float | None = None,
    head_um: float | None = None,
    force: bool = False,
    verify: bool = True,
    overwrite: bool = False,
    warn: Callable[[str], None] = lambda _: None,
    progress: Callable[[list[Path]], Iterable[Path]] = iter,
) -> list[Row]:
    """Find the heads in files and folders.

    A cell that is known, from an archive or found in a field, has one row for each plane: the head
    nearest to the centre of its patch. An image that is a patch itself has a row for each head.

    Parameters
    ----------
    model
        From `fgaf.model.deploy.open_model.open_segmenter`.
    paths
        Images, raw stacks, archives, and folders of them.
    masks
        Folder for one picture per file, `NAME-masks.png`, or `.tif` for several planes: 255 on
        heads. None writes none.
    pixel_size_um, head_um
        For finding cells in fields; see `fgaf.model.inference.inputs.read_patches`.
    force
        Use the model although pixels or optics differ from those of training.
    verify
        Whether the checksums of raw stacks and archives are verified first.
    overwrite
        Replace pictures that are there.
    warn
        Called with the differences then.
    progress
        Wraps the files.

    Returns
    -------
    list of dict
        Keys as in `COLUMNS`; an image or a cell in a plane without a head has one row.

    Raises
    ------
    FgafError
        A file cannot be read, is not for this model, or a picture exists.
    """
    files = find_files(paths)
    rows: list[Row] = []
    for path in progress(files):
        patches = read_patches(
            path, model.card, pixel_size_um, head_um, force=force, verify=verify, warn=warn
        )
        found = list(_regions(path, patches, model))
        if masks is not None:
            _write_masks(_picture(masks, path), _masks(patches, found), overwrite)
        for k, (regions, shares) in enumerate(found):
            rows += _rows(path, patches, k, regions, shares)
    return rows


def table(rows: list[Row]) -> str:
    """Format rows as a text table."""

    def area(row: Row) -> str:
        if row["y_px"] is None:
            return NO_HEAD
        return f"{row['area_px']} px" + (
            "" if row["area_um2"] is None else f", {row['area_um2']:.1f} µm²"
        )

    head = ("source", "cell", "plane", "y px", "x px", "area")
    return aligned(
        [
            head,
            *(
                (
                    str(row["source"]),
                    str(row["cell"]),
                    str(row["plane"]),
                    place(row["y_px"]),
                    place(row["x_px"]),
                    area(row),
                )
                for row in rows
            ),
        ]
    )


def _regions(
    path: Path, patches: Patches, model: HeadModel
) -> Iterator[tuple[Regions, npt.NDArray[np.float32]]]:
    """Heads of every patch, and the probabilities of its pixels."""
    for start in steps(range(0, len(patches.images), _BATCH)):
        for shares in model.shares(patches.images[start : start + _BATCH], str(path)):
            yield heads_of(shares, model.card), shares


def _rows(
    path: Path, patches: Patches, k: int, regions: Regions, shares: npt.NDArray[np.float32]
) -> Iterator[Row]:
    known = not np.isnan(patches.y[k])
    height, width = shares.shape
    first = {"source": os.fspath(path), "plane": int(patches.plane[k])}
    top, left, chosen = 0, 0, list(range(len(regions)))
    if known:
        top, left = _corner(patches, k, (height, width))
        away = np.hypot(regions.y - height // 2, regions.x - width // 2)
        chosen = np.argsort(away, kind="stable")[:1].tolist()
    for number, at in enumerate(chosen):
        area = int(regions.area_px[at])
        pixel_um = patches.pixel_um
        yield first | {
            "cell": int(patches.cell[k]) if known else number,
            "y_px": round(top + float(regions.y[at]), 2),
            "x_px": round(left + float(regions.x[at]), 2),
            "area_px": area,
            "area_um2": None if pixel_um is None else round(area * pixel_um**2, 3),
            "confidence": round(float(shares[regions.labels == at + 1].mean()), 4),
        }
    if not chosen:
        none: dict[str, Any] = dict.fromkeys(name for name, _ in COLUMNS)
        yield none | first | {"cell": int(patches.cell[k])}


def _masks(patches: Patches, found: list[tuple[Regions, Any]]) -> Masks:
    """Masks of all patches, (N, H, W), or of the field that they were cropped from, (P, Y, X)."""
    each = [np.where(regions.labels > 0, _ON_HEAD, np.uint8(0)) for regions, _ in found]
    if patches.field is None:
        return np.stack(each)
    whole = np.zeros(patches.field, dtype=np.uint8)
    for k, mask in enumerate(each):
        height, width = mask.shape
        top, left = _corner(patches, k, (height, width))
        window = whole[patches.plane[k], top : top + height, left : left + width]
        np.maximum(window, mask, out=window)
    return whole


def _corner(patches: Patches, k: int, size: tuple[int, int]) -> tuple[int, int]:
    """First row and column of a patch in its field."""
    return round(patches.y[k]) - size[0] // 2, round(patches.x[k]) - size[1] // 2


def _picture(folder: Path, source: Path) -> Path:
    """Path of the masks of a file, without the suffix that depends on the planes."""
    return folder / f"{source.stem.removesuffix('.stack')}-masks"


def _write_masks(path: Path, masks: Masks, overwrite: bool) -> None:
    import tifffile
    from PIL import Image

    single = len(masks) == 1
    target = path.with_name(path.name + (".png" if single else ".tif"))
    require_new(target, overwrite)
    with publishing(target, overwrite) as part:
        if single:
            Image.fromarray(masks[0]).save(part, format="PNG")
        else:
            tifffile.imwrite(part, masks, photometric="minisblack", compression="zlib")
