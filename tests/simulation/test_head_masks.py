"""Masks of simulated heads: their area, their place, their turn, and what the border leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fgaf.acquire.simulation.camera.mirror import pad
from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.silhouette import silhouette
from fgaf.acquire.simulation.sperm import Sperm, body_axes
from fgaf.acquire.simulation.swimming import Pose
from fgaf.base.errors import SettingError
from fgaf.dataset.storage.outlines import clipped, fill
from fgaf.dataset.truth import HIDDEN, MIRRORED, FrameTruth, as_outline, head_masks

PIXEL_UM, EXPOSURE_S = 0.1465, 0.005
# An ellipsoid: the area and the middle of its shadow are known exactly.
PLAIN = Sperm(taper=0.0, wedge=0.0)
FIELD: dict[str, Any] = {
    "shape": (160, 220), "cells": 5, "debris": 0, "round_cells": 0, "quick": True, "outlines": True,
    "margin_um": 1.0, "separation_um": 5.0,
}  # fmt: skip


def shadow(body: Sperm, pose: Pose) -> float:
    """Area of an ellipsoid's projection along z, µm²."""
    axes = body_axes(pose.yaw, pose.pitch, pose.roll)
    half = np.array([body.length, body.width, body.thickness]) / 2
    return float(np.pi * half.prod() * np.linalg.norm(axes[:, 2] / half))


def mask_at(outline_um: NDArray[Any], y: float, x: float, shape: tuple[int, int]) -> NDArray[Any]:
    labels = np.zeros(shape, np.uint8)
    fill(labels, outline_um / PIXEL_UM + (y, x), 1)
    return labels


POSES = [
    Pose(0, 0, 0),
    Pose(0, 0, 0, yaw=0.7),
    Pose(0, 0, 0, yaw=2.5, pitch=0.35, roll=0.6),
    Pose(0, 0, 0, yaw=-1.2, roll=np.pi / 2),
]


@pytest.mark.parametrize("pose", POSES, ids=str)
def test_a_mask_has_the_area_and_the_middle_of_the_heads_shadow(pose: Pose) -> None:
    middle = -(np.array(PLAIN.centre) @ body_axes(pose.yaw, pose.pitch, pose.roll))[1::-1]
    outline = silhouette(PLAIN, pose)
    areas, errors = [], []
    for at in np.random.default_rng(1).uniform(40, 41, (40, 2)):
        mask = mask_at(outline, *at, (80, 80))
        areas.append(mask.sum() * PIXEL_UM**2)
        errors.append(np.argwhere(mask).mean(axis=0) - at - middle / PIXEL_UM)
    assert np.mean(areas) == pytest.approx(shadow(PLAIN, pose), rel=0.02)
    np.testing.assert_allclose(areas, np.mean(areas), rtol=0.05)
    np.testing.assert_allclose(np.mean(errors, axis=0), 0, atol=0.1)


def test_a_mask_turns_with_the_head() -> None:
    for yaw in np.radians((0, 30, 75, 140)):
        y, x = np.argwhere(mask_at(silhouette(PLAIN, Pose(0, 0, 0, yaw=yaw)), 60, 60, (120, 120))).T
        spread = np.cov(x, y)
        found = 0.5 * np.arctan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1])
        assert np.sin(found - yaw) == pytest.approx(0, abs=0.03)


@dataclass(frozen=True)
class Form:
    """A head, and its area as a multiple of the plain one's."""

    name: str
    body: Sperm
    area: tuple[float, float]


FORMS = [
    Form("twice as wide", replace(PLAIN, width=6.0), (1.97, 2.03)),
    Form("two heads", replace(PLAIN, twin=0.9), (1.3, 1.9)),
    Form("waves around it", replace(PLAIN, outline=((3, 0.2, 1.0),)), (1.0, 1.04)),
    Form("cytoplasm is no head", replace(PLAIN, lumps=((-2, 1, 0, 0.8, 0.03, 0.0),)), (0.99, 1.01)),
    Form("no head", replace(PLAIN, headless=True), (0, 0)),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.name)
def test_abnormal_heads_have_the_area_of_their_form(form: Form) -> None:
    areas = [
        mask_at(silhouette(body, Pose(0, 0, 0, yaw=0.4)), 60, 60, (120, 120)).sum()
        for body in (PLAIN, form.body)
    ]
    assert form.area[0] <= areas[1] / areas[0] <= form.area[1]


def test_mask_and_image_are_of_one_place() -> None:
    """Where heads are dark, the mask lies on the dark pixels: any shift of it makes that worse."""
    dark = SimulationSettings(nucleus_loss=(0.1, 0.1), head_strength=(0.3, 0.3), photons=1e5)
    dark = dark.model_copy(update={"full_well": 1.7e5})
    archive = simulate_cells(cells=6, seed=5, patch_px=64, settings=dark, masks=True)
    assert archive.masks is not None
    for row in np.flatnonzero(archive.depth_um == 0):
        image, own = archive.images[row].astype(float), archive.masks[row] == 1
        shades = {
            (y, x): image[np.roll(own, (y, x), (0, 1))].mean()
            for y in range(-6, 7)
            for x in range(-6, 7)
        }
        assert np.hypot(*min(shades, key=lambda at: shades[at])) < 2
        np.testing.assert_allclose(np.argwhere(own).mean(axis=0), (32, 32), atol=3)


@pytest.mark.parametrize("seed", range(3))
def test_a_mask_covers_the_phase_of_its_head(seed: int) -> None:
    rng = np.random.default_rng(seed)
    body = replace(draw_sperm(rng, motile=True), lumps=())
    pose = Pose(0, 0, 0, yaw=0.3, pitch=0.2, roll=float(rng.uniform(0, 3)))
    slices = body.slices(pose, np.zeros((0, 3)), SimulationSettings())
    thickness = slices.phase.real.sum(axis=0)
    head = np.zeros(thickness.shape, np.uint8)
    fill(head, (silhouette(body, pose) - (slices.y_um, slices.x_um)) / slices.pitch_um, 1)
    shown = thickness > 0.25 * np.median(thickness[head > 0])
    assert (shown & (head > 0)).sum() > 0.9 * (shown | (head > 0)).sum()


def test_masks_leave_the_images_as_they_were() -> None:
    without, held = (simulate_cells(cells=3, seed=5, masks=masks) for masks in (False, True))
    np.testing.assert_array_equal(without.images, held.images)
    assert without.masks is None
    assert held.masks is not None
    assert held.masks.shape == held.images.shape


def test_all_heads_of_a_field_are_numbered_by_their_cell() -> None:
    scene = Scene(SimulationSettings(**FIELD, seed=3))
    _, truth = scene.expose(0.0, EXPOSURE_S, 0.0)
    labels = head_masks(truth, (160, 220))
    for cell in truth:
        assert cell.length_um is not None
        assert cell.width_um is not None
        area = np.pi / 4 * cell.length_um * cell.width_um / PIXEL_UM**2
        found = np.argwhere(labels == cell.id + 1)
        inside = 20 < cell.y_px < 140 and 20 < cell.x_px < 200
        assert len(found) <= 1.15 * area
        if inside:
            assert len(found) == pytest.approx(area, rel=0.12)
            np.testing.assert_allclose(found.mean(axis=0), (cell.y_px, cell.x_px), atol=3)
    again = FrameTruth.model_validate_json(FrameTruth(time_ns=0, cells=truth).model_dump_json())
    np.testing.assert_array_equal(head_masks(again.cells, (160, 220)), labels)


def test_the_border_cuts_a_mask() -> None:
    outline = silhouette(PLAIN, Pose(0, 0, 0, yaw=0.3))
    whole = mask_at(outline, 30, 30, (60, 60))
    assert not whole[:10].any()
    assert not whole[:, :10].any()
    np.testing.assert_array_equal(
        mask_at(outline, 0, 5, (60, 60)), np.pad(whole, 30)[60:, 55:][:60, :60]
    )
    assert not mask_at(outline, -40, 5, (60, 60)).any()


@pytest.mark.parametrize("seed", range(2))
def test_a_mirrored_border_mirrors_the_masks(seed: int) -> None:
    """The mask of the band is the mirror image of the mask beside it, as the pixels are."""
    settings = FIELD | {"cells": 25, "mirror_px": 36, "seed": seed, "separation_um": 3.0}
    _, truth = Scene(SimulationSettings(**settings)).expose(0.0, EXPOSURE_S, 0.0)
    assert {cell.kind for cell in truth} == {"sperm", MIRRORED, HIDDEN}
    heads = head_masks(truth, (160, 220)) > 0
    differ = heads != pad(heads, 36)
    assert differ.sum() <= 0.01 * heads.sum()
    plain = {**settings, "mirror_px": 0}
    _, truth = Scene(SimulationSettings(**plain)).expose(0.0, EXPOSURE_S, 0.0)
    inner = (slice(36, -36), slice(36, -36))
    differ = heads[inner] != (head_masks(truth, (160, 220)) > 0)[inner]
    assert differ.sum() <= 0.01 * heads[inner].sum()


def test_a_truth_without_outlines_is_told_how_to_get_them() -> None:
    scene = Scene(SimulationSettings(**FIELD | {"outlines": False}))
    _, truth = scene.expose(0.0, EXPOSURE_S, 0.0)
    with pytest.raises(SettingError, match="no outlines of heads; simulate with `acq"):
        head_masks(truth, (160, 220))


def test_half_a_pixel_decides() -> None:
    for share, wanted in ((0.4, 0), (0.6, 1)):
        labels = np.zeros((3, 3), np.uint8)
        fill(labels, ((0.5, 0.5), (0.5, 0.5 + share), (1.5, 0.5 + share), (1.5, 0.5)), 1)
        assert labels.sum() == wanted


def test_outlines_are_cut_to_a_rectangle() -> None:
    square = np.array([(0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (4.0, 0.0)])
    cut = clipped(square, (1, -9), (3, 2))
    assert sorted(map(tuple, cut.tolist())) == [(1, 0), (1, 2), (3, 0), (3, 2)]
    assert clipped(square, (5, 5), (9, 9)).shape == (0, 2)
    assert as_outline(square / 3)[1] == (0.0, 1.33)
