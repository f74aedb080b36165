"""The napari reader: raw stacks and dataset archives as layers, read from disk when shown."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from fgaf.base.errors import FormatError
from fgaf.dataset.archive import FORMAT as ARCHIVE, Archive
from fgaf.dataset.raw import FORMAT as RAW, SUFFIX, RawStack
from fgaf.dataset.storage.hdf5 import format_of
from fgaf.dataset.storage.optics import Optics

LayerData = tuple[Any, dict[str, Any], str]
_KINDS = (RAW, ARCHIVE)
_CAPTION = "#3d8bfd"
"""Colour of a text that is read on napari's dark canvas and on its light one."""
Reader = Callable[[str | Sequence[str]], list[LayerData]]


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader for files of fgaf and folders of raw stacks; None for anything else."""
    paths = [Path(path)] if isinstance(path, str) else [Path(name) for name in path]
    known = all(any(p.glob(f"*{SUFFIX}")) if p.is_dir() else _kind(p) in _KINDS for p in paths)
    return read_layers if known else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Open each file as one image layer with scale, units and axis labels.

    The file stays open for reading as long as its layer: pixels are read when shown. A folder
    becomes one layer (stack, z, y, x) if all its stacks have the same size. An archive becomes one
    layer (cell, depth, y, x), and a second one with the name and the depth of each patch.

    Raises
    ------
    FormatError
        A file is damaged or newer than this program.
    """
    paths = [path] if isinstance(path, str) else path
    layers: list[LayerData] = []
    for name in map(Path, paths):
        layers += _folder_layers(name) if name.is_dir() else _layers(name)
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


class CellPlanes:
    """Patches (M, S, S) as one array (cells, depths, S, S); patches are read when indexed.

    Parameters
    ----------
    images
        (M, S, S), the rows of one cell after the other.
    depths
        Rows of each cell.
    """

    def __init__(self, images: Any, depths: int) -> None:
        self._images = images
        self._rows = np.arange(len(images)).reshape(-1, depths)
        self.shape = (*self._rows.shape, *images.shape[1:])
        self.dtype = images.dtype
        self.ndim = 4

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> np.ndarray[Any, Any]:
        """Read an index of integers and slices."""
        index = index if isinstance(index, tuple) else (index,)
        rows, inner = self._rows[index[:2]], index[2:]
        patches = [self._images[int(row)][inner] for row in np.ravel(rows)]
        if not patches:
            return np.empty((*rows.shape, *self.shape[2:]), self.dtype)
        return np.asarray(np.stack(patches).reshape(*rows.shape, *patches[0].shape))

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
        return [layer for path in paths for layer in _layers(path)]
    shape, dtype, step, optics = kinds.pop()
    series = Series(paths, shape, dtype)
    middle = shape[0] // 2
    settings = settings_of(series[0, middle : middle + 1], optics, (step, "um", "z"))
    for name, first in (("scale", 1.0), ("units", "pixel"), ("axis_labels", "stack")):
        settings[name] = (first, *settings[name])
    about = {"format": RAW, "paths": [str(path) for path in paths]}
    return [(series, settings | {"name": folder.name, "metadata": about}, "image")]


def _layers(path: Path) -> list[LayerData]:
    lifetime = ExitStack()
    kind = _kind(path)
    about: dict[str, Any] = {"format": kind, "path": str(path), "lifetime": lifetime}
    if kind == RAW:
        stack = lifetime.enter_context(RawStack.open(path))
        images, settings = stack_layer(stack)
        about["fgaf"] = stack.header.model_dump()
        return [(images, settings | {"metadata": about}, "image")]
    archive = lifetime.enter_context(Archive.open(path))
    about["fgaf"] = archive.header.model_dump()
    images, settings = archive_layer(archive)
    settings |= {"name": path.stem, "metadata": about}
    # The image comes last, so that it and not the text is active.
    return [_captions(archive, settings), (images, settings, "image")]


def archive_layer(archive: Archive) -> tuple[Any, dict[str, Any]]:
    """Pixels and settings of an image layer of an open archive.

    The layer is (cell, depth, y, x), its depth axis in µm, if all cells have the same classes; else
    it is (patch, y, x).

    Parameters
    ----------
    archive
        The archive.
    """
    step, optics = archive.header.step_um, archive.header.optics
    n = len(archive.depth_um) // max(archive.n_cells, 1)
    classes = archive.depth_class
    if n == 0 or len(classes) % n or (classes.reshape(-1, n) != classes[:n]).any():
        return archive.images, settings_of(archive.images, optics, (1.0, "pixel", "patch"))
    images = CellPlanes(archive.images, n)
    settings = settings_of(images[0], optics, (step, "um", "depth"))
    for name, first in (("scale", 1.0), ("units", "pixel"), ("axis_labels", "cell")):
        settings[name] = (first, *settings[name])
    settings["translate"] = (0.0, float(archive.class_depths_um[classes[0]]), 0.0, 0.0)
    return images, settings


def captions(archive: Archive) -> list[str]:
    """Name what every patch of an archive shows: its cell, its depth class and its depth.

    Parameters
    ----------
    archive
        The archive.
    """
    return [
        f"{archive.cells.id[cell]}: {depth:+.2f} µm, class {number + 1} of {archive.n_classes}"
        for cell, depth, number in zip(
            archive.cell, archive.depth_um, archive.depth_class, strict=True
        )
    ]


def _captions(archive: Archive, image: dict[str, Any]) -> LayerData:
    """A text above every patch: a layer of points that are not seen."""
    m, side = len(archive.depth_um), archive.header.patch_px
    each = m // max(archive.n_cells, 1)
    first = np.divmod(np.arange(m), each) if len(image["scale"]) == 4 else (np.arange(m),)
    places = np.column_stack([*first, np.full(m, -0.05 * side), np.zeros(m)])
    corner = (*(axis[-1:].sum() for axis in first), side, side)  # for the view to fit the patches
    settings: dict[str, Any] = {
        name: image[name]
        for name in ("scale", "units", "axis_labels", "translate")
        if name in image
    }
    settings |= {
        "name": f"{image['name']}, captions",
        "features": {"caption": [*captions(archive), ""]},
        "text": {"string": "caption", "anchor": "lower_left", "size": 11, "color": _CAPTION},
        "size": 1,
        "face_color": "transparent",
        "border_color": "transparent",
    }
    return np.vstack([places, corner]), settings, "points"


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
