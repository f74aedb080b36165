"""Patches as network input: checked, normalised, standardised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from fgaf.base.bounds import Bound, require_bounded
from fgaf.base.errors import FgafError
from fgaf.model.networks.settings import Normalise

if TYPE_CHECKING:
    from torch import Tensor

_ENOUGH = 10_000
_LEAST = 1e-3
_SHINING = 3.0


@dataclass(frozen=True)
class Scale:
    """How grey values become network input; part of every checkpoint.

    Parameters
    ----------
    normalise
        "level" divides each patch by its own mean, which removes lamp and exposure and keeps
        contrast, the cue of defocus; "flux" is for bright objects on a dark background: it
        subtracts the background, divides by the total light of the object, and takes the square
        root, so that shot noise is the same in bright and dim pixels (Anscombe, Biometrika 35,
        1948); "dataset" does not change grey values.
    mean, deviation
        Mean and standard deviation of the training patches after that; removed from all patches.
    """

    normalise: Normalise
    mean: Annotated[float, Bound(-1e9, 1e9)]
    deviation: Annotated[float, Bound(1e-12, 1e9)]

    def __post_init__(self) -> None:
        require_bounded(self)

    @classmethod
    def of(cls, images: Any, normalise: Normalise) -> Scale:
        """Measure the scale of training patches, (N, S, S); a sample is used when there are many.

        Parameters
        ----------
        images
            (N, S, S) training patches.
        normalise
            The normalisation of each patch; see the class.
        """
        raw = cls(normalise, 0.0, 1.0)(_some(images))
        deviation = float(raw.std())
        return cls(normalise, float(raw.mean()), deviation if deviation > 0 else 1.0)

    def __call__(self, images: Any) -> Tensor:
        """Turn (N, S, S) grey values into (N, 1, S, S) float32 of zero mean and unit deviation."""
        import torch  # here, since an exported network does not need it

        if not isinstance(images, torch.Tensor):
            images = torch.from_numpy(np.array(images, dtype=np.float32))
        x: Tensor = images.float()[:, None]
        if self.normalise == "level":
            level = x.mean(dim=(1, 2, 3), keepdim=True).clamp_min(_LEAST)
            x = x - level
            rest = x.mean(dim=(1, 2, 3), keepdim=True)  # lost by bf16 rounding
            x = 1 + (x - rest) / (level + rest).clamp_min(_LEAST)
        elif self.normalise == "flux":
            light = x - _ground(x)
            flux = light.clamp_min(0).mean(dim=(1, 2, 3), keepdim=True).clamp_min(_LEAST)
            x = light.sign() * (light.abs() / flux).sqrt()
        return (x - self.mean) / self.deviation


def shine(images: Any) -> bool:
    """Whether patches (N, S, S) show bright objects on a dark background, such as beads.

    They do when, in the median patch, the brightest pixel is three times as bright as the
    background; in transmitted light no pixel is twice as bright.
    """
    x = Scale("dataset", 0.0, 1.0)(_some(images))
    brightest = x.amax(dim=(1, 2, 3)) / _ground(x).flatten().clamp_min(_LEAST)
    return bool(brightest.median() > _SHINING)


def _some(images: Any) -> Any:
    """Take every n-th patch when there are many, else all."""
    return images[:: 1 + len(images) // _ENOUGH]


def _ground(x: Tensor) -> Tensor:
    """Median of the border of each patch: (N, 1, S, S) to (N, 1, 1, 1)."""
    import torch

    border = torch.cat([x[:, :, 0], x[:, :, -1], x[..., 0], x[..., -1]], dim=-1)
    return border.sort(dim=-1).values[..., border.shape[-1] // 2, None, None]


def check_patches(images: Any, side: int | None, source: str = "the input") -> Any:
    """Accept grey patches of the right size only.

    Parameters
    ----------
    images
        (N, S, S) or one (S, S), uint8 or uint16.
    side
        S the network was trained on; None for a network that takes any size, (N, H, W).
    source
        Name of the images, for the error.

    Returns
    -------
    (N, S, S)

    Raises
    ------
    FgafError
        Colour, floating point or NaN, or another size.
    """
    array = np.asarray(images)
    if array.ndim >= 3 and array.shape[-1] in (3, 4):
        raise FgafError(f"{source} is a colour image; export it as grey (one channel)")
    if array.dtype.kind == "f":
        finite = "" if np.isfinite(array).all() else " with NaN or infinite values"
        raise FgafError(
            f"{source} has floating-point values{finite}; give the camera's 8- or 16-bit values"
        )
    if array.dtype not in (np.uint8, np.uint16):
        raise FgafError(f"{source} is of type {array.dtype}; give 8- or 16-bit grey values")
    if array.ndim == 2:
        array = array[None]
    if side is None and array.ndim == 3 and min(array.shape[1:]) > 0:
        return array
    if array.ndim != 3 or array.shape[1:] != (side, side):
        found = " x ".join(str(n) for n in array.shape[-2:])
        if side is None:
            raise FgafError(f"{source} has the shape {array.shape}; give images (N, H, W)")
        raise FgafError(
            f"{source} is {found} px, but the network needs {side} x {side}; crop to that size or "
            "train on another"
        )
    return array
