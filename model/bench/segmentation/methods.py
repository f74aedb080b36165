"""Methods of segmenting heads in one image: networks, the shipped finder, and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import SettingError
from fgaf.base.names import nearest
from fgaf.curate.detection.detect import detect
from fgaf.curate.detection.network import shipped
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.model.inference.heads import HeadModel

Image = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Segment = Callable[[Image], Mask]

NETWORKS: Final = {"unext": "UNeXt", "unext_s": "UNeXt-S"}
"""Networks that the benchmark trains: backbone and name."""
LABELS: Final = {
    **NETWORKS,
    "finder": "Finder, ellipses",
    "otsu": "Otsu's threshold",
    "local": "Local threshold",
}
"""All methods, by id."""
_WIDTH: Final = 0.55
"""Width of a head relative to its length, which suits the simulated heads best."""


@dataclass(frozen=True)
class Method:
    """A way to segment heads.

    Attributes
    ----------
    id, label
        Its name for the command and for the reader.
    segment
        From an image (H, W) to the mask of its heads.
    parameters
        Numbers that it has learned; None where the file does not tell.
    network
        The model, where the method is a trained network.
    """

    id: str
    label: str
    segment: Segment
    parameters: int | None = 0
    network: HeadModel | None = None


def network(name: str, label: str, model: HeadModel) -> Method:
    """A trained network.

    Parameters
    ----------
    name, label
        Its id, and its name for the reader.
    model
        The network; its metrics tell the number of its parameters.
    """
    return Method(
        name,
        label,
        lambda image: np.asarray(model.shares(image)[0] >= model.card.threshold),
        model.card.metrics.get("parameters"),
        model,
    )


def plain(name: str, pixel_um: float) -> Method:
    """A method that learns nothing from the archive.

    Parameters
    ----------
    name
        "finder", the network of `fgaf-curate` with heads drawn as ellipses of the found length and
        axis; "otsu", contrast against the image's median cut at Otsu's threshold; "local", the same
        contrast cut above the mean of a surrounding twice as large as a head.
    pixel_um
        Side of a pixel in the specimen, µm.
    """
    segment: dict[str, Segment] = {
        "finder": lambda image: ellipses(image, pixel_um),
        "otsu": otsu,
        "local": lambda image: local(image, pixel_um),
    }
    learned = shipped().parameters if name == "finder" else 0
    return Method(name, LABELS[name], segment[name], learned)


def ellipses(image: Image, pixel_um: float) -> Mask:
    """Heads of the shipped finder; it knows no masks, so a head is an ellipse.

    Parameters
    ----------
    image
        (H, W) integers.
    pixel_um
        Side of a pixel in the specimen, µm.
    """
    from skimage.draw import ellipse

    found = detect(image, pixel_um)
    mask = np.zeros(image.shape, bool)
    for y, x, length, angle in zip(found.y, found.x, found.length, found.angle, strict=True):
        half = 0.5 * length * HEAD_UM[0] / pixel_um
        inside = ellipse(y, x, _WIDTH * half, half, shape=mask.shape, rotation=-angle)  # type: ignore[no-untyped-call]
        mask[inside] = True
    return mask


def otsu(image: Image) -> Mask:
    """Contrast cut at Otsu's threshold (`skimage.filters.threshold_otsu`).

    Parameters
    ----------
    image
        (H, W).
    """
    from skimage.filters import threshold_otsu

    contrast = _contrast(image)
    return _cleaned(contrast > threshold_otsu(contrast))  # type: ignore[no-untyped-call]


def local(image: Image, pixel_um: float) -> Mask:
    """Contrast above that of its surroundings (`skimage.filters.threshold_local`).

    Parameters
    ----------
    image
        (H, W).
    pixel_um
        Side of a pixel in the specimen, µm.
    """
    from skimage.filters import threshold_local

    contrast = _contrast(image)
    side = 2 * round(HEAD_UM[0] / pixel_um) + 1
    around = threshold_local(contrast, side, method="mean")  # type: ignore[no-untyped-call]
    return _cleaned(contrast > around + contrast.std())


def _contrast(image: Image) -> npt.NDArray[np.float64]:
    """Smoothed distance of every pixel from the background."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image.astype(np.float64), 1.0)
    return np.asarray(np.abs(smooth - np.median(smooth)))


def _cleaned(mask: Mask) -> Mask:
    """Holes filled, and specks and thin tails removed."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_opening(ndimage.binary_fill_holes(mask), iterations=2))


def checked_ids(ids: Iterable[str]) -> list[str]:
    """Ids of methods, if all are known and none is named twice.

    Raises
    ------
    SettingError
        There is none of that id, or one is named twice.
    """
    chosen: list[str] = []
    for name in ids:
        if name not in LABELS:
            raise SettingError(f"there is no method {name!r}; {nearest(name, LABELS)}")
        if name in chosen:
            raise SettingError(f"the method {name} is named twice; name it once")
        chosen.append(name)
    return chosen
