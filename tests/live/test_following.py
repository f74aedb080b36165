"""Following in x and y: the stage keeps a swimming cell in its place, and stops when in doubt."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fgaf.acquire import DeviceError, Devices, Interrupt, Rig, load_rig, open_rig
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.control.xy_stage import XYMover
from fgaf.acquire.devices import NoRoomError, VelocityStage
from fgaf.base.errors import SettingError
from fgaf.model.inference.depth import DepthModel
from fgaf.model.live import Live, LiveSettings
from fgaf.model.live.following import Following
from fgaf.model.live.goal import Goal, GoalInFrame
from fgaf.model.live.loop import open_live
from fgaf.model.live.motion import Motion
from fgaf.model.live.servo import ACCELERATION_UM_S2, FASTEST_UM_S, Course
from fgaf.model.live.tracker import Track
from fgaf.model.live.xy_stage import LiveStage

pytestmark = pytest.mark.long

SHAPE = (480, 480)
PIXEL_UM = 5.86 / 40
TICK_S, FRAME_TICKS, LATENCY_S = 0.004, 6, 0.041
START_UM = (1000.0, 2000.0)

Way = Callable[[float], tuple[float, float]]


def straight(speed_um_s: float, heading: float = 0.4) -> Way:
    """A cell that swims straight on; x and y in µm from the middle of the first frame."""
    return lambda t: (speed_um_s * t * math.cos(heading), speed_um_s * t * math.sin(heading))


def circle(speed_um_s: float, radius_um: float) -> Way:
    return lambda t: (
        radius_um * math.sin(speed_um_s * t / radius_um),
        radius_um * (1 - math.cos(speed_um_s * t / radius_um)),
    )


class Plain:
    """An x/y stage that knows positions only."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage
        self.name, self.limits_xy_um = "plain stage", stage.limits_xy_um
        self.position_xy_um, self.move_xy_to = stage.position_xy_um, stage.move_xy_to
        self.moving_xy, self.stop, self.close = stage.moving_xy, stage.stop, stage.close


class Failing:
    """An x/y stage that stops to answer, to all or to all but a stop."""

    def __init__(self, stage: Any, stops: bool = True) -> None:
        self._stage, self._stops = stage, stops
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def position_xy_um(self) -> Any:
        if self.broken:
            raise DeviceError("the stage does not answer")
        return self._stage.position_xy_um()

    def stop(self) -> None:
        if self.broken and not self._stops:
            raise DeviceError("the stage does not answer")
        self._stage.stop()


class Dish:
    """A cell that is seen 41 ms late, under the simulated stage.

    Attributes
    ----------
    off_um
        True distance of the cell from its place, in every frame.
    places_um
        Position of the stage in every frame.
    """

    def __init__(
        self,
        *settings: str,
        goal: str = "centre",
        stage: Callable[[Any], Any] = lambda own: own,
        stage_map: StageMap | None = None,
    ) -> None:
        self.rig = load_rig("sim", [f"xy_stage.options.start_um={list(START_UM)}", *settings])
        self.devices = open_rig(self.rig)
        self.clock: Any = self.devices.clock
        self.own: Any = self.devices.xy_stage
        self.stage: Any = stage(self.own)
        devices = replace(self.devices, xy_stage=self.stage)
        self.live = LiveStage(XYMover(devices, self.rig.xy_stage, Interrupt()))
        known = stage_map or StageMap.simulated(self.rig)
        assert known is not None
        self.goal = GoalInFrame.of(Goal.parse(goal), SHAPE, 48, PIXEL_UM)
        self.following = Following(self.live, known, self.goal, PIXEL_UM)
        self.random = np.random.default_rng(0)
        self.track: Track | None = None
        self.off_um: list[float] = []
        self.places_um: list[tuple[float, float]] = []
        self.at_limit: list[bool] = []
        self._begun_ns = self.clock.now_ns()
        self._origin_um = self.own.specimen_um()

    def seen(self, way: Way, time_ns: int) -> tuple[float, float]:
        """True place (y, x) of the cell in the frame, pixels."""
        x, y = way((time_ns - self._begun_ns) / 1e9)
        place = self.own.specimen_um(time_ns)
        middle = [(side - 1) / 2 for side in SHAPE]
        return (
            middle[0] + (y - place[1] + self._origin_um[1]) / PIXEL_UM,
            middle[1] + (x - place[0] + self._origin_um[0]) / PIXEL_UM,
        )

    def swim(self, way: Way, seconds: float, found: bool = True) -> None:
        """Let time go on; unless `found`, the cell is not found in the frames."""
        waiting: list[int] = []
        for tick in range(round(seconds / TICK_S)):
            self.live.look()
            self.clock.sleep(TICK_S)
            now_ns = self.clock.now_ns()
            if tick % FRAME_TICKS == 0:
                waiting.append(now_ns)
            if waiting and now_ns - waiting[0] >= LATENCY_S * 1e9:
                self._result(way, waiting.pop(0), found)

    def _result(self, way: Way, time_ns: int, found: bool) -> None:
        y, x = self.seen(way, time_ns)
        noisy = [at + self.random.normal(0, 0.3 / PIXEL_UM) for at in (y, x)]
        shift = self.following.shift_px(time_ns)
        if self.track is None:
            motion = Motion.begin(*noisy, time_ns, PIXEL_UM)
            self.track = Track(motion, *noisy, 0.9, 0.9, time_ns, time_ns, number=1)
        motion = self.track.motion
        motion.predict(time_ns)
        motion.shift(*shift)
        if found:
            motion.correct(*noisy)
            self.track.found_ns = time_ns
        self.following.follow(self.track, time_ns)
        place = self.goal.place(y, x)
        self.off_um.append(PIXEL_UM * math.hypot(y - place[0], x - place[1]))
        self.places_um.append(self.live.at(time_ns))
        self.at_limit.append(self.live.at_limit)

    def rms_um(self, settled: int = 25) -> float:
        """After the first second."""
        return float(np.sqrt(np.mean(np.square(self.off_um[settled:]))))

    def stands(self) -> bool:
        """Whether the stage does not move."""
        before = self.own.specimen_um()
        self.clock.sleep(0.5)
        return bool(self.own.specimen_um() == before)


@dataclass(frozen=True)
class Swim:
    """A cell, a stage, and how near its place the cell is kept."""

    name: str
    way: Way
    within_um: float
    settings: tuple[str, ...] = ()
    goal: str = "centre"
    plain: bool = False


TURNED = ("xy_stage.options.angle_deg=125",)
MIRRORED = ("xy_stage.options.angle_deg=-40", "xy_stage.options.mirrored=true")
SWIMS = [
    Swim("50 µm/s", straight(50), 0.7),
    Swim("100 µm/s", straight(100, 2.0), 1.0),
    Swim("circle", circle(60, 60), 1.8),
    Swim("turned", straight(50), 0.7, TURNED),
    Swim("mirrored", straight(50), 0.7, MIRRORED),
    Swim("backlash", circle(60, 60), 2.0, ("xy_stage.options.backlash_um=3",)),
    Swim("slow link", straight(50), 1.0, ("xy_stage.options.reply_ms=12",)),
    Swim("at a pixel", straight(50), 0.7, goal="300,120"),
    Swim("at a distance", straight(50), 0.7, goal="300,240@100px"),
    Swim("positions", straight(50), 1.5, plain=True),
    Swim("positions, mirrored", circle(60, 60), 2.0, MIRRORED, plain=True),
    Swim("positions, slow", straight(50), 3.0, ("xy_stage.options.reply_ms=12",), plain=True),
]


@pytest.mark.parametrize("case", SWIMS, ids=lambda case: case.name)
def test_a_swimming_cell_is_kept_in_its_place(case: Swim) -> None:
    dish = Dish(*case.settings, goal=case.goal, stage=Plain if case.plain else lambda own: own)
    assert isinstance(dish.stage, VelocityStage) != case.plain
    dish.swim(case.way, 4.0)
    assert dish.rms_um() < case.within_um
    assert sum(math.dist(*pair) for pair in pairwise(dish.places_um)) > 150


def test_the_velocity_changes_gently() -> None:
    dish = Dish(goal="60,420")  # far from the cell
    sent: list[tuple[int, tuple[float, float]]] = [(dish.clock.now_ns(), (0.0, 0.0))]
    move = dish.own.move_xy_at

    def remember(vx_um_s: float, vy_um_s: float) -> None:
        sent.append((dish.clock.now_ns(), (vx_um_s, vy_um_s)))
        move(vx_um_s, vy_um_s)

    dish.own.move_xy_at = remember
    dish.swim(straight(50), 2.0)
    assert max(abs(each) for _, velocity in sent for each in velocity) <= FASTEST_UM_S
    for (t0, before), (t1, after) in pairwise(sent[1:]):
        most = ACCELERATION_UM_S2 * (t1 - t0) / 1e9 * 1.01
        assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= most
    assert max(map(abs, sent[1][1])) < 50
    assert dish.off_um[0] > 30
    assert dish.rms_um(50) < 1.0


def test_a_wrong_map_does_not_keep_it() -> None:
    turned = StageMap.simulated(load_rig("sim", ["xy_stage.options.angle_deg=180"]))
    dish = Dish(stage_map=turned)
    dish.swim(straight(50), 1.5)
    assert dish.rms_um() > 20


@dataclass(frozen=True)
class Limits:
    """Limits of the stage, a cell that swims out of them, and whether the stage knows positions."""

    name: str
    low_um: tuple[float, float]
    high_um: tuple[float, float]
    heading: float
    plain: bool = False
    from_start: bool = False


BORDERS = [
    Limits("x", (900, 1900), (1040, 2100), 0.3),
    Limits("low y", (900, 1970), (1100, 2100), -1.8),
    Limits("both", (990, 1980), (1020, 2015), 0.8),
    Limits("positions", (990, 1980), (1020, 2015), 0.8, plain=True),
    Limits("at once", (1000, 1900), (1100, 2100), math.pi, from_start=True),
]


@pytest.mark.parametrize("case", BORDERS, ids=lambda case: case.name)
def test_the_stage_stops_at_its_limits(case: Limits) -> None:
    (x0, y0), (x1, y1) = case.low_um, case.high_um
    limits = (f"xy_stage.x_limits_um=[{x0}, {x1}]", f"xy_stage.y_limits_um=[{y0}, {y1}]")
    dish = Dish(*limits, stage=Plain if case.plain else lambda own: own)
    dish.swim(straight(80, case.heading), 4.0)
    for x, y in dish.places_um:
        assert x0 <= x <= x1
        assert y0 <= y <= y1
    assert dish.at_limit[-1]
    assert (dish.at_limit.index(True) < 5) == case.from_start
    x, y = dish.own.position_xy_um()
    assert min(x - x0, x1 - x, y - y0, y1 - y) < 1.0


@pytest.mark.parametrize("plain", [False, True], ids=["velocities", "positions"])
def test_the_stage_stops_when_the_cell_is_lost(plain: bool) -> None:
    dish = Dish(stage=Plain if plain else lambda own: own)
    dish.swim(straight(50), 1.0)
    before = dish.own.position_xy_um()
    dish.swim(straight(50), 0.5, found=False)
    assert dish.stands()
    assert math.dist(before, dish.own.position_xy_um()) < 50 * 0.35
    dish.swim(straight(50), 1.0)
    assert not dish.stands() or plain


@pytest.mark.parametrize("plain", [False, True], ids=["velocities", "positions"])
def test_the_stage_stops_without_frames(plain: bool) -> None:
    dish = Dish(stage=Plain if plain else lambda own: own)
    dish.swim(straight(50), 1.0)
    for _ in range(100):  # the drive's thread goes on, the loop gives nothing
        dish.live.look()
        dish.clock.sleep(TICK_S)
    assert dish.stands()


def test_the_stage_stops_by_itself_when_nobody_looks_any_more() -> None:
    dish = Dish()
    dish.swim(straight(50), 1.0)
    before = dish.own.position_xy_um()
    dish.clock.sleep(5.0)
    assert math.dist(before, dish.own.position_xy_um()) < 50 * 0.3


@pytest.mark.parametrize(
    ("stops", "says"),
    [
        (True, r"the x/y stage failed: the stage does not answer$"),
        (False, r"does not answer; the x/y stage COULD NOT BE STOPPED .*: switch it off$"),
    ],
)
def test_a_stage_that_fails_is_stopped(stops: bool, says: str) -> None:
    dish = Dish(stage=lambda own: Failing(own, stops))
    dish.swim(straight(50), 1.0)
    dish.stage.broken = True
    with pytest.raises(DeviceError, match=says):
        dish.live.look()
    dish.stage.broken = False
    if stops:
        assert dish.stands()
    dish.clock.sleep(0.3)
    dish.live.look()  # it is not moved again
    assert dish.stands()


def test_the_block_ends_with_a_stop() -> None:
    dish = Dish()
    with dish.live.stopping():
        dish.swim(straight(50), 1.0)
    here = dish.own.position_xy_um()
    assert dish.stands()
    assert math.dist(here, START_UM) > 20  # it stays where it is


def test_a_mark_on_the_sensor_is_not_followed_for_long() -> None:
    dish = Dish()
    dish.swim(straight(0), 0.1)
    assert dish.track is not None
    spot = (dish.track.motion.y + 60.0, dish.track.motion.x + 60.0)
    motion = Motion.begin(*spot, dish.clock.now_ns(), PIXEL_UM)
    mark = Track(motion, *spot, 0.9, 0.9, 0, 0, number=2)
    for _ in range(200):
        for _ in range(FRAME_TICKS):
            dish.live.look()
            dish.clock.sleep(TICK_S)
        time_ns = mark.found_ns = dish.clock.now_ns()
        motion.predict(time_ns)
        motion.shift(*dish.following.shift_px(time_ns))
        motion.correct(*spot)
        if dish.following.is_mark(mark, time_ns):
            break
        dish.following.follow(mark, time_ns)
    else:
        pytest.fail("the stage goes on after a mark")
    assert math.dist(dish.own.position_xy_um(), START_UM) < 120


def test_a_cell_in_its_place_is_no_mark() -> None:
    dish = Dish()
    for _ in range(8):
        dish.swim(straight(50), 0.5)
        assert dish.track is not None
        dish.track.y, dish.track.x = dish.track.motion.y, dish.track.motion.x
        assert not dish.following.is_mark(dish.track, dish.clock.now_ns())


@dataclass(frozen=True)
class Words:
    """What is given to --follow, and where a cell at (y, x) = (200, 260) is kept."""

    text: str
    place: tuple[float, float]


PLACES = [
    Words("centre", (239.5, 239.5)),
    Words("300,120", (120.0, 300.0)),
    Words("200,200@60px", (200.0, 260.0)),
    Words("centre@0px", (239.5, 239.5)),
    Words("160,200@14.65um", (200.0, 260.0)),
    Words("440,200@100px", (200.0, 340.0)),
    Words("20,200@20px", (200.0, 48.0)),  # half a patch from the border
]


@pytest.mark.parametrize("case", PLACES, ids=lambda case: case.text)
def test_the_place_is_a_point_or_at_a_distance_from_one(case: Words) -> None:
    goal = GoalInFrame.of(Goal.parse(case.text), SHAPE, 48, PIXEL_UM)
    assert goal.place(200.0, 260.0) == pytest.approx(case.place, abs=0.01)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("middle", "is not a place in the frame: give centre, a pixel such as 400,300"),
        ("400", "is not a place"),
        ("400,300@100", "is not a place"),
        ("-4,300", "is not a place"),
        ("400,470", "too near the border of frames of 480 x 480 px; give x from 48 to 431"),
        ("600,300@100px", "does not lie in frames"),
        ("100,100@900px", "does not lie in frames"),
    ],
)
def test_a_place_outside_is_refused(text: str, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        GoalInFrame.of(Goal.parse(text), SHAPE, 48, PIXEL_UM)


def test_a_stage_outside_its_limits_is_refused() -> None:
    dish = Dish("xy_stage.x_limits_um=[1100, 1200]")
    with pytest.raises(SettingError, match=r"at x = 1000\.0 µm, outside its limits 1100 to 1200"):
        dish.live.check_here()


def test_a_real_stage_needs_its_map(tmp_path: Any) -> None:
    rig = load_rig("sim")
    other = rig.model_copy(update={"camera": rig.camera.model_copy(update={"driver": "basler"})})
    with pytest.raises(
        SettingError, match=r"no .*rig\.stage-map\.toml: run `acq calib.* .*rig\.toml`"
    ):
        StageMap.of(tmp_path / "rig.toml", other)
    assert StageMap.of(tmp_path / "rig.toml", rig).pixel_size_um == pytest.approx(PIXEL_UM)


# --- the whole loop ---

UNDER_WAY = 14
"""Frames after which the stage follows."""


@pytest.fixture(scope="module")
def swimmer() -> Rig:
    """A small specimen without end, its stage at a cell."""
    return load_rig(
        "sim",
        [
            "simulation.shape=[400, 400]",
            "simulation.seed=1",
            "simulation.cells=1",
            "simulation.debris=0",
            "simulation.round_cells=0",
            "simulation.quick=true",
            "simulation.speed_um_s=[50, 50]",
            "xy_stage.options.start_um=[3035, 3073]",
            f"camera.options.row_us={1e6 / 41 / 400}",
        ],
    )


@pytest.fixture(scope="module")
def quick_model() -> DepthModel:
    """The network that ships, which looks at one view of a patch."""
    return open_live("sim")


def loop_of(devices: Devices, rig: Rig, model: DepthModel, interrupt: Interrupt) -> Live:
    settings = LiveSettings(follow=Goal(), processing_s=0.014)
    own = StageMap.simulated(rig)
    return Live(devices, rig, model, settings, interrupt, stage_map=own)


def stands(devices: Devices) -> bool:
    stage: Any = devices.xy_stage
    before = stage.specimen_um()
    devices.clock.sleep(0.5)
    return bool(stage.specimen_um() == before)


def test_the_loop_follows_in_x_y_and_z(swimmer: Rig, quick_model: DepthModel) -> None:
    with open_rig(swimmer) as devices:
        results = list(loop_of(devices, swimmer, quick_model, Interrupt()).frames(26))
        assert stands(devices)
        stage: Any = devices.xy_stage
        x_um, y_um = stage.specimen_um()
        assert abs(devices.stage.position_um()) < 0.1  # the drive is back
    first, last = results[0], results[-1]
    assert (first.target, first.off_um, first.goal_x_px) == (None, None, None)
    assert first.stage_x_um is not None
    assert first.stage_y_um is not None
    assert last.off_um is not None
    assert last.off_um < 2.0
    assert (last.goal_y_px, last.goal_x_px) == (199.5, 199.5)
    assert math.dist((x_um, y_um), (first.stage_x_um, first.stage_y_um)) > 5
    assert len({result.target for result in results} - {None}) == 1
    (cell,) = [each for each in last.cells if each.id == last.target]
    assert 40 < math.hypot(cell.vx_um_s, cell.vy_um_s) < 60  # in the specimen, not in the frame


def test_ctrl_c_stops_the_stage(swimmer: Rig, quick_model: DepthModel) -> None:
    interrupt = Interrupt()
    with open_rig(swimmer) as devices:
        results = loop_of(devices, swimmer, quick_model, interrupt).frames()
        for _ in range(UNDER_WAY):
            frame = next(results)
        assert frame.off_um is not None
        interrupt.request()
        assert list(results) == []
        assert stands(devices)


def test_a_camera_that_goes_stops_the_stage(swimmer: Rig, quick_model: DepthModel) -> None:
    class Unplugged:
        def __init__(self, camera: Any) -> None:
            self._camera, self._frames = camera, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._camera, name)

        def next_frame(self, timeout_s: float) -> Any:
            frame = self._camera.next_frame(timeout_s)
            self._frames += frame is not None
            if self._frames > UNDER_WAY:
                raise DeviceError("the camera was unplugged")
            return frame

    with open_rig(swimmer) as devices:
        broken: Any = Unplugged(devices.camera)
        loop = loop_of(replace(devices, camera=broken), swimmer, quick_model, Interrupt())
        with pytest.raises(DeviceError, match="unplugged"):
            list(loop.frames())
        assert stands(devices)


def test_release_on_the_page_stops_the_stage(swimmer: Rig, quick_model: DepthModel) -> None:
    with open_rig(swimmer) as devices:
        loop = loop_of(devices, swimmer, quick_model, Interrupt())
        results = loop.frames()
        for _ in range(UNDER_WAY):
            next(results)
        assert loop.pursuit is not None
        loop.pursuit.release()
        frames = [next(results) for _ in range(6)]
        assert frames[-1].off_um is None
        assert frames[-1].stage_x_um == pytest.approx(frames[-2].stage_x_um, abs=0.01)
        results.close()


@dataclass
class MemoryXYStage:
    """A stage that moves at velocities in real time, and remembers who asked it.

    It refuses the first so many velocities for want of room.
    """

    limits_xy_um: Any = ((-1e4, 1e4), (-1e4, 1e4))
    name: str = "memory x/y stage"
    velocity_valid_s: float = 0.25
    highest_velocity_um_s: float = 1000.0
    asked_by: set[str] = field(default_factory=set)
    sent: list[tuple[float, float]] = field(default_factory=list)
    stops: int = 0
    refuses: int = 0
    place_um: tuple[float, float] = (5.0, 7.0)

    def position_xy_um(self) -> tuple[float, float]:
        self.asked_by.add(threading.current_thread().name)
        return self.place_um

    def move_xy_at(self, vx_um_s: float, vy_um_s: float) -> None:
        if self.refuses:
            self.refuses -= 1
            raise NoRoomError("it would leave its limits; it was stopped")
        self.sent.append((vx_um_s, vy_um_s))

    def move_xy_to(self, x_um: float, y_um: float) -> None:
        self.place_um = (x_um, y_um)

    def moving_xy(self) -> bool:
        return False

    def stop(self) -> None:
        self.stops += 1

    def close(self) -> None:
        pass


def test_in_real_time_a_thread_moves_the_stage(
    in_memory: Callable[..., Devices], rig: Rig, quick_model: DepthModel
) -> None:
    """Also after velocities for which there was no room, because the computer was busy."""
    stage = MemoryXYStage(refuses=2)
    devices = replace(in_memory(), xy_stage=stage)
    loop = Live(
        devices,
        rig,
        quick_model,
        LiveSettings(follow=Goal()),
        stage_map=StageMap.simulated(rig),
    )
    assert loop.following is not None
    live = loop.following.stage
    results = loop.frames()
    assert (next(results).stage_x_um, next(results).stage_y_um) == (5.0, 7.0)
    deadline_s = time.monotonic() + 60
    while not stage.sent and time.monotonic() < deadline_s:
        live.follow(Course(devices.clock.now_ns(), (5.0, 7.0), (30.0, 0.0)))
        live.at(devices.clock.now_ns())  # raises what ended the thread
    results.close()
    assert stage.sent[0][0] > 0
    assert stage.stops == 1
    assert "x/y stage" in stage.asked_by


def test_without_an_x_y_stage_it_is_refused(swimmer: Rig, quick_model: DepthModel) -> None:
    with open_rig(swimmer) as devices, pytest.raises(SettingError, match="add the table"):
        loop_of(replace(devices, xy_stage=None), swimmer, quick_model, Interrupt())
