"""A raw stack made from planes that are all at hand: an import, a changed copy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.raw import RawHeader, RawWriter

_SCRATCH: Final = ".unfinished"


def write_whole_stack(
    path: Path, header: RawHeader, frames: Any, planes: Mapping[str, NDArray[Any]]
) -> Path:
    """Write and publish a stack that can be made again from where its planes come from.

    Unlike a recording it leaves nothing behind when it fails. What a killed program left, a file
    ending in ``.unfinished``, is replaced by the next; a recording's ``.part`` is not touched.

    Parameters
    ----------
    path
        The raw stack file; replaced when it exists.
    header
        The stack's header.
    frames
        (P, Y, X) pixels, an array or an open dataset.
    planes
        Column name to (P,) array, all of `PLANE_COLUMNS` but the checksum.

    Raises
    ------
    FgafError
        The folder cannot be written, its disk cannot hold the stack, or another program is
        writing the same one.
    """
    n, rows, columns = frames.shape
    scratch = path.with_name(path.name + _SCRATCH)
    shape = (int(n), int(rows), int(columns))
    with RawWriter(path, header, shape, frames.dtype, True, scratch) as writer:
        try:
            for k in range(n):
                values = {name: column[k].item() for name, column in planes.items()}
                writer.write(k, np.ascontiguousarray(frames[k]), **values)
            return writer.publish()
        except BaseException:
            writer.discard()
            raise
