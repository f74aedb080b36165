"""How fast the curation window answers, and how it opens a folder of a hundred stacks.

Needs a screen: ``xvfb-run -a python benchmarks/window.py`` where there is none. The hundred stacks
are sparse files of zeros, of almost no size on disk, and are removed in the end. What is
measured:

- a key press, with 300 cells of one stack of 1920 x 1200 x 17: until the panel is painted, without
  what Qt needs to put any window with napari's canvas on the screen, which is measured beside it as
  painting one pixel (with OpenGL in software, as under Xvfb, that is most of the time, and is the
  same for every panel); both also in the processor's time, for busy computers; and how long the
  field in the canvas then takes to follow. The same with 2,000 cells of ten stacks and the gallery
  of all cells beside the field;
- scrolling through that gallery, from the first cell to the last: painting a page, until all
  pictures are there, and what they need in memory;
- 100 stacks of that size: opening the folder with napari's reader, and as a session;
- finding the cells of one such stack, on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NAPARI_CONFIG"] = ""

import numpy as np
import psutil
from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QKeySequence
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.napari.panel import Panel
from fgaf.curate.napari.plugin import read_layers
from fgaf.curate.napari.start import open_window
from fgaf.curate.session.finding import open_session
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import CellState, StackRef, Suggested
from fgaf.curate.tracking.find import find_tracks
from fgaf.dataset.raw import RawHeader, RawStack, RawWriter
from fgaf.dataset.storage.optics import Optics

SHAPE = (17, 1200, 1920)
CELLS, MANY, STACKS, PIXEL_UM = 300, 2000, 100, 0.1465
KEYS = ("Right", "Left", "Space", "Return", "Ctrl+Z", "Down", "2", "Shift+Up")
BLOCK = 1 << 16


def write_stack(path: Path, frames: np.ndarray) -> Path:
    """Write a stack of planes half a micrometre apart."""
    header = RawHeader.new(
        step_um=0.5,
        half_range_um=0.5 * (len(frames) // 2),
        center_um=0.0,
        bit_depth=8,
        optics=Optics(pixel_size_um=PIXEL_UM),
    )
    with RawWriter(path, header, frames.shape, np.uint8) as writer:
        for plane, frame in enumerate(frames):
            z = (plane - len(frames) // 2) * 0.5
            writer.write(
                plane,
                frame,
                z_requested_um=z,
                z_measured_um=z,
                time_device_ns=plane * 33_000_000,
                time_host_ns=plane * 33_000_000,
                frame_id=plane,
                exposure_us=5000.0,
            )
        return writer.publish()


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file, leaving out its blocks of zeros."""
    with source.open("rb") as old, target.open("wb") as new:
        while block := old.read(BLOCK):
            if block.strip(b"\0"):
                new.write(block)
            else:
                new.seek(len(block), 1)
        new.truncate()


def memory_mb() -> float:
    """Resident memory of this process."""
    return psutil.Process().memory_info().rss / 1e6


def session_of(folder: Path, stacks: int, cells: int) -> Session:
    """Begin a session of stacks of noise with cells in rows, which drift."""
    session = Session.create(folder, PatchSettings())
    for number in range(stacks):
        noise = np.random.default_rng(number).integers(90, 120, SHAPE, dtype=np.uint8)
        with RawStack.open(write_stack(folder / f"big{number}.stack.h5", noise)) as stack:
            ref = StackRef.of(stack)
        found = []
        for i in range(cells // stacks):
            y, x = 100.0 + 60 * (i // 20), 100.0 + 90 * (i % 20)
            drift = np.linspace(-10, 10, SHAPE[0])
            suggested = Suggested(0.1, 0.8, "phase", "", "focus-curve")
            name = f"{ref.name}-{i:03d}"
            way = (y + drift, x + drift)
            found.append(CellState(name, ref.fingerprint, *way, 30, 20, 0.9, (), suggested))
        session.begin([ref], found)
    return session


def window_of(session: Session) -> Panel:
    """Open the window, and wait until it is painted."""
    panel = open_window(session, annotator="ann")
    window = panel.window()
    window.resize(1400, 900)
    window.activateWindow()
    QApplication.setActiveWindow(window)
    settle(30)
    return panel


def settle(rounds: int) -> None:
    """Let the window work for a while."""
    for _ in range(rounds):
        QApplication.processEvents()
        time.sleep(0.02)


class Painted(QObject):
    """Notes that a widget was painted."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.seen = False
        widget.installEventFilter(self)

    def eventFilter(self, _: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Note it."""
        self.seen = self.seen or event.type() == QEvent.Type.Paint
        return False


class Watch:
    """Milliseconds since it was made: by the clock, and of this process's processor time."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def read(self) -> np.ndarray:
        """(2,) ms."""
        now = time.perf_counter(), time.process_time()
        return 1e3 * np.subtract(now, self._began)


def paint(panel: Panel, painted: Painted) -> np.ndarray:
    """Paint what waits to be painted in the window, at least a pixel of the patch; (2,) ms."""
    watch, painted.seen = Watch(), False
    panel.pictures.patch.repaint(0, 0, 1, 1)
    while not painted.seen:  # Qt puts it off while the canvas is drawn
        QApplication.processEvents()
        panel.pictures.patch.repaint(0, 0, 1, 1)
    return watch.read()


def time_keys(panel: Panel, rounds: int) -> dict[str, float]:
    """Press keys in a window; medians and worst in ms."""
    painted = Painted(panel.pictures.patch)
    answered, composed, followed = [], [], []
    for key in KEYS * rounds:
        combination = QKeySequence(key)[0]
        composed.append(paint(panel, painted))
        watch = Watch()
        QTest.keyClick(panel, combination.key(), combination.keyboardModifiers())
        answered.append(watch.read() + paint(panel, painted))
        panel._later.stop()
        watch = Watch()
        panel.follow()
        QApplication.processEvents()
        followed.append(watch.read())
    window = np.median(composed, axis=0)
    (key, key_cpu), (worst, worst_cpu) = (
        reduce(np.array(answered), axis=0) - window for reduce in (np.median, np.max)
    )
    cells = panel.session.state.cells.values()
    return {
        "cells": len(cells),
        "decided": sum(c.by_person for c in cells),
        "window_ms": window[0],
        "window_cpu_ms": window[1],
        "key_ms": key,
        "key_worst_ms": worst,
        "key_cpu_ms": key_cpu,
        "key_cpu_worst_ms": worst_cpu,
        "field_ms": np.median(followed, axis=0)[0],
        "field_cpu_ms": np.median(followed, axis=0)[1],
    }


def time_scrolling(panel: Panel) -> dict[str, float]:
    """Scroll the gallery by pages; ms, s and MB."""
    gallery, before = panel.cells.gallery, memory_mb()
    bar = gallery.view.verticalScrollBar()
    painted, start = [], time.perf_counter()
    for at in range(0, bar.maximum() + bar.pageStep(), bar.pageStep()):
        used = time.perf_counter()
        bar.setValue(at)
        gallery.view.viewport().repaint()
        painted.append(1e3 * (time.perf_counter() - used))
        QApplication.processEvents()
    last = gallery.model.entries[-1]
    while gallery.picture(last) is None:
        QApplication.processEvents()
    return {
        "pages": len(painted),
        "page_ms": median(painted),
        "page_worst_ms": max(painted),
        "all_s": time.perf_counter() - start,
        "more_mb": memory_mb() - before,
    }


def time_window(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Press keys with 300 cells, and with 2,000 in the gallery; scroll the gallery."""
    result = {}
    panel = window_of(session_of(folder / "few", 1, CELLS))
    result["keys"] = time_keys(panel, rounds)
    panel.shut()
    panel.viewer.close()
    panel = window_of(session_of(folder / "many", 10, MANY))
    panel.act("gallery")
    settle(60)
    result["keys_gallery"] = time_keys(panel, rounds)
    result["scrolling"] = time_scrolling(panel)
    panel.shut()
    panel.viewer.close()
    return result


def time_opening(folder: Path) -> dict[str, float]:
    """Open a folder of 100 stacks; seconds and MB."""
    import napari

    many = folder / "hundred-raw"
    many.mkdir()
    first = write_stack(folder / "zeros.stack.h5", np.zeros(SHAPE, np.uint8))
    for i in range(STACKS):
        copy_sparse(first, many / f"s{i:03d}.stack.h5")
    on_disk = sum(path.stat().st_blocks * 512 for path in many.iterdir()) / 1e6
    paths = sorted(many.iterdir())
    before = memory_mb()
    start = time.perf_counter()
    layers = read_layers(str(many))
    read_s = time.perf_counter() - start
    viewer = napari.Viewer(show=True)
    QApplication.processEvents()
    start = time.perf_counter()
    viewer.open(str(many), plugin="fgaf")
    QApplication.processEvents()
    view_s = time.perf_counter() - start
    viewer.close()
    start = time.perf_counter()
    session, _ = open_session(folder / "hundred", paths)
    session_s = time.perf_counter() - start
    session.close()
    return {
        "stacks": len(paths),
        "layers": len(layers),
        "on_disk_mb": on_disk,
        "reader_s": read_s,
        "napari_s": view_s,
        "session_s": session_s,
        "more_mb": memory_mb() - before,
        "all_mb": memory_mb(),
    }


def time_detection() -> dict[str, float]:
    """Find and follow the cells of one simulated stack; seconds on one core."""
    scene = Scene(SimulationSettings(seed=9100, shape=SHAPE[1:], cells=20))
    z = (np.arange(SHAPE[0]) - SHAPE[0] // 2) * 0.5
    frames = np.stack([scene.expose(k * 0.033, 0.005, float(z[k]))[0] for k in range(len(z))])
    start = time.process_time()
    tracks = find_tracks(frames, PIXEL_UM, SHAPE[1:], np.arange(len(z)) * 0.033)
    return {"tracks": len(tracks), "detect_cpu_s": time.process_time() - start}


def main() -> None:
    """Measure all and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="rounds of eight keys")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = {"opening": time_opening(folder), **time_window(folder, options.rounds)}
    result["detection"] = time_detection()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
