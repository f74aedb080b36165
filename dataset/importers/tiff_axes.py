"""Which axis of a TIFF is the planes, and which axes are stacks."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fgaf.base.errors import FormatError, SettingError

_AXES: Final = {
    "T": "time points",
    "C": "channels",
    "R": "positions",
    "H": "lifetimes",
    "P": "phases",
    "A": "angles",
}
_PLANE_AXES: Final = ("Z", "I", "Q")
STACK_AXES: Final = {"R": "position", "T": "time", "C": "channel"}
"""Axes along which a file holds several stacks."""
_GIVEN_AXES: Final = {"P": "R"} | {axis: axis for axis in "TCZYX"}


def named_axes(path: Path, axes: str, sizes: tuple[int, ...], given: str, always: bool) -> str:
    """Name the axes of a file's pages, from the file or as given.

    Parameters
    ----------
    path
        The file, for errors.
    axes, sizes
        Axes and sizes as read.
    given
        Axes given by the user; empty for none.
    always
        Whether the program that wrote the file always names them.

    Raises
    ------
    SettingError
        The file has several axes without names and none are given, or those given do not fit.
    """
    nameless = [k for k, axis in enumerate(axes) if axis not in "TCZYXSRHPA"]
    shape = " x ".join(str(n) for n in sizes)
    if not given:
        if sum(sizes[k] > 1 for k in nameless) > 1:
            example = "TCZYX"[-len(axes) :] if len(axes) < 5 else "PTCZYX"[-len(axes) :]
            raise SettingError(
                f"{path} has the shape {shape} and does not say which axis is z; name all with "
                f"--axes, as --axes {example} (T time, C channel, P position, Z planes)"
            )
        return axes
    if always or not nameless:
        raise SettingError(f"{path} names its axes itself ({axes}); leave --axes out")
    named = [_GIVEN_AXES.get(axis, "") for axis in given.upper()]
    fits = len(named) == len(axes) and "".join(named[-2:]) == "YX"
    if not fits or "" in named or len(set(named)) < len(named) or "Z" not in named:
        raise SettingError(
            f"--axes {given}: {path} has the shape {shape}; give a letter for each of its "
            f"{len(axes)} axes, each once: Z, of T, C and P what there is, and YX at the end"
        )
    return "".join(named)


def stack_sizes(
    path: Path, axes: str, shape: tuple[int, ...], times_are_planes: bool = False
) -> dict[str, int]:
    """Number of stacks along each axis.

    Parameters
    ----------
    path
        The file, named in the error.
    axes
        A letter for each axis.
    shape
        Size of each axis.
    times_are_planes
        Whether time points count as planes if the file has no planes.

    Raises
    ------
    FormatError
        There are no planes, or an axis is neither planes nor stacks.
    """
    sizes: dict[str, int] = {}
    for axis, n in zip(axes, shape, strict=True):
        sizes[axis] = max(n, sizes.get(axis, 1))
    if times_are_planes and sizes.get("Z", 1) == 1 and "T" in sizes:
        sizes["Z"] = sizes.pop("T")
    planes = [axis for axis in _PLANE_AXES if sizes.get(axis, 1) > 1]
    known = (*_PLANE_AXES, *"YXS", *(STACK_AXES if planes else ()))
    others = [axis for axis in axes if axis not in known and sizes.get(axis, 1) > 1]
    if others:
        axis = others[0]
        found = ", ".join(f"{_AXES.get(a, 'axis ' + a)}: {sizes[a]}" for a in others)
        advice = (
            "if these are planes, pass --planes, or swap Z and T in ImageJ (Image > Hyperstacks > "
            "Re-order)"
            if axis == "T"
            else "save one z-stack to a file"
        )
        raise FormatError(f"{path} is not one z-stack ({found}; axes {axes}); {advice}")
    if not planes:
        raise FormatError(f"{path} holds a single plane; a z-stack has two or more")
    if len(planes) > 1:
        raise FormatError(f"{path} has two plane axes ({axes}); save one z-stack to a file")
    return {name: sizes[axis] for axis, name in STACK_AXES.items() if sizes.get(axis, 1) > 1}
