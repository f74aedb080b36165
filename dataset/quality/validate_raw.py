"""Checks of a raw stack: positions of the planes, and valid images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from fgaf.dataset.findings import Finding, some
from fgaf.dataset.raw import RawStack

_OFF_STEP: Final = 0.25
_SATURATED_SHARE: Final = 0.01


def raw_findings(stack: RawStack) -> Iterator[Finding]:
    """Check numbers and pixels of an open stack."""
    yield from _numbers(stack)
    yield from _plan(stack)
    yield from _pixels(stack)


def _numbers(stack: RawStack) -> Iterator[Finding]:
    bad = [name for name, values in stack.planes.items() if not np.isfinite(values).all()]
    if bad:
        yield Finding(
            "non-finite",
            "error",
            f"numbers that are not finite in {some(f'/planes/{name}' for name in bad)}",
            "take the stack again",
        )
    spacing = np.diff(stack.z_um)
    if not (spacing > 0).all():
        planes = np.flatnonzero(~(spacing > 0)) + 1
        yield Finding(
            "z-order",
            "error",
            f"z does not ascend at plane {some(planes + 1)}",
            "check the drive and take the stack again",
        )
    ids = stack.planes["frame_id"]
    forwards = -1 if len(ids) > 1 and (np.diff(ids) < 0).all() else 1  # taken downwards
    if len(set(ids.tolist())) < len(ids):
        yield Finding(
            "frame-repeated",
            "error",
            "one camera frame number stands for several planes",
            "take the stack again",
        )
    elif (np.diff(ids) != forwards).any():
        yield Finding(
            "frame-skipped",
            "note",
            "the camera's frame numbers skip between planes",
            "nothing, if the camera ran between planes",
        )
    for name in ("time_device_ns", "time_host_ns"):
        times = stack.planes[name]
        if (times != 0).any() and (forwards * np.diff(times) < 0).any():
            yield Finding("time-order", "warning", f"{name} goes back", "check the clocks")


def _plan(stack: RawStack) -> Iterator[Finding]:
    header = stack.header
    step = header.step_um
    off = np.abs(stack.z_um - stack.planes["z_requested_um"]) > _OFF_STEP * step
    if off.any():
        yield Finding(
            "z-off-target",
            "warning",
            f"the drive stopped over {_OFF_STEP:g} steps from the plan at plane "
            f"{some(np.flatnonzero(off) + 1)}",
            "check the drive's settling and tolerance",
        )
    uneven = np.abs(np.diff(stack.planes["z_requested_um"]) - step) > _OFF_STEP * step
    if uneven.any():
        yield Finding(
            "z-step",
            "warning",
            f"planes are not {step:g} µm apart at plane {some(np.flatnonzero(uneven) + 2)}",
            "check the step given at import",
        )
    if not header.complete or stack.n_planes != header.planned_planes:
        yield Finding(
            "incomplete",
            "warning",
            f"holds {stack.n_planes} of {header.planned_planes} planned planes",
            "use what it holds, or take the stack again",
        )
    elif abs(2 * header.half_range_um - (stack.n_planes - 1) * step) > step / 2:
        yield Finding(
            "range",
            "warning",
            f"{stack.n_planes} planes {step:g} µm apart do not span ±{header.half_range_um:g} µm",
            "check the step given at import",
        )
    if header.optics.pixel_size_um is None:
        yield Finding(
            "pixel-size",
            "note",
            "the pixel size is unknown",
            "give it when recording or importing; the detector needs it",
        )


def _pixels(stack: RawStack) -> Iterator[Finding]:
    full = 2**stack.header.bit_depth - 1
    constant, saturated, beyond, repeated = [], [], [], []
    before = None
    for plane in range(stack.n_planes):
        frame = stack.frames[plane]
        if frame.size == 0 or frame.min() == frame.max():
            constant.append(plane)
        elif before is not None and np.array_equal(frame, before):
            repeated.append(plane)
        if (frame > full).any():
            beyond.append(plane)
        if (frame >= full).mean() > _SATURATED_SHARE:
            saturated.append(plane)
        before = frame
    if constant:
        yield Finding(
            "constant-image",
            "error",
            f"every pixel is the same in plane {some(p + 1 for p in constant)}",
            "check light, shutter and cable, and take the stack again",
        )
    if beyond:
        yield Finding(
            "bit-depth",
            "error",
            f"counts above {full} ({stack.header.bit_depth} bit) in plane "
            f"{some(p + 1 for p in beyond)}",
            "check the camera's pixel format",
        )
    if saturated:
        yield Finding(
            "saturated-image",
            "warning",
            f"more than {_SATURATED_SHARE:.0%} of the pixels are at {full} in plane "
            f"{some(p + 1 for p in saturated)}",
            "lower the exposure",
        )
    if repeated:
        yield Finding(
            "repeated-plane",
            "error",
            f"plane {some(p + 1 for p in repeated)} is the same image as the one before",
            "check that every plane is a new exposure, and take the stack again",
        )
