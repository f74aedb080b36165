"""Patches brought to another pixel size and patch size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_BLUR: Final = 0.5


@dataclass(frozen=True)
class Scaling:
    """From patches of one size to another.

    Interpolation blurs, and blur is what tells depth: a network sees the difference. Patches of
    the wanted pixel size are only cropped, to the pixel, about their centre.

    Attributes
    ----------
    source_px
        Side of the patches.
    factor
        How many wanted pixels a pixel becomes; 1 leaves them as they are.
    target_px
        Side afterwards, at most `source_px` times `factor`.
    """

    source_px: int
    factor: float
    target_px: int

    def __call__(self, patches: NDArray[Any]) -> NDArray[Any]:
        """Bring (N, S, S) patches to (N, T, T), same type; the centre pixel stays the centre."""
        if self.factor == 1:
            first = self.source_px // 2 - self.target_px // 2
            return patches[:, first : first + self.target_px, first : first + self.target_px]
        from scipy.ndimage import affine_transform, gaussian_filter

        inverse = 1 / self.factor
        offset = self.source_px // 2 - self.target_px // 2 * inverse
        sigma = _BLUR * np.sqrt(max(inverse**2 - 1, 0))
        made = np.empty((len(patches), self.target_px, self.target_px), np.float64)
        for patch, target in zip(patches.astype(np.float64), made, strict=True):
            soft = gaussian_filter(patch, sigma, mode="nearest") if sigma > 0 else patch
            affine_transform(
                soft, [inverse, inverse], offset, target.shape, target, order=3, mode="nearest"
            )
        limits = np.iinfo(patches.dtype)
        return np.asarray(np.rint(made).clip(limits.min, limits.max).astype(patches.dtype))
