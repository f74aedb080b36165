"""The way of a head through the planes that hardly show it."""

from __future__ import annotations

import numpy as np

from fgaf.curate.tracking.smooth import Places, by_contrast, by_focus, smoothed

Z_UM = np.arange(-8, 9) * 0.5
HEAD_PX = 32.0


def swimmer(focus_um: float) -> tuple[np.ndarray, Places]:
    """A straight way along x, but for the midpiece, a head behind, found near the focus."""
    x = 100.0 + 18.0 * np.arange(17)
    away = np.abs(Z_UM - focus_um)
    found = np.where(away < 1.1, x - 0.95 * HEAD_PX, x)
    contrast = 0.1 * np.clip(away / 2, 0.55, 1)
    return x, Places(np.full(17, 50.0), found, contrast, HEAD_PX)


def test_the_midpiece_found_near_focus_is_not_followed() -> None:
    x, places = swimmer(0.5)
    _, as_found = smoothed(places, by_contrast(places))
    _, steady = smoothed(places, by_focus(places, Z_UM, 0.5))
    assert np.abs(steady - x).max() < 0.1 * HEAD_PX
    assert np.abs(steady - x).max() < np.abs(as_found - x).max()


def test_places_far_from_focus_stay_as_found() -> None:
    x, places = swimmer(0.5)
    far = np.abs(Z_UM - 0.5) > 2
    _, steady = smoothed(places, by_focus(places, Z_UM, 0.5))
    np.testing.assert_allclose(steady[far], x[far], atol=0.02 * HEAD_PX)


def test_planes_without_a_spot_are_drawn_from_the_others() -> None:
    x, places = swimmer(0.5)
    contrast = places.contrast.copy()
    contrast[3:5] = 0
    lost = Places(places.y, np.where(contrast > 0, x, 0.0), contrast, HEAD_PX)
    _, drawn = smoothed(lost, by_contrast(lost))
    np.testing.assert_allclose(drawn[3:5], x[3:5], atol=0.1 * HEAD_PX)
