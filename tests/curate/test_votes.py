"""Stacks of few cells: those of one microscope vote together on the case of the focus rule."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.base.errors import FgafError
from fgaf.curate.auto import auto
from fgaf.curate.focus.suggest import LIKELY, SURE, UNDECIDED
from fgaf.curate.session.finding import find_cells
from fgaf.curate.session.journal import read_journal
from fgaf.curate.session.state import StackRef, State, read_state
from fgaf.curate.session.votes import Votes
from tests.curate.test_focus import Z_UM, stack_of

FOCUS_UM = 0.3
NAMES = ["doubtful", "clear", "clear too"]
ROLLS_DEG = (75, 20, 45, 80, 10, 35)
"""A cell that rolls so much from plane to plane looks alone as if it were in relief contrast."""


@pytest.fixture(scope="module")
def raw(
    flat_stack: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Stacks of one cell each, in bright field."""
    folder = tmp_path_factory.mktemp("few")
    settings = SimulationSettings(quick=True)
    rolls: tuple[Sequence[float], ...] = (ROLLS_DEG, (0.0,), (0.0,))
    paths = {}
    for name, number, rolls_deg in zip(NAMES, (2, 0, 1), rolls, strict=True):
        frames = stack_of(settings, number, FOCUS_UM, rolls_deg=rolls_deg)
        path = folder / f"{name}.stack.h5"
        paths[name] = flat_stack(
            *(path,),
            frames=frames,
            shape=frames.shape,
            step_um=float(Z_UM[1] - Z_UM[0]),
            pixel_size_um=settings.pixel_size_um,
        )
    return paths


def state_of(folder: Path) -> State:
    return read_state(read_journal(folder)[0], folder)


def decided(folder: Path) -> list[tuple[Any, ...]]:
    """Cells in their order, with rule, focus and decision."""
    return [
        (cell.id, cell.suggestion, cell.decision.verdict, cell.decision.reason, cell.y.tolist())
        for cell in state_of(folder).cells.values()
        if cell.decision is not None
    ]


def stopping(paths: Sequence[Path]) -> Generator[Path, None, None]:
    """Fails after one stack."""
    yield paths[0]
    raise FgafError("the disk is full")


def test_a_stack_in_doubt_takes_the_case_of_the_others_of_its_microscope(
    raw: dict[str, Path], tmp_path: Path
) -> None:
    paths = list(raw.values())
    auto(paths, tmp_path / "one")
    cells = state_of(tmp_path / "one").cells
    assert [cell.id for cell in cells.values()] == [f"{name}-001" for name in NAMES]
    for cell in cells.values():
        assert cell.suggestion is not None
        assert cell.suggestion.rule == "phase"
        assert abs(cell.suggestion.focus_um - FOCUS_UM) <= 0.3
    whole = decided(tmp_path / "one")
    auto(paths, tmp_path / "two", workers=2)
    assert decided(tmp_path / "two") == whole
    with pytest.raises(FgafError, match="the disk is full"):
        auto(paths, tmp_path / "stopped", progress=stopping)
    assert not state_of(tmp_path / "stopped").stacks
    auto(paths, tmp_path / "stopped", resume=True)
    assert decided(tmp_path / "stopped") == whole


def test_a_person_must_check_a_single_stack_in_doubt(raw: dict[str, Path], tmp_path: Path) -> None:
    report = auto([raw["doubtful"]], tmp_path / "alone")
    assert report.dropped == {UNDECIDED: 1}
    (cell,) = report.state.cells.values()
    assert cell.suggestion is not None
    assert cell.suggestion.problem == UNDECIDED
    clear = auto([raw["clear"]], tmp_path / "clear")
    assert clear.kept == 1
    empty = replace(report.state, stacks={}, cells={})
    for state, rule, problem in ((empty, "peak", True), (clear.state, "phase", False)):
        found = find_cells(raw["doubtful"], state)
        assert found is not None
        assert found.cells[0].suggestion is not None
        assert found.cells[0].suggestion.rule == rule
        assert (found.rejection_reasons == [UNDECIDED]) == problem


def ref(vote: float, cutoff_per_um: float | None = 1.2) -> StackRef:
    return StackRef("a", "a", "1", "", "", cutoff_per_um=cutoff_per_um, vote=vote)


def test_stacks_vote_together_unless_they_contradict_each_other() -> None:
    votes = Votes([ref(-1.0), ref(-1.0)])
    assert votes.rule_of(ref(-1.0)) is None
    assert votes.rule_of(ref(-1.0), LIKELY) == "peak"
    votes.add(ref(SURE + 3))
    assert votes.rule_of(ref(-1.0)) == "phase"
    votes.add(ref(-9.0, cutoff_per_um=None))
    assert votes.rule_of(ref(-1.0)) == "phase"
    assert votes.rule_of(ref(-1.0, cutoff_per_um=None)) == "peak"
    votes.add(ref(-SURE))
    assert votes.rule_of(ref(-SURE)) == "peak"
    assert votes.rule_of(ref(SURE)) == "phase"
    assert votes.rule_of(ref(-1.0), LIKELY) is None
    assert votes.rule_of(ref(2.5), LIKELY) == "phase"


def test_a_vote_is_kept_in_the_journal(raw: dict[str, Path], tmp_path: Path) -> None:
    report = auto([raw["clear"], raw["clear too"]], tmp_path / "s")
    again = state_of(tmp_path / "s")
    assert [stack.vote for stack in again.stacks.values()] == [
        stack.vote for stack in report.state.stacks.values()
    ]
    assert np.sum([stack.vote for stack in again.stacks.values()]) >= SURE
