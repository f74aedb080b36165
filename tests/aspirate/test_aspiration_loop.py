"""Whole trials: live loop, procedure, simulated stage, manipulator and pump, file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fgaf.acquire.devices import DeviceError, Devices
from fgaf.acquire.interrupt import Interrupt
from fgaf.base.errors import ExistsError, SettingError
from fgaf.model.aspirate import run as run_module
from fgaf.model.aspirate.command import Outcome, State
from fgaf.model.aspirate.loop import LoopSettings
from fgaf.model.aspirate.run import TrialOutputs, TrialsDone
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.deploy.open_model import open_model
from fgaf.model.inference.depth import DepthModel
from tests.aspirate.dish import SOFT
from tests.aspirate.pasted import maps, opened, small_rig

pytestmark = pytest.mark.long

QUICK = replace(SOFT, prime_s=0.3, judge_s=0.5, reverse_nl_s=5, choose_s=3, apart_um=3)
MOST = 600


@pytest.fixture(scope="module")
def model() -> DepthModel:
    return open_model("sim")


class Trials:
    """Runs trials on the pasted camera, and remembers what was said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: DepthModel) -> None:
        self._patch, self._model = monkeypatch, model
        self.said: list[str] = []
        self.results: list[Any] = []
        self.devices: Any = None

    def __call__(
        self,
        *settings: str,
        out: Path | None = None,
        interrupt: Interrupt | None = None,
        swim: tuple[float, float] = (0.0, 0.0),
        z_um: float = 2.0,
        when: Callable[[str], None] = lambda _: None,
        **more: Any,
    ) -> TrialsDone:
        rig = small_rig(*settings)
        self.devices = opened(rig, swim, z_um)
        self._patch.setattr(run_module, "open_rig", lambda *_: self.devices)

        def tell(line: str) -> None:
            self.said.append(line)
            when(line)

        values = {"go": True, "depth_by": "truth", "processing_s": 0.01, "procedure": QUICK}
        return TrialOutputs(out=out).run(
            rig,
            self._model,
            LoopSettings(**values | more),
            interrupt or Interrupt(),
            frames=MOST,
            tell=tell,
            each=self.results.append,
            **maps(rig),
        )

    @property
    def at_rest(self) -> bool:
        """Whether pump and stage stand, and the pipette is up."""
        devices: Devices = self.devices
        devices.clock.sleep(0.2)
        before = devices.xy_stage.position_xy_um()  # type: ignore[union-attr]
        devices.clock.sleep(0.2)
        after = devices.xy_stage.position_xy_um()  # type: ignore[union-attr]
        z_um = devices.manipulator.position_xyz_um()[2]  # type: ignore[union-attr]
        flow = devices.pump.displaced_nl_s()  # type: ignore[union-attr]
        return bool(before == after and flow == 0 and z_um > 119)


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch, model: DepthModel) -> Trials:
    return Trials(monkeypatch, model)


def test_a_cell_is_drawn_in_and_the_file_tells_how(trials: Trials, tmp_path: Path) -> None:
    out = tmp_path / "trials.h5"
    done = trials(out=out, swim=(0.0, 15.0))
    assert [result.outcome for result in done.results] == [Outcome.SUCCESS], trials.said
    assert done.successes == done.released == 1
    assert trials.at_rest
    with h5py.File(out) as file:
        assert file.attrs["format"] == "fgaf-trials"
        assert file.attrs["complete"]
        assert file["trials/outcome"].asstr()[:].tolist() == ["success"]
        states = list(dict.fromkeys(file["frames/state"].asstr()[:]))
        assert states[0] == State.CHOOSE
        assert states[-1] == State.ENDED
        assert set(states) == set(State) - {State.SEARCH}
        frames = {name: column[:] for name, column in file["frames"].items()}
        drawn = frames["wanted_flow_nl_s"] > 0
        level = frames["tip_z_um"][drawn]
        assert abs(level - 2.0).max() < 0.5
        assert (frames["commanded_ns"] >= frames["time_ns"]).all()
        stands = np.isin(file["frames/state"].asstr()[:], ["watch", "retain", "judge"])
        assert np.ptp(frames["drive_um"][stands]) < 0.05
        video = file["video/0001"]
        assert video["pixels"].shape[1:] == (256, 256)
        assert len(video["pixels"]) == len(video["frame"]) == len(video["corner"])
        assert (file["frames/trial"][:][video["frame"][:]] == 1).all()
        assert len(file["events/text"]) >= 8


@pytest.mark.slow
def test_the_tip_goes_up_between_trials_and_a_field_without_cells_ends(trials: Trials) -> None:
    done = trials(trials=3)
    assert [result.outcome for result in done.results] == [Outcome.SUCCESS, Outcome.NO_CELL]
    assert (done.released, done.given_up) == (1, 0)
    assert trials.at_rest


def stop_when(state: State, act: Callable[[], None]) -> Callable[[str], None]:
    return lambda line: act() if f", {state}:" in line else None


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(State.APPROACH, marks=pytest.mark.slow),
        pytest.param(State.ASPIRATE, marks=pytest.mark.slow),
        State.WATCH,
    ],
)
def test_ctrl_c_ends_a_trial(trials: Trials, state: State, tmp_path: Path) -> None:
    interrupt, out = Interrupt(), tmp_path / "trials.h5"
    done = trials(out=out, interrupt=interrupt, when=stop_when(state, interrupt.request))
    assert done.ended == "stopped by Ctrl-C"
    assert [result.outcome for result in done.results] == [Outcome.STOPPED]
    assert done.given_up == (state is not State.WATCH)
    assert trials.at_rest
    with h5py.File(out) as file:
        assert file["trials/outcome"].asstr()[:].tolist() == ["stopped"]


def test_an_alarm_of_the_pump_ends_everything(trials: Trials, tmp_path: Path) -> None:
    out = tmp_path / "trials.h5"
    with pytest.raises(DeviceError, match="has stalled"):
        trials("pump.options.stalls_after_s=0.2", out=out)
    assert [result.outcome for result in trials.results] == [Outcome.FAULT]
    assert trials.at_rest
    with h5py.File(out) as file:
        assert not file.attrs["complete"]
        assert file["trials/outcome"].asstr()[:].tolist() == ["fault"]


@pytest.mark.slow
def test_a_search_finds_the_height_of_a_cell_at_rest(trials: Trials) -> None:
    done = trials(depth_by="search", search_um=2.0)
    assert any(", search:" in line for line in trials.said)
    assert any("the cell is in focus at z" in line for line in trials.said)
    assert done.results[0].cell is not None
    assert trials.at_rest


def test_a_dry_run_tells_every_move_and_makes_none(trials: Trials) -> None:
    done = trials(go=False)
    devices = trials.devices
    assert devices.manipulator.moves == 0
    assert devices.manipulator.position_xyz_um() == (0.0, 0.0, 20.0)
    assert devices.xy_stage.position_xy_um() == (0.0, 0.0)
    assert devices.stage.position_um() == pytest.approx(0, abs=0.05)
    assert devices.pump.displaced_nl_s() == 0
    said = "\n".join(trials.said)
    for move in (
        *("the x/y stage keeps cell 1 at x, y = ", "the pipette goes to "),
        *("the pump draws 1.2 nL/s", "the pump expels 5 nL/s", "the pump stops"),
    ):
        assert move in said
    assert done.results[0].outcome is not Outcome.SUCCESS
    assert done.to_dict()["results"][0]["outcome"] == done.results[0].outcome


@pytest.mark.parametrize(
    ("settings", "more", "says"),
    [
        ((), {"procedure": AspirationSettings(flow_nl_s=6)}, "a flow of 6 nL/s is outside"),
        (
            ("pump.options.least_flow_nl_s=0.05",),
            {"procedure": AspirationSettings()},
            "0.05 to 5 nL/s; give a higher flow, or use a syringe of smaller diameter",
        ),
        (("manipulator.options.start_um=[0,0,300]",), {}, "outside its limits -6 to 200"),
        (("manipulator.options.tip_um=[60,0,0]",), {}, "outside the frame of 256 x 320 px"),
        ((), {"depth_by": "guess"}, "--depth-by guess is none of network, search, truth"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_moves(
    trials: Trials, settings: tuple[str, ...], more: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingError, match=says.replace("(", r"\(")):
        trials(*settings, **more)


def test_a_file_that_is_there_is_refused_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: DepthModel
) -> None:
    out, opened_rigs = tmp_path / "trials.h5", []
    out.touch()
    monkeypatch.setattr(run_module, "open_rig", opened_rigs.append)
    rig = small_rig()
    with pytest.raises(ExistsError, match="exists already"):
        TrialOutputs(out=out, page=0).run(rig, model, LoopSettings(), Interrupt(), **maps(rig))
    assert not opened_rigs
