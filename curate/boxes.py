"""Boxes of the heads in an image or a raw stack, for files that are searched one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from fgaf.base.errors import SettingError
from fgaf.curate.candidates import pixel_size_of, times_of
from fgaf.curate.detection.detect import HEAD_UM, detect
from fgaf.curate.tracking.follow import link, search
from fgaf.dataset.importers.images import pixel_size_of as pixel_size_of_image, read_images
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
        Heads with a lower score are left out.
    """

    pixel_size_um: float | None = None
    head_um: float = HEAD_UM[0]
    least_score: float = 0.5

    def __call__(self, path: Path) -> list[Box]:
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

    def _in_stack(self, path: Path) -> list[Box]:
        with RawStack.open(path, whole=True) as stack:
            pixel = pixel_size_of(stack, self.pixel_size_um)
            tracks = link(
                search(stack.frames, pixel, head_um=self.head_um),
                pixel,
                stack.shape[1:],
                times_of(stack),
                head_um=self.head_um,
                least_score=self.least_score,
            )
            k = stack.n_planes // 2
        return [Box(float(t.y[k]), float(t.x[k]), t.height, t.width, t.score, k) for t in tracks]

    def _in_images(self, path: Path) -> list[Box]:
        pixel = pixel_size_of_image(path, self.pixel_size_um)
        if pixel is None:
            raise SettingError(
                f"{path.name} does not say its pixel size: give --pixel-size (in µm, in the "
                "specimen)"
            )
        boxes = []
        for page, image in enumerate(read_images(path)):
            found = detect(image, pixel, head_um=self.head_um, least_score=self.least_score)
            columns = (found.y, found.x, found.height, found.width, found.score)
            rows = zip(*(column.tolist() for column in columns), strict=True)
            boxes += [Box(y, x, height, width, score, page) for y, x, height, width, score in rows]
        return boxes
