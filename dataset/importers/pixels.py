"""Checks that pixels are camera counts: grey, unsigned, 8 or 16 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError

_BIT_DEPTHS: Final = (8, 10, 12, 14, 16)
_SHIFTS: Final = (8, 6, 4, 2)


def check_pixels(path: Path, dtype: np.dtype[Any]) -> None:
    """Refuse pixels that are not camera counts.

    Parameters
    ----------
    path
        The file, named in the error.
    dtype
        Type of its pixels.

    Raises
    ------
    FormatError
        The type is neither uint8 nor uint16.
    """
    if dtype.kind != "u" or dtype.itemsize > 2:
        raise FormatError(
            f"{path} has {dtype.name} pixels, stacks hold uint8 or uint16 counts; convert it to 8 "
            "or 16 bit (ImageJ: Image > Type > 16-bit, with scaling off)"
        )


def first_of_equal(path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    """Take one channel of (..., S) pixels if red, green and blue are equal everywhere.

    An alpha channel, the last of two or four, is dropped.

    Parameters
    ----------
    path
        The file, named in the error.
    pixels
        (..., S), with S channels.

    Raises
    ------
    FormatError
        The channels differ: it is a colour image.
    """
    alpha = pixels.shape[-1] in (2, 4)
    colours = pixels[..., :-1] if alpha else pixels
    if any((colours[..., k] != colours[..., 0]).any() for k in range(1, colours.shape[-1])):
        raise colour_error(path)
    first: NDArray[Any] = np.ascontiguousarray(colours[..., 0])
    return first


class ColourError(FormatError):
    """The image has colours where grey levels are needed."""


def colour_error(path: Path) -> ColourError:
    """Error for a colour image."""
    return ColourError(
        f"{path} is a colour image; convert it to 8 or 16 bit grey (ImageJ: Image > Type > 8-bit)"
    )


def held_bit_depth(frames: NDArray[Any], stated: int | None) -> int:
    """Find the significant bits: as stated, or the smallest usual number that fits the maximum.

    Parameters
    ----------
    frames
        Images, uint8 or uint16.
    stated
        Significant bits from the file, or None.
    """
    needed = int(frames.max(initial=0)).bit_length()
    if stated is not None and needed <= stated <= 8 * frames.dtype.itemsize:
        return stated
    return next(bits for bits in _BIT_DEPTHS if bits >= needed)


def shifted_bits(frames: NDArray[Any], stated: int | None) -> int:
    """Count the bits by which counts were shifted left to fill 16, as some cameras do.

    Parameters
    ----------
    frames
        Counts.
    stated
        Significant bits from the metadata, if known.

    Returns
    -------
    int
        4 for 12 bits, whose largest count is then 65520; 0 if the lowest bits are used, or if
        the counts fit into as few bits without a shift.
    """
    used = int(np.bitwise_or.reduce(frames, axis=None))
    needed = used.bit_length()
    if frames.dtype.itemsize == 1 or needed <= (stated or 0) < 16:
        return 0
    return next((s for s in _SHIFTS if used % (1 << s) == 0 and needed > 16 - s), 0)
