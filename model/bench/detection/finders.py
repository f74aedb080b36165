"""Methods of finding heads in one image: the detector, and two plain baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import SettingError
from fgaf.base.names import nearest
from fgaf.curate.detection.detect import detect
from fgaf.curate.detection.scale import HEAD_UM

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[Any]

_WORKING_UM: Final = 0.3
"""Pixel to which the baselines bin an image of human sperm, µm; it grows with the head."""
_WIDTH: Final = HEAD_UM[1] / HEAD_UM[0]
_WEAKEST: Final = 0.02
"""Least contrast of a find of the baselines, relative to the ground."""
_DEEPER: Final = 3.0
"""A dark region is darker than its surroundings by this many times the noise."""
_SURROUND: Final = 3.0
"""Standard deviation of the surroundings, in head lengths."""
_AREAS: Final = (0.3, 2.5)
"""Least and largest area of a dark region, in areas of a head."""


@dataclass(frozen=True)
class Finds:
    """Places that a method takes for heads in one image, best first; (N,) each, y and x in px."""

    y: Floats
    x: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.y)

    @classmethod
    def best_first(cls, y: Floats, x: Floats, score: Floats) -> Self:
        """Finds in the order of their score.

        Parameters
        ----------
        y, x
            (N,) centres, pixels.
        score
            (N,) the larger, the likelier a head.
        """
        order = np.argsort(-score, kind="stable")
        return cls(y[order], x[order], score[order])

    def take(self, index: Any) -> Self:
        """The finds in `index`."""
        return type(self)(self.y[index], self.x[index], self.score[index])


Find = Callable[[Image, float, float], Finds]


@dataclass(frozen=True)
class Method:
    """A way to find heads.

    Attributes
    ----------
    id, label
        Its name for the command and for the reader.
    find
        Takes an image (Y, X), the pixel size and the length of a head, both in µm.
    default_score
        Whether its scores run from 0 to 1 with a default; else it is judged at its best score.
    """

    id: str
    label: str
    find: Find
    default_score: bool = False


def detected(image: Image, pixel_size_um: float, head_um: float) -> Finds:
    """Every spot that the toolkit's detector scores.

    Parameters
    ----------
    image
        (Y, X) integers.
    pixel_size_um, head_um
        Side of a pixel and length of a head, µm.
    """
    found = detect(image, pixel_size_um, head_um=head_um, least_score=0.0)
    return Finds.best_first(found.y, found.x, found.score)


def dark_blobs(image: Image, pixel_size_um: float, head_um: float) -> Finds:
    """Dark blobs of a head's area, by the Laplacian of Gaussian (`skimage.feature.blob_log`).

    The score is the filter's answer, relative to the ground.

    Parameters
    ----------
    image
        (Y, X) integers.
    pixel_size_um, head_um
        Side of a pixel and length of a head, µm.
    """
    from scipy.ndimage import gaussian_laplace
    from skimage.feature import blob_log

    grid = _Grid.of(image, pixel_size_um, head_um)
    sigma = grid.head_px * np.sqrt(_WIDTH / 8)  # of a blob with the area of a head
    blobs = blob_log(  # type: ignore[no-untyped-call]
        grid.darkness,
        min_sigma=0.8 * sigma,
        max_sigma=1.25 * sigma,
        num_sigma=3,
        threshold=_WEAKEST,
        overlap=0.5,
    )
    rows, columns = blobs[:, 0].astype(int), blobs[:, 1].astype(int)
    answers = [
        -(size**2) * gaussian_laplace(grid.darkness, size)[rows, columns]
        for size in np.unique(blobs[:, 2])
    ]
    score = np.max(answers, axis=0) if len(blobs) else np.zeros(0)
    return Finds.best_first(grid.to_image(blobs[:, 0]), grid.to_image(blobs[:, 1]), score)


def dark_regions(image: Image, pixel_size_um: float, head_um: float) -> Finds:
    """Regions darker than their surroundings and of about a head's area.

    They are `skimage.measure.regionprops` of `skimage.filters.threshold_local`; the score is the
    mean contrast.

    Parameters
    ----------
    image
        (Y, X) integers.
    pixel_size_um, head_um
        Side of a pixel and length of a head, µm.
    """
    from scipy import ndimage
    from skimage.filters import threshold_local
    from skimage.measure import label, regionprops

    grid = _Grid.of(image, pixel_size_um, head_um)
    smooth = ndimage.gaussian_filter(grid.darkness, 1.0)
    side = 2 * round(_SURROUND * grid.head_px) + 1
    around = threshold_local(smooth, side, method="gaussian")  # type: ignore[no-untyped-call]
    deeper = smooth - around
    noise = 1.4826 * float(np.median(np.abs(deeper - np.median(deeper))))
    dark = ndimage.binary_opening(deeper > max(_DEEPER * noise, _WEAKEST))
    head = np.pi / 4 * _WIDTH * grid.head_px**2
    regions = [
        region
        for region in regionprops(label(ndimage.binary_fill_holes(dark)), deeper)  # type: ignore[no-untyped-call]
        if _AREAS[0] * head <= region.area <= _AREAS[1] * head
    ]
    centres = np.array([region.centroid for region in regions]).reshape(-1, 2)
    score = np.array([region.intensity_mean for region in regions], np.float64)
    return Finds.best_first(grid.to_image(centres[:, 0]), grid.to_image(centres[:, 1]), score)


@dataclass(frozen=True)
class _Grid:
    """A binned image: its darkness relative to the ground, and the length of a head in it."""

    darkness: Floats
    binning: int
    head_px: float

    @classmethod
    def of(cls, image: Image, pixel_size_um: float, head_um: float) -> Self:
        from skimage.transform import downscale_local_mean

        binning = max(1, round(_WORKING_UM * head_um / HEAD_UM[0] / pixel_size_um))
        rows, columns = (binning * (side // binning) for side in image.shape)
        binned = downscale_local_mean(image[:rows, :columns], binning)  # type: ignore[no-untyped-call]
        ground = max(float(np.median(binned)), 1.0)
        return cls(1 - binned / ground, binning, head_um / (pixel_size_um * binning))

    def to_image(self, place: Floats) -> Floats:
        return place * self.binning + (self.binning - 1) / 2


METHODS: Final[Mapping[str, Method]] = {
    method.id: method
    for method in (
        Method("detector", "Detector", detected, default_score=True),
        Method("log", "Laplacian of Gaussian", dark_blobs),
        Method("threshold", "Local threshold", dark_regions),
    )
}
"""All methods, by id."""


def methods_of(ids: Iterable[str]) -> list[Method]:
    """Find methods by their ids.

    Raises
    ------
    SettingError
        There is none of that id, or one is named twice.
    """
    chosen = []
    for name in ids:
        if name not in METHODS:
            raise SettingError(f"there is no method {name!r}; {nearest(name, METHODS)}")
        if METHODS[name] in chosen:
            raise SettingError(f"the method {name} is named twice; name it once")
        chosen.append(METHODS[name])
    if not chosen:
        raise SettingError(f"no method is named; {nearest('', METHODS)}")
    return chosen
