"""Open the z-stacks of a file or folder of any supported program."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from fgaf.base.errors import FormatError, SettingError
from fgaf.base.inputs import require_file
from fgaf.dataset.importers.folder import open_folder
from fgaf.dataset.importers.ndtiff import ndtiff_folder, open_ndtiff
from fgaf.dataset.importers.nikon import open_nd2
from fgaf.dataset.importers.ome_zarr import is_zarr, open_ome_zarr
from fgaf.dataset.importers.tiff import open_companion, open_tiff
from fgaf.dataset.importers.tiff_file import is_tiff
from fgaf.dataset.importers.zstack import Series, ZStack

_log = logging.getLogger(__name__)


def read_zstack(path: Path) -> ZStack:
    """Read a file or folder with one z-stack; see `open_series`."""
    with open_series(path) as series:
        return series.only()


@contextmanager
def open_series(path: Path, planes: int | None = None, axes: str = "") -> Iterator[Series]:
    """Open a TIFF (OME, ImageJ, Micro-Manager), NDTiff, OME-Zarr, ND2 or a folder of images.

    Parameters
    ----------
    path
        The file or folder.
    planes, axes
        See `open_tiff`.

    Raises
    ------
    FormatError
        The file is missing or damaged, has colours, floats, a single plane, images of different
        sizes, or gaps or repeats in the numbering; the message says which.
    SettingError
        `planes` or `axes` contradicts the file.
    """
    opener = _opener(path)
    if planes is not None or axes:
        if opener is not open_tiff:
            option = "--axes" if axes else "--planes"
            raise SettingError(f"{option} is for TIFF, and {path} is not one; leave it out")
        opener = partial(open_tiff, planes=planes, axes=axes)
    with opener(path) as series:
        _log.debug("opened %s: %s", path, series if series.sizes else "one stack")
        yield series


def _opener(path: Path) -> Callable[[Path], AbstractContextManager[Series]]:
    if path.is_dir():
        if is_zarr(path):
            return open_ome_zarr
        return open_ndtiff if ndtiff_folder(path) else open_folder
    require_file(path)
    if path.suffix.lower() == ".nd2":
        return open_nd2
    if path.suffix.lower() == ".ome" or path.name.lower().endswith(".ome.xml"):
        return open_companion
    if not is_tiff(path):
        raise FormatError(
            f"{path} is neither TIFF nor ND2; import takes those, OME-Zarr, NDTiff, or a folder of "
            "numbered images"
        )
    return open_tiff
