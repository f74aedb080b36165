"""Fields: images in which all heads are labelled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fgaf.base.console import count
from fgaf.base.errors import FgafError
from fgaf.dataset.importers.images import IMAGE_SUFFIXES, luminance_notice, read_luminance
from fgaf.model.bench.detection.labels import BoxFiles, CentreTable, Labels
from fgaf.model.bench.detection.pixel_sizes import BOX_PER_HEAD, LabelledImage, sizes_of

Image = npt.NDArray[Any]
Progress = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Field:
    """An image in which all heads are labelled.

    Attributes
    ----------
    name
        Of the image.
    group
        Its folder, or another group of fields that are judged together.
    pixel_size_um
        Side of a pixel in the specimen, µm.
    labels
        Its heads.
    read
        Returns the image, (Y, X) grey levels.
    """

    name: str
    group: str
    pixel_size_um: float
    labels: Labels
    read: Callable[[], Image]


@dataclass(frozen=True)
class Fields:
    """The fields of a benchmark, how their pixel size is known, and what the reader must know.

    Raises
    ------
    FgafError
        None has a head that must be found.
    """

    fields: tuple[Field, ...]
    pixel_sizes: str
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.heads:
            raise FgafError(
                f"no head is labelled in {count(len(self.fields), 'field')}; add a field with heads"
            )

    @property
    def heads(self) -> int:
        """Number of heads that must be found."""
        return sum(int(field.labels.counts.sum()) for field in self.fields)


def open_fields(
    sources: Sequence[Path],
    *,
    table: Path | None = None,
    pixel_size: str | None = None,
    head_um: float,
    box_per_head: float = BOX_PER_HEAD,
    classes: Collection[int] = (),
    progress: Progress = iter,
) -> Fields:
    """Read labelled images; those without labels are left out and counted in a notice.

    Parameters
    ----------
    sources
        Images, and folders that are searched with all folders in them.
    table
        CSV with the heads, see `CentreTable`; without it the labels are YOLO files.
    pixel_size, head_um, box_per_head
        See `fgaf.model.bench.detection.pixel_sizes.sizes_of`.
    classes
        Classes of the YOLO files that are heads; without any, all are.
    progress
        Wraps the list of images.

    Raises
    ------
    SettingError
        A pixel size is not known.
    FormatError
        An image or its labels cannot be read.
    FgafError
        There is no image, or none with labels, or no head in any.
    """
    paths = find_images(sources)
    labels = BoxFiles(classes) if table is None else CentreTable(table, paths)
    images: list[LabelledImage] = []
    skipped: list[Path] = []
    coloured = 0
    for path in progress(paths):
        if not labels.has(path):
            skipped.append(path)
            continue
        pixels, in_colour = read_luminance(path)
        shape = (pixels.shape[0], pixels.shape[1])
        images.append(LabelledImage(path, shape, labels.read(path, shape)))
        coloured += in_colour
    if not images:
        beside = (
            f"in {table}" if table is not None else f"(such as {skipped[0].with_suffix('.txt')})"
        )
        raise FgafError(
            f"none of {count(len(skipped), 'image')} has labels {beside}; label them, with an "
            "empty file for a field without heads"
        )
    sizes, how = sizes_of(images, pixel_size, head_um, box_per_head)
    fields = [
        Field(
            str(image.path), str(image.path.parent), size, image.labels, partial(_grey, image.path)
        )
        for image, size in zip(images, sizes, strict=True)
    ]
    notices = labels.notices()
    if skipped:
        others = "" if len(skipped) == 1 else f" and {len(skipped) - 1} more"
        notices.append(f"no labels, skipped: {skipped[0]}{others}")
    if coloured:
        notices.append(luminance_notice(coloured))
    return Fields(tuple(fields), how, tuple(notices))


def find_images(sources: Iterable[Path]) -> list[Path]:
    """List images among files and folders; folders are searched with all folders in them.

    Raises
    ------
    FgafError
        A source is missing, is no image, or a folder without images.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside = sorted(path for path in source.rglob("*") if _is_image(path))
            if not inside:
                raise FgafError(f"{source} holds no images (TIFF, PNG, JPEG, BMP); name another")
            found += inside
        elif not source.exists():
            raise FgafError(f"{source} does not exist; check the name")
        elif not _is_image(source):
            raise FgafError(f"{source} is no image (TIFF, PNG, JPEG, BMP); convert it")
        else:
            found.append(source)
    return list(dict.fromkeys(found))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _grey(path: Path) -> Image:
    return read_luminance(path)[0]
