"""Resample patches to another pixel size and patch size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_BLUR: Final = 0.5


@dataclass(frozen=True)
class Scaling:
    """Resampling from one patch size to another.

    Interpolation blurs, and blur encodes depth: a network sees the difference. Patches that already
    have the target pixel size are only cropped about their centre, exactly.

    Attributes
    ----------
    source_px
        Side of the patches.
    factor
        Target pixels per source pixel; 1 leaves the pixels unchanged.
    target_px
        Target side, at most `source_px` times `factor`.
    """

    source_px: int
    factor: float
    target_px: int

    def __call__(self, patches: NDArray[Any]) -> NDArray[Any]:
        """Resample (N, S, S) patches to (N, T, T) of the same type, about the same centre pixel."""
        if self.factor == 1:
            return self._cropped(patches)
        from scipy.ndimage import affine_transform, gaussian_filter

        inverse, offset = self._steps()
        sigma = _BLUR * np.sqrt(max(inverse**2 - 1, 0))
        made = np.empty((len(patches), self.target_px, self.target_px), np.float64)
        for patch, target in zip(patches.astype(np.float64), made, strict=True):
            soft = gaussian_filter(patch, sigma, mode="nearest") if sigma > 0 else patch
            affine_transform(
                soft, [inverse, inverse], offset, target.shape, target, order=3, mode="nearest"
            )
        limits = np.iinfo(patches.dtype)
        return np.asarray(np.rint(made).clip(limits.min, limits.max).astype(patches.dtype))

    def masks(self, masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resample (N, S, S) masks to (N, T, T), about the same pixel; the nearest value counts."""
        if self.factor == 1:
            return self._cropped(masks)
        inverse, offset = self._steps()
        nearest = np.rint(offset + inverse * np.arange(self.target_px)).astype(np.intp)
        nearest = nearest.clip(0, self.source_px - 1)
        return np.asarray(masks[:, nearest[:, None], nearest])

    def _cropped(self, patches: NDArray[Any]) -> NDArray[Any]:
        first = self.source_px // 2 - self.target_px // 2
        return patches[:, first : first + self.target_px, first : first + self.target_px]

    def _steps(self) -> tuple[float, float]:
        """Source pixels per target pixel, and the source position of the target's first pixel."""
        inverse = 1 / self.factor
        return inverse, self.source_px // 2 - self.target_px // 2 * inverse
