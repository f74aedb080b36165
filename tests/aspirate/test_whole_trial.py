"""A whole trial on simulated images: a cell is chosen, brought to the mouth, drawn in and kept."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from fgaf.model.aspirate.command import Outcome
from fgaf.model.bench.aspiration.conditions import Conditions
from fgaf.model.bench.aspiration.design import RECOMMENDED
from fgaf.model.live.loop import open_live

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "whole_trials.py"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_head_is_drawn_in_kept_and_still_found_between_the_walls() -> None:
    trials = runpy.run_path(str(BENCHMARK), run_name="whole_trials")
    conditions = Conditions().with_values({**RECOMMENDED, "motile": False})
    *_, last = trials["rows_of"](trials["Plan"](conditions), 0, 1, (open_live("sim"), None))
    assert (last.verdict, last.text) == (Outcome.SUCCESS, "the cell is inside and in view")
    assert last.released
    assert last.entered
    assert last.inside
