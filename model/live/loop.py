"""The live loop: frame, cells, depths, heights, drive; one result per frame."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from fgaf.acquire.control.drive import Drive
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.control.xy_stage import XYMover
from fgaf.acquire.devices import Devices, WallClock
from fgaf.acquire.interrupt import Interrupt, InterruptError
from fgaf.acquire.rig import Rig, effective_optics, load_rig, open_rig
from fgaf.base.bounds import AnyCount, DistanceUm, HeadUm, IntervalS, OffFocusUm, require_bounded
from fgaf.base.errors import FgafError, SettingError
from fgaf.curate.detection.crop import corner_of
from fgaf.curate.detection.network import HeadNetwork, shipped
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.model.deploy.open_model import is_export, open_model, open_segmenter
from fgaf.model.inference.card import require_same
from fgaf.model.inference.depth import DepthModel, Readings
from fgaf.model.inference.heads import HeadModel
from fgaf.model.live.autofocus import Autofocus
from fgaf.model.live.collector import uncollected
from fgaf.model.live.focus import Focus
from fgaf.model.live.following import Following, Offset
from fgaf.model.live.frames import Arrival, frames_of
from fgaf.model.live.goal import Goal, GoalInFrame
from fgaf.model.live.ground import Ground
from fgaf.model.live.head_windows import HeadWindows, require_optics
from fgaf.model.live.height import Height, error_of
from fgaf.model.live.message import LiveCell, LiveFrame
from fgaf.model.live.pace import Pace
from fgaf.model.live.polled import Attached, Polled
from fgaf.model.live.tracker import Track, Tracker, TrackSettings
from fgaf.model.live.xy_stage import LiveStage

_log = logging.getLogger(__name__)

_MOST_CELLS: Final = 200
_WARM: Final = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class LiveSettings:
    """Settings of live work.

    Attributes
    ----------
    track
        Follow a cell with the drive.
    follow
        Follow it with the x/y stage too: where in the frame it is kept. None for no x/y.
    target
        Id of the cell; None for the one nearest to the centre of the frame.
    off_um
        The drive is kept so far from the focus of the cell that it follows: a head in perfect focus
        is hard to find.
    play_um
        Backlash of the drive, from `acq check`; see `Focus`.
    head_um
        Length of the heads, in µm.
    cells
        When a spot counts as a cell.
    processing_s
        In simulated time, how long the processing of a frame takes; None for the real time. Not
        used with real cameras.
    """

    track: bool = False
    follow: Goal | None = None
    target: AnyCount | None = None
    off_um: OffFocusUm = 0.0
    play_um: DistanceUm = 0.0
    head_um: HeadUm = HEAD_UM[0]
    cells: TrackSettings = field(default_factory=TrackSettings)
    processing_s: IntervalS | None = None

    def __post_init__(self) -> None:
        require_bounded(self)

    @property
    def chooses(self) -> bool:
        """Whether a cell is followed, in z alone or in x, y and z."""
        return self.track or self.follow is not None


class Live:
    """Reads the depth of every cell in view, frame by frame.

    Parameters
    ----------
    devices
        Open camera, drive and clock.
    rig
        Their settings.
    model
        Reads depth.
    settings
        Settings.
    interrupt
        Stops it.
    force
        Use a model that was trained on other images.
    finder
        Finds heads.
    stage_map
        How moves of the x/y stage shift the image; needed for `LiveSettings.follow`.
    heads
        Segments the heads of known cells, whose place is then the centre of the segmented head;
        None for the place that the finder gives.
    attached
        Devices that work beside the loop: looked at while frames are awaited, at rest at its end,
        the last one first, before drive and stage.

    Attributes
    ----------
    focus
        The drive.
    pixel_um
        Side of a pixel in the specimen.
    pace
        Frames, drops, latency so far.
    pursuit
        Follows a cell; None without `LiveSettings.track` and `LiveSettings.follow`.
    following
        Keeps it in its place in x and y; None without `LiveSettings.follow`.
    differs
        How the rig differs from the models, where `force` allowed it; else empty.
    ground
        What stands in a part of the frame and is taken out of it before cells are looked for; None
        for nothing. `LiveFrame.pixels` are as the camera gave them.
    carried
        Whether a flow carries the followed cell; see `Tracker.follow`.

    Raises
    ------
    FgafError
        The rig's optics, pixels or frames do not match the model; the message says what differs.
    SettingError
        The pixel size is unknown; or a cell is to be followed in x and y, and there is no x/y
        stage, no map of it, no limits, or no such place in the frame.
    """

    def __init__(
        self,
        devices: Devices,
        rig: Rig,
        model: DepthModel,
        settings: LiveSettings | None = None,
        interrupt: Interrupt | None = None,
        *,
        force: bool = False,
        finder: HeadNetwork | None = None,
        stage_map: StageMap | None = None,
        heads: HeadModel | None = None,
        attached: Sequence[Attached] = (),
    ) -> None:
        self._attached = attached
        self.ground: Ground | None = None
        self.carried = False
        self.settings = settings or LiveSettings()
        self.pace = Pace()
        self._devices, self._rig, self._model = devices, rig, model
        self._interrupt = interrupt or Interrupt()
        warnings: list[str] = []
        optics = effective_optics(rig, devices.camera)
        require_same(
            model.card,
            optics,
            source=f"the rig {rig.name}".rstrip(),
            force=force,
            warn=warnings.append,
        )
        self._side = model.card.patch_px
        shape = devices.camera.shape
        if min(shape) < self._side:
            raise FgafError(
                f"the camera's frames of {shape[0]} x {shape[1]} px are smaller than the model's "
                f"patches of {self._side} px; enlarge its region"
            )
        pixel_um = optics.pixel_size_um or (model.card.optics.pixel_size_um if force else None)
        if pixel_um is None:
            raise SettingError(
                "the rig does not give its pixel size: add pixel_size_um to its [optics], or pass "
                "--force to use the model's"
            )
        self.pixel_um = pixel_um
        self._windows = None
        if heads is not None:
            require_optics(heads.card, optics, rig.name, force=force, warn=warnings.append)
            self._windows = HeadWindows(heads, shape, pixel_um, self.settings.head_um)
        self.differs = "; ".join(warnings)
        self._drive = Drive(devices.stage, devices.clock, rig.stage, self._interrupt)
        self.focus = Focus(self._drive, self.settings.play_um)
        self.pursuit = (
            Autofocus(self.focus, shape, self.settings.target, self.settings.off_um)
            if self.settings.chooses
            else None
        )
        self.following = (
            None
            if self.settings.follow is None
            else self._follower(self.settings.follow, stage_map)
        )
        self._tracker = Tracker(
            shape,
            pixel_um,
            self.settings.head_um,
            finder or shipped(exact=False),
            self.settings.cells,
            self._windows,
        )

    @property
    def cells(self) -> int:
        """Number of cells that have got a number so far."""
        return self._tracker.named

    def frames(self, limit: int | None = None) -> Generator[LiveFrame]:
        """Yield one result per frame until the limit, or until a stop is requested.

        When a cell is followed, the drive always goes back to its start position. The x/y stage
        is stopped and stays where it is.

        Parameters
        ----------
        limit
            Number of frames.

        Raises
        ------
        DeviceError
            The camera or the drive failed, or a frame is invalid.
        """
        self._warm_up()
        following = self.following
        polled: list[Polled] = [self.focus, *self._attached]
        with ExitStack() as stack:
            if following is not None:
                following.stage.check_here()
                polled.append(following.stage)
            if self.pursuit is not None:
                self._drive.check_here()
                stack.enter_context(self._drive.returning("the cell was followed"))
            if isinstance(self._devices.clock, WallClock):
                stack.enter_context(uncollected())
            # New cells are searched for while the known ones are followed. Matrices this small are
            # multiplied on one core: two cores would mostly wait for each other.
            aside = stack.enter_context(ThreadPoolExecutor(1, "search"))
            stack.enter_context(threadpool_limits(1, "blas"))
            frames = stack.enter_context(
                frames_of(
                    self._devices,
                    self._rig.camera,
                    polled,
                    self._interrupt,
                    self.settings.processing_s,
                )
            )
            if following is not None:  # the last to begin is the first to end
                stack.enter_context(following.stage.stopping())
            for device in self._attached:
                stack.enter_context(device.working())
            done = 0
            try:
                while limit is None or done < limit:
                    yield self._result(frames.next(), aside)
                    done += 1
            # A caller that stops early ends the block normally; a drive that cannot go back is an
            # error.
            except (InterruptError, GeneratorExit):
                return

    def _result(self, arrival: Arrival, aside: Executor) -> LiveFrame:
        frame = arrival.frame
        drive_um = self.focus.at(frame.time_host_ns)
        pixels = frame.pixels if self.ground is None else self.ground.without(frame.pixels)
        found = aside.submit(self._tracker.search, pixels, frame.time_host_ns)
        tracks = self._follow(pixels, frame.time_host_ns, drive_um)
        readings = self._read(tracks, pixels)
        self._tracker.begin(found.result(), frame.time_host_ns)
        for number, track in enumerate(tracks):
            if number in readings:
                self._measure(track, drive_um, *readings[number], frame.time_host_ns)
        now_ns = self._devices.clock.now_ns()
        aim_um = self.pursuit.follow(tracks, now_ns, drive_um) if self.pursuit else None
        target = self.pursuit.target if self.pursuit else None
        offset = self._keep(tracks, target, frame.time_host_ns)
        following = self.following
        stage_um = following.stage.at(frame.time_host_ns) if following else (None, None)
        latency_ms = (now_ns - frame.time_host_ns) / 1e6
        self.pace.count(latency_ms, now_ns, arrival.dropped)
        p50, p99 = self.pace.latency_ms
        _log.debug(
            "frame %d, exposed at %d ns: %d cells, drive at %.3f µm, result after %.1f ms",
            *(frame.frame_id, frame.time_host_ns, len(tracks), drive_um, latency_ms),
        )
        if arrival.dropped:
            _log.info("%d frames before frame %d were dropped", arrival.dropped, frame.frame_id)
        return LiveFrame(
            frame_id=frame.frame_id,
            time_ns=frame.time_host_ns,
            result_ns=now_ns,
            latency_ms=latency_ms,
            drive_um=drive_um,
            dropped=self.pace.dropped,
            rate_hz=self.pace.rate_hz,
            latency_p50_ms=p50,
            latency_p99_ms=p99,
            target=target,
            aim_um=aim_um,
            at_limit=target is not None and self.focus.at_limit,
            cells=tuple(
                self._cell(track, readings.get(number), frame.time_host_ns)
                for number, track in enumerate(tracks)
            ),
            pixels=frame.pixels,
            unconfirmed=self._tracker.unconfirmed,
            stage_x_um=stage_um[0],
            stage_y_um=stage_um[1],
            goal_y_px=offset.place[0] if offset else None,
            goal_x_px=offset.place[1] if offset else None,
            off_um=offset.off_um if offset else None,
            stage_at_limit=offset is not None
            and following is not None
            and following.stage.at_limit,
            truth=frame.truth,
        )

    def _follower(self, goal: Goal, stage_map: StageMap | None) -> Following:
        stage = LiveStage(XYMover(self._devices, self._rig.xy_stage, self._interrupt))
        if stage_map is None:
            raise SettingError(
                "how the x/y stage moves the image is unknown: run `acq calibrate-stage`"
            )
        placed = GoalInFrame.of(goal, self._devices.camera.shape, self._side / 2, self.pixel_um)
        return Following(stage, stage_map, placed, self.pixel_um)

    def _follow(self, pixels: npt.NDArray[Any], time_ns: int, drive_um: float) -> list[Track]:
        """The cells in the next frame."""
        following = self.following
        if following is None or self.pursuit is None:
            return self._tracker.follow(pixels, time_ns, drive_um)
        held = self.pursuit.target
        tracks = self._tracker.follow(
            pixels, time_ns, drive_um, following.shift_px(time_ns), held, self.carried
        )
        for track in tracks:
            if track.number == held and track.seen and following.is_mark(track, time_ns):
                self._tracker.drop(track)
                return self._tracker.known
        return tracks

    def _keep(self, tracks: list[Track], target: int | None, time_ns: int) -> Offset | None:
        """Send the stage after the target."""
        if self.following is None:
            return None
        track = next((each for each in tracks if each.number == target), None)
        return self.following.follow(track, time_ns)

    def _read(
        self, tracks: list[Track], pixels: npt.NDArray[Any]
    ) -> dict[int, tuple[float, float, bool]]:
        """Depth, spread and range check of every found cell whose patch is inside the frame."""
        side, (rows, columns) = self._side, pixels.shape
        numbers, patches = [], []
        for number, track in enumerate(tracks[:_MOST_CELLS]):
            top, left = corner_of(track.y, side), corner_of(track.x, side)
            if track.seen and 0 <= top <= rows - side and 0 <= left <= columns - side:
                numbers.append(number)
                patches.append(pixels[top : top + side, left : left + side])
        if not patches:
            return {}
        read: Readings = self._model.read(np.stack(patches), "the live image")
        return {
            number: (float(depth), float(spread), bool(inside))
            for number, depth, spread, inside in zip(
                numbers, read.depth_um, read.spread_um, read.in_range, strict=True
            )
        }

    def _measure(
        self,
        track: Track,
        drive_um: float,
        depth_um: float,
        spread_um: float,
        in_range: bool,
        time_ns: int,
    ) -> None:
        if not in_range:
            return
        card = self._model.card
        error_um = error_of(depth_um, spread_um, card.half_range_um, card.step_um)
        if track.height is None:
            track.height = Height(drive_um - depth_um, error_um, time_ns)
        else:
            track.height.measure(drive_um - depth_um, error_um, time_ns)

    def _cell(
        self, track: Track, reading: tuple[float, float, bool] | None, time_ns: int
    ) -> LiveCell:
        depth_um, spread_um, in_range = reading or (None, None, None)
        z_um, z_error_um, vz_um_s = track.height.at(time_ns) if track.height else (None,) * 3
        return LiveCell(
            id=track.number,
            seen=track.seen,
            y_px=track.y,
            x_px=track.x,
            vy_um_s=track.motion.vy * self.pixel_um,
            vx_um_s=track.motion.vx * self.pixel_um,
            score=track.score,
            age_s=(time_ns - track.born_ns) / 1e9,
            depth_um=depth_um,
            spread_um=spread_um,
            in_range=in_range,
            z_um=z_um,
            z_error_um=z_error_um,
            vz_um_s=vz_um_s,
            segmented=track.segmented,
        )

    def _warm_up(self) -> None:
        """Run the models once per batch size: the first run of a size may take much longer."""
        kind = np.uint8 if self._devices.camera.bit_depth <= 8 else np.uint16
        for count in _WARM:
            self._model.read(np.full((count, self._side, self._side), 100, kind))
        if self._windows is not None:
            self._windows.prepare()


def open_live(model: str | Path) -> DepthModel:
    """Open a depth model that uses one view of each patch.

    A checkpoint that averages the eight symmetries would take eight times as long. An export is
    used as it was made.

    Raises
    ------
    FgafError
        See `fgaf.model.deploy.open_model.open_model`.
    """
    return open_model(model, tta=None if is_export(model) else False)


def open_live_heads(model: str | Path) -> HeadModel:
    """Open a model that segments heads, for one view of each window; see `open_live`.

    It runs on one processor core, since another one searches for new cells meanwhile.

    Raises
    ------
    FgafError
        See `fgaf.model.deploy.open_model.open_segmenter`.
    """
    return open_segmenter(model, tta=None if is_export(model) else False, threads=1)


def live(
    rig: str | Path | Rig,
    model: str | Path | DepthModel,
    settings: LiveSettings | None = None,
    *,
    heads: str | Path | HeadModel | None = None,
    force: bool = False,
    stage_map: StageMap | None = None,
    limit: int | None = None,
) -> Generator[LiveFrame]:
    """Open a rig and a model, and yield one result per frame: ``for frame in live("sim", run):``.

    Rig and drive are released when the loop over it ends; see `Live` for the rest.

    Parameters
    ----------
    rig
        A rig, its file or its name.
    model
        A depth model, or its path; see `open_live`.
    heads
        A model that segments heads, or its path; see `Live`.
    settings, force
        See `Live`.
    stage_map
        How moves of the x/y stage shift the image. By default that of a simulated stage, or the
        one measured for the rig's file.
    limit
        Number of frames; None for no limit.
    """
    loaded = rig if isinstance(rig, Rig) else load_rig(rig)
    reader = open_live(model) if isinstance(model, str | Path) else model
    if settings is not None and settings.follow is not None and stage_map is None:
        stage_map = StageMap.simulated(loaded) if isinstance(rig, Rig) else StageMap.of(rig, loaded)
    segmenter = open_live_heads(heads) if isinstance(heads, str | Path) else heads
    with open_rig(loaded) as devices:
        loop = Live(
            devices, loaded, reader, settings, force=force, stage_map=stage_map, heads=segmenter
        )
        yield from loop.frames(limit)
