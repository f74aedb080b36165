"""Trials at the microscope: the live loop, the procedure, the pipette and the pump."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.control.pump import PumpControl
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.devices import DeviceError, Devices, Place3
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import Rig
from fgaf.base.bounds import (
    AngleDeg,
    Count,
    DistanceUm,
    HeadUm,
    IntervalS,
    OffFocusUm,
    require_bounded,
)
from fgaf.base.errors import FgafError, SettingError
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.dataset.truth import CellTruth
from fgaf.model.aspirate.command import Command, Outcome
from fgaf.model.aspirate.driven_pump import DrivenPump
from fgaf.model.aspirate.focus_search import FocusSearch
from fgaf.model.aspirate.glass import Glass
from fgaf.model.aspirate.held_pipette import HeldPipette
from fgaf.model.aspirate.observation import Observation, Setup, Tip
from fgaf.model.aspirate.procedure import Procedure
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.aspirate.tip_path import TipPath
from fgaf.model.inference.depth import DepthModel
from fgaf.model.inference.heads import HeadModel
from fgaf.model.live.goal import Goal
from fgaf.model.live.loop import Live, LiveSettings
from fgaf.model.live.message import LiveCell, LiveFrame, LivePipette

_log = logging.getLogger(__name__)

DepthBy = Literal["network", "search", "truth"]
"""Where the height of a cell comes from."""


_SAME_UM: Final = 2.0
"""A true cell that is so near to a found one is that one."""
_TRUTH_UM: Final = 0.05


@dataclass(frozen=True)
class LoopSettings:
    """Settings of trials at the microscope.

    Attributes
    ----------
    trials
        Number of trials.
    depth_by
        `network`: the network reads heights; `search`: the drive searches for the sharpest plane of
        a cell at rest; `truth`: the simulated camera gives them.
    go
        Whether anything moves. Else all moves are only told, as if they had been made.
    bore_deg
        Direction in the frame from the mouth of the pipette into its bore: 0 to the right, 90 down.
    search_um
        Half range of the focus search.
    off_um, play_um, head_um, processing_s
        See `LiveSettings`.
    procedure
        Settings of the procedure; its `search` follows `depth_by`.
    """

    trials: Count = 1
    depth_by: DepthBy = "network"
    go: bool = False
    bore_deg: AngleDeg = 0.0
    search_um: DistanceUm = 8.0
    off_um: OffFocusUm = -1.0
    play_um: DistanceUm = 0.0
    head_um: HeadUm = HEAD_UM[0]
    processing_s: IntervalS | None = None
    procedure: AspirationSettings = field(default_factory=AspirationSettings)

    def __post_init__(self) -> None:
        require_bounded(self)
        if self.depth_by not in get_args(DepthBy):
            raise SettingError(
                f"--depth-by {self.depth_by} is none of {', '.join(get_args(DepthBy))}"
            )


@dataclass(frozen=True)
class Step:
    """One frame of the trials.

    Attributes
    ----------
    frame
        Result of the live loop, with the pipette.
    seen, command
        What the procedure was told, and its answer.
    place_um
        Place of the manipulator in the middle of the exposure.
    commanded_ns
        When the devices had the answer.
    """

    frame: LiveFrame
    seen: Observation
    command: Command
    place_um: Place3
    commanded_ns: int


class Aspiration:
    """Draws single cells into the micropipette of an open rig.

    Parameters
    ----------
    devices, rig, model, interrupt, force, heads
        See `Live`.
    settings
        Settings.
    pipette_map, stage_map
        Where the tip is seen, and how the stage moves the image.
    tell
        Called with every move and every event, as a line for people.

    Attributes
    ----------
    live
        The loop that finds cells and their heights.
    procedure
        The procedure, with the results of the trials.

    Raises
    ------
    FgafError
        See `Live`.
    SettingError
        The rig has no manipulator, pump or x/y stage; the pipette is outside its limits, or its tip
        outside the frame; the pump cannot make the flow; or the truth of a real camera is wanted.
    """

    def __init__(
        self,
        devices: Devices,
        rig: Rig,
        model: DepthModel,
        settings: LoopSettings,
        interrupt: Interrupt,
        *,
        pipette_map: PipetteMap,
        stage_map: StageMap,
        heads: HeadModel | None = None,
        force: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        wanted = replace(settings.procedure, search=settings.depth_by == "search")
        if settings.depth_by == "truth" and rig.simulation is None:
            raise SettingError("--depth-by truth is for simulated cameras; give network or search")
        self._settings, self._clock, self._tell = settings, devices.clock, tell
        mover = PipetteMover(devices, rig.manipulator, interrupt, tell, settings.go)
        mover.check_here()
        suction = PumpControl(devices, rig.pump, tell, settings.go)
        suction.check(wanted.flow_nl_s)
        if wanted.retain == "reverse":
            suction.check(wanted.reverse_nl_s)
        self._interrupt, self._map = interrupt, pipette_map
        self._path = TipPath(pipette_map, mover.position_um(), mover.limits_um)
        self._require_in_view(mover.position_um(), devices.camera.shape)
        self._pipette, self._pump = HeldPipette(mover), DrivenPump(suction, devices.clock)
        self.live = Live(
            devices,
            rig,
            model,
            LiveSettings(
                track=settings.go,
                follow=Goal() if settings.go else None,
                off_um=settings.off_um,
                play_um=settings.play_um,
                head_um=settings.head_um,
                processing_s=settings.processing_s,
            ),
            interrupt,
            force=force,
            stage_map=stage_map,
            heads=heads,
            attached=(self._pipette, self._pump),
        )
        shape = devices.camera.shape
        setup = Setup(self.live.pixel_um, self._path.refraction, self._path.limits, shape)
        self.procedure = Procedure(setup, wanted, settings.trials)
        self._glass = Glass(wanted, self.live.pixel_um, shape)
        self._search: FocusSearch | None = None
        self._sent: Command | None = None
        into = math.radians(settings.bore_deg)
        self._into = math.sin(into), math.cos(into)

    def steps(self, limit: int | None = None) -> Generator[Step]:
        """Yield every frame, until the trials are over or a stop is requested.

        At the end, also after an error, the pump is stopped, the pipette is raised, the stage
        stands, and the drive goes back to its start.

        Parameters
        ----------
        limit
            Number of frames.

        Raises
        ------
        DeviceError
            A device failed; or the pipette was not raised after a trial.
        """
        if self.live.pursuit is not None:
            self.live.pursuit.release()
        if self.live.following is not None:
            self.live.following.keep_at(None)
        frames = self.live.frames(limit)
        try:
            for frame in frames:
                step = self._step(frame)
                yield step
                if step.command.ended:
                    break
        except FgafError as error:
            self.procedure.abort(str(error))
            raise
        finally:
            frames.close()
            self.procedure.abort("the trials were stopped", Outcome.STOPPED)
        if self.procedure.fault:
            raise DeviceError(f"{self.procedure.fault}; the pump was stopped")

    def _step(self, frame: LiveFrame) -> Step:
        place = self._pipette.at(frame.time_ns)
        seen = self._observe(frame, place)
        command = self.procedure.step(seen)
        for event in command.events:
            self._tell(f"trial {event.trial}, {event.state}: {event.text}")
        self._act(command, frame)
        stands = command.stands and self._settings.go
        self._glass.look(stands, frame, seen.tip, command.target)
        self.live.ground = self._glass.ground
        self._sent = command
        shown = LivePipette(
            y_px=seen.tip.y_px,
            x_px=seen.tip.x_px,
            z_um=seen.tip.z_um,
            x_um=place[0],
            y_um=place[1],
            height_um=place[2],
            flow_nl_s=seen.flow_nl_s,
            state=str(command.state),
            trial=command.trial,
            trials=self._settings.trials,
            last=str(self.procedure.results[-1].outcome) if self.procedure.results else "",
        )
        return Step(
            replace(
                frame,
                target=command.target,
                goal_y_px=command.goal_y_px,
                goal_x_px=command.goal_x_px,
                pipette=shown,
            ),
            seen,
            command,
            place,
            self._clock.now_ns(),
        )

    def _observe(self, frame: LiveFrame, place: Place3) -> Observation:
        x_px, y_px = self._map.pixel_of(place)
        tip = Tip(y_px, x_px, self._map.focus_of(place), *self._into)
        cells = frame.cells
        if self._settings.depth_by == "truth":
            cells = tuple(self._with_truth(cell, frame) for cell in cells)
        if not self._settings.go and self._sent is not None:
            cells = tuple(self._as_if_moved(cell, self._sent) for cell in cells)
        return Observation(
            frame.time_ns,
            cells,
            tip,
            self._path.height_of(place),
            self._pipette.moving,
            self._pump.flow_nl_s,
            self._searched_um(frame),
            self._glass.known or not self._settings.go,
        )

    def _act(self, command: Command, frame: LiveFrame) -> None:
        """Let the devices do what the command says; nothing waits for them."""
        before = self._sent
        self._pump.draw(command.flow_nl_s)
        pursuit, following = self.live.pursuit, self.live.following
        follows = None if command.search else command.target
        followed = None if before is None or before.search else before.target
        if pursuit is not None and follows != followed:
            if follows is None:
                pursuit.release()
            else:
                pursuit.choose(follows)
        if pursuit is not None:
            pursuit.stand(command.stands)
        self.live.carried = command.carried
        goal = command.goal_px
        if following is not None:
            following.keep_at(goal)
        elif goal is not None and (before is None or before.goal_y_px is None):
            self._tell(
                f"the x/y stage keeps cell {command.target} at x, y = {goal[1]:.0f}, "
                f"{goal[0]:.0f} px"
            )
        height_um = command.pipette_z_um
        if height_um is not None and (before is None or before.pipette_z_um != height_um):
            self._pipette.go_to(self._path.place_at(height_um))
        self._search_on(command, frame)

    def _search_on(self, command: Command, frame: LiveFrame) -> None:
        """Begin, go on with, or end the focus search that the procedure asks for."""
        if not command.search:
            self._search = None
        elif self._settings.go:
            if self._search is None:
                half = self._settings.search_um
                side_px = round(2 * self._settings.head_um / self.live.pixel_um)
                self._search = FocusSearch(self.live.focus, frame.drive_um, half, side_px)
            place = self.procedure.target_px
            if place is not None:
                self._search.look(frame.pixels, *place, frame.drive_um)

    def _searched_um(self, frame: LiveFrame) -> float | None:
        if self._search is not None:
            return self._search.found_um
        dry = not self._settings.go and self._sent is not None and self._sent.search
        return frame.drive_um if dry else None

    def _with_truth(self, cell: LiveCell, frame: LiveFrame) -> LiveCell:
        """The cell with its true height."""
        true = [each for each in (frame.truth.cells if frame.truth else ()) if each.kind == "sperm"]
        if not true:
            return cell

        def far_px(each: CellTruth) -> float:
            return math.dist((each.y_px, each.x_px), (cell.y_px, cell.x_px))

        nearest = min(true, key=far_px)
        if far_px(nearest) * self.live.pixel_um > _SAME_UM:
            return cell
        return replace(cell, z_um=nearest.focus_um, z_error_um=_TRUTH_UM)

    def _as_if_moved(self, cell: LiveCell, command: Command) -> LiveCell:
        """In a dry run the target is where the stage would have brought it."""
        goal = command.goal_px
        if cell.id != command.target or goal is None:
            return cell
        return replace(cell, y_px=goal[0], x_px=goal[1])

    def _require_in_view(self, place: Place3, shape: tuple[int, int]) -> None:
        x, y = self._map.pixel_of(place)
        if not (0 <= y < shape[0] and 0 <= x < shape[1]):
            raise SettingError(
                f"the tip of the pipette is at x, y = {x:.0f}, {y:.0f} px, outside the frame of "
                f"{shape[0]} x {shape[1]} px: bring it into view, or run `acq calibrate-pipette`"
            )
