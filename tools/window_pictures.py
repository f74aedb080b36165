"""Takes the pictures of the curation window and of the archive browser for the docs.

``xvfb-run -a -s "-screen 0 1920x1080x24" python tools/window_pictures.py docs/images``
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NAPARI_CONFIG"] = ""

import napari
import numpy as np
from napari.settings import get_settings
from PIL import Image
from qtpy.QtWidgets import QApplication

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.compile import compile_archive
from fgaf.curate.napari.browser import Browser
from fgaf.curate.napari.panel import Panel
from fgaf.curate.napari.start import open_window
from fgaf.curate.session.finding import open_session
from fgaf.dataset.archive import write_archive
from fgaf.dataset.raw import RawHeader, RawWriter

INTERVAL_NS = 33_000_000
PATIENCE_S, SETTLED_S = 120.0, 1.5
SIZE = (1280, 840)


def take(path: Path, seed: int, cells: int, motile: bool) -> Path:
    """Take a stack of ±4 µm at 0.5 µm of a simulated field."""
    scene = Scene(
        SimulationSettings(seed=seed, shape=(800, 1000), cells=cells, motile=motile, debris=12)
    )
    header = RawHeader.new(
        step_um=0.5,
        half_range_um=4.0,
        center_um=0.0,
        bit_depth=8,
        optics=scene.settings.optics,
        sample_id=f"donor {seed % 7}",
    )
    with RawWriter(path, header, (17, *scene.settings.shape), np.uint8) as writer:
        for plane in range(17):
            z_um, now = (plane - 8) * 0.5, plane * INTERVAL_NS
            writer.write(
                plane,
                scene.expose(now * 1e-9, 0.005, z_um)[0],
                z_requested_um=z_um,
                z_measured_um=z_um,
                time_device_ns=now,
                time_host_ns=now,
                frame_id=plane,
                exposure_us=5000.0,
            )
        return writer.publish()


def wait(until: Callable[[], object]) -> None:
    """Let the window work until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not until():
        QApplication.processEvents()
        if time.monotonic() > end:
            raise TimeoutError


def settle() -> None:
    """Let the window be laid out and painted."""
    end = time.monotonic() + SETTLED_S
    wait(lambda: time.monotonic() > end)


def picture(viewer: napari.Viewer, path: Path) -> None:
    """Take a picture of the window."""
    settle()
    Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)[..., :3]).quantize(256).save(
        path, optimize=True
    )
    print(path, flush=True)


def opened(folder: Path, paths: list[Path], theme: str, size: tuple[int, int]) -> Panel:
    """Open the window on a session, and wait until its stacks are searched."""
    get_settings().appearance.theme = theme
    session, note = open_session(folder, paths)
    panel = open_window(session, paths=paths, annotator="ann", note=note)
    panel.window().resize(*size)
    wait(lambda: not panel.search.running and not panel.loading)
    settle()
    return panel


def close(panel: Panel) -> None:
    """Close the window and its session."""
    panel.shut()
    panel.viewer.close()
    QApplication.processEvents()


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the pictures")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        still = take(folder / "still.stack.h5", seed=11, cells=24, motile=False)
        swim = take(folder / "swimming.stack.h5", seed=12, cells=14, motile=True)

        panel = opened(folder / "s", [still, swim], "dark", SIZE)
        for action in ("accept", "accept", "reject_2", "focus_up", "unsure"):
            panel.act(action)
            wait(lambda: not panel.loading)
        picture(panel.viewer, out / "curation-dark.png")
        panel.act("mask")
        picture(panel.viewer, out / "mask-dark.png")
        panel.act("leave")
        panel.act("gallery")
        wait(lambda: panel.cells.shown)
        panel.cells.gallery.select([e.name for e in panel.cells.gallery.model.entries[2:4]])
        picture(panel.viewer, out / "gallery-dark.webp")
        panel.act("gallery")
        cells = panel.session.state.cells.values()
        swimming = [c for c in cells if c.id.startswith("swimming") and 1 <= len(c.jump) <= 3]
        fast = max(swimming or cells, key=lambda c: np.hypot(np.ptp(c.x), np.ptp(c.y)))
        panel.go(fast.id)
        wait(lambda: not panel.loading)
        panel.act("zoom")
        picture(panel.viewer, out / "curation-swimming.png")
        archive = folder / "dataset.h5"
        for cell in [n for n in panel.controller.names if not panel.controller.done(n)]:
            panel.go(cell)
            wait(lambda: not panel.loading)
            panel.act("accept")
            if panel.session.state.cells[cell].decision is None:
                panel.act("reject_3")
        picture(panel.viewer, out / "curation-small.png")
        write_archive(archive, compile_archive(panel.session.state))
        close(panel)

        panel = opened(folder / "s", [], "light", SIZE)
        panel.act("previous")
        panel.act("help")
        picture(panel.viewer, out / "curation-light.png")
        panel.act("help")
        close(panel)

        get_settings().appearance.theme = "light"
        viewer = napari.Viewer(show=True)
        browser = Browser(viewer)
        viewer.window.add_dock_widget(browser, name="Browse a dataset archive", area="right")
        browser.window().resize(*SIZE)
        browser.open(archive)
        picture(viewer, out / "browser-light.png")
        viewer.close()


if __name__ == "__main__":
    main()
