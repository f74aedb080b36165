"""Nikon's ND2, read by the package nd2."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError
from fgaf.base.extras import optional
from fgaf.dataset.importers.ome import positive
from fgaf.dataset.importers.pixels import check_pixels, colour_error
from fgaf.dataset.importers.zstack import AXES, Claim, Heights, Series, ZStack, complete

if TYPE_CHECKING:
    import nd2

_AXES: Final = {"P": "position", "T": "time", "C": "channel"}
_JULIAN_EPOCH: Final = 2440587.5
_DAY_NS: Final = 86_400 * 10**9
_DAMAGE: Final = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    NameError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@contextmanager
def open_nd2(path: Path) -> Iterator[Series]:
    """Open an ND2 file.

    Positions of single planes are not read: the file has one for all, and its meaning is not
    documented. The order of the planes comes from the recorded direction of the drive.

    Raises
    ------
    FormatError
        The file is damaged or not ND2, has colours, floats, other axes, or a single plane.
    FgafError
        The package nd2 is missing.
    """
    nd2 = optional("nd2")
    try:
        file = nd2.ND2File(path)
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    with file:
        try:
            sizes, dtype = dict(file.sizes), file.dtype
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        if "S" in sizes:
            raise colour_error(path)
        check_pixels(path, np.dtype(dtype))
        odd = [axis for axis, n in sizes.items() if n > 1 and axis not in (*_AXES, *"ZYX")]
        if odd or sizes.get("Z", 1) < 2:
            shown = ", ".join(f"{axis}: {n}" for axis, n in sizes.items())
            raise FormatError(f"{path} is not a z-stack of two or more planes ({shown})")
        several = {name: sizes[axis] for axis, name in _AXES.items() if sizes.get(axis, 1) > 1}
        yield Series(
            path,
            partial(_read, path, file),
            {axis: several[axis] for axis in AXES if axis in several},
        )


def _read(path: Path, file: nd2.ND2File, index: Mapping[str, int]) -> ZStack:
    try:
        return _stack(path, file, index)
    except FormatError:
        raise
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _stack(path: Path, file: nd2.ND2File, index: Mapping[str, int]) -> ZStack:
    wanted = {axis: index[name] for axis, name in _AXES.items() if name in index and axis != "C"}
    numbers = {
        int(place["Z"]): number
        for number, place in enumerate(file.loop_indices)
        if all(place.get(axis, 0) == k for axis, k in wanted.items())
    }
    sequence = [numbers[z] for z in range(file.sizes["Z"])]
    channel = index.get("channel", 0)
    frames = np.stack([_plane(file, number, channel) for number in sequence])
    for z in np.flatnonzero(~frames.any(axis=(1, 2))):
        if not _written(file, path, sequence[z], frames[z].nbytes):
            raise FormatError(
                f"{path} has no data in plane {z + 1}: the recording was interrupted; "
                "--take another"
            )
    loop = next((loop for loop in file.experiment if loop.type == "ZStackLoop"), None)
    step = positive(loop.parameters.stepUm) if loop else None
    described = _channel(file, channel)
    volume = getattr(described, "volume", None)
    microscope = getattr(described, "microscope", None)
    sides = [
        Claim(f"ND2 calibration of {'xy'[k]}", float(volume.axesCalibration[k]))
        for k in (0, 1)
        if volume and volume.axesCalibrated[k] and positive(volume.axesCalibration[k])
    ]
    taken = complete([_julian_day(file, number, channel) for number in sequence])
    way = 1.0 if loop is None or loop.parameters.bottomToTop else -1.0
    heights = Heights(
        "the ND2 z loop", np.asarray(way * np.arange(len(frames)), np.float64), in_um=False
    )
    return ZStack(
        path=path,
        reader="ND2",
        frames=frames,
        files=(path,),
        other_heights=() if loop is None else (heights,),
        steps_um=(Claim("ND2 z step", step),) if step else (),
        pixel_sizes_um=tuple(sides),
        bit_depth=int(file.attributes.bitsPerComponentSignificant),
        numerical_aperture=positive(getattr(microscope, "objectiveNumericalAperture", None)),
        magnification=positive(getattr(microscope, "objectiveMagnification", None)),
        medium_index=positive(getattr(microscope, "immersionRefractiveIndex", None)),
        time_ns=None if taken is None else _epoch_ns(taken),
        time_is_absolute=taken is not None,
    )


def _written(file: nd2.ND2File, path: Path, number: int, n_bytes: int) -> bool:
    """Find whether a frame of zeros is in the file: nd2 returns zeros for a missing frame too."""
    offsets = getattr(getattr(file, "_rdr", None), "_frame_offsets", None)
    if not isinstance(offsets, Mapping) or number not in offsets:
        return False
    stored = 0 if file.attributes.compressionType else n_bytes
    return int(offsets[number]) + stored <= path.stat().st_size


def _plane(file: nd2.ND2File, number: int, channel: int) -> NDArray[Any]:
    frame = np.asarray(file.read_frame(number))
    return np.array(frame[channel] if frame.ndim == 3 else frame)


def _channel(file: nd2.ND2File, channel: int) -> Any:
    """Find the description of a channel; None if it cannot be read."""
    try:
        described: Any = file.metadata
        return described.channels[channel]
    except _DAMAGE:
        return None


def _julian_day(file: nd2.ND2File, number: int, channel: int) -> float | None:
    """Time of a frame in Julian days, if recorded."""
    try:
        metadata: Any = file.frame_metadata(number)
        day = positive(
            metadata.channels[min(channel, len(metadata.channels) - 1)].time.absoluteJulianDayNumber
        )
    except _DAMAGE:
        return None
    return day if day and day > _JULIAN_EPOCH else None


def _epoch_ns(julian: NDArray[np.float64]) -> NDArray[np.int64]:
    days = julian - _JULIAN_EPOCH
    return np.rint(days * _DAY_NS).astype(np.int64)


def _damaged(path: Path, error: Exception) -> FormatError:
    cause = " ".join(str(error).split())[:120] or type(error).__name__
    return FormatError(f"{path} is damaged or not a readable ND2 file ({cause}); export it again")
