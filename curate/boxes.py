"""Boxes of the heads in an image or a raw stack, for files that are searched one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from fgaf.base.errors import SettingError
from fgaf.base.workers.progress import steps
from fgaf.curate.candidates import pixel_size_of, times_of
from fgaf.curate.detection.detect import DEFAULT_SCORE, detect
from fgaf.curate.detection.doubts import doubts
from fgaf.curate.detection.scale import HEAD_UM, Scale
from fgaf.curate.tracking.find import find_tracks
from fgaf.curate.tracking.follow import TRACK_SCORE
from fgaf.dataset.importers.images import (
    count_images,
    pixel_size_of as pixel_size_of_image,
    read_luminances,
)
from fgaf.dataset.raw import SUFFIX, RawStack


class Box(NamedTuple):
    """Box of a head: its centre and size, pixels.

    `plane` is the page of an image, or the middle plane of a raw stack.
    """

    y: float
    x: float
    height: float
    width: float
    score: float
    plane: int


class Boxes(NamedTuple):
    """The heads of a file, what is in doubt about them, a line each, and whether it has colours."""

    boxes: list[Box]
    doubts: list[str]
    in_colour: bool = False


@dataclass(frozen=True)
class BoxSearch:
    """All that the boxes found in a file depend on, except the file.

    Attributes
    ----------
    pixel_size_um
        Pixel in the specimen, µm; None for the file's own.
    head_um
        Length of a head, µm.
    least_score
        Heads with a lower score are left out; None for `DEFAULT_SCORE` in images and `TRACK_SCORE`
        in stacks.
    """

    pixel_size_um: float | None = None
    head_um: float = HEAD_UM[0]
    least_score: float | None = None

    def __call__(self, path: Path) -> Boxes:
        """Find the heads in a file, with one thread of linear algebra.

        Raises
        ------
        SettingError
            The pixel size is unknown.
        FormatError
            The file cannot be read, or a checksum differs.
        """
        with threadpool_limits(1):
            if path.name.endswith(SUFFIX):
                return self._in_stack(path)
            return self._in_images(path)

    def _in_stack(self, path: Path) -> Boxes:
        with RawStack.open(path, whole=True) as stack:
            pixel = pixel_size_of(stack, self.pixel_size_um)
            tracks = find_tracks(
                stack.frames,
                pixel,
                stack.shape[1:],
                times_of(stack),
                head_um=self.head_um,
                least_score=TRACK_SCORE if self.least_score is None else self.least_score,
            )
            k, shape = stack.n_planes // 2, stack.shape[1:]
        lengths = np.array([track.length for track in tracks])
        return Boxes(
            [Box(float(t.y[k]), float(t.x[k]), t.height, t.width, t.score, k) for t in tracks],
            doubts(path.name, lengths, shape, Scale(pixel, self.head_um)),
        )

    def _in_images(self, path: Path) -> Boxes:
        pixel = pixel_size_of_image(path, self.pixel_size_um)
        if pixel is None:
            raise SettingError(
                f"{path.name} does not say its pixel size: give --pixel-size (in µm, in the "
                "specimen)"
            )
        boxes: list[Box] = []
        said: list[str] = []
        least = DEFAULT_SCORE if self.least_score is None else self.least_score
        images, in_colour = read_luminances(path)
        for page, image in enumerate(steps(images, count_images(path))):
            found = detect(image, pixel, head_um=self.head_um, least_score=least)
            columns = (found.y, found.x, found.height, found.width, found.score)
            rows = zip(*(column.tolist() for column in columns), strict=True)
            boxes += [Box(y, x, height, width, score, page) for y, x, height, width, score in rows]
            name = f"{path.name}, page {page + 1}" if page else path.name
            said += doubts(name, found.length, image.shape, Scale(pixel, self.head_um))
        return Boxes(boxes, said, in_colour)
