"""A z-stack as other programs store it: its planes and their metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.bounds import Bound, PixelUm, StepUm, bound_of
from fgaf.base.errors import FormatError, SettingError
from fgaf.dataset.importers.ome import number

AXES: Final = {"position": "positions", "time": "time points", "channel": "channels"}
"""Axes along which a file may hold several stacks, and their plurals."""
_CLOSE: Final = 0.005
_TIME: Final = Bound(-1e9, 1e9)


@dataclass(frozen=True)
class Claim:
    """A number and its source."""

    source: str
    value: float


@dataclass(frozen=True)
class Heights:
    """Numbers recorded for every plane, and their source.

    Attributes
    ----------
    source
        Name of the metadata entry.
    values
        (P,) float64.
    in_um
        Whether they are positions in µm; otherwise only their order counts.
    """

    source: str
    values: NDArray[np.float64]
    in_um: bool = True


@dataclass(frozen=True)
class ZStack:
    """Planes read from one file or folder, in their stored order.

    Attributes
    ----------
    path : Path
        The file or folder.
    reader : str
        Format as which it was read, such as "OME-TIFF".
    frames : (P, Y, X) uint8 or uint16
        The pixels as stored.
    files : tuple of Path
        Every file from which pixels were read.
    steps_um, pixel_sizes_um : tuple of Claim
        Z step and pixel size in the metadata; empty if absent. A negative step means that the
        planes are stored from the highest to the lowest.
    z_um : (P,) float64 or None
        Drive position of every plane, if recorded and not constant.
    z_source : str
        Source of `z_um`.
    other_heights : tuple of Heights
        Other positions recorded for every plane, by other programs or without a unit.
    bit_depth : int or None
        Significant bits in the metadata.
    numerical_aperture, magnification, medium_index : float or None
        The objective, if described.
    time_ns : (P,) int64 or None
        Time of every plane, ns since the epoch; since the first plane if `time_is_absolute` is
        false.
    time_is_absolute : bool
        Whether `time_ns` counts from the epoch.
    exposure_us : (P,) float64 or None
        Exposure times.
    record : str
        Record of the raw stack from which this was exported; empty for other images.
    """

    path: Path
    reader: str
    frames: NDArray[Any]
    files: tuple[Path, ...]
    steps_um: tuple[Claim, ...] = ()
    pixel_sizes_um: tuple[Claim, ...] = ()
    z_um: NDArray[np.float64] | None = None
    z_source: str = ""
    other_heights: tuple[Heights, ...] = ()
    bit_depth: int | None = None
    numerical_aperture: float | None = None
    magnification: float | None = None
    medium_index: float | None = None
    time_ns: NDArray[np.int64] | None = None
    time_is_absolute: bool = False
    exposure_us: NDArray[np.float64] | None = None
    record: str = ""


@dataclass(frozen=True)
class Series:
    """The z-stacks of one open file or folder.

    Attributes
    ----------
    path
        The file or folder.
    read
        Reads one stack, given an index into every axis of `sizes`.
    sizes
        Number of stacks along each of `AXES`; only axes with more than one.
    members
        Every file of the set, including missing ones; empty for a single file.
    name
        Name of the set; empty for a single file.
    """

    path: Path
    read: Callable[[Mapping[str, int]], ZStack]
    sizes: dict[str, int] = field(default_factory=dict)
    members: tuple[Path, ...] = ()
    name: str = ""

    def __str__(self) -> str:
        return ", ".join(f"{AXES[axis]}: {n}" for axis, n in self.sizes.items())

    def only(self) -> ZStack:
        """Read the only stack.

        Raises
        ------
        FormatError
            There are several, or it is not a stack of grey counts.
        """
        if self.sizes:
            raise FormatError(f"{self.path} is not one z-stack ({self}); save one to a file")
        return self.read({})


def count_passes(path: Path, pages: int, planes: int) -> int:
    """Count the passes through z in the pages of a file.

    Parameters
    ----------
    path
        The file, named in the error.
    pages
        Number of its pages.
    planes
        Planes per pass.

    Raises
    ------
    SettingError
        There are fewer than two planes, or the pages are not a multiple of them.
    """
    if planes < 2 or pages % planes:
        raise SettingError(
            f"--planes {planes}: {path} has {pages} pages, not a whole number of stacks of "
            "two or more planes; give the planes of one pass"
        )
    return pages // planes


def magnitudes(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Take the absolute size of steps, some of which are signed."""
    return tuple(Claim(claim.source, abs(claim.value)) for claim in claims)


def settle(what: str, path: Path, claims: Sequence[Claim], option: Claim | None) -> Claim | None:
    """Find the value on which metadata and option agree; None if neither gives one.

    Parameters
    ----------
    what
        What the value is, such as "pixel size".
    path
        The file, named in the error.
    claims
        Values from the file's metadata, µm.
    option
        The value that the user gave, µm, or None.

    Raises
    ------
    SettingError
        One is out of bounds, or two differ by more than 0.5 %; the message has both.
    """
    said = [*claims, *([option] if option else [])]
    for claim in said:
        bound = bound_of(PixelUm if what == "pixel size" else StepUm)
        if bound is not None and bound.fault(claim.value):
            raise SettingError(
                f"{path}: the {what} of {claim.value:g} µm by {claim.source} makes no sense; "
                f"give {bound} with --ignore-metadata"
            )
    for other in said[1:]:
        if abs(other.value - said[0].value) > _CLOSE * said[0].value:
            raise SettingError(
                f"{path}: the {what} is {said[0].value:g} µm by {said[0].source} and "
                f"{other.value:g} µm by {other.source}; leave the wrong one out, or pass "
                "--ignore-metadata to go by the options alone"
            )
    return said[0] if said else None


def micromanager_claims(summary: dict[str, Any]) -> tuple[tuple[Claim, ...], tuple[Claim, ...]]:
    """Read z step and pixel size from a Micro-Manager summary, where 0 means unknown.

    The step is negative if the planes were taken downwards.
    """
    step = number(summary.get("z-step_um"))
    pixel = number(summary.get("PixelSize_um"))
    return (
        (Claim("Micro-Manager z-step_um", step),) if step else (),
        (Claim("Micro-Manager PixelSize_um", pixel),) if pixel else (),
    )


def positions_of(z: NDArray[np.float64] | None, source: str) -> dict[str, Any]:
    """Recorded positions; empty if constant, as for a drive that did not move.

    Parameters
    ----------
    z
        (P,) positions of the planes, µm, or None.
    source
        Source of the positions.
    """
    if z is None or np.ptp(z) == 0:
        return {}
    return {"z_um": z, "z_source": source}


def complete(values: list[float | None]) -> NDArray[np.float64] | None:
    """Make an array of times; None if one is missing or invalid."""
    if not values or any(value is None or _TIME.fault(value) for value in values):
        return None
    return np.array(values, dtype=np.float64)


def filled_up(values: Sequence[float | None]) -> NDArray[np.float64] | None:
    """Make an array of positions; missing ones are interpolated linearly.

    None if fewer than two are recorded.
    """
    known = [k for k, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return None
    held = np.array([values[k] for k in known], dtype=np.float64)
    filled: NDArray[np.float64] = np.interp(np.arange(len(values)), known, held)
    for k in range(len(values)):
        a, b = (0, 1) if k < known[0] else (-2, -1)
        if k < known[0] or k > known[-1]:
            slope = (held[b] - held[a]) / (known[b] - known[a])
            filled[k] = held[a] + slope * (k - known[a])
    return filled
