"""The command `acq live`: show the camera image in the terminal or in napari."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from fgaf.acquire.commands.options import rig_option, set_option
from fgaf.base.bounds import Count, ExposureMs
from fgaf.base.console import Tool, count, finish
from fgaf.base.names import printable
from fgaf.base.options import Number, json_option

if TYPE_CHECKING:
    from fgaf.acquire.control.preview import Look
    from fgaf.acquire.devices import Frame

_WIDTH = 48
_PATIENCE_MS = 10


@click.command(cls=Tool)
@rig_option
@set_option
@click.option("--frames", type=Number(Count), help="End after this number of frames.")
@click.option("--exposure-ms", type=Number(ExposureMs), help="Exposure time, instead of the rig's.")
@click.option("--viewer", is_flag=True, help="Show the image in napari.")
@json_option
def live(
    rig_name: str,
    overrides: tuple[str, ...],
    frames: int | None,
    exposure_ms: float | None,
    viewer: bool,
    as_json: bool,
) -> None:
    """Show the newest camera frame, its sharpness and its histogram.

    The drive is not moved: turn the knob until the sharpness is largest. Ctrl-C stops it.
    """
    from fgaf.acquire.control.preview import Preview
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.rig import load_rig, open_rig

    given = () if exposure_ms is None else (f"camera.exposure_ms={exposure_ms}",)
    rig = load_rig(rig_name, (*overrides, *given))
    screen = Screen(quiet=as_json)
    with Interrupt.on_signals(last=True) as interrupt, open_rig(rig, interrupt) as devices:
        preview = Preview(devices, rig.camera, interrupt)
        images = screen.watch(preview.frames(frames), devices.camera.bit_depth)
        if viewer:
            show(images, devices.camera.name)
        else:
            for _ in images:
                pass
    finish(
        f"showed {count(screen.shown, 'frame')}",
        None,
        {"frames": screen.shown, "incomplete": preview.incomplete, **screen.last},
        as_json,
    )


class Screen:
    """A few lines that are redrawn on a terminal; elsewhere drawn once at the end.

    Parameters
    ----------
    quiet
        Draw nothing.

    Attributes
    ----------
    shown
        Frames so far.
    last
        Statistics of the last frame.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.shown = 0
        self.last: dict[str, Any] = {}
        self._quiet = quiet
        self._redraws = sys.stdout.isatty()
        self._best = 0.0

    def watch(self, frames: Iterator[Frame], bit_depth: int) -> Iterator[Frame]:
        """Pass frames on, and draw the statistics of each.

        Parameters
        ----------
        frames
            Frames as they come.
        bit_depth
            Bit depth of the frames.
        """
        from fgaf.acquire.control.preview import Look

        begun_s = time.perf_counter()
        lines: list[str] = []
        for frame in frames:
            look = Look.at(frame.pixels, bit_depth)
            self.shown += 1
            rate = self.shown / max(time.perf_counter() - begun_s, 1e-9)
            lines = self._lines(frame, look, rate, bit_depth)
            self.last = {
                "sharpness": look.sharpness,
                "median": look.median,
                "saturated": look.saturated,
            }
            if self._redraws and not self._quiet:
                self._draw(lines, again=self.shown > 1)
            yield frame
        if lines and not self._redraws and not self._quiet:
            self._draw(lines, again=False)

    def _lines(self, frame: Frame, look: Look, rate: float, bit_depth: int) -> list[str]:
        self._best = max(self._best, look.sharpness)
        bar = "█" * round(_WIDTH * look.sharpness / self._best) if self._best else ""
        return [
            f"frame {frame.frame_id}, {rate:.1f} frames/s, {frame.exposure_us / 1e3:g} ms",
            f"sharpness {bar:<{_WIDTH}} {look.sharpness:.3g} (best {self._best:.3g})",
            f"histogram {look.bars()} 0 to {(1 << bit_depth) - 1}, median {look.median:g}, "
            f"{look.saturated:.1%} saturated",
        ]

    @staticmethod
    def _draw(lines: list[str], again: bool) -> None:
        up = f"\x1b[{len(lines)}A" if again else ""
        clear = "\x1b[K" if again else ""
        click.echo(up + "\n".join(clear + printable(line) for line in lines))


def show(images: Iterator[Frame], title: str) -> None:
    """Show frames in a napari window until the frames end or the window is closed.

    Parameters
    ----------
    images
        Frames as they come.
    title
        Of the window.

    Raises
    ------
    DeviceError
        napari is not installed; the message names the extra.
    """
    from fgaf.acquire.tables import vendor_module

    napari = vendor_module("napari")
    timers = vendor_module("qtpy.QtCore")
    first = next(images, None)
    if first is None:
        return
    window = napari.Viewer(title=title)
    layer = window.add_image(first.pixels, name="live")
    timer = timers.QTimer()
    failed: list[BaseException] = []

    def step() -> None:
        try:
            frame = next(images, None)
        except BaseException as error:
            failed.append(error)
            frame = None
        if frame is None:
            timer.stop()
            window.close()
        else:
            layer.data = frame.pixels

    timer.timeout.connect(step)
    timer.start(_PATIENCE_MS)
    napari.run()
    timer.stop()
    if failed:
        raise failed[0]
