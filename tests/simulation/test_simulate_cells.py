"""The standard simulated benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.base.errors import SettingError
from fgaf.dataset.archive import Archive, write_archive

GRID = np.arange(-2, 2.01, 0.5)


@pytest.fixture(scope="module")
def archive() -> Archive:
    return simulate_cells(cells=6, seed=11)


def test_the_archive_is_whole(archive: Archive, tmp_path: Path) -> None:
    assert archive.images.shape == (54, 96, 96)
    assert archive.images.dtype == np.uint8
    assert archive.n_classes == 9
    assert set(archive.splits) == {"default"}
    assert list(archive.cells.method) == ["simulation"] * 6
    write_archive(tmp_path / "cells.h5", archive)
    again = Archive.read(tmp_path / "cells.h5")
    np.testing.assert_array_equal(again.images, archive.images)
    np.testing.assert_array_equal(again.true_depth_um, archive.true_depth_um)


def test_every_label_is_the_true_depth(archive: Archive) -> None:
    np.testing.assert_array_equal(archive.depth_um, np.tile(GRID, 6))
    np.testing.assert_array_equal(archive.true_depth_um, archive.depth_um)


def test_it_follows_from_the_seed_and_cell_by_cell(archive: Archive) -> None:
    fewer = simulate_cells(cells=2, seed=11)
    np.testing.assert_array_equal(fewer.images, archive.images[:18])
    assert not np.array_equal(simulate_cells(cells=1, seed=12).images, archive.images[:9])


def test_off_the_grid_depths_are_spread_evenly() -> None:
    drawn = simulate_cells(cells=12, off_grid=True, patch_px=32)
    depth = drawn.depth_um.reshape(12, 9)
    assert np.all(np.diff(depth, axis=1) > 0)
    assert np.abs(depth).max() <= 2.0
    assert np.histogram(depth, 4, (-2, 2))[0].min() > 12
    assert not np.isin(depth, GRID).any()
    np.testing.assert_array_equal(drawn.true_depth_um, drawn.depth_um)


@pytest.mark.parametrize("motile", [True, False])
def test_motile_cells_change_between_planes_and_frozen_ones_do_not(motile: bool) -> None:
    cells = simulate_cells(cells=3, motile=motile, seed=3)
    moved = np.ptp(cells.center_y.reshape(3, 9), axis=1) + np.ptp(
        cells.center_x.reshape(3, 9), axis=1
    )
    assert np.all(moved > 10) if motile else np.all(moved == 0)


def test_the_head_stands_in_the_middle(archive: Archive) -> None:
    """What departs from the background on the outermost planes lies about the patch's middle."""
    outer = archive.images[np.isclose(np.abs(archive.depth_um), 1.0)].astype(float)
    away = np.abs(outer / np.median(outer, axis=(1, 2), keepdims=True) - 1).mean(axis=0)
    y, x = np.indices(away.shape)
    strong = away > 0.5 * away.max()
    assert abs(y[strong].mean() - 48) < 4
    assert abs(x[strong].mean() - 48) < 4


@pytest.mark.parametrize("contrast", ["brightfield", "relief"])
def test_contrast_depends_on_depth_as_it_should(contrast: Any) -> None:
    cells = simulate_cells(cells=10, contrast=contrast, seed=5)
    images = cells.images.reshape(10, 9, 96, 96)[:, :, 30:67, 30:67].astype(float)
    contrasts = (images.std(axis=(2, 3)) / images.mean(axis=(2, 3))).mean(axis=0)
    if contrast == "brightfield":
        assert contrasts.argmin() == 4
        centre = images[:, :, 14:23, 14:23].mean(axis=(0, 2, 3)) / np.median(images)
        assert centre[:3].min() > centre[-3:].max()
    else:
        slopes = sum(np.square(g).sum(axis=(0, 2, 3)) for g in np.gradient(images, axis=(2, 3)))
        assert 3 <= np.argmax(slopes) <= 5


PINNED = {
    "brightfield": [
        [168, 163, 150, 142, 163, 203, 212, 232, 184, 114, 147, 163],
        [167, 171, 150, 161, 186, 177, 178, 163, 138, 155, 178, 163],
        [171, 189, 177, 150, 133, 140, 156, 159, 136, 144, 181, 179],
    ],
    "relief": [
        [170, 180, 180, 217, 148, 43, 47, 147, 255, 255, 255, 204],
        [173, 175, 163, 73, 37, 121, 193, 255, 255, 255, 216, 177],
        [136, 88, 52, 105, 141, 203, 207, 221, 255, 255, 172, 160],
    ],
}


@pytest.mark.parametrize("contrast", PINNED)
def test_the_standard_benchmark_stays_as_it_is(contrast: Any) -> None:
    """Published results rest on it; another processor may round a pixel differently."""
    planes = simulate_cells(1, contrast=contrast).images[[0, 4, 8], 48, 30:66:3].astype(int)
    assert np.abs(planes - PINNED[contrast]).max() <= 1


def test_progress_wraps_the_cells() -> None:
    seen: list[int] = []

    def progress(items: Iterable[int]) -> Iterable[int]:
        for item in items:
            seen.append(item)
            yield item

    simulate_cells(cells=2, patch_px=16, progress=progress)
    assert seen == [0, 1]


@pytest.mark.parametrize(
    "wrong", [{"cells": 0}, {"patch_px": 8}, {"step_um": 0.3}, {"half_range_um": 0.2}], ids=str
)
def test_what_cannot_be_simulated_is_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as caught:
        simulate_cells(**wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "silly",
    [
        {"cells": 0},
        {"cells": -3},
        {"cells": 10**9},
        {"seed": -1},
        {"patch_px": 1},
        {"patch_px": 10**6},
        {"step_um": 0.0},
        {"step_um": -0.5},
        {"step_um": float("nan")},
        {"step_um": 1e-9},
        {"half_range_um": float("nan")},
        {"half_range_um": float("inf")},
        {"half_range_um": 2.1},
        {"half_range_um": 40.0},
    ],
    ids=str,
)
def test_silly_values_are_one_line(silly: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        simulate_cells(**silly)
