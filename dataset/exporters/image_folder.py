"""Archives as folders of images, one folder per depth class: torchvision's ImageFolder layout."""

from __future__ import annotations

from pathlib import Path

from fgaf.base.csv_tables import write_table
from fgaf.base.folders import publishing_folder
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.exporters.patches import (
    PNG,
    class_names,
    patch_columns,
    patch_names,
    png_of,
    side_rows,
)
from fgaf.dataset.record import NAME, archive_record


def write_image_folder(
    archive: Archive, path: Path, split: str = DEFAULT_SPLIT, overwrite: bool = False
) -> Path:
    """Write every patch as ``SIDE/CLASS/NAME.png``, with tables of labels beside them.

    ``metadata.csv`` has a line per patch, ``fgaf.json`` is the record from which
    `import_class_folders` restores the archive.

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
    classes, names = class_names(archive), patch_names(archive)
    files = [""] * len(names)
    label = archive.depth_class
    for side, rows in side_rows(archive, split):
        for row in rows:
            files[row] = f"{side}/{classes[label[row]]}/{names[row]}{PNG}"
    with publishing_folder(path, overwrite) as part:
        for side, _ in side_rows(archive, split):
            for name in classes:
                (part / side / name).mkdir(parents=True)
        for row, file in enumerate(files):
            (part / file).write_bytes(png_of(archive.images[row]))
        columns = patch_columns(archive)
        with (part / "metadata.csv").open("w", encoding="utf-8", newline="") as table:
            lines = zip(files, *columns.values(), strict=True)
            write_table(table, ["file_name", *columns], lines)
        (part / NAME).write_text(archive_record(archive, files), encoding="utf-8")
    return path
