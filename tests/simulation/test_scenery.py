"""What lies in a field: where the truth says, as large as the documentation says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.scenery.clumps import SIDE_BY_SIDE_UM
from fgaf.acquire.simulation.scenery.droplet import Rim, draw_rim_near
from fgaf.acquire.simulation.scenery.particles import COCCUS_UM, draw_cocci
from fgaf.acquire.simulation.scenery.pipette import draw_shaft_near
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.dataset.truth import CellTruth

EXPOSURE_S = 0.005
EMPTY: dict[str, Any] = {
    "shape": (200, 260),
    "cells": 0,
    "debris": 0,
    "round_cells": 0,
    "mottle": 0.0,
    "unevenness": 0.0,
    "photons": 1e6,
    "full_well": 1.6e6,
    "read_noise": 0.0,
    "depth_spread_um": 0.0,
    "motile": False,
    "quick": True,
    "bit_depth": 12,
}


def image(focus_um: float = 0.0, **settings: Any) -> tuple[np.ndarray, tuple[CellTruth, ...]]:
    """Relative intensity of a field without noise to speak of, and its truth."""
    drawn = SimulationSettings(**(EMPTY | settings))
    pixels, truth = Scene(drawn).expose(0.0, EXPOSURE_S, focus_um)
    return pixels / (drawn.photons / drawn.full_well * (2**drawn.bit_depth - 1)), truth


KINDS = {
    "cocci": "cocci",
    "rods": "rod",
    "clots": "debris",
    "spots": "spot",
    "bodies": "body",
    "fragments": "fragment",
    "granular_cells": "cell",
    "tails": "tail",
    "needles": "pipette",
    "dust": "dust",
}


@pytest.mark.parametrize("name", KINDS)
def test_an_object_is_where_the_truth_says(name: str) -> None:
    shown = 0
    for seed in range(3):
        pixels, truth = image(1.0, seed=seed, **{name: 1})
        assert [cell.kind for cell in truth] == [KINDS[name]]
        (cell,) = truth
        departure = np.abs(pixels - 1)
        y, x = np.indices(departure.shape)
        near = np.hypot(y - cell.y_px, x - cell.x_px) < 60
        if near.sum() < 3000:
            continue
        shown += 1
        assert departure[near].max() > 0.01
        if name != "needles":
            centre = departure - 0.3 * departure.max()
            heavy = np.maximum(centre, 0)
            assert (heavy[near].sum() / heavy.sum()) > 0.95
    assert shown


def test_a_chain_of_cocci_is_as_long_as_its_cocci() -> None:
    settings = SimulationSettings()
    for seed in range(30):
        thing = draw_cocci(np.random.default_rng(seed), settings, 0, 0, 0)
        area_um2 = float((thing.slices.phase.real.sum(axis=0) > 0.05).sum()) * (
            settings.raster_um**2
        )
        one_um2 = np.pi * (COCCUS_UM / 2) ** 2
        assert 0.6 * one_um2 < area_um2 < 14 * one_um2
        filled = np.argwhere(thing.slices.phase.real.sum(axis=0) > 0.05)
        longest = np.linalg.norm(np.ptp(filled, axis=0)) * settings.raster_um
        assert 0.6 * COCCUS_UM < longest < 12 * COCCUS_UM


def heads(truth: tuple[CellTruth, ...], settings: SimulationSettings) -> np.ndarray:
    pixel = settings.pixel_size_um
    return np.array([(c.y_px * pixel, c.x_px * pixel) for c in truth if c.kind == "sperm"])


@pytest.mark.parametrize(
    ("name", "count", "nearest_um"),
    [
        ("pairs", (2, 2), (SIDE_BY_SIDE_UM - 0.1, SIDE_BY_SIDE_UM + 0.8)),
        ("end_pairs", (2, 2), (4.2, 5.3)),
        ("rosettes", (3, 8), (2.0, 5.2)),
        ("agglutinates", (4, 12), (2.5, 5.1)),
    ],
)
def test_clumps_touch(name: str, count: tuple[int, int], nearest_um: tuple[float, float]) -> None:
    for seed in range(4):
        settings = SimulationSettings(**(EMPTY | {"seed": seed, "margin_um": 11.0, name: 1}))
        _, truth = Scene(settings).expose(0.0, EXPOSURE_S, 1000.0)
        places = heads(truth, settings)
        assert count[0] <= len(places) <= count[1]
        away = np.hypot(*(places[:, None] - places[None]).T) + 1e9 * np.eye(len(places))
        assert nearest_um[0] <= away.min(axis=0).min()
        assert away.min(axis=0).max() <= nearest_um[1]


def test_clumps_stay_together_and_do_not_change_the_others() -> None:
    settings = SimulationSettings(**(EMPTY | {"cells": 2, "motile": True, "rosettes": 1}))
    alone = settings.model_copy(update={"rosettes": 0})
    first, later, without = (
        Scene(s).expose(t, EXPOSURE_S, 1000.0)[1]
        for s, t in ((settings, 0.0), (settings, 2.0), (alone, 0.0))
    )
    assert first[:2] == without
    for a, b in zip(first[2:], later[-len(first[2:]) :], strict=True):
        assert np.hypot(a.y_px - b.y_px, a.x_px - b.x_px) * settings.pixel_size_um < 0.5


def test_the_truth_gives_the_size_of_a_head_as_projected() -> None:
    scene = Scene(SimulationSettings(**(EMPTY | {"cells": 4, "margin_um": 8.0})))
    _, truth = scene.expose(0.0, EXPOSURE_S, 1000.0)
    for cell, swimmer in zip(truth, scene.swimmers, strict=True):
        pose, body = swimmer.way.pose(0.0), swimmer.body
        assert cell.length_um == pytest.approx(body.length * np.cos(pose.pitch), rel=0.08)
        assert cell.width_um == pytest.approx(body.width * np.cos(pose.roll), rel=0.08)
        level = body.slices(
            pose, body.flagellum(pose, 0.0), scene.settings, points=0
        ).phase.real.sum(axis=0)
        filled = np.argwhere(level > 0.04 * level.max()) * scene.settings.raster_um
        along = filled @ np.array([np.sin(pose.yaw), np.cos(pose.yaw)])
        assert cell.length_um == pytest.approx(np.ptp(along), abs=0.6)


def test_needles_and_edges_keep_the_set_distance_from_their_head() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rim = draw_rim_near(rng, 20.0, 30.0, (3.0, 4.0))
        assert 3.0 <= abs(float(rim.inward(np.float64(20.0), np.float64(30.0)))) <= 4.01
        shaft = draw_shaft_near(rng, 20.0, 30.0, (3.0, 4.0), 0.0)
        y, x = 20.0 - shaft.y_um, 30.0 - shaft.x_um
        beyond = y * np.sin(shaft.yaw) + x * np.cos(shaft.yaw)
        aside = abs(y * np.cos(shaft.yaw) - x * np.sin(shaft.yaw)) - shaft.radius_um
        assert 2.99 <= max(beyond, aside) <= 4.01


def test_a_droplet_darkens_what_lies_outside_by_its_step() -> None:
    from fgaf.acquire.simulation.microscope import Microscope
    from fgaf.acquire.simulation.scenery.droplet import DropletEdge

    scope = Microscope(SimulationSettings())
    edge = DropletEdge(Rim(0.0, 75.0, 0.0, 2000.0, 0.5, -0.35), scope, (8, 1024), 0.0)
    field = np.ones((8, 1024), np.float32)
    edge.multiply(field, 0.0)
    assert field[4, :60] == pytest.approx(0.65, abs=0.01)
    assert field[4, -60:] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("contrast", ["brightfield", "relief"])
def test_grain_is_as_strong_as_set_in_focus_and_blurs_out_of_it(contrast: str) -> None:
    strength = [
        image(z, contrast=contrast, grain=0.16, grain_um=0.7, photons=1e6, full_well=3e6)[0].std()
        for z in (0.0, 4.0)
    ]
    assert strength[0] == pytest.approx(0.16, rel=0.05)
    assert strength[1] < 0.6 * strength[0]


@pytest.mark.parametrize(
    "wrong", [{"gap_um": (5.0, 3.0)}, {"edges": 17}, {"grain": 0.6}, {"cocci": -1}], ids=str
)
def test_impossible_scenery_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SimulationSettings(**wrong)
