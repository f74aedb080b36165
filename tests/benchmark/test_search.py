from dataclasses import dataclass, replace

import numpy as np
import pytest

from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.base.errors import SettingError
from fgaf.dataset.archive import Archive
from fgaf.model.bench.methods.constant import constant
from fgaf.model.bench.methods.focus import measure_named
from fgaf.model.bench.methods.focus_measures import MEASURES, tenengrad
from fgaf.model.bench.methods.focus_template import FocusTemplate
from fgaf.model.bench.methods.search import (
    dip,
    dip_focus,
    focus_values,
    from_focus,
    search_focus,
    suggested_focus,
    vertex,
)

GRID = np.arange(-4, 5) * 0.5


@dataclass(frozen=True)
class Curve:
    name: str
    z: list[float]
    values: list[float]
    peak: float


CURVES = [
    Curve("symmetric", [-1, 0, 1], [1, 2, 1], 0.0),
    Curve("between planes", [0, 1, 2, 3], [-(1.3**2), -(0.3**2), -(0.7**2), -(1.7**2)], 1.3),
    Curve("uneven spacing", [0, 0.5, 2, 3], [-1.0, -0.25, -1.0, -4.0], 1.0),
    Curve("first plane", [-1, 0, 1], [3, 2, 1], -1.0),
    Curve("last plane", [-1, 0, 1], [1, 2, 3], 1.0),
    Curve("flat", [-1, 0, 1], [2, 2, 2], -1.0),
    Curve("straight to a flat top", [0, 1, 2, 3], [0, 1, 1, 0], 1.5),
]


@pytest.mark.parametrize("case", CURVES, ids=lambda case: case.name)
def test_vertex_of_the_parabola_through_the_peak(case: Curve) -> None:
    assert vertex(np.array(case.z), np.array(case.values)) == pytest.approx(case.peak)


@pytest.mark.parametrize("peak", range(9))
def test_every_plane_is_told_its_distance_from_the_peak(peak: int) -> None:
    values = -np.abs(np.arange(9.0) - peak)
    found = search_focus(values, GRID, np.zeros(9), GRID)
    distance = GRID - GRID[peak]
    assert GRID[found.probabilities.argmax(axis=1)] == pytest.approx(np.clip(distance, -2, 2))
    assert found.expected_um == pytest.approx(np.clip(distance, -2, 2))
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(9))


def test_planes_rank_classes_for_top_3() -> None:
    values = np.array([0, 1, 2, 3, 9, 8, 7, 2.5, 1.5])
    found = search_focus(values, GRID, np.zeros(9), GRID)
    best_first = np.argsort(-found.probabilities[4])
    assert GRID[best_first[:4]].tolist() == [0.0, -0.5, -1.0, 0.5]


@pytest.mark.parametrize("seed", range(20))
def test_guesses_beyond_the_range_never_outrank_a_better_one(seed: int) -> None:
    values = np.random.default_rng(seed).permutation(9).astype(float)
    found = search_focus(values, GRID, np.zeros(9), GRID)
    expected = np.clip(GRID - GRID[values.argmax()], -2, 2)
    assert GRID[found.probabilities.argmax(axis=1)] == pytest.approx(expected)


def test_cells_are_searched_apart_and_rows_may_be_in_any_order() -> None:
    z = np.concatenate([GRID, GRID])
    cell = np.repeat([3, 7], 9)
    values = np.concatenate([-np.abs(GRID), -np.abs(GRID - 1)])
    shuffled = np.random.default_rng(1).permutation(18)
    found = search_focus(values[shuffled], z[shuffled], cell[shuffled], GRID)
    expected = np.clip(np.where(cell == 3, z, z - 1), -2, 2)[shuffled]
    assert found.expected_um == pytest.approx(expected)


def test_a_measure_that_sees_nothing_prefers_no_plane() -> None:
    found = search_focus(np.ones(3), np.array([-0.5, 0.0, 0.5]), np.zeros(3), GRID)
    assert found.probabilities[1, 3:6] == pytest.approx(np.full(3, 1 / 3))


def test_a_given_focus_ranks_the_nearest_classes_first() -> None:
    found = from_focus(np.array([0.2]), np.array([0.0, 1.0]), np.zeros(2), GRID)
    assert GRID[np.argsort(-found.probabilities[1])[:3]].tolist() == [1.0, 0.5, 1.5]
    assert found.expected_um == pytest.approx([-0.2, 0.8])
    assert found.probabilities.sum(axis=1) == pytest.approx([1, 1])


@dataclass(frozen=True)
class Labels:
    name: str
    counts: list[int]
    best: int
    second: int


LABELS = [
    Labels("uniform", [1, 1, 1, 1, 1], 2, 1),
    Labels("skewed", [8, 1, 1, 1, 1], 0, 1),
    Labels("median is not the mode", [4, 0, 1, 0, 4], 2, 0),
    Labels("one class only", [0, 0, 0, 7, 0], 3, 2),
]


@pytest.mark.parametrize("case", LABELS, ids=lambda case: case.name)
def test_the_constant_costs_least_on_the_training_labels(case: Labels) -> None:
    labels = np.repeat(np.arange(5), case.counts)
    grid = np.arange(-2, 3) * 0.5
    found = constant(labels, 4, grid)
    assert found.probabilities.shape == (4, 5)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(4))
    assert (found.probabilities >= 0).all()
    order = np.argsort(-found.probabilities[0], kind="stable")
    assert order[:2].tolist() == [case.best, case.second]
    assert found.expected_um.tolist() == [grid[case.best]] * 4


@pytest.mark.parametrize("name", [name for name in MEASURES if name != "entropy"])
def test_measures_find_the_focus_of_textures(name: str, texture_archive) -> None:
    archive = texture_archive(cells=3)
    rows = np.arange(len(archive.cell))
    values = focus_values(archive, rows, measure_named(name))
    found = search_focus(values, archive.depth_um, archive.cell, archive.class_depths_um)
    assert (archive.class_depths_um[found.probabilities.argmax(axis=1)] == archive.depth_um).all()


def test_focus_values_are_those_of_the_patches_asked_for(texture_archive) -> None:
    archive = texture_archive(cells=3)
    rows = np.array([20, 3, 4, 26])
    expected = [float(tenengrad(archive.images[row])) for row in rows]
    assert focus_values(archive, rows, tenengrad) == pytest.approx(expected)


def off_centre(archive: Archive, first: int) -> Archive:
    """Leave out the first planes of every cell, so that its focus is not the middle one."""
    keep = np.flatnonzero(archive.plane >= first)
    rows = ("images", "depth_um", "plane", "cell", "center_y", "center_x", "true_depth_um")
    return replace(archive, **{name: getattr(archive, name)[keep] for name in rows})


@pytest.mark.parametrize("patch_px", [64, 96])
def test_the_phase_rule_finds_the_dip_of_simulated_sperm(patch_px: int) -> None:
    archive = simulate_cells(cells=4, motile=False, seed=11, patch_px=patch_px)
    archive = off_centre(archive, 2)
    rows = np.arange(len(archive.cell))
    assert np.abs(suggested_focus(archive, rows)).max() <= 0.4


@dataclass(frozen=True)
class Dip:
    name: str
    values: list[float]
    place: float | None


DIPS = [
    Dip("between planes", [9, 4, 1, 2, 7], 2.25),
    Dip("deepest, not least", [2, 1, 2, 9, 3, 8], 4 + 1 / 22),
    Dip("no rise on the right", [9, 4, 3, 2, 1], None),
    Dip("flat", [1, 1, 1, 1], None),
]


@pytest.mark.parametrize("case", DIPS, ids=lambda case: case.name)
def test_a_dip_lies_between_two_rises(case: Dip) -> None:
    values = np.array(case.values, dtype=float)
    z = np.arange(values.size, dtype=float)
    expected = None if case.place is None else pytest.approx(case.place)
    assert dip(z, values) == expected
    assert dip(z[::-1], values[::-1]) == expected


def test_a_cell_without_a_dip_is_taken_as_centred() -> None:
    z = np.array([2.0, 0.0, 1.0])
    assert dip_focus(np.array([3.0, 1.0, 2.0]), z, np.zeros(3)).tolist() == [1.0]


@pytest.mark.parametrize("focus_um", [-1.2, 0.0, 0.35, 1.4])
def test_a_template_is_found_at_any_level_and_place(focus_um: float) -> None:
    def curve(depth_um: np.ndarray) -> np.ndarray:
        return 1 + depth_um**2 / (1 + (depth_um / 1.5) ** 4) + 0.2 * depth_um

    rng = np.random.default_rng(0)
    level = np.exp(rng.normal(0, 1, 20))
    values = (level[:, None] * curve(GRID) * np.exp(rng.normal(0, 0.01, (20, 9)))).ravel()
    template = FocusTemplate.fit(values, np.tile(GRID, 20), np.repeat(np.arange(20), 9), GRID)
    z = GRID + 10
    found = template.focus(5 * curve(z - 10 - focus_um), z, np.zeros(9))
    assert found == pytest.approx([10 + focus_um], abs=0.06)


def test_an_unknown_measure_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        SettingError, match=r"no focus measure 'sharpness'; choose one of .*brenner"
    ):
        measure_named("sharpness")
