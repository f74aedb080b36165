"""The focus measures against slow, literal definitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage
from scipy.ndimage import gaussian_filter
from skimage import filters
from skimage.measure import shannon_entropy

from fgaf.base.errors import SettingError
from fgaf.curate.focus.curves import measure as measure_curves
from fgaf.curate.focus.suggest import suggest
from fgaf.model.bench.methods.focus_measures import (
    MEASURES,
    band_power,
    brenner,
    entropy,
    tenengrad,
)

DTYPES = (np.uint8, np.uint16, np.int16, np.float32, np.float64)
SHAPES = ((17, 12), (16, 16), (9, 31), (5, 64))
DIFFERENCES = (
    "tenengrad",
    "laplacian",
    "gray_level_gradient",
    "brenner",
)


def literal(name: str, image: np.ndarray) -> float:
    f = image.astype(np.float64)
    if name == "entropy":
        share = np.unique(image, return_counts=True)[1] / image.size
        return float(-(share * np.log2(share)).sum())
    if name == "tenengrad":
        squared = ndimage.sobel(f, 0) ** 2 + ndimage.sobel(f, 1) ** 2
        return float(squared[1:-1, 1:-1].mean())
    if name == "band_power":
        return slow_band_power(f)
    if name == "laplacian":
        return float((ndimage.laplace(f)[1:-1, 1:-1] ** 2).mean())
    if name == "gray_level_gradient":
        right, down = np.abs(np.diff(f, axis=1)), np.abs(np.diff(f, axis=0))
        return float((right[:-1] + down[:, :-1]).mean())
    return float(((f[:, 2:] - f[:, :-2]) ** 2).mean())


def slow_band_power(f: np.ndarray) -> float:
    """Sum the Fourier series term by term."""
    height, width = f.shape
    y, x = np.arange(height), np.arange(width)
    window = np.outer(
        np.sin(np.pi * (y + 1) / (height + 1)) ** 2, np.sin(np.pi * (x + 1) / (width + 1)) ** 2
    )
    g = (f - f.mean()) * window
    powers = []
    for k in range(-(height // 2), (height + 1) // 2):
        for m in range(-(width // 2), (width + 1) // 2):
            if 0.1 <= np.hypot(k / height, m / width) < 0.175:
                wave = np.exp(-2j * np.pi * (k * y[:, None] / height + m * x[None, :] / width))
                powers.append(abs((g * wave).sum()) ** 2)
    return float(np.mean(powers) / (height * width))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MEASURES)
def test_measures_follow_their_definition(name: str, dtype: type, shape: tuple[int, int]) -> None:
    low, top = (0, 255) if dtype is np.uint8 else (0, 65535)
    if dtype is np.int16:
        low, top = -32768, 32767
    rng = np.random.default_rng(3)
    images = rng.integers(low, top, (2, 3, *shape), endpoint=True).astype(dtype)
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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_scikit_image_gives_the_same(dtype: type) -> None:
    image = np.random.default_rng(5).integers(0, np.iinfo(dtype).max, (33, 21)).astype(dtype)
    f = image.astype(np.float64)
    inner = (slice(1, -1), slice(1, -1))
    # scikit-image divides its Sobel kernels by 4.
    gradients = 16 * (filters.sobel_h(f) ** 2 + filters.sobel_v(f) ** 2)[inner]
    assert tenengrad(image) == pytest.approx(gradients.mean())
    assert MEASURES["laplacian"](image) == pytest.approx((filters.laplace(f)[inner] ** 2).mean())
    assert entropy(image) == pytest.approx(shannon_entropy(image))


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_smallest_images_have_a_value(name: str) -> None:
    image = np.array([[0, 10, 30], [5, 0, 20], [90, 7, 255]], dtype=np.uint8)
    assert MEASURES[name](image) == pytest.approx(literal(name, image))


@dataclass(frozen=True)
class Bug:
    name: str
    measure: str
    image: np.ndarray
    value: float
    copied: float


STEP = np.tile(np.array([0, 0, 200, 200], np.uint8), (4, 1))
CORNER = np.array([[200, 0, 0], [0, 0, 0], [0, 0, 0]], np.uint8)
BUGS = [
    Bug("x-Sobel twice", "tenengrad", STEP.T, 800.0**2, 0.0),
    Bug("x-Sobel twice, seen along x", "tenengrad", STEP, 800.0**2, 2 * 800.0**2),
    Bug("uint8 overflow of the square", "brenner", STEP, 200.0**2, 200**2 % 256),
    Bug("uint8 overflow of the difference", "brenner", STEP[:, ::-1], 200.0**2, 56.0**2),
    Bug("uint8 overflow of the sum", "gray_level_gradient", CORNER, 400 / 4, 144 / 4),
    Bug("uint8 overflow of the Laplacian", "laplacian", STEP, 200.0**2, 56.0**2),
    Bug("wrap-around", "brenner", STEP[:, 1:] // 200, 1.0, 2 / 3),
    Bug("wrap-around of rows", "laplacian", np.arange(0, 250, 10, np.uint8).reshape(5, 5), 0, 1),
]


@pytest.mark.parametrize("case", BUGS, ids=lambda case: case.name)
def test_bugs_that_ports_copy_from_each_other(case: Bug) -> None:
    assert MEASURES[case.measure](case.image) == pytest.approx(case.value)
    assert case.value != case.copied


@pytest.mark.parametrize("name", [*DIFFERENCES, "band_power"])
def test_an_image_does_not_leak_into_its_neighbour(name: str) -> None:
    images = np.random.default_rng(6).normal(size=(3, 16, 16))
    alone = MEASURES[name](images[1])
    images[[0, 2]] = np.nan
    assert MEASURES[name](images)[1] == pytest.approx(alone)


@pytest.mark.parametrize("name", MEASURES)
def test_a_view_is_measured_as_its_copy_is(name: str) -> None:
    images = np.random.default_rng(7).integers(0, 255, (4, 40, 50), dtype=np.uint8)
    view = images[::2, 3:-4:2, ::-1]
    np.testing.assert_allclose(MEASURES[name](view), MEASURES[name](view.copy()))
    assert MEASURES[name](images[:0]).shape == (0,)


@pytest.mark.parametrize("name", DIFFERENCES)
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


def test_entropy_of_equal_shares_is_their_number_of_bits() -> None:
    assert entropy(np.arange(256, dtype=np.uint8).reshape(16, 16)) == pytest.approx(8)


def test_the_band_is_where_detail_of_its_size_shows() -> None:
    x = np.arange(64)
    coarse, inside, fine = (
        np.tile(100 + 50 * np.cos(2 * np.pi * f * x), (64, 1)) for f in (0.04, 0.14, 0.3)
    )
    assert band_power(inside) > 1000 * max(band_power(coarse), band_power(fine))
    with pytest.raises(SettingError, match="3 x 3 pixels are too few for the power of a band"):
        band_power(np.zeros((3, 3)))


@pytest.mark.parametrize("images", [np.zeros((2, 9)), np.zeros(9), np.zeros((9, 9), dtype=bool)])
def test_no_image_is_refused(images: np.ndarray) -> None:
    with pytest.raises(SettingError):
        tenengrad(images)


@pytest.mark.parametrize("focus_um", [-0.5, 0.0, 0.8])
def test_what_has_contrast_in_focus_is_found_by_its_peak(focus_um: float) -> None:
    texture = np.random.default_rng(2).normal(size=(224, 224))
    z_um = np.arange(-4, 5) * 0.5
    frames = 128 + 40 * np.stack(
        [gaussian_filter(texture, 1 + 1.5 * abs(z - focus_um), mode="wrap") for z in z_um]
    )
    middle = np.full(z_um.size, 112.0)
    found = suggest(measure_curves(frames, middle, middle, z_um, 0.15))
    assert found.rule == "peak"
    assert found.problem == ""
    assert found.focus_um == pytest.approx(focus_um, abs=0.1)
