"""Input files of prediction: patches, fields, raw stacks and archives, read as patches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import FgafError, SettingError
from fgaf.base.workers.progress import part
from fgaf.curate.detection.detect import detect
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.curate.tracking.find import find_tracks
from fgaf.dataset.archive import Archive
from fgaf.dataset.importers.images import IMAGE_SUFFIXES, pixel_size_of, read_luminance
from fgaf.dataset.importers.tiff import read_tiff
from fgaf.dataset.importers.tiff_file import holds_pages
from fgaf.dataset.raw import RawStack
from fgaf.dataset.storage.optics import Optics
from fgaf.model.inference.card import ModelCard, require_same

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

STACK, ARCHIVE = ".stack.h5", ".h5"
_SEARCH_SHARE = 0.6
"""Of the time of a field, for its bar; the network takes the rest."""
_KNOWN = (*IMAGE_SUFFIXES, ARCHIVE)


@dataclass(frozen=True)
class Patches:
    """Patches of one file, (N, S, S), and the position of each: (N,) columns.

    Attributes
    ----------
    images
        Grey values.
    plane, cell
        Page or plane, and number of the cell, counted from 0.
    y, x
        Centre of the crop in the image, pixels; NaN for images that are patches themselves.
    field
        Planes and size (P, Y, X) of the field that they were cropped from; None if there is none.
    pixel_um
        Pixel in the specimen; None if unknown.
    """

    images: npt.NDArray[Any]
    plane: Integers
    cell: Integers
    y: Floats
    x: Floats
    field: tuple[int, int, int] | None = None
    pixel_um: float | None = None


def find_files(paths: list[Path]) -> list[Path]:
    """List the files; folders are replaced by the images, stacks and archives in them.

    Raises
    ------
    FgafError
        One does not exist, or a folder holds nothing to predict.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.lower().endswith(_KNOWN))
            if not inside:
                raise FgafError(f"{path} contains no TIFF, PNG or HDF5 files; give the files")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FgafError(f"{path} does not exist; check the name")
    return found


def read_patches(
    path: Path,
    card: ModelCard,
    pixel_size_um: float | None = None,
    head_um: float | None = None,
    *,
    force: bool = False,
    verify: bool = True,
    warn: Callable[[str], None] = lambda _: None,
) -> Patches:
    """Read a file as patches of the network's size.

    A raw stack (`NAME.stack.h5`) or an image at least twice the patch along both axes is a
    field: its cells are found, followed through the planes and cropped; cells cut by the border are
    left out. Any other image is one patch per page. An archive gives its rows.

    Parameters
    ----------
    path
        The file.
    card
        The card of the model.
    pixel_size_um
        Pixel in the specimen; None for that of the stack, or of the network if the stack has none.
    head_um
        Length of the cells to find, µm; None for a sperm head.
    force
        Accept images with other optics than the model's.
    verify
        Whether the checksums of a raw stack or an archive are verified first.
    warn
        Called with the differences then.

    Raises
    ------
    FormatError
        A checksum differs.
    FgafError
        Other optics than the model's, another depth grid, or no cell is found.
    """

    def pixel_size(optics: Optics) -> float:
        if pixel_size_um is not None:
            optics = optics.model_copy(update={"pixel_size_um": pixel_size_um})
        require_same(card, optics, source=str(path), force=force, warn=warn)
        known = optics.pixel_size_um or card.optics.pixel_size_um
        if known is None:
            raise SettingError(f"the pixel size of {path} is not known; give --pixel-size in µm")
        return known

    name = path.name.lower()
    if name.endswith(STACK):
        with RawStack.open(path, verify) as stack:
            pixel = pixel_size(stack.header.optics)
            return _field(path, stack.frames[:], card.patch_px, pixel, head_um)
    if name.endswith(ARCHIVE):
        patches, optics = _archive(path, card, verify)
        require_same(card, optics, source=str(path), force=force, warn=warn)
        return patches
    if not name.endswith(IMAGE_SUFFIXES):
        raise FgafError(f"{path} is not a TIFF, a PNG or a raw stack; convert it to one of these")
    pages = read_tiff(path).frames if holds_pages(path) else _single(path, warn)[None]
    if min(pages.shape[1:]) >= 2 * card.patch_px:
        pixel = pixel_size(Optics(pixel_size_um=pixel_size_of(path, pixel_size_um)))
        return _field(path, np.asarray(pages), card.patch_px, pixel, head_um)
    centre = np.full(len(pages), np.nan)
    numbers = np.arange(len(pages), dtype=np.int64)
    pixel_um = pixel_size_of(path, pixel_size_um)
    return Patches(
        np.asarray(pages), numbers, np.zeros_like(numbers), centre, centre, pixel_um=pixel_um
    )


def _single(path: Path, warn: Callable[[str], None]) -> npt.NDArray[Any]:
    image, in_colour = read_luminance(path)
    if in_colour:
        warn(f"{path} is in colour: the luminance is used")
    return image


def _archive(path: Path, card: ModelCard, verify: bool) -> tuple[Patches, Optics]:
    with Archive.open(path, verify) as archive:
        header = archive.header
        for key in ("step_um", "half_range_um") if card.task == "depth" else ():
            mine, its = getattr(card, key), getattr(header, key)
            if abs(mine - its) > 1e-9:
                raise FgafError(
                    f"{path} has {key} = {its:g} and the network was trained with {mine:g}; "
                    "train on this archive, or compile it on that grid"
                )
        patches = Patches(
            archive.images[:],
            archive.plane.astype(np.int64),
            archive.cell.astype(np.int64),
            archive.center_y.astype(np.float64),
            archive.center_x.astype(np.float64),
            pixel_um=header.optics.pixel_size_um,
        )
        return patches, header.optics


def _field(
    path: Path, frames: npt.NDArray[Any], side: int, pixel_um: float, head_um: float | None
) -> Patches:
    """Crop every cell of (P, Y, X) frames in every plane where all of the crop is inside."""
    shape = (frames.shape[1], frames.shape[2])
    crops, columns = [], []
    for cell, plane, y, x in _places(frames, pixel_um, head_um or HEAD_UM[0]):
        top, left = round(y) - side // 2, round(x) - side // 2
        if 0 <= top <= shape[0] - side and 0 <= left <= shape[1] - side:
            crops.append(frames[plane, top : top + side, left : left + side])
            columns.append((plane, cell, y, x))
    if not crops:
        raise FgafError(
            f"no complete cell was found in {path}; "
            "check --pixel-size and --head-length, or give cropped patches"
        )
    plane_, cell_, y_, x_ = (np.array(column) for column in zip(*columns, strict=True))
    return Patches(np.stack(crops), plane_, cell_, y_, x_, (len(frames), *shape), pixel_um)


def _places(
    frames: npt.NDArray[Any], pixel_um: float, head_um: float
) -> Iterator[tuple[int, int, float, float]]:
    """Cell, plane, y, x of every cell in every plane, in pixels."""
    if len(frames) == 1:
        found = detect(frames[0], pixel_um, head_um=head_um)
        for cell, (y, x) in enumerate(zip(found.y, found.x, strict=True)):
            yield cell, 0, float(y), float(x)
        return
    shape = (frames.shape[1], frames.shape[2])
    with part(_SEARCH_SHARE):
        tracks = find_tracks(frames, pixel_um, shape, head_um=head_um)
    for cell, track in enumerate(tracks):
        for plane, (y, x) in enumerate(zip(track.y, track.x, strict=True)):
            yield cell, plane, float(y), float(x)
