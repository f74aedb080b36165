"""Which pixels are camera counts: grey, and 8 or 16 bits without sign."""

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
        Neither uint8 nor uint16.
    """
    if dtype.kind != "u" or dtype.itemsize > 2:
        raise FormatError(
            f"{path} has {dtype.name} pixels, stacks hold uint8 or uint16 counts; convert it to 8 "
            "or 16 bit (ImageJ: Image > Type > 16-bit, with scaling off)"
        )


def first_of_equal(path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    """Take one of the colours of (..., S) pixels where red, green and blue are all equal.

    An alpha value, last of two or four, is left out.

    Parameters
    ----------
    path
        The file, named in the error.
    pixels
        (..., S), S colours.

    Raises
    ------
    FormatError
        They differ: the image is a colour one.
    """
    alpha = pixels.shape[-1] in (2, 4)
    colours = pixels[..., :-1] if alpha else pixels
    if any((colours[..., k] != colours[..., 0]).any() for k in range(1, colours.shape[-1])):
        raise colour_error(path)
    first: NDArray[Any] = np.ascontiguousarray(colours[..., 0])
    return first


def colour_error(path: Path) -> FormatError:
    """Say that an image is colour."""
    return FormatError(
        f"{path} is a colour image; convert it to 8 or 16 bit grey (ImageJ: Image > Type > 8-bit)"
    )


def held_bit_depth(frames: NDArray[Any], stated: int | None) -> int:
    """Find the significant bits: as stated, or the least usual number that holds the brightest.

    Parameters
    ----------
    frames
        Images, uint8 or uint16.
    stated
        Significant bits by the file, or None.
    """
    needed = int(frames.max(initial=0)).bit_length()
    if stated is not None and needed <= stated <= 8 * frames.dtype.itemsize:
        return stated
    return next(bits for bits in _BIT_DEPTHS if bits >= needed)


def shifted_bits(frames: NDArray[Any], stated: int | None) -> int:
    """Count the bits by which counts were shifted up to fill 16, as some cameras deliver them.

    Parameters
    ----------
    frames
        Counts.
    stated
        Significant bits by the metadata, where they tell.

    Returns
    -------
    int
        4 for 12 bits, whose largest count is 65520 then; 0 where the lowest bits are in use, or
        the counts fit into as few bits without.
    """
    used = int(np.bitwise_or.reduce(frames, axis=None))
    needed = used.bit_length()
    if frames.dtype.itemsize == 1 or needed <= (stated or 0) < 16:
        return 0
    return next((s for s in _SHIFTS if used % (1 << s) == 0 and needed > 16 - s), 0)
