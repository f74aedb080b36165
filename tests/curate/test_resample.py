"""The working grid: resampled like Pillow does, and a stack of images like each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from fgaf.curate.detection.resample import resampled
from fgaf.curate.detection.scale import Scale


@dataclass(frozen=True)
class Case:
    """An image, and what each of its axes becomes."""

    name: str
    shape: tuple[int, int]
    count: tuple[int, int]
    span: tuple[float, float]


CASES = [
    Case("strip of a live frame", (305, 1920), (149, 937), (305.0, 1918.8)),
    Case("window of a live frame", (82, 82), (40, 40), (81.9, 81.9)),
    Case("finer", (60, 80), (97, 131), (60.0, 79.6)),
    Case("as it is", (61, 43), (61, 43), (61.0, 43.0)),
    Case("one pixel", (9, 7), (1, 1), (9.0, 7.0)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_resampled_as_by_pillow(case: Case) -> None:
    image = np.random.default_rng(1).integers(0, 256, case.shape).astype(np.float32)
    box = (0.0, 0.0, case.span[1], case.span[0])
    pillow = Image.fromarray(image).resize(case.count[::-1], Image.Resampling.HAMMING, box=box)
    own = image
    for axis in (0, 1):
        own = resampled(own, axis, case.count[axis], case.span[axis])
    assert np.abs(own - np.asarray(pillow)).max() < 0.05


def test_a_stack_of_windows_has_the_contrast_of_each() -> None:
    windows = np.random.default_rng(2).integers(0, 256, (5, 82, 90), dtype=np.uint8)
    scale = Scale(0.1465)
    together = scale.contrast(windows)
    assert together.shape == (5, *scale.shape_of((82, 90)))
    assert together.dtype == np.float32
    for one, window in zip(together, windows, strict=True):
        np.testing.assert_allclose(one, scale.contrast(window), atol=1e-6)
