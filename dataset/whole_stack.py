"""Write a raw stack from planes that already exist: an import, a changed copy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgaf.base.files import publishing
from fgaf.dataset.raw import RawHeader, RawWriter
from fgaf.dataset.storage.integrity import Bar


def write_whole_stack(
    path: Path,
    header: RawHeader,
    frames: Any,
    planes: Mapping[str, NDArray[Any]],
    overwrite: bool = True,
    progress: Bar = iter,
) -> Path:
    """Write and publish a stack that can be made again from its source.

    Unlike a recording it leaves no file if it fails, and does not touch a recording's ``.part``.
    Several programs may write the same stack at the same time.

    Parameters
    ----------
    path
        The raw stack file.
    header
        The stack's header.
    frames
        (P, Y, X) pixels, an array or an open dataset.
    planes
        Column name to (P,) array, all of `PLANE_COLUMNS` but the checksum.
    overwrite
        Whether an existing `path` may be replaced.
    progress
        Wraps the numbers of the planes.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false.
    FgafError
        The folder cannot be written, or its disk cannot hold the stack.
    """
    n, rows, columns = frames.shape
    shape = (int(n), int(rows), int(columns))
    with (
        publishing(path, overwrite) as part,
        RawWriter(path, header, shape, frames.dtype, overwrite, part) as writer,
    ):
        for k in progress(range(n)):
            values = {name: column[k].item() for name, column in planes.items()}
            writer.write(k, np.ascontiguousarray(frames[k]), **values)
        writer.seal()
    return path
