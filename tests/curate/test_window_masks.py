"""Masks of heads drawn in a real napari window, with keys and the mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import CellState, StackRef, Suggested
from fgaf.dataset.archive import Archive
from fgaf.dataset.raw import RawStack
from tests.curate.drawings import PIXEL_UM, Drawing
from tests.screen import on_screen

pytestmark = [pytest.mark.long, *on_screen]

CENTRES = ((-7.0, -7.0), (7.0, 7.0))
"""Of the two heads, µm."""


@pytest.fixture(scope="module")
def panel(
    driver: ModuleType, flat_stack: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[object]:
    """A window on two drawn heads, whose paths go down by a pixel a plane."""
    folder = tmp_path_factory.mktemp("drawn")
    drawing = Drawing(36.0).head(CENTRES[0], 30).head(CENTRES[1], 80)
    image, places = drawing.image(), drawing.places_px()
    frames = np.stack([np.roll(image, plane - 2, axis=0) for plane in range(5)])
    path = flat_stack(
        folder / "a.stack.h5", shape=frames.shape, frames=frames, pixel_size_um=PIXEL_UM
    )
    with Session.create(folder / "s", PatchSettings(64, 0.5, 0.5)) as session:
        with RawStack.open(path) as stack:
            ref = StackRef.of(stack)
        suggested = Suggested(0.0, 0.9, "phase", "", "focus-curve")
        session.begin(
            [ref],
            [
                CellState(
                    name, ref.fingerprint, y + np.arange(-2.0, 3), np.full(5, x), 24, 28, 0.9,
                    suggestion=suggested,
                )
                for name, (y, x) in zip(("one", "two"), places, strict=True)
            ],
        )  # fmt: skip
    panel = driver.opened(folder / "s", None)
    yield panel
    driver.close(panel)


def begun(panel: object, driver: ModuleType, name: str = "one") -> object:
    """Begin a mask, and return its layer."""
    driver.go(panel, name)
    driver.press(panel, "M")
    assert panel.mask_layer.drawing
    return panel.viewer.layers["mask"]


def stroke(panel: object, driver: ModuleType, y: float, x: float) -> None:
    """Press the mouse on a pixel of the frame, and let it go."""
    QTest.mouseClick(
        driver.canvas_of(panel), Qt.MouseButton.LeftButton, pos=driver.place_of(panel, y, x)
    )
    QApplication.processEvents()


def test_a_proposed_mask_is_painted_on_and_stored(panel: object, driver: ModuleType) -> None:
    driver.go(panel, "one")
    camera = panel.viewer.camera.zoom
    layer = begun(panel, driver)
    assert (layer.mode, panel.mask_layer.origin) == ("paint", "proposed")
    assert "mask of the head in plane 3" in panel._about.toolTip()
    assert panel.viewer.camera.zoom > 1.5 * camera
    cell, proposed = panel.controller.cell, panel.mask_layer.drawn
    y, x = round(cell.y[2]), round(cell.x[2])
    assert proposed[y, x]
    assert not proposed[y + 24, x]
    stroke(panel, driver, y + 24, x)
    assert panel.mask_layer.drawn[y + 24, x]
    driver.press(panel, "Ctrl+Z")
    np.testing.assert_array_equal(panel.mask_layer.drawn, proposed)
    driver.press(panel, "Ctrl+Shift+Z")
    driver.press(panel, "1", on=QApplication.focusWidget())
    assert layer.mode == "erase"
    stroke(panel, driver, y, x)
    assert not panel.mask_layer.drawn[y, x]
    wanted = panel.mask_layer.drawn
    driver.press(panel, "Return")
    assert not panel.mask_layer.drawing
    assert "mask" not in panel.viewer.layers
    assert panel.message == "one: mask of plane 3 stored"
    assert panel.viewer.camera.zoom == pytest.approx(camera)
    np.testing.assert_array_equal(panel.controller.mask(wanted.shape), wanted)
    assert panel.controller.decision is None
    assert "the head is drawn in plane 3" in panel._about.toolTip()
    driver.press(panel, "Ctrl+Z")
    assert not panel.controller.cell.masks
    driver.press(panel, "Ctrl+Shift+Z")
    assert list(panel.controller.cell.masks) == [2]


def test_decisions_wait_while_a_mask_is_drawn(panel: object, driver: ModuleType) -> None:
    lines = len(panel.session.records)
    begun(panel, driver)
    before = panel.mask_layer.drawn
    other = panel.session.state.cells["two"]
    assert not panel._buttons["accept"].isEnabled()
    driver.press(panel, "U", "X", "M", "Down", "F")
    panel.act("focus_here")
    panel.go("two")
    assert "a mask is being drawn: Return stores it, Escape leaves it" in panel.message
    stroke(panel, driver, other.y[2], other.x[2])  # a stroke, not a step to the other cell
    assert panel.controller.name == "one"
    driver.press(panel, "H", "Escape")
    assert panel.mask_layer.drawing, "the first Escape closed the keys"
    driver.press(panel, "Escape")
    assert not panel.mask_layer.drawing
    assert len(panel.session.records) == lines
    np.testing.assert_array_equal(panel.controller.mask(before.shape), before)
    driver.press(panel, "U")
    assert panel.session.state.cells["one"].decision.verdict == "unsure"
    driver.press(panel, "Ctrl+Z")


def test_the_mask_goes_with_the_path_and_comes_back_when_deleted(
    panel: object, driver: ModuleType
) -> None:
    layer = begun(panel, driver)
    driver.press(panel, "Right", "Right")
    panel.follow()
    assert layer.translate[0] == pytest.approx(2 * PIXEL_UM)
    drawn = panel.mask_layer.drawn
    panel.viewer.layers.remove("mask")
    driver.wait(lambda: "mask" in panel.viewer.layers)
    assert "was put back" in panel.message
    np.testing.assert_array_equal(panel.mask_layer.drawn, drawn)
    driver.press(panel, "Escape", "M")
    assert panel.mask_layer.origin == "moved here from the nearest plane with one"
    np.testing.assert_array_equal(panel.mask_layer.drawn, np.roll(drawn, 2, axis=0))
    driver.press(panel, "Escape")


def test_kept_cells_with_masks_are_exported_with_them(
    panel: object, driver: ModuleType, tmp_path: Path
) -> None:
    driver.go(panel, "one")
    driver.press(panel, "Space")
    panel.export(tmp_path / "a.h5")
    assert "with masks" in panel.message
    begun(panel, driver, "two")
    driver.press(panel, "Space")
    assert list(panel.session.state.cells["two"].masks) == [2]
    driver.press(panel, "Space")
    panel.export(tmp_path / "b.h5")
    driver.press(panel, "G")
    gallery = panel.cells.gallery
    assert gallery.drawn.isHidden(), "both heads are drawn"
    driver.press(panel, "Ctrl+Z", "Ctrl+Z")
    panel.follow()
    gallery.drawn.setCurrentIndex(gallery.drawn.findData("head drawn"))
    assert [entry.name for entry in gallery.model.entries] == ["one"]
    driver.press(panel, "Ctrl+Shift+Z", "Ctrl+Shift+Z", "G")
    masks = Archive.read(tmp_path / "b.h5").masks
    assert (masks == 1).any(axis=(1, 2)).all()
