"""The methods that see one patch, on simulated cells: better than nothing, and the same again."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.base.errors import FgafError, SettingError
from fgaf.dataset.archive import DEFAULT_SPLIT
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods import KINDS, Method, Prediction
from fgaf.model.bench.methods.calibration import Calibration
from fgaf.model.bench.methods.features import band_powers, describe_patches, radial_profiles
from fgaf.model.bench.methods.fourier_network import magnitudes
from fgaf.model.bench.methods.matching import (
    best_of_class,
    depth_along_best,
    fit_sharpness,
    match_images,
    match_profiles,
    shares_of,
)

GRID = np.arange(-4, 5) * 0.5


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    least_top1: float
    settings: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("defocus", "defocus", 0.5),
    Case("blur only", "defocus", 0.25, {"signed": False}),
    Case("images", "library", 0.3),
    Case("profiles", "library", 0.3, {"references": "profiles"}),
    Case("boosting", "boosting", 0.45, {"rounds": 25}),
    Case("fourier", "fourier", 0.25, {"epochs": 12}),
]


@pytest.fixture(scope="module")
def data() -> EvaluationSet:
    archive = simulate_cells(cells=40, seed=5, patch_px=64)
    sides = np.repeat([0, 1, 2], [26, 4, 10]).astype(np.int8)
    return EvaluationSet(replace(archive, splits={DEFAULT_SPLIT: sides}))


def method_of(case: Case) -> Method:
    return KINDS[case.kind].model_validate({"id": case.kind, "kind": case.kind, **case.settings})


def ask(case: Case, data: EvaluationSet, seed: int = 0) -> Prediction:
    method = method_of(case)
    return method.answer(
        data, method.resolved_settings(data, seed if method.seeded else None), Path("none")
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_method_learns_depth_from_other_cells(case: Case, data: EvaluationSet) -> None:
    found = ask(case, data)
    assert found.probabilities.shape == (data.rows.size, 9)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(data.rows.size))
    assert (found.probabilities >= 0).all()
    assert np.abs(found.expected_um).max() <= 2.25
    right = found.probabilities.argmax(axis=1) == data.archive.depth_class[data.rows]
    assert right.mean() > case.least_top1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_test_cells_are_never_learned_from(case: Case, data: EvaluationSet) -> None:
    """With the test labels reversed and the truth gone, the answers stay the same."""
    archive = data.archive
    depth = archive.depth_um.copy()
    depth[data.rows] = -depth[data.rows][::-1]
    blinded = EvaluationSet(replace(archive, depth_um=depth, true_depth_um=None))
    first, second = ask(case, data), ask(case, blinded)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_array_equal(first.expected_um, second.expected_um)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_little_to_learn_from_is_enough(case: Case, data: EvaluationSet) -> None:
    """Two training cells, none to choose by, and a depth class that nobody showed."""
    archive = data.archive
    keep = np.flatnonzero(np.isin(archive.cell, [0, 1, 39]) & (archive.depth_class > 0))
    rows = ("images", "depth_um", "plane", "center_y", "center_x", "true_depth_um")
    few = replace(
        archive,
        cells=archive.cells.take([0, 1, 39]),
        cell=np.searchsorted([0, 1, 39], archive.cell[keep]).astype(np.int32),
        splits={DEFAULT_SPLIT: np.array([0, 0, 2], np.int8)},
        **{name: getattr(archive, name)[keep] for name in rows},
    )
    found = ask(case, EvaluationSet(few))
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(8))
    assert np.isfinite(found.expected_um).all()


def test_the_fourier_network_follows_its_seed(data: EvaluationSet) -> None:
    case = Case("short", "fourier", 0, {"epochs": 2})
    first, again, other = (ask(case, data, seed).probabilities for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize(
    ("middle", "settings", "suits"),
    [(0, {}, "level"), (200, {}, "flux"), (200, {"preset": "paper"}, "level")],
    ids=["dark ones", "shining ones", "a preset named"],
)
def test_a_classifier_trains_with_what_suits_the_archive(
    middle: int, settings: dict[str, Any], suits: str, data: EvaluationSet
) -> None:
    images = np.full_like(data.archive.images, 20)
    images[:, 28:36, 28:36] = middle
    method = method_of(Case("", "classifier", 0, {"settings": settings}))
    assert (
        method.resolved_settings(EvaluationSet(replace(data.archive, images=images)), 0)[
            "normalise"
        ]
        == suits
    )


def test_a_window_that_leaves_the_patch_is_refused(data: EvaluationSet) -> None:
    method = method_of(Case("wide", "library", 0, {"window_px": 62, "shift_px": 4}))
    with pytest.raises(SettingError, match="62 px shifted by 4 px needs"):
        method.resolved_settings(data, None)


def test_missing_scikit_learn_is_named_with_its_extra(data: EvaluationSet, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(FgafError, match=r"sklearn is missing.*fgaf\[train\]"):
        method_of(CASES[4]).resolved_settings(data, None)


@pytest.mark.parametrize("shift", [(0, 0), (1, -1)], ids=str)
@pytest.mark.parametrize("turns", range(4))
def test_a_turned_mirrored_and_shifted_image_matches_itself(
    turns: int, shift: tuple[int, int]
) -> None:
    references = np.random.default_rng(0).integers(0, 4000, (5, 48, 48)).astype(np.uint16)
    view = np.roll(np.rot90(references[3][:, ::-1], turns), shift, axis=(0, 1))
    likeness = match_images(10 + view[None] // 2, references, 16, 1)[0]
    assert likeness.argmax() == 3
    assert likeness[3] == pytest.approx(1, abs=1e-3)
    assert np.delete(likeness, 3).max() < 0.8


def test_correlations_are_those_of_numpy() -> None:
    rng = np.random.default_rng(1)
    image, reference = rng.normal(size=(2, 1, 32, 32))
    blocks = [
        part[0, 8:24, 8:24].reshape(8, 2, 8, 2).mean(axis=(1, 3)) for part in (image, reference)
    ]
    views = [np.rot90(side, k) for side in (blocks[1], blocks[1][:, ::-1]) for k in range(4)]
    best = max(np.corrcoef(blocks[0].ravel(), view.ravel())[0, 1] for view in views)
    assert match_images(image, reference, 16, 0)[0, 0] == pytest.approx(best, abs=1e-6)


def test_depth_is_interpolated_along_the_best_cells_stack() -> None:
    depth = np.array([0.0, 1.0, 2.0, 0.0, 1.0, 2.0])
    cell = np.array([4, 4, 4, 7, 7, 7])
    likeness = np.array([[0.1, 0.2, 0.3, 0.5, 0.9, 0.8], [0.95, 0.2, 0.3, 0.5, 0.9, 0.8]])
    found = depth_along_best(likeness, depth, cell)
    assert found == pytest.approx([1 + 0.5 * 0.3 / 0.5, 0.0])
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert best_of_class(likeness, labels, 4)[0].tolist() == pytest.approx([0.5, 0.9, 0.8, -1])


def test_sharpness_makes_sure_matches_sure() -> None:
    labels = np.repeat(np.arange(3), 20)
    scores = np.full((60, 3), 0.5)
    scores[np.arange(60), labels] = 0.6
    sure = shares_of(scores, fit_sharpness(scores, labels))
    assert sure[np.arange(60), labels].min() > 0.99
    unsure = shares_of(scores, fit_sharpness(scores, np.roll(labels, 20)))
    assert unsure.max() < 0.4


def test_profiles_do_not_ask_how_a_cell_is_turned() -> None:
    image = np.random.default_rng(2).integers(50, 200, (1, 65, 65)).astype(np.float64)
    turned = np.rot90(image, 1, axes=(1, 2))
    for first, second in zip(radial_profiles(image), radial_profiles(turned), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)
    assert match_profiles(turned, image, np.array([1]), 3)[0] == pytest.approx([-1, 1, -1])


def test_a_profile_is_the_mean_on_its_ring() -> None:
    at = np.arange(64) - 32
    ring = np.hypot(at[:, None], at) // 8
    means, spreads = radial_profiles((100 + ring)[None], rings=4)
    assert np.diff(means[0]) == pytest.approx(np.full(3, 1 / (100 + ring).mean()), rel=1e-4)
    assert spreads == pytest.approx(np.zeros((1, 4)), abs=1e-4)


@pytest.mark.parametrize(
    "describe", [band_powers, describe_patches, lambda x: magnitudes(x, 32, 0.5)]
)
def test_features_do_not_depend_on_what_else_is_described(describe: Any) -> None:
    images = np.random.default_rng(3).integers(0, 255, (6, 48, 48)).astype(np.uint8)
    np.testing.assert_allclose(describe(images)[4:], describe(images[4:]), rtol=1e-4, atol=1e-4)


def test_band_powers_ignore_the_lamp() -> None:
    images = np.random.default_rng(4).integers(40, 120, (3, 48, 48)).astype(np.uint16)
    np.testing.assert_allclose(band_powers(images), band_powers(2 * images), atol=1e-4)


def test_a_calibration_reads_a_known_curve() -> None:
    rng = np.random.default_rng(5)

    def describe(depth: np.ndarray) -> np.ndarray:
        clean = np.stack([depth**2, depth, np.cos(depth)], axis=1)
        return clean + rng.normal(0, 0.05, clean.shape)

    known = np.tile(GRID, 60)
    fit = Calibration.fit(describe(known), known, GRID, degree=6)
    asked = rng.uniform(-1.9, 1.9, 300)
    found = fit.predict(describe(asked))
    assert np.abs(found.expected_um - asked).mean() < 0.06
    assert fit.evidence(describe(known), known) > -0.3
    worse = Calibration.fit(describe(known), known, GRID, degree=0)
    assert worse.evidence(describe(known), known) < fit.evidence(describe(known), known)
