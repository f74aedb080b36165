"""The loop on the simulated microscope: cells followed, depths near the truth, focus kept."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from fgaf import FgafError
from fgaf.acquire import DeviceError, Devices, Frame, Interrupt, Rig, load_rig, open_rig
from fgaf.model.inference.depth import DepthModel
from fgaf.model.inference.heads import HeadModel
from fgaf.model.live import Live, LiveFrame, LiveSettings, live
from fgaf.model.live.autofocus import parse_target
from fgaf.model.live.loop import open_live
from tests.live.conftest import Contrasts

pytestmark = pytest.mark.long

STEADY = LiveSettings(processing_s=0.01)


class Witness:
    """A camera that keeps the truth of its frames."""

    def __init__(self, camera: Any) -> None:
        self._camera = camera
        self.truth: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._camera, name)

    def next_frame(self, timeout_s: float) -> Frame | None:
        frame: Frame | None = self._camera.next_frame(timeout_s)
        if frame is not None and frame.truth is not None:
            self.truth[frame.frame_id] = [c for c in frame.truth.cells if c.kind == "sperm"]
        return frame


@dataclass(frozen=True)
class Run:
    """What came of a run."""

    results: list[LiveFrame]
    truth: dict[int, Any]
    went_back_um: float


def run(
    rig: Rig, model: DepthModel, settings: LiveSettings, frames: int, heads: HeadModel | None = None
) -> Run:
    with open_rig(rig) as devices:
        witness: Any = Witness(devices.camera)
        loop = Live(replace(devices, camera=witness), rig, model, settings, heads=heads)
        results = list(loop.frames(frames))
        return Run(results, witness.truth, devices.stage.position_um())


@pytest.fixture(scope="module")
def swim(rig: Rig, model: DepthModel) -> Run:
    """Half a second of two cells, the drive standing."""
    return run(rig, model, STEADY, 20)


def test_cells_keep_their_number_and_are_where_they_are(swim: Run) -> None:
    numbers: dict[int, list[int]] = {}
    late = swim.results[8:]
    for result in late:
        for own in swim.truth[result.frame_id]:
            if 48 < own.y_px < 240 - 48 and 48 < own.x_px < 320 - 48:
                near = [
                    cell.id
                    for cell in result.cells
                    if cell.seen and math.hypot(cell.y_px - own.y_px, cell.x_px - own.x_px) < 12
                ]
                numbers.setdefault(own.id, []).extend(near)
    always = [each for each in numbers.values() if len(each) >= 0.8 * len(late)]
    assert always
    assert all(len(set(each)) == 1 for each in always)


def test_segmented_heads_change_no_number_and_every_cell_says_so(
    swim: Run, rig: Rig, model: DepthModel, contrasts: Callable[..., Contrasts]
) -> None:
    segmenter = contrasts()
    done = run(rig, model, STEADY, len(swim.results), segmenter)
    assert not any(cell.segmented for result in swim.results for cell in result.cells)
    assert [[cell.id for cell in result.cells] for result in done.results] == [
        [cell.id for cell in result.cells] for result in swim.results
    ]
    cells = [cell for result in done.results[8:] for cell in result.cells]
    assert {cell.segmented for cell in cells if cell.seen} == {True, False}
    assert all(cell.seen for cell in cells if cell.segmented)
    warm, frames = segmenter.batches[:7], segmenter.batches[7:]
    assert set(frames) <= set(warm)
    assert len(frames) <= sum(bool(result.cells) for result in done.results[:-1])


def test_every_frame_says_how_the_loop_keeps_up(swim: Run) -> None:
    ids = [result.frame_id for result in swim.results]
    assert ids == sorted(set(ids))
    last = swim.results[-1]
    assert last.dropped == ids[-1] - ids[0] + 1 - len(ids)
    assert last.latency_ms == pytest.approx((last.result_ns - last.time_ns) / 1e6)
    assert 10 < last.latency_p50_ms <= last.latency_p99_ms < 100
    assert last.rate_hz > 20


def test_depths_have_the_right_sign_and_heights_do_not_hang_on_the_drive(
    model: DepthModel, small: tuple[str, ...]
) -> None:
    heights = []
    for start_um in (-1.0, 1.0):
        rig = load_rig("sim", [*small, f"stage.options.start_um={start_um}"])
        done = run(rig, model, STEADY, 12)
        last = done.results[-1]
        (cell, *_) = [c for c in last.cells if c.depth_um is not None and c.z_um is not None]
        assert cell.z_um is not None
        own = min(
            done.truth[last.frame_id],
            key=lambda t: math.hypot(cell.y_px - t.y_px, cell.x_px - t.x_px),
        )
        heights.append(cell.z_um - own.focus_um)
    assert np.max(np.abs(heights)) < 0.8


def test_a_cell_is_brought_into_focus_and_the_drive_goes_back(
    model: DepthModel, small: tuple[str, ...]
) -> None:
    rig = load_rig("sim", [*small, "simulation.seed=3", "stage.options.start_um=1.8"])
    done = run(rig, model, replace(STEADY, track=True), 16)
    last = done.results[-1]
    (cell,) = [c for c in last.cells if c.id == last.target]
    own = min(
        done.truth[last.frame_id],
        key=lambda t: math.hypot(cell.y_px - t.y_px, cell.x_px - t.x_px),
    )
    assert abs(last.drive_um - own.focus_um) < 0.76
    assert any(result.aim_um is not None for result in done.results)
    assert done.went_back_um == pytest.approx(1.8, abs=0.1)


def test_the_limits_of_the_rig_hold(model: DepthModel, small: tuple[str, ...]) -> None:
    rig = load_rig("sim", [*small, "stage.options.start_um=4", "stage.limits_um=[3.5, 6]"])
    done = run(rig, model, replace(STEADY, track=True), 15)
    aims = [r.aim_um for r in done.results if r.aim_um is not None]
    assert all(3.5 <= aim <= 6 for aim in aims)
    assert all(3.4 < result.drive_um < 6.1 for result in done.results)
    assert any(result.at_limit for result in done.results)


def test_a_camera_that_goes_during_track_is_one_line_and_the_drive_goes_back(
    rig: Rig, model: DepthModel
) -> None:
    with open_rig(rig) as devices:
        camera: Any = devices.camera

        class Broken(Witness):
            def next_frame(self, timeout_s: float) -> Frame | None:
                if len(self.truth) == 4:
                    raise DeviceError("the camera was unplugged")
                return super().next_frame(timeout_s)

        broken: Any = Broken(camera)
        loop = Live(replace(devices, camera=broken), rig, model, replace(STEADY, track=True))
        with pytest.raises(DeviceError, match=r"was unplugged; the drive is back at 0\.0\d\d µm"):
            list(loop.frames())


def test_a_stop_ends_the_loop_well(rig: Rig, model: DepthModel) -> None:
    interrupt = Interrupt()
    with open_rig(rig) as devices:
        results = Live(devices, rig, model, STEADY, interrupt).frames()
        next(results)
        interrupt.request()
        assert list(results) == []


def test_the_iterator_opens_and_closes_all_by_itself(
    model: DepthModel, small: tuple[str, ...]
) -> None:
    rig = load_rig("sim", small)
    ids = [frame.frame_id for frame in live(rig, model, STEADY, limit=2)]
    assert len(ids) == 2


def test_real_time_runs_from_memory(
    in_memory: Callable[..., Devices], rig: Rig, model: DepthModel
) -> None:
    loop = Live(in_memory(), rig, model)
    results = []
    gc.unfreeze()
    try:
        for result in loop.frames(5):
            results.append(result)
            assert gc.get_freeze_count(), "a collection of everything would take two frames"
        assert not gc.get_freeze_count()
    finally:
        gc.freeze()
    assert [result.cells for result in results] == [()] * 5
    assert loop.pace.frames == 5


@dataclass(frozen=True)
class Unlike:
    """A rig that does not suit the model."""

    setting: str
    says: str


UNLIKE = [
    Unlike("simulation.magnification=60", r"pixels of 0\.09\d+ µm, the model's 0\.1465"),
    Unlike("simulation.numerical_aperture=0.5", r"aperture of 0\.5, the model's 0\.65"),
    Unlike("simulation.shape=[80, 200]", r"80 x 200 px are smaller than the model's patches of 96"),
]


@pytest.mark.parametrize("case", UNLIKE, ids=lambda case: case.setting)
def test_a_model_of_another_microscope_is_refused(
    case: Unlike, small: tuple[str, ...], contrasts: Callable[..., Contrasts]
) -> None:
    from fgaf.dataset.storage.optics import Optics

    rig = load_rig("sim", [*small, case.setting])
    trained = Optics(
        pixel_size_um=0.1465, numerical_aperture=0.65, medium_index=1.0, wavelength_um=0.55
    )
    model = carded(trained)
    with open_rig(rig) as devices:
        with pytest.raises(FgafError, match=case.says):
            Live(devices, rig, model)
        heads: Any = contrasts(optics=trained)
        if "aperture" in case.setting:
            with pytest.raises(FgafError, match=rf"for --heads, .*{case.says}"):
                Live(devices, rig, carded(Optics()), heads=heads)
        if "shape" not in case.setting:
            both = Live(devices, rig, model, force=True, heads=heads).differs
            assert ("for --heads" in both) == ("aperture" in case.setting)
            assert Live(devices, rig, model, force=True).differs


def carded(optics: Any) -> Any:
    """The network that ships, said to be trained with these optics."""
    from fgaf.model.deploy.open_model import open_model

    model: Any = open_model("sim")
    model.card = replace(model.card, optics=optics)
    return model


def test_a_rig_that_does_not_know_its_pixels_is_refused(
    in_memory: Callable[..., Devices], model: DepthModel
) -> None:
    rig = Rig.model_validate({"camera": {"driver": "x"}, "stage": {"driver": "x"}})
    with pytest.raises(FgafError, match="add pixel_size_um to its"):
        Live(in_memory(), rig, model)


def test_a_checkpoint_looks_at_one_view_of_eight() -> None:
    from fgaf.model.deploy.open_model import open_model

    assert open_model("sim").card.tta
    assert not open_live("sim").card.tta


@pytest.mark.parametrize("wrong", ["nearest", "0", "-1", ""])
def test_a_target_is_a_number_or_the_centre(wrong: str) -> None:
    assert parse_target("centre") is None
    assert parse_target("12") == 12
    with pytest.raises(FgafError, match="give a cell's number, or centre"):
        parse_target(wrong)
