"""Archives as folders of images, one folder per depth class: torchvision's ImageFolder layout."""

from __future__ import annotations

from pathlib import Path

from fgaf.base.csv_tables import write_table
from fgaf.base.workers.progress import advance
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.exporters.patches import (
    PNG,
    class_names,
    exporting,
    patch_blocks,
    patch_columns,
    patch_names,
    png_of,
    png_of_mask,
    side_rows,
)
from fgaf.dataset.formats import mask_place


def write_image_folder(
    archive: Archive, path: Path, split: str = DEFAULT_SPLIT, overwrite: bool = False
) -> Path:
    """Write every patch as ``SIDE/CLASS/NAME.png``, with tables of labels beside them.

    Masks are in ``masks/SIDE/CLASS/NAME.png``. ``metadata.csv`` has a line per patch,
    ``fgaf.json`` is the record from which `import_export` restores the archive.

    Parameters
    ----------
    archive
        In memory or open.
    path
        The folder.
    split
        Name of the split whose sides become folders.
    overwrite
        Whether an earlier export may be replaced.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false.
    FgafError
        There is no such split, or the disk cannot be written.
    """
    classes, names, columns = class_names(archive), patch_names(archive), patch_columns(archive)
    with exporting(archive, path, overwrite) as (part, files):
        for side, rows in side_rows(archive, split):
            for name in classes:
                (part / side / name).mkdir(parents=True)
            for block, patches in patch_blocks(archive, rows):
                for row, patch in zip(block, patches, strict=True):
                    folder = f"{side}/{classes[archive.depth_class[row]]}"
                    files[row] = f"{folder}/{names[row]}{PNG}"
                    (part / files[row]).write_bytes(png_of(patch))
                if archive.masks is not None:
                    for row, mask in zip(block, archive.masks[block], strict=True):
                        target = part / mask_place(files[row])
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(png_of_mask(mask))
                advance(len(block) / len(archive.cell))
        with (part / "metadata.csv").open("w", encoding="utf-8", newline="") as table:
            lines = zip(files, *columns.values(), strict=True)
            write_table(table, ["file_name", *columns], lines)
    return path
