"""Whatever fails: the pipette stays inside its limits and over the floor, and the pump stands."""

from __future__ import annotations

import pytest

from fgaf.model.aspirate.command import Outcome, State
from tests.aspirate.faulty import FAULTS, FLOOR_UM, HIGHEST_UM_S, START_UM, Run, run

SCATTER_UM = 0.2
SIDE_UM = 50.0


def require_safe(done: Run) -> None:
    assert done.lowest_um >= FLOOR_UM - SCATTER_UM, done
    assert done.farthest_um <= SIDE_UM, done
    assert done.fastest_um_s <= 1.01 * HIGHEST_UM_S, done
    stopped = done.flow_nl_s == 0
    assert stopped or (done.fault == "pump gone" and "COULD NOT BE STOPPED" in done.error), done
    raised = done.end_um >= START_UM - 1
    assert raised or "could not" in done.error or "was not raised" in done.error, done
    assert done.procedure is not None
    assert done.procedure.state is State.ENDED, done
    if done.fault == "none":
        assert not done.error
        outcomes = [result.outcome for result in done.procedure.results]
        assert outcomes == [Outcome.SUCCESS, Outcome.NO_CELL], done


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_leaves_everything_safe(fault: str) -> None:
    for seed in range(FAULTS.index(fault), 17 * len(FAULTS), len(FAULTS)):
        require_safe(run(seed))


def test_the_faults_come_in_every_state() -> None:
    broken = [run(seed) for seed in range(FAULTS.index("Ctrl-C"), 40 * len(FAULTS), len(FAULTS))]
    last = {list(State).index(max(done.states, key=list(State).index)) for done in broken}
    assert len(last) >= 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_faults() -> None:
    for seed in range(10_000):
        require_safe(run(seed))
