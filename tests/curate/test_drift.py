"""Labels of cells that swim along the axis."""

from __future__ import annotations

import numpy as np
import pytest

from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.base.errors import SettingError
from fgaf.curate.focus.drift import expected_error, measure_drift

STILL = SimulationSettings(beat_hz=(0.01, 0.01), speed_um_s=(1e-3, 1e-3))


def test_the_expected_error_is_the_way_swum_between_plane_and_focus() -> None:
    # ±2 µm in 4 s is 1 µm/s: a cell with 0.5 µm/s is half a plane's distance off.
    assert expected_error([-2, 0, 1], 0.5, 4.0).tolist() == [1.0, 0.0, 0.5]
    assert expected_error(3.0, -0.5, 4.0, half_range_um=4.0) == pytest.approx(0.75)


def test_labels_go_wrong_as_fast_as_the_cells_swim() -> None:
    still, slow, fast = measure_drift([1.0], [0.0, 1.0, 3.0], cells=4, settings=STILL)
    assert still.kept >= 3
    assert still.expected_max_um == 0
    assert still.mean_um < 0.3
    assert slow.expected_max_um == pytest.approx(0.5)
    assert fast.expected_mean_um == pytest.approx(np.abs(np.arange(-4, 5) * 0.5).mean() * 0.75)
    assert fast.mean_um == pytest.approx(fast.expected_mean_um, abs=0.35)
    assert fast.within < slow.within <= still.within
    again = measure_drift([1.0], [0.0], cells=4, settings=STILL)
    assert again == [still]


@pytest.mark.parametrize(
    ("durations", "options", "message"),
    [
        ([0.0], {}, "give durations above 0"),
        ([float("nan")], {}, "give durations above 0"),
        ([1.0], {"cells": 0}, "0 cells"),
        ([1.0], {"step_um": 0.3}, "whole steps"),
    ],
)
def test_stacks_that_cannot_be_are_refused(
    durations: list[float], options: dict, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        measure_drift(durations, [0.0], **options)
