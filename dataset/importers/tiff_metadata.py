"""Metadata of a stack in a TIFF, as ImageJ, LSM, Micro-Manager and OME write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tifffile

from fgaf.dataset.importers.ome import (
    MICROMETRES,
    SECONDS,
    OmeImage,
    integer,
    micrometres,
    number,
    positive,
)
from fgaf.dataset.importers.zstack import (
    Claim,
    Heights,
    ZStack,
    complete,
    filled_up,
    micromanager_claims,
    positions_of,
)

Claims = tuple[Claim, ...]


def imagej_claims(tiff: tifffile.TiffFile) -> tuple[Claims, Claims, tuple[Heights, ...]]:
    """Read spacing, pixel size and the order of planes, if ImageJ wrote the file.

    x and y may have different units; a spacing without a unit of length gives only the order.
    """
    meta = tiff.imagej_metadata if tiff.is_imagej else None
    if meta is None:
        return (), (), ()
    unit, y_unit, z_unit = (
        micrometres(str(meta.get(name) or meta.get("unit") or ""))
        for name in ("unit", "yunit", "zunit")
    )
    spacing = number(meta.get("spacing")) or 0.0
    steps: Claims = ()
    order: tuple[Heights, ...] = ()
    if spacing and z_unit is not None:
        steps = (Claim("ImageJ spacing", spacing * z_unit),)
    elif spacing < 0:
        order = (Heights("ImageJ spacing", np.array([0.0, spacing]), in_um=False),)
    tags = tiff.pages.first.tags
    if tags.valueof(296) == tifffile.RESUNIT.CENTIMETER and unit is not None:
        unit = y_unit = MICROMETRES["cm"]  # as Micro-Manager writes and ImageJ reads it
    sides = [
        (_inverse(tags[name].value), um)
        for name, um in (("XResolution", unit), ("YResolution", y_unit))
        if name in tags and um is not None
    ]
    return steps, tuple(Claim("ImageJ resolution", side * um) for side, um in sides if side), order


def with_imagej(stack: ZStack, tiff: tifffile.TiffFile) -> ZStack:
    """Add spacing and pixel size, if ImageJ wrote the file and gave their unit.

    Parameters
    ----------
    stack
        As it was read; it stays as it is.
    tiff
        The open file.
    """
    if not tiff.is_imagej:
        return stack
    steps, pixels, order = imagej_claims(tiff)
    return replace(
        stack,
        reader="ImageJ TIFF",
        steps_um=stack.steps_um + steps,
        pixel_sizes_um=stack.pixel_sizes_um + pixels,
        other_heights=stack.other_heights + order,
    )


def lsm_claims(tiff: tifffile.TiffFile) -> tuple[Claims, Claims]:
    """Read z step and pixel size of a Zeiss LSM file, stored in metres."""
    metadata = tiff.lsm_metadata or {}
    step, *sides = (number(metadata.get(f"VoxelSize{axis}")) for axis in "ZXY")
    pixels = tuple(
        Claim(f"LSM VoxelSize{axis}", m * 1e6) for axis, m in zip("XY", sides, strict=True) if m
    )
    return (Claim("LSM VoxelSizeZ", step * 1e6),) if step else (), pixels


def with_lsm(stack: ZStack, tiff: tifffile.TiffFile) -> ZStack:
    """Add the voxel size of a Zeiss LSM file.

    Parameters
    ----------
    stack
        As it was read; it stays as it is.
    tiff
        The open file.
    """
    if not tiff.is_lsm:
        return stack
    steps, pixels = lsm_claims(tiff)
    return replace(stack, reader="LSM", steps_um=steps, pixel_sizes_um=pixels)


def with_micromanager(
    stack: ZStack, summary: Mapping[str, Any], pages: Sequence[Mapping[str, Any]]
) -> ZStack:
    """Add Micro-Manager's metadata of all images and of each image of the stack.

    Parameters
    ----------
    stack
        As it was read; it stays as it is.
    summary
        Metadata of all images.
    pages
        Metadata of each image of the stack.
    """
    steps, pixels = micromanager_claims(dict(summary))
    first = pages[0] if pages else {}
    own = positive(first.get("PixelSizeUm"))
    if own is not None:
        pixels = (*pixels, Claim("Micro-Manager PixelSizeUm", own))
    stack = replace(
        stack,
        reader="Micro-Manager TIFF",
        steps_um=stack.steps_um + steps,
        pixel_sizes_um=stack.pixel_sizes_um + pixels,
        bit_depth=integer(first.get("BitDepth")) or integer(summary.get("BitDepth")),
    )
    if len(pages) != len(stack.frames):
        return stack
    elapsed, exposure = (
        complete([number(page.get(key)) for page in pages])
        for key in ("ElapsedTime-ms", "Exposure-ms")
    )
    z = filled_up([number(page.get("ZPositionUm")) for page in pages])
    return replace(
        stack,
        **positions_of(z, "Micro-Manager ZPositionUm"),
        time_ns=None if elapsed is None else np.rint(elapsed * 1e6).astype(np.int64),
        exposure_us=None if exposure is None else exposure * 1e3,
    )


def micromanager_summary(tiff: tifffile.TiffFile) -> dict[str, Any]:
    """Read Micro-Manager's metadata of all images of a file."""
    try:
        metadata = tifffile.read_micromanager_metadata(tiff.filehandle, keys={"Summary"})
    except (ValueError, TypeError):
        return {}  # a file re-saved by another program keeps only the page tags
    summary = metadata.get("Summary")
    return summary if isinstance(summary, dict) else {}


def micromanager_major(tiff: tifffile.TiffFile) -> int:
    """Find the NDTiff version of a file; 0 if it is not NDTiff."""
    if not tiff.is_micromanager:
        return 0
    metadata = tifffile.read_micromanager_metadata(tiff.filehandle, keys=())
    return integer(metadata.get("MajorVersion")) or 0


def ome_claims(ome: OmeImage) -> tuple[Claims, Claims]:
    """Read z step and pixel size from OME-XML."""
    sides = (
        Claim(f"OME {name}", value)
        for name in ("PhysicalSizeX", "PhysicalSizeY")
        if (value := ome.length(ome.pixels, name)) is not None
    )
    step = ome.length(ome.pixels, "PhysicalSizeZ")
    return (Claim("OME PhysicalSizeZ", step),) if step is not None else (), tuple(sides)


def with_ome(stack: ZStack, ome: OmeImage, at: tuple[int, int]) -> ZStack:
    """Add the OME-XML metadata of a stack at a time point and channel.

    Parameters
    ----------
    stack
        As it was read; it stays as it is.
    ome
        One image of the OME-XML.
    at
        Time point and channel, counted from 0.
    """
    n = len(stack.frames)
    steps, pixels = ome_claims(ome)
    stack = replace(
        stack,
        steps_um=steps + stack.steps_um,
        pixel_sizes_um=pixels + stack.pixel_sizes_um,
        bit_depth=integer(ome.pixels.get("SignificantBits")) or stack.bit_depth,
        numerical_aperture=ome.of_objective("LensNA"),
        magnification=ome.of_objective("NominalMagnification"),
        medium_index=ome.medium_index(),
        record=ome.record() or "",
    )
    z = filled_up(ome.per_plane(n, at, "PositionZ", MICROMETRES, default_unit=None))
    if z is not None and stack.z_um is None:
        stack = replace(stack, **positions_of(z, "OME PositionZ"))
    elif z is not None:
        stack = replace(stack, other_heights=(*stack.other_heights, Heights("OME PositionZ", z)))
    else:
        order = filled_up(ome.numbers(n, at, "PositionZ"))
        if order is not None:
            heights = Heights("OME PositionZ", order, in_um=False)
            stack = replace(stack, other_heights=(*stack.other_heights, heights))
    taken = complete(ome.per_plane(n, at, "DeltaT", SECONDS, default_unit="s"))
    exposed = complete(ome.per_plane(n, at, "ExposureTime", SECONDS, default_unit="s"))
    if taken is not None:
        start = ome.acquired_s()
        stack = replace(
            stack,
            time_ns=np.rint((taken + (start or 0.0)) * 1e9).astype(np.int64),
            time_is_absolute=start is not None,
        )
    if exposed is not None:
        stack = replace(stack, exposure_us=exposed * 1e6)
    return stack


def _inverse(rational: Any) -> float | None:
    numerator, denominator = rational if isinstance(rational, tuple) else (rational, 1)
    # Programs write 1:1 if the pixel is not calibrated.
    return denominator / numerator if numerator and numerator != denominator else None
