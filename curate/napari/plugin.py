"""The napari reader: raw stacks and dataset archives as layers, read from disk when shown."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from fgaf.base.errors import FormatError
from fgaf.dataset.archive import FORMAT as ARCHIVE, Archive, ArchiveHeader
from fgaf.dataset.raw import FORMAT as RAW, SUFFIX, RawHeader, RawStack
from fgaf.dataset.storage.hdf5 import format_of
from fgaf.dataset.storage.optics import Optics

LayerData = tuple[Any, dict[str, Any], str]
_KINDS = (RAW, ARCHIVE)
Reader = Callable[[str | Sequence[str]], list[LayerData]]


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader for files of fgaf and folders of raw stacks; None for anything else."""
    paths = [Path(path)] if isinstance(path, str) else [Path(name) for name in path]
    known = all(any(p.glob(f"*{SUFFIX}")) if p.is_dir() else _kind(p) in _KINDS for p in paths)
    return read_layers if known else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Open each file as one image layer with scale, units and axis labels.

    The file stays open for reading as long as its layer: pixels are read when shown. A folder
    becomes one layer (stack, z, y, x) if all its stacks have the same size.

    Raises
    ------
    FormatError
        A file is damaged or newer than this program.
    """
    paths = [path] if isinstance(path, str) else path
    layers: list[LayerData] = []
    for name in map(Path, paths):
        layers += _folder_layers(name) if name.is_dir() else [_layer(name)]
    return layers


class Series:
    """Raw stacks of one size as one array (N, P, Y, X); planes are read when indexed.

    Parameters
    ----------
    paths
        The files, opened for each reading only: there may be hundreds.
    shape, dtype
        (P, Y, X) and type of each.
    """

    def __init__(
        self, paths: Sequence[Path], shape: tuple[int, int, int], dtype: np.dtype[Any]
    ) -> None:
        self.paths = tuple(paths)
        self.shape = (len(paths), *shape)
        self.dtype = dtype
        self.ndim = 4

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> np.ndarray[Any, Any]:
        """Read an index of integers and slices."""
        index = index if isinstance(index, tuple) else (index,)
        which, inner = index[0], index[1:]
        if isinstance(which, slice):
            stacks = [self[(i, *inner)] for i in range(*which.indices(len(self)))]
            return np.stack(stacks) if stacks else np.empty((0, *self.shape[1:]), self.dtype)
        with RawStack.open(self.paths[int(which)]) as stack:
            return np.asarray(stack.frames[inner])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Read everything."""
        return np.asarray(self[:], dtype)


def stack_layer(stack: RawStack) -> tuple[Any, dict[str, Any]]:
    """Pixels and settings of an image layer of an open raw stack."""
    header = stack.header
    settings = settings_of(stack.frames, header.optics, (header.step_um, "um", "z"))
    return stack.frames, settings | {"name": stack.path.name.removesuffix(SUFFIX)}


def _folder_layers(folder: Path) -> list[LayerData]:
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    kinds = set()
    for path in paths:
        with RawStack.open(path) as stack:
            kinds.add((stack.shape, stack.frames.dtype, stack.header.step_um, stack.header.optics))
    if len(kinds) > 1:
        return [_layer(path) for path in paths]
    shape, dtype, step, optics = kinds.pop()
    series = Series(paths, shape, dtype)
    middle = shape[0] // 2
    settings = settings_of(series[0, middle : middle + 1], optics, (step, "um", "z"))
    for name, first in (("scale", 1.0), ("units", "pixel"), ("axis_labels", "stack")):
        settings[name] = (first, *settings[name])
    about = {"format": RAW, "paths": [str(path) for path in paths]}
    return [(series, settings | {"name": folder.name, "metadata": about}, "image")]


def _layer(path: Path) -> LayerData:
    lifetime = ExitStack()
    header: RawHeader | ArchiveHeader
    kind = _kind(path)
    if kind == RAW:
        stack = lifetime.enter_context(RawStack.open(path))
        header = stack.header
        images, settings = stack_layer(stack)
    else:
        archive = lifetime.enter_context(Archive.open(path))
        header, images = archive.header, archive.images
        settings = settings_of(images, header.optics, (1.0, "pixel", "patch"))
        settings["name"] = path.stem
    about = {
        "format": kind,
        "fgaf": header.model_dump(),
        "path": str(path),
        "lifetime": lifetime,
    }
    return images, settings | {"metadata": about}, "image"


def settings_of(images: Any, optics: Optics, first: tuple[float, str, str]) -> dict[str, Any]:
    """Settings of an image layer (N, Y, X): `first` is the first axis' scale, unit and name.

    Parameters
    ----------
    images
        (N, Y, X) images.
    optics
        The pixel size, where it is known.
    first
        Scale, unit and name of the first axis.
    """
    pixel, unit = (optics.pixel_size_um, "um") if optics.pixel_size_um else (1.0, "pixel")
    scale, first_unit, axis = first
    return {
        "scale": (scale, pixel, pixel),
        "units": (first_unit, unit, unit),
        "axis_labels": (axis, "y", "x"),
        "contrast_limits": _limits(images[len(images) // 2]) if len(images) else (0, 255),
        "rgb": False,
    }


def _limits(image: np.ndarray[Any, Any]) -> tuple[float, float]:
    sample = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)]
    low, high = (float(value) for value in np.percentile(sample, (0.1, 99.9)))
    return low, max(high, low + 1)


def _kind(path: Path) -> str:
    """The ``format`` attribute; empty if it is not an HDF5 file of fgaf."""
    try:
        return format_of(path)
    except FormatError:
        return ""
