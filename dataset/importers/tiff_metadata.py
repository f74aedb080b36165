"""What the metadata of ImageJ, Micro-Manager and OME in a TIFF say of a stack read from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from fgaf.dataset.importers.ome import MICROMETRES, SECONDS, OmeImage, integer, micrometres, number
from fgaf.dataset.importers.zstack import (
    Claim,
    ZStack,
    complete,
    micromanager_claims,
    positions_of,
)


def with_imagej(stack: ZStack, tiff: tifffile.TiffFile) -> ZStack:
    """Add spacing and pixel size, where ImageJ wrote the file and gave their unit."""
    meta = tiff.imagej_metadata if tiff.is_imagej else None
    if meta is None:
        return stack
    unit = micrometres(str(meta.get("unit", "")))
    spacing = abs(float(meta.get("spacing") or 0))
    steps, pixels = stack.steps_um, stack.pixel_sizes_um
    if unit is not None:
        if spacing:
            steps += (Claim("ImageJ spacing", spacing * unit),)
        tags = tiff.pages.first.tags
        sides = [
            _inverse(tags[name].value) for name in ("XResolution", "YResolution") if name in tags
        ]
        pixels += tuple(Claim("ImageJ resolution", side * unit) for side in sides if side)
    return replace(stack, reader="ImageJ TIFF", steps_um=steps, pixel_sizes_um=pixels)


def with_micromanager(
    stack: ZStack,
    tiff: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    planes: NDArray[np.intp],
) -> ZStack:
    """Add what Micro-Manager says of all images and of each; `planes` are the stack's pages."""
    if not tiff.is_micromanager:
        return stack
    steps: tuple[Claim, ...] = ()
    pixels: tuple[Claim, ...] = ()
    try:
        summary = tifffile.read_micromanager_metadata(tiff.filehandle, keys={"Summary"})
        steps, pixels = micromanager_claims(summary.get("Summary", {}))
    except (ValueError, TypeError):
        pass  # a file re-saved by another program keeps the page tags alone
    held = [series.pages[int(k)] for k in planes if k < len(series.pages)]
    tags = [page.aspage().tags.get(51123) for page in held if page is not None]
    pages = [tag.value if tag is not None and isinstance(tag.value, dict) else {} for tag in tags]
    if not pages:
        pages = [{}]
    stack = replace(
        stack,
        reader="Micro-Manager TIFF",
        steps_um=stack.steps_um + steps,
        pixel_sizes_um=stack.pixel_sizes_um + pixels,
        bit_depth=integer(pages[0].get("BitDepth")),
    )
    if len(pages) != len(stack.frames):
        return stack
    z, elapsed, exposure = (
        complete([number(page.get(key)) for page in pages])
        for key in ("ZPositionUm", "ElapsedTime-ms", "Exposure-ms")
    )
    return replace(
        stack,
        **positions_of(z, "Micro-Manager ZPositionUm"),
        time_ns=None if elapsed is None else np.rint(elapsed * 1e6).astype(np.int64),
        exposure_us=None if exposure is None else exposure * 1e3,
    )


def with_ome(stack: ZStack, tiff: tifffile.TiffFile, index: Mapping[str, int]) -> ZStack:
    """Add what the OME-XML says of the stack at a position, time point and channel."""
    xml = tiff.ome_metadata
    if xml is None:
        return stack
    ome = OmeImage.parse(stack.path, xml, index.get("position", 0))
    n = len(stack.frames)
    at = (index.get("time", 0), index.get("channel", 0))
    pixel_sizes = [
        Claim(f"OME {name}", value)
        for name in ("PhysicalSizeX", "PhysicalSizeY")
        if (value := ome.length(ome.pixels, name)) is not None
    ]
    step = ome.length(ome.pixels, "PhysicalSizeZ")
    steps = (Claim("OME PhysicalSizeZ", step),) if step is not None else ()
    stack = replace(
        stack,
        reader="OME-TIFF",
        steps_um=steps + stack.steps_um,
        pixel_sizes_um=(*pixel_sizes, *stack.pixel_sizes_um),
        bit_depth=integer(ome.pixels.get("SignificantBits")) or stack.bit_depth,
        numerical_aperture=ome.of_objective("LensNA"),
        magnification=ome.of_objective("NominalMagnification"),
        medium_index=ome.medium_index(),
        record=ome.record() or "",
    )
    z = complete(ome.per_plane(n, at, "PositionZ", MICROMETRES, default_unit=None))
    taken = complete(ome.per_plane(n, at, "DeltaT", SECONDS, default_unit="s"))
    exposed = complete(ome.per_plane(n, at, "ExposureTime", SECONDS, default_unit="s"))
    if stack.z_um is None:
        stack = replace(stack, **positions_of(z, "OME PositionZ"))
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
    # 1:1 is what programs write when nobody calibrated the pixel.
    return denominator / numerator if numerator and numerator != denominator else None
