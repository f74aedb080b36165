"""A complete live run: the loop, with optional page, TCP port and file."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import Rig, open_rig
from fgaf.model.inference.depth import DepthModel
from fgaf.model.inference.heads import HeadModel
from fgaf.model.live.growing_file import require_free
from fgaf.model.live.loop import Live, LiveSettings
from fgaf.model.live.message import LiveFrame
from fgaf.model.live.page import About, Page
from fgaf.model.live.publisher import Publisher
from fgaf.model.live.recorder import Recorder

Watch = Callable[[Iterator[LiveFrame]], Iterator[LiveFrame]]


@dataclass(frozen=True)
class Done:
    """Summary of a live run.

    Attributes
    ----------
    seconds
        From the first result to the last, by the rig's clock.
    frames, dropped, cells
        Frames with a result, frames without one, cells that got a number.
    rate_hz
        Frames per second.
    latency_p50_ms, latency_p99_ms
        Time from the middle of the exposure to the result, over the last frames.
    lines_dropped
        Lines that slow TCP clients lost.
    ended
        Why it ended.
    """

    seconds: float
    frames: int
    dropped: int
    cells: int
    rate_hz: float
    latency_p50_ms: float
    latency_p99_ms: float
    lines_dropped: int
    ended: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class LiveOutputs:
    """Where results go.

    Attributes
    ----------
    page, tcp
        Ports of the page and of the lines of JSON; 0 for any that is free, None for none.
    host
        Address that both listen on.
    names
        Allowed host names of the page, besides those of this computer.
    record
        File to write; None for none.
    overwrite
        Replace a file that is there.
    """

    page: int | None = None
    tcp: int | None = None
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    record: Path | None = None
    overwrite: bool = False

    def run(
        self,
        rig: Rig,
        model: DepthModel,
        settings: LiveSettings,
        interrupt: Interrupt,
        *,
        heads: HeadModel | None = None,
        force: bool = False,
        frames: int | None = None,
        seconds: float | None = None,
        stage_map: StageMap | None = None,
        model_name: str = "",
        heads_name: str = "",
        command: str = "",
        say: Callable[[str], None] = lambda _: None,
        watch: Watch = iter,
    ) -> Done:
        """Run until a limit, or until a stop is requested.

        Parameters
        ----------
        rig, model, settings, interrupt, heads, force
            See `Live`.
        frames, seconds
            Limits; seconds are of the rig's clock.
        stage_map
            See `Live`.
        model_name, heads_name
            Written into the file.
        command
            The command line that starts it again; the page shows it at the end.
        say
            Called with the addresses of page and port, and with the differences that `force`
            allowed.
        watch
            Wraps the results.

        Raises
        ------
        FgafError
            See `Live`; or a port is taken, or the file cannot be written.
        """
        first_ns = last_ns = None
        if self.record is not None:
            require_free(self.record, self.overwrite)
        with ExitStack() as stack:
            devices = stack.enter_context(open_rig(rig, interrupt))
            loop = Live(
                devices,
                rig,
                model,
                settings,
                interrupt,
                force=force,
                stage_map=stage_map,
                heads=heads,
            )
            if loop.differs:
                say(f"warning: {loop.differs}")
            recorder = publisher = page = None
            if self.tcp is not None:
                publisher = stack.enter_context(Publisher(self.tcp, self.host))
                say(f"lines of JSON on {publisher.host}:{publisher.port}")
            if self.page is not None:
                page = stack.enter_context(
                    Page(
                        self.page,
                        About(
                            f"fgaf live: {rig.name or devices.camera.name}",
                            devices.camera.bit_depth,
                            model.card.half_range_um,
                            command,
                            "" if self.record is None else self.record.name,
                        ),
                        loop.pursuit,
                        self.host,
                        self.names,
                    )
                )
                say(f"page: {page.address}")
            if self.record is not None:
                about = {
                    "rig": rig.to_toml(),
                    "model": model_name,
                    "card": model.card.to_json(),
                    "camera": devices.camera.name,
                    "stage": devices.stage.name,
                }
                if stage_map is not None:
                    about["stage_map"] = stage_map.model_dump_json()
                if heads is not None:
                    about |= {"heads": heads_name, "heads_card": heads.card.to_json()}
                recorder = stack.enter_context(Recorder(self.record, about, self.overwrite))
            results = loop.frames(frames)
            stack.callback(results.close)
            ended = "the limit of --frames was reached"
            for result in watch(results):
                if recorder is not None:
                    recorder.put(result)
                if publisher is not None and publisher.clients:
                    publisher.publish(result.to_json())
                if page is not None:
                    page.show(result)
                first_ns = result.result_ns if first_ns is None else first_ns
                last_ns = result.result_ns
                if seconds is not None and (last_ns - first_ns) / 1e9 >= seconds:
                    ended = "the limit of --seconds was reached"
                    break
            if interrupt.requested is not None:
                ended = stopped_by(interrupt.requested)
            results.close()
            if page is not None:
                page.end(ended)
        span_s = (last_ns - first_ns) / 1e9 if first_ns is not None and last_ns is not None else 0.0
        pace = loop.pace
        p50, p99 = pace.latency_ms
        return Done(
            seconds=span_s,
            frames=pace.frames,
            dropped=pace.dropped,
            cells=loop.cells,
            rate_hz=(pace.frames - 1) / span_s if span_s > 0 else 0.0,
            latency_p50_ms=p50,
            latency_p99_ms=p99,
            lines_dropped=publisher.dropped if publisher is not None else 0,
            ended=ended,
        )


def stopped_by(number: signal.Signals) -> str:
    """Say which signal ended a run."""
    return f"stopped by {'Ctrl-C' if number is signal.SIGINT else number.name}"
