"""The statistics of heads that stand beside those of real images."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BENCHMARK: dict[str, Any] = runpy.run_path(
    str(Path(__file__).parents[2] / "benchmarks" / "realism.py")
)
PIXEL = 0.15


def drawing(noise: float = 0.0, angle: float = 0.5) -> np.ndarray:
    """A head of 4.7 x 3.0 µm at -0.31 on a ground of 160."""
    y, x = (np.indices((240, 260)) - np.array([120, 130])[:, None, None]) * PIXEL
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = np.clip((1 - np.hypot(along / 2.35, across / 1.5)) * 10 + 0.5, 0, 1)
    rng = np.random.default_rng(0)
    return (160 * (1 - 0.31 * inside) + noise * rng.normal(size=y.shape)).astype(np.float32)


@pytest.mark.parametrize("angle", [0.0, 0.5, 2.0])
def test_a_drawn_head_is_measured_as_it_is(angle: float) -> None:
    field = BENCHMARK["Field"](drawing(angle=angle), PIXEL, np.array([[122.0, 127.0]]))
    (head,) = BENCHMARK["column"]("drawing", iter([field])).heads
    assert head.middle == pytest.approx(-0.31, abs=0.01)
    assert head.darkest == pytest.approx(-0.31, abs=0.01)
    assert head.brightest == pytest.approx(0, abs=0.01)
    assert (head.length_um, head.width_um) == pytest.approx((4.7, 3.0), rel=0.12)


def test_the_noise_of_the_ground_is_that_of_the_camera() -> None:
    field = BENCHMARK["Field"](drawing(noise=1.6), PIXEL, np.zeros((0, 2)))
    assert BENCHMARK["ground_noise"](field) == pytest.approx((0.01, 0.01), rel=0.15)


def test_real_images_are_read_with_their_boxes(tmp_path: Path) -> None:
    for number in (1, 2):
        Image.fromarray(drawing().astype(np.uint8)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    folder, pixel_um, numbers = BENCHMARK["parse_real"](f"{tmp_path}:0.15:2-9")
    (field,) = BENCHMARK["real_fields"](folder, pixel_um, numbers)
    np.testing.assert_array_equal(field.heads, [[120, 130]])
    assert "| middle of the head | -0.31" in BENCHMARK["table"](
        [BENCHMARK["column"]("real", iter([field]))]
    )
