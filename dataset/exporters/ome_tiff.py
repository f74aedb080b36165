"""Raw stacks as OME-TIFF."""

from __future__ import annotations

from pathlib import Path

import tifffile

from fgaf.base.files import publishing, require_free
from fgaf.base.workers.progress import steps
from fgaf.dataset.exporters.ome_xml import ome_xml
from fgaf.dataset.raw import RawStack

SUFFIX = ".ome.tif"
_SPARE_BYTES = 1 << 20


def write_ome_tiff(stack: RawStack, path: Path, overwrite: bool = False) -> Path:
    """Write an open raw stack as one uncompressed OME-TIFF.

    Parameters
    ----------
    stack
        An open raw stack.
    path
        The file to write.
    overwrite
        Whether a file that is there may be replaced.

    Raises
    ------
    FormatError
        The stack is damaged.
    ExistsError
        `path` exists and `overwrite` is false.
    FgafError
        The disk is full or cannot be written.
    """
    stack.verify()
    n_bytes = stack.frames.size * stack.frames.dtype.itemsize
    require_free(path, n_bytes + _SPARE_BYTES)
    with publishing(path, overwrite) as part, tifffile.TiffWriter(part, bigtiff=n_bytes > 3e9) as f:
        f.write(
            (stack.frames[plane] for plane in steps(range(stack.n_planes))),
            shape=stack.shape,
            dtype=stack.frames.dtype,
            photometric="minisblack",
            description=ome_xml(stack).encode(),
            metadata=None,
        )
    return path
