"""The napari face: raw stacks and dataset archives open as layers, read from disk when shown."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from fgaf.dataset.archive import FORMAT as ARCHIVE
from fgaf.dataset.archive import Archive
from fgaf.dataset.errors import FormatError
from fgaf.dataset.integrity import format_of
from fgaf.dataset.raw import FORMAT as RAW
from fgaf.dataset.raw import RawStack

LayerData = tuple[Any, dict[str, Any], str]
Reader = Callable[[str | Sequence[str]], list[LayerData]]


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Offer a reader for files of ours; None for any other, so that napari asks elsewhere."""
    paths = [Path(path)] if isinstance(path, str) else [Path(name) for name in path]
    return read_layers if all(_kind(name) in (RAW, ARCHIVE) for name in paths) else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Open each file as one image layer with scale, units and axis labels.

    The file stays open, for reading, as long as its layer: pixels are read when shown.

    Raises
    ------
    FormatError
        A file is damaged or newer than this program.
    """
    paths = [path] if isinstance(path, str) else path
    return [_layer(Path(name)) for name in paths]


def _layer(path: Path) -> LayerData:
    lifetime = ExitStack()
    if _kind(path) == RAW:
        stack = lifetime.enter_context(RawStack.open(path))
        images, optics, name = (
            stack.frames,
            stack.header.optics,
            path.name.removesuffix(".stack.h5"),
        )
        scale, unit, axis = stack.header.step_um, "um", "z"
        info = stack.header.model_dump()
    else:
        archive = lifetime.enter_context(Archive.open(path))
        images, optics, name = archive.images, archive.header.optics, path.stem
        scale, unit, axis = 1.0, "pixel", "patch"
        info = archive.header.model_dump()
    pixel, pixel_unit = (optics.pixel_size_um, "um") if optics.pixel_size_um else (1.0, "pixel")
    middle = images[len(images) // 2]
    settings = {
        "name": name,
        "scale": (scale, pixel, pixel),
        "units": (unit, pixel_unit, pixel_unit),
        "axis_labels": (axis, "y", "x"),
        "contrast_limits": _limits(middle),
        "metadata": {"fgaf": info, "path": str(path), "lifetime": lifetime},
        "rgb": False,
    }
    return images, settings, "image"


def _limits(image: np.ndarray[Any, Any]) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(image, (0.1, 99.9)))
    return low, max(high, low + 1)


def _kind(path: Path) -> str:
    """The ``format`` attribute; empty for what is no HDF5 file of ours."""
    try:
        return format_of(path)
    except FormatError:
        return ""
