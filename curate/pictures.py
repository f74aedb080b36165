"""Single images for the detector: grey TIFF, PNG or JPEG of 8 or 16 bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.dataset.errors import FgafError, FormatError
from fgaf.dataset.raw import SUFFIX

_TIFF: Final = (".tif", ".tiff")
_OTHER: Final = (".png", ".jpg", ".jpeg", ".bmp")


def find_images(sources: Iterable[Path]) -> list[Path]:
    """List images and raw stacks among files and folders.

    Raises
    ------
    FgafError
        A source is missing, of another kind, or a folder without images.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside = sorted(path for path in source.iterdir() if _known(path))
            if not inside:
                raise FgafError(f"{source} holds no images and no raw stacks")
            found += inside
        elif not source.exists():
            raise FgafError(f"{source} does not exist")
        elif not _known(source):
            raise FgafError(f"{source} is no image that can be searched; convert it to TIFF or PNG")
        else:
            found.append(source)
    return list(dict.fromkeys(found))


def read_pages(path: Path) -> Iterator[npt.NDArray[Any]]:
    """Read the pages of an image file, each (Y, X) uint8 or uint16.

    Colour with three equal channels is taken as grey.

    Raises
    ------
    FormatError
        The file cannot be read.
    FgafError
        It holds colour, or pixels that are not 8 or 16 bit integers.
    """
    for page in _raw_pages(path):
        yield _grey(page, path)


def _known(path: Path) -> bool:
    return path.suffix.lower() in (*_TIFF, *_OTHER) or path.name.endswith(SUFFIX)


def _raw_pages(path: Path) -> Iterator[npt.NDArray[Any]]:
    if path.suffix.lower() in _TIFF:
        import tifffile

        try:
            with tifffile.TiffFile(path) as file:
                for page in file.pages:
                    yield page.asarray()
        except (tifffile.TiffFileError, OSError, ValueError) as error:
            raise FormatError(f"{path} cannot be read as TIFF; save it again") from error
        return
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            plain = {"1": "L", "P": "RGB"}.get(image.mode)
            pixels = np.asarray(image.convert(plain) if plain else image)
    except (UnidentifiedImageError, OSError) as error:
        raise FormatError(f"{path} cannot be read as an image; save it again") from error
    yield pixels


def _grey(pixels: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if pixels.ndim == 3 and pixels.shape[2] in (2, 3, 4):
        colours = pixels[..., : 3 if pixels.shape[2] > 2 else 1]
        if (colours != colours[..., :1]).any():
            raise FgafError(
                f"{path} is a colour image: convert it to 8 or 16 bit grey first (in ImageJ: "
                "Image > Type > 8-bit)"
            )
        pixels = colours[..., 0]
    if pixels.ndim != 2:
        raise FgafError(f"{path} has the shape {pixels.shape}: pass single grey planes (Y, X)")
    if pixels.dtype.kind == "f":
        unsound = "with NaN or infinite pixels" if not np.isfinite(pixels).all() else "of floats"
        raise FgafError(f"{path} is an image {unsound}: convert it to 8 or 16 bit grey levels")
    if pixels.dtype.kind == "i" and pixels.size and pixels.min() >= 0 and pixels.max() < 65536:
        pixels = pixels.astype(np.uint16)
    if pixels.dtype not in (np.dtype("u1"), np.dtype("u2")):
        raise FgafError(f"{path} holds {pixels.dtype}: convert it to 8 or 16 bit grey levels")
    return pixels
