"""A complete run of trials: the loop, with optional page and file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import Rig, open_rig
from fgaf.model.aspirate.command import Outcome, Result
from fgaf.model.aspirate.loop import Aspiration, LoopSettings
from fgaf.model.aspirate.trial_file import TrialFile
from fgaf.model.inference.depth import DepthModel
from fgaf.model.inference.heads import HeadModel
from fgaf.model.live.growing_file import require_free
from fgaf.model.live.outputs import stopped_by
from fgaf.model.live.page import About, Page


@dataclass(frozen=True)
class TrialsDone:
    """Summary of a run.

    Attributes
    ----------
    results
        The trials.
    frames, dropped
        Frames with a result, frames without one.
    rate_hz
        Frames per second.
    command_p50_ms, command_p99_ms
        Time from the middle of the exposure until the devices had their command.
    ended
        Why it ended.
    """

    results: tuple[Result, ...]
    frames: int
    dropped: int
    rate_hz: float
    command_p50_ms: float
    command_p99_ms: float
    ended: str

    @property
    def successes(self) -> int:
        """Number of cells that were drawn in and kept."""
        return sum(result.outcome is Outcome.SUCCESS for result in self.results)

    @property
    def released(self) -> int:
        """Number of cells that the stage let go before the mouth."""
        return sum(result.released_ns is not None for result in self.results)

    @property
    def given_up(self) -> int:
        """Number of chosen cells that it did not let go: they turned, or were lost."""
        return sum(result.cell is not None for result in self.results) - self.released

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return vars(self) | {
            "results": [result.to_dict() for result in self.results],
            "successes": self.successes,
            "released": self.released,
            "given_up": self.given_up,
        }


class StopButton:
    """What the page asks of a run of trials: only to stop.

    Parameters
    ----------
    interrupt
        Stops the run.
    """

    wanted = None

    def __init__(self, interrupt: Interrupt) -> None:
        self._interrupt = interrupt

    def choose(self, wanted: int | None) -> None:
        """Do nothing: the procedure chooses."""

    def release(self) -> None:
        """Stop the trials."""
        self._interrupt.request()


@dataclass(frozen=True)
class TrialOutputs:
    """Where results go.

    Attributes
    ----------
    page, host, names, overwrite
        See `LiveOutputs`.
    out
        File of the trials; None for none.
    """

    page: int | None = None
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    out: Path | None = None
    overwrite: bool = False

    def run(
        self,
        rig: Rig,
        model: DepthModel,
        settings: LoopSettings,
        interrupt: Interrupt,
        *,
        pipette_map: PipetteMap,
        stage_map: StageMap,
        heads: HeadModel | None = None,
        force: bool = False,
        frames: int | None = None,
        about: dict[str, str] | None = None,
        command: str = "",
        say: Callable[[str], None] = lambda _: None,
        tell: Callable[[str], None] = lambda _: None,
        each: Callable[[Result], None] = lambda _: None,
    ) -> TrialsDone:
        """Run the trials, until they are over or a stop is requested.

        Parameters
        ----------
        rig, model, settings, interrupt, pipette_map, stage_map, heads, force, tell
            See `Aspiration`.
        frames
            Limit.
        about
            Further attributes of the file.
        command
            The command line that starts it again; the page shows it at the end.
        say
            Called with the address of the page and with the differences that `force` allowed.
        each
            Called with each trial that has ended.

        Raises
        ------
        FgafError
            See `Aspiration`; or the port is taken, or the file cannot be written.
        """
        delays: list[float] = []
        if self.out is not None:
            require_free(self.out, self.overwrite)
        with ExitStack() as stack:
            devices = stack.enter_context(open_rig(rig, interrupt))
            work = Aspiration(
                devices,
                rig,
                model,
                settings,
                interrupt,
                pipette_map=pipette_map,
                stage_map=stage_map,
                heads=heads,
                force=force,
                tell=tell,
            )
            if work.live.differs:
                say(f"warning: {work.live.differs}")
            page = file = None
            if self.page is not None:
                page = stack.enter_context(
                    Page(
                        self.page,
                        About(
                            f"fgaf aspirate: {rig.name or devices.camera.name}",
                            devices.camera.bit_depth,
                            model.card.half_range_um,
                            command,
                            "" if self.out is None else self.out.name,
                            stop="Stop the trials",
                        ),
                        StopButton(interrupt),
                        self.host,
                        self.names,
                    )
                )
                say(f"page: {page.address}")
            if self.out is not None:
                written = {
                    "rig": rig.to_toml(),
                    "card": model.card.to_json(),
                    "camera": devices.camera.name,
                    "stage": devices.stage.name,
                    "settings": repr(settings),
                    "pipette_map": pipette_map.model_dump_json(),
                    "stage_map": stage_map.model_dump_json(),
                }
                if heads is not None:
                    written["heads_card"] = heads.card.to_json()
                file = stack.enter_context(
                    TrialFile(self.out, written | (about or {}), self.overwrite)
                )
            given = 0
            steps = work.steps(frames)
            try:
                for step in steps:
                    delays.append((step.commanded_ns - step.frame.time_ns) / 1e6)
                    if file is not None:
                        file.record(step)
                    if page is not None:
                        page.show(step.frame)
                    if step.command.result is not None:
                        given += 1
                        each(step.command.result)
            finally:
                steps.close()
                late = tuple(work.procedure.results[given:])
                for result in late:
                    each(result)
                if file is not None:
                    file.end(late)
            ended = "the trials were made"
            if interrupt.requested is not None:
                ended = stopped_by(interrupt.requested)
            elif late:
                ended = "the limit of frames was reached"
            if page is not None:
                page.end(ended)
        pace = work.live.pace
        p50, p99 = (float(each) for each in np.percentile(delays or [0.0], [50, 99]))
        return TrialsDone(
            tuple(work.procedure.results), pace.frames, pace.dropped, pace.rate_hz, p50, p99, ended
        )
