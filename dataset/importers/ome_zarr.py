"""OME-Zarr images, versions 0.4 and 0.5, as z-stacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from fgaf.base.errors import FormatError
from fgaf.base.extras import optional
from fgaf.base.inputs import require_stored
from fgaf.dataset.formats import ZARR_RECORD
from fgaf.dataset.importers.ome import micrometres, number
from fgaf.dataset.importers.pixels import check_pixels
from fgaf.dataset.importers.zstack import AXES, Claim, Series, ZStack, magnitudes

_UNITS: Final = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "meter": "m"}
_AXES: Final = {"t": "time", "c": "channel"}


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr group or array."""
    return any((path / name).is_file() for name in ("zarr.json", ".zattrs", ".zgroup", ".zarray"))


@contextmanager
def open_ome_zarr(path: Path) -> Iterator[Series]:
    """Open an OME-Zarr image at its full resolution.

    Raises
    ------
    FormatError
        It is not an OME-Zarr image, is a plate or a collection of images, is damaged, or is not a
        z-stack of counts.
    FgafError
        The package zarr is missing.
    """
    zarr = optional("zarr")
    try:
        group = zarr.open_group(path, mode="r")
        attributes = dict(group.attrs)
        described = _multiscales(path, attributes)
        array = group[described["datasets"][0]["path"]]
        axes = [str(axis["name"]).lower() for axis in described["axes"]]
        sizes = dict(zip(axes, array.shape, strict=True))
    except FormatError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, OSError) as error:
        raise FormatError(
            f"{path} is not a readable OME-Zarr image ({type(error).__name__}); name the "
            "folder that holds its multiscales"
        ) from error
    check_pixels(path, np.dtype(array.dtype))
    unknown = [axis for axis in axes if axis not in (*_AXES, "z", "y", "x")]
    if unknown or axes[-2:] != ["y", "x"] or sizes.get("z", 1) < 2:
        shown = ", ".join(f"{axis}: {n}" for axis, n in sizes.items())
        raise FormatError(f"{path} is not a z-stack of two or more planes (axes {shown})")
    several = {name: sizes[axis] for axis, name in _AXES.items() if sizes.get(axis, 1) > 1}
    yield Series(
        path,
        partial(_read, path, array, axes, described, str(attributes.get(ZARR_RECORD, ""))),
        {axis: several[axis] for axis in AXES if axis in several},
    )


def _multiscales(path: Path, attributes: Mapping[str, Any]) -> dict[str, Any]:
    ome = attributes.get("ome", attributes)
    found = ome.get("multiscales")
    if not found:
        inside = (
            "a plate"
            if "plate" in ome
            else "a collection"
            if "bioformats2raw.layout" in ome
            else ""
        )
        hint = f", but {inside}; name one image inside it, such as {path / '0'}" if inside else ""
        raise FormatError(f"{path} is not an OME-Zarr image{hint or '; it has no multiscales'}")
    described = dict(found[0])
    axes = described.get("axes")
    if not axes or not all(isinstance(axis, dict) for axis in axes):
        version = described.get("version") or ome.get("version")
        raise FormatError(
            f"{path} is OME-Zarr {version or 'before 0.4'}, which has neither units nor positions "
            "of its axes; convert it to 0.4 or newer"
        )
    return described


def _read(
    path: Path,
    array: Any,
    axes: list[str],
    described: dict[str, Any],
    record: str,
    index: Mapping[str, int],
) -> ZStack:
    where = tuple(index.get(_AXES[axis], 0) if axis in _AXES else slice(None) for axis in axes)
    files = tuple(sorted(p for p in path.rglob("*") if p.is_file()))
    n_bytes = math.prod(array.shape[k] for k, n in enumerate(where) if isinstance(n, slice))
    stored = sum(file.stat().st_size for file in files)
    require_stored(path, n_bytes * np.dtype(array.dtype).itemsize, stored)
    try:
        frames = np.asarray(array[where])
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        raise FormatError(f"{path} is damaged ({error}); export it again") from error
    steps, pixels = _scales(described, axes)
    return ZStack(
        path=path,
        reader="OME-Zarr",
        frames=frames.astype(frames.dtype.newbyteorder("="), copy=False),
        files=files,
        steps_um=steps,
        pixel_sizes_um=pixels,
        record=record,
        **_origin(described, axes, len(frames)),
    )


def _scales(
    described: dict[str, Any], axes: list[str]
) -> tuple[tuple[Claim, ...], tuple[Claim, ...]]:
    """Z step and pixel size; a scale without a unit of length is ignored."""
    found: dict[str, Claim] = {}
    for axis, (scale, _) in zip(axes, _transforms(described, len(axes)), strict=True):
        unit = _unit(described, axes.index(axis))
        if unit is not None and scale:
            found[axis] = Claim(f"OME-Zarr scale of {axis}", scale * unit)
    steps = (found["z"],) if "z" in found else ()
    return steps, magnitudes([found[axis] for axis in ("y", "x") if axis in found])


def _origin(described: dict[str, Any], axes: list[str], n: int) -> dict[str, Any]:
    """Positions of the planes, if a translation gives the first one; 0 is a default value."""
    z = axes.index("z")
    scale, shift = _transforms(described, len(axes))[z]
    unit = _unit(described, z)
    if unit is None or shift == 0:
        return {}
    return {"z_um": (shift + scale * np.arange(n)) * unit, "z_source": "OME-Zarr translation"}


def _unit(described: dict[str, Any], axis: int) -> float | None:
    name = str(described["axes"][axis].get("unit", ""))
    return micrometres(_UNITS.get(name, name))


def _transforms(described: dict[str, Any], n: int) -> list[tuple[float, float]]:
    """Scale and translation of each axis: those of the full resolution, then those of all.

    Values that are not numbers become NaN.
    """
    scale, shift = np.ones(n), np.zeros(n)
    steps = [
        *described["datasets"][0].get("coordinateTransformations", []),
        *described.get("coordinateTransformations", []),
    ]
    for step in steps:
        kind = step.get("type")
        if kind not in ("scale", "translation") or len(step.get(kind, ())) != n:
            continue
        values = np.array([number(value) for value in step[kind]], dtype=np.float64)
        if kind == "scale":
            scale, shift = scale * values, shift * values
        else:
            shift = shift + values
    return list(zip(scale.tolist(), shift.tolist(), strict=True))
