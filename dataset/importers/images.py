"""Read images from files, in the same way for all importers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fgaf.base.console import count
from fgaf.base.errors import FormatError
from fgaf.base.inputs import require_file, require_stored
from fgaf.dataset.importers.ome_set import describing, placed_images
from fgaf.dataset.importers.pixels import ColourError, check_pixels, first_of_equal
from fgaf.dataset.importers.tiff_file import (
    TIFF_SUFFIXES,
    contiguous,
    grey_pages,
    is_tiff,
    micromanager_tag,
    opened_tiff,
    require_held,
)
from fgaf.dataset.importers.tiff_metadata import (
    imagej_claims,
    lsm_claims,
    micromanager_summary,
    ome_claims,
    with_micromanager,
)
from fgaf.dataset.importers.zstack import Claim, ZStack, settle

OTHER_SUFFIXES: Final = (".png", ".bmp", ".jpg", ".jpeg")
IMAGE_SUFFIXES: Final = (*TIFF_SUFFIXES, *OTHER_SUFFIXES)
_GREY_MODES: Final = {"L": "u1", "I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2"}
_MOST_PIXEL_BYTES: Final = 4
_COLOUR_MODES: Final = {
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "LA": "LA",
    "YCbCr": "RGB",
    "CMYK": "RGB",
}


def read_image(path: Path) -> NDArray[Any]:
    """Read the only image of a file, (Y, X) uint8 or uint16.

    Raises
    ------
    FormatError
        As `read_images`, or the file has several images.
    """
    image, *others = itertools.islice(read_images(path), 2)
    if others:
        raise FormatError(
            f"{path} holds several pages: name the stack files themselves, or keep one plane to a "
            "file in a folder of numbered images"
        )
    return image


def read_images(path: Path) -> Iterator[NDArray[Any]]:
    """Read the images of a file one by one, each (Y, X) uint8 or uint16: the pages of a TIFF.

    Equal colour channels count as grey. Pages that store white as zero are inverted, so that more
    light is a larger number.

    Raises
    ------
    FormatError
        The file is damaged, has colours, or does not hold counts.
    """
    if not is_tiff(path):
        yield _other(path)
        return
    with opened_tiff(path) as tiff:
        for page, decoded in _pages(path, tiff):
            pixels = grey_pages(path, tiff, page, decoded)
            if pixels.ndim != 2:
                shape = " x ".join(str(n) for n in pixels.shape)
                raise FormatError(f"{path} has pages of {shape} pixels; save single grey planes")
            yield pixels


def count_images(path: Path) -> int:
    """Count the images of a file, with thumbnails.

    Raises
    ------
    FormatError
        The file is damaged.
    """
    if not is_tiff(path):
        return 1
    with opened_tiff(path) as tiff:
        pages = len(tiff.pages)
        return pages if pages > 1 else _planes_of_only_page(tiff)


def read_luminance(path: Path) -> tuple[NDArray[Any], bool]:
    """Read the only image of a file, (Y, X) uint8 or uint16; of a colour image its luminance.

    Returns
    -------
    tuple
        The image, and whether it was in colour.

    Raises
    ------
    FormatError
        As `read_image`; or the colours have more than 8 bits, or several pages.
    """
    try:
        return read_image(path), False
    except ColourError:
        try:
            with Image.open(path) as image:
                if getattr(image, "n_frames", 1) == 1:
                    return np.asarray(image.convert("RGB").convert("L")), True
        except (OSError, SyntaxError, ValueError):
            pass
        raise


def read_luminances(path: Path) -> tuple[Iterator[NDArray[Any]], bool]:
    """Read the images of a file as `read_images` does; of a single colour image its luminance.

    Returns
    -------
    tuple
        The images, and whether the file was in colour.

    Raises
    ------
    FormatError
        As `read_images` and `read_luminance`.
    """
    images = read_images(path)
    try:
        first = next(images)
    except ColourError:
        return iter([read_luminance(path)[0]]), True
    return itertools.chain([first], images), False


def luminance_notice(number: int) -> str:
    """Tell that some images were in colour.

    Parameters
    ----------
    number
        How many.
    """
    return f"{count(number, 'image')} in colour: the luminance is used"


def read_alike(path: Path) -> NDArray[Any]:
    """Read all images of a file, (N, Y, X) uint8 or uint16.

    Raises
    ------
    FormatError
        As `read_images`, or the images differ in size or type.
    """
    images = list(read_images(path))
    if len({(image.shape, image.dtype) for image in images}) > 1:
        raise FormatError(f"{path} has pages of different sizes or types; save equal ones together")
    return np.stack(images)


def _pages(path: Path, tiff: tifffile.TiffFile) -> Iterator[tuple[tifffile.TiffPage, NDArray[Any]]]:
    """Decode every page except thumbnails; ImageJ describes only the first page of a large file."""
    if len(tiff.pages) == 1 and _planes_of_only_page(tiff) > 1:
        for pixels in contiguous(path, tiff.series[0]):
            yield tiff.pages.first, pixels
        return
    for page in (held.aspage() for held in tiff.pages):
        if not page.is_reduced:
            require_held(path, page)
            yield page, page.asarray()


def _planes_of_only_page(tiff: tifffile.TiffFile) -> int:
    return int(np.prod(tiff.series[0].shape) // np.prod(tiff.pages.first.shape))


def pixel_size_of(path: Path, given: float | None) -> float | None:
    """Find the pixel size of an image file, µm, from the given value or a TIFF's metadata.

    Parameters
    ----------
    path
        The image file.
    given
        Side of a pixel in the specimen, µm; None if not given.

    Raises
    ------
    SettingError
        Two values differ.
    FormatError
        The TIFF is damaged.
    """
    option = Claim("--pixel-size", given) if given is not None else None
    claims: tuple[Claim, ...] = ()
    if is_tiff(path):
        with opened_tiff(path) as tiff:
            claims = _pixel_claims(path, tiff)
    settled = settle("pixel size", path, claims, option)
    return settled.value if settled else None


def _pixel_claims(path: Path, tiff: tifffile.TiffFile) -> tuple[Claim, ...]:
    """Read the pixel size in a TIFF; for a file of a set, that of its own images."""
    claims = (*imagej_claims(tiff)[1], *lsm_claims(tiff)[1])
    if tiff.is_micromanager:
        blank = ZStack(path, "", np.empty(0), ())
        tags = [micromanager_tag(tiff.pages.first)]
        claims += with_micromanager(blank, micromanager_summary(tiff), tags).pixel_sizes_um
    if tiff.ome_metadata:
        with suppress(FormatError):  # the description of the set is elsewhere
            for image in placed_images(describing(path, tiff.ome_metadata)):
                claims += ome_claims(image.ome)[1] if path in image.files else ()
    return claims


def _other(path: Path) -> NDArray[Any]:
    require_file(path)
    try:
        with Image.open(path) as image:
            claimed = image.width * image.height * _MOST_PIXEL_BYTES
            require_stored(path, claimed, path.stat().st_size)
            if image.mode in _COLOUR_MODES:
                colours = np.asarray(image.convert(_COLOUR_MODES[image.mode]))
                return first_of_equal(path, colours)
            pixels = np.asarray(image)
            mode = image.mode
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(
            f"{path} is damaged or not an image ({error}); export it again"
        ) from error
    if mode not in _GREY_MODES:
        check_pixels(path, pixels.dtype)
        raise FormatError(f"{path} is of PIL mode {mode}; convert it to 8-bit grey")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
