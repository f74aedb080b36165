"""Images and raw stacks for the detector, among files and folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fgaf.base.errors import FgafError
from fgaf.dataset.importers.images import IMAGE_SUFFIXES
from fgaf.dataset.raw import SUFFIX


def find_images(sources: Iterable[Path]) -> list[Path]:
    """List images and raw stacks among files and folders.

    Raises
    ------
    FgafError
        A source is missing, of another kind, or a folder without images.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside = sorted(path for path in source.iterdir() if _known(path))
            if not inside:
                raise FgafError(f"{source} holds no images and no raw stacks")
            found += inside
        elif not source.exists():
            raise FgafError(f"{source} does not exist")
        elif not _known(source):
            raise FgafError(
                f"{source} is not an image that can be searched; convert it to TIFF or PNG"
            )
        else:
            found.append(source)
    return list(dict.fromkeys(found))


def _known(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES or path.name.endswith(SUFFIX)
