"""The focus measures against slow, literal definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fgaf.curate.focus import MEASURES, brenner, entropy, normalized_variance, tenengrad
from fgaf.dataset.errors import SettingError

DTYPES = (np.uint8, np.uint16, np.float32, np.float64)


def literal(name: str, image: np.ndarray) -> float:
    f = image.astype(np.float64)
    if name == "entropy":
        share = np.unique(image, return_counts=True)[1] / image.size
        return float(-(share * np.log2(share)).sum())
    if name == "tenengrad":
        squared = ndimage.sobel(f, 0) ** 2 + ndimage.sobel(f, 1) ** 2
        return float(squared[1:-1, 1:-1].mean())
    if name == "laplacian":
        return float((ndimage.laplace(f)[1:-1, 1:-1] ** 2).mean())
    if name == "gray_level_gradient":
        right, down = np.abs(np.diff(f, axis=1)), np.abs(np.diff(f, axis=0))
        return float((right[:-1] + down[:, :-1]).mean())
    return float(((f[:, 2:] - f[:, :-2]) ** 2).mean())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MEASURES)
def test_measures_follow_their_definition(name: str, dtype: type) -> None:
    top = 255 if dtype is np.uint8 else 65535
    images = np.random.default_rng(3).integers(0, top, (2, 3, 17, 12), endpoint=True).astype(dtype)
    if name == "entropy" and np.dtype(dtype).kind == "f":
        pytest.skip("float images have bins, not levels")
    values = MEASURES[name](images)
    assert values.shape == (2, 3)
    assert values.dtype == np.float64
    assert values[1, 2] == pytest.approx(literal(name, images[1, 2]), rel=1e-5)


@pytest.mark.parametrize("name", MEASURES)
def test_a_stack_is_measured_as_its_images_are(name: str) -> None:
    images = np.random.default_rng(4).integers(0, 4095, (5, 33, 21), dtype=np.uint16)
    measure = MEASURES[name]
    np.testing.assert_allclose(measure(images), [measure(image) for image in images])


@pytest.mark.parametrize("name", ["tenengrad", "laplacian", "gray_level_gradient", "brenner"])
def test_opposite_borders_are_no_neighbours(name: str) -> None:
    ramp = np.tile(np.linspace(0, 250, 40).astype(np.uint8), (20, 1))
    inner = MEASURES[name](ramp[:, 5:-5])
    assert MEASURES[name](ramp) == pytest.approx(inner, rel=0.2)


def test_tenengrad_sees_both_directions() -> None:
    stripes = np.tile([0, 0, 200, 200], (16, 4)).astype(np.uint8)
    assert tenengrad(stripes) == pytest.approx(tenengrad(stripes.T))
    assert tenengrad(stripes) > 0


def test_brenner_is_along_the_rows_only() -> None:
    assert brenner(np.tile(np.arange(16, dtype=np.uint8)[:, None], (1, 16))) == 0


def test_flat_images_are_least_sharp() -> None:
    flat = np.full((9, 9), 200, dtype=np.uint8)
    assert all(measure(flat) == 0 for measure in MEASURES.values())
    assert normalized_variance(np.zeros((9, 9))) == 0


def test_entropy_of_equal_shares_is_their_number_of_bits() -> None:
    assert entropy(np.arange(256, dtype=np.uint8).reshape(16, 16)) == pytest.approx(8)


@pytest.mark.parametrize("images", [np.zeros((2, 9)), np.zeros(9), np.zeros((9, 9), dtype=bool)])
def test_no_image_is_refused(images: np.ndarray) -> None:
    with pytest.raises(SettingError):
        tenengrad(images)
