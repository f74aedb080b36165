"""The curation window in a real napari window, driven by key events."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QPushButton, QWidget

from fgaf.curate.commands.main import main
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.napari.preferences import read_preferences, remember_panel
from fgaf.curate.napari.shortcuts import SHORTCUTS, as_html, as_markdown, with_keys
from fgaf.curate.session.queue import TASKS
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import AUTO, CellState, StackRef, Suggested
from fgaf.dataset.archive import Archive
from fgaf.dataset.raw import RawStack
from tests.screen import on_screen

pytestmark = pytest.mark.long

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def raw(stack_taker: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stacks of three small fields in bright field."""
    folder = tmp_path_factory.mktemp("raw")
    for seed in (71, 72, 73):
        path = folder / f"{seed}.stack.h5"
        stack_taker(path, seed, "brightfield", cells=3, debris=2, shape=(300, 360))
    return folder


@pytest.fixture(scope="module")
def killed(driver: ModuleType, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of three stacks whose window was killed in the middle."""
    folder = tmp_path_factory.mktemp("killed") / "session"
    with subprocess.Popen(
        [sys.executable, str(driver.__file__), str(folder), str(raw)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"NAPARI_CONFIG": ""},
    ) as child:
        assert child.stdout is not None
        told = child.stdout.readline()
        child.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    name, left = told.split()
    assert name
    assert int(left) > 0
    return folder


@pytest.fixture(scope="module")
def panel(killed: Path, driver: ModuleType) -> Iterator[object]:
    panel = driver.opened(killed, None)
    yield panel
    driver.close(panel)


class TestInAWindow:
    pytestmark = on_screen

    def test_a_killed_window_goes_on_where_it_was(
        self, panel: object, driver: ModuleType, tmp_path: Path
    ) -> None:
        controller, session = panel.controller, panel.session
        assert len(session.state.stacks) == 3
        mine = [c.label for c in session.state.cells.values() if c.by_person]
        assert sorted(d.verdict for d in mine) == ["accept", "focus", "reject", "unsure"]
        assert all(d.annotator == "ann" and d.seconds > 0 for d in mine)
        todo = controller.left
        assert controller.name == next(n for n in controller.names if not controller.done(n))

        driver.press(panel, "Ctrl+Z")  # of the window that was killed
        assert controller.left == todo + 1
        driver.press(panel, "Ctrl+Shift+Z")
        assert controller.left == todo
        driver.press(panel, "Home")
        while controller.left:
            before = controller.left
            driver.press(panel, "Space")
            if controller.left == before:  # cannot be kept: the line says why
                assert "cannot be kept" in panel.message
                driver.press(panel, "3")
        assert "all cells in this queue are done" in panel.message
        assert panel.finished

        panel.export(tmp_path / "dataset.h5")
        archive = Archive.read(tmp_path / "dataset.h5")
        assert archive.n_cells == len(session.state.kept())
        assert set(archive.cells.annotator) == {"ann"}
        assert set(archive.cells.method) == {"person"}
        error = np.abs(archive.depth_um - archive.true_depth_um)
        assert np.median(error) <= 0.25

    def test_keys_turn_planes_nudge_and_show_help(self, panel: object, driver: ModuleType) -> None:
        controller = panel.controller
        driver.go(panel, controller.names[1])
        controller.to_plane(8)
        start = controller.plane
        driver.press(panel, "Right", "D", "Left")
        assert controller.plane == start + 1
        driver.wait(lambda: panel.viewer.dims.current_step[0] == start + 1)
        numbers = panel._dock.field.findChildren(QWidget, "slice_label")
        assert not any(number.isVisible() for number in numbers), "they count planes from 0"
        assert len(numbers) >= 2
        panel.viewer.dims.set_current_step(0, 3)  # the slider leads, too
        assert controller.plane == 3
        before = controller.cell.y.copy()
        driver.press(panel, "Shift+Down")
        moved = controller.cell.y - before
        assert moved[3] == pytest.approx(1)
        assert np.count_nonzero(moved) == 1
        driver.press(panel, "Alt+Up")
        np.testing.assert_allclose(controller.cell.y - before, moved - 1)
        driver.press(panel, "Ctrl+Z", "Ctrl+Z")
        np.testing.assert_allclose(controller.cell.y, before)
        driver.press(panel, "S")
        assert controller.plane == panel.session.state.plane_of(
            controller.cell, controller.suggestion.focus_um
        )
        panel.viewer.theme = "light"
        driver.press(panel, "H")
        assert panel._overlay.isVisible()
        assert "accept the suggested focus" in panel._overlay.text.text()
        driver.press(panel, "I")
        assert "3 stacks" in panel._overlay.text.text()
        driver.press(panel, "I")
        assert not panel._overlay.isVisible()
        assert panel.grab().toImage().width() >= 300

    def test_dragging_a_point_of_the_path_moves_that_plane(
        self, panel: object, driver: ModuleType
    ) -> None:
        controller = panel.controller
        driver.go(panel, controller.names[1])
        panel.follow()
        way = np.column_stack([controller.cell.y, controller.cell.x])
        driver.press(panel, "E")
        centres = panel.viewer.layers["centres"]
        assert centres.mode == "select"
        records = len(panel.session.records)
        event = SimpleNamespace(type="mouse_press")
        drag = panel.field._dragged(centres, event)
        next(drag)
        event.type = "mouse_move"
        for by in ((0, 0), (1, -1), (3, -2)):
            centres._move([4], way[4] + by)
            next(drag)
        event.type = "mouse_release"
        assert next(drag, "end") == "end"
        assert len(panel.session.records) == records + 1
        assert controller.cell.y[4] == pytest.approx(way[4, 0] + 3, abs=0.02)
        driver.press(panel, "Ctrl+Z", "E")
        assert controller.cell.y[4] == pytest.approx(way[4, 0], abs=0.02)

    def test_a_cell_is_added_by_a_click(self, panel: object, driver: ModuleType) -> None:
        panel.follow()
        controller = panel.controller
        cells = len(panel.session.state.cells)
        driver.press(panel, "C")
        driver.click(panel, 150.0, 180.0)
        assert len(panel.session.state.cells) == cells + 1
        assert "by-hand" in controller.name
        driver.press(panel, "Ctrl+Z")
        assert len(panel.session.state.cells) == cells

    @pytest.mark.usefixtures("panel")
    def test_a_second_window_is_told_and_can_only_look(
        self, killed: Path, driver: ModuleType
    ) -> None:
        second = driver.opened(killed, None, "bob")
        try:
            assert "open in another window" in second.message
            driver.go(second, second.controller.names[0])
            lines = len(second.session.records)
            driver.press(second, "U")
            assert "reading only" in second.message
            assert len(second.session.records) == lines
        finally:
            driver.close(second)


@pytest.fixture
def folder(flat_stack: Callable[..., Path], tmp_path: Path) -> Path:
    """A session of eight cells, in two stacks of noise; crops may leave the frame."""
    with Session.create(tmp_path / "session", PatchSettings(32, 0.5, 0.5)) as session:
        for seed, name in enumerate("ab"):
            path = flat_stack(tmp_path / f"{name}.stack.h5", seed=seed, shape=(5, 120, 160))
            with RawStack.open(path) as stack:
                ref = StackRef.of(stack)
            cells = []
            for i in range(4):
                suggested = Suggested(0.0, 0.9, "phase", "", "focus-curve")
                y, x = np.full(5, 60.0), np.full(5, 20.0 + 40 * i)
                cells.append(
                    CellState(f"{name}-{i}", ref.fingerprint, y, x, 5, 5, 0.9, suggestion=suggested)
                )
            session.begin([ref], cells)
    return tmp_path / "session"


@pytest.fixture
def small(folder: Path, driver: ModuleType) -> Iterator[object]:
    panel = driver.opened(folder, None)
    driver.wait(lambda: not panel.loading and len(panel.viewer.layers) == 4)
    yield panel
    driver.close(panel)


class TestWhatAPersonStumbledOver:
    pytestmark = on_screen

    def test_nothing_moves_under_the_pointer(self, small: object, driver: ModuleType) -> None:
        widgets = small.findChildren(QPushButton) + small.findChildren(QComboBox)
        there = [widget for widget in widgets if widget.isVisible()]
        assert len(there) >= 11

        def places() -> list[object]:
            QApplication.processEvents()
            return [(w.mapToGlobal(w.rect().topLeft()), w.size()) for w in there]

        first = places()
        for words in ("", "one line", "so many words that they need many lines " * 30):
            for wrong in (False, True):
                small.say(words, wrong)
                assert places() == first
        assert small._line.toolTip() == words
        for task in TASKS:
            small._task.setCurrentText(task)
            assert places() == first
        small._task.setCurrentText("label")
        small.session.state.cells["a-1"].jump = tuple(range(5))
        small.session.state.cells["a-1"].suggestion = Suggested(9, 0.1, "peak", "lost " * 60, "x")
        for name in small.controller.names:
            driver.go(small, name)
            assert places() == first
        small._progress.begin(3)
        assert places() == first
        driver.press(small, *["Space"] * 4)
        for press in ("H", "I", "Escape", "B", "E", "C", "Escape"):
            driver.press(small, press)
            assert places() == first
        before = len(small.session.records)  # twice on Accept decides twice, and undoes nothing
        small._task.setCurrentText("label")
        driver.go(small, "a-0")
        for _ in range(2):
            QTest.mouseClick(small._buttons["unsure"], Qt.MouseButton.LeftButton)
            driver.wait(lambda: not small.loading)
        assert [r["record"] for r in small.session.records[before:]] == ["decision"] * 2

    def test_what_is_not_seen_is_not_decided(self, small: object, driver: ModuleType) -> None:
        controller, records = small.controller, small.session.records
        deciding = ("Space", "Return", "2", "X", "U", "Q", "W", "Shift+Up", "Right")
        driver.press(small, "H")
        beside = small._overlay
        assert beside.isVisible()
        assert not QRect(beside.mapToGlobal(QPoint(0, 0)), beside.size()).intersects(
            QRect(small.mapToGlobal(QPoint(0, 0)), small.size())
        )
        driver.press(small, "Space", "Space", "Space", "Escape")
        assert not beside.isVisible()
        assert controller.name == "a-3"
        before = len(records)
        small.go("b-1")
        QTest.keyClick(small, Qt.Key.Key_Space)  # before its stack is read
        assert len(records) == before
        assert "loading" in small.message
        driver.wait(lambda: not small.loading)
        driver.press(small, *["Space"] * 5)
        assert small.finished
        assert small.pictures.empty
        assert "8 kept" in small.pictures.words
        assert "Export" in small.pictures.words
        before = len(records)
        driver.press(small, *deciding)
        assert len(records) == before
        assert controller.plane == 2
        driver.press(small, "P")
        assert (controller.name, small.pictures.empty) == ("b-0", False)
        driver.press(small, "4")
        assert small.finished
        driver.press(small, "Ctrl+Z")
        assert not small.finished
        assert controller.decision.verdict == "accept"

    def test_a_click_on_a_box_goes_to_its_cell(self, small: object, driver: ModuleType) -> None:
        driver.click(small, 70, 95)
        assert small.controller.name == "a-2"
        driver.click(small, 20, 95)  # no box there
        assert small.controller.name == "a-2"
        layer = small.viewer.layers["cells"]
        np.testing.assert_array_equal(layer.data[-2:], layer.data[[2, 2]])
        assert layer.border_width[-1] > 2 * max(layer.border_width[4:8])
        driver.press(small, "B")
        assert not layer.visible
        driver.click(small, 60, 20)
        assert small.controller.name == "a-2"
        driver.press(small, "B")
        driver.click(small, 60, 20)
        assert small.controller.name == "a-0"

    def test_keys_on_the_canvas_are_ours(self, small: object, driver: ModuleType) -> None:
        canvas, layers = driver.canvas_of(small), small.viewer.layers
        driver.press(small, "2", "4", "Space", on=canvas)
        cells = small.session.state.cells
        assert [cells[f"a-{i}"].label.reason for i in range(3)] == [
            "overlaps another cell", "no focus in the stack", "",
        ]  # fmt: skip
        assert {layer.mode for layer in layers} == {"pan_zoom"}
        for layer in layers:
            layers.selection.active = layer
            assert small.viewer.help == "H: keys of the curation"
        driver.press(small, "E", on=canvas)
        centres = layers["centres"]
        assert (centres.mode, small.viewer.help) == ("select", "H: keys of the curation")
        assert centres.canvas_size_limits[0] >= 10
        centres.selected_data = {1, 2}
        driver.press(small, "Delete", on=canvas)
        assert len(centres.data) == 5
        driver.press(small, "C", "I", "Escape", on=canvas)
        assert centres.mode == "pan_zoom"
        assert layers.selection.active is layers["field"]
        assert not small._overlay.isVisible()
        before = len(cells)
        driver.click(small, 60, 60)
        assert (len(cells), small.controller.name) == (before, "a-1")

    def test_the_field_fits_the_frame_and_not_the_boxes(
        self, small: object, driver: ModuleType
    ) -> None:
        camera, window = small.viewer.camera, small.window()

        def fills() -> float:
            high, wide = small.viewer.canvas.size
            pixel = small.viewer.layers["field"].scale[-1]
            return camera.zoom * pixel * max(120 / high, 160 / wide)

        assert fills() == pytest.approx(0.95, abs=0.01)
        for size in ((900, 600), (1300, 700)):
            window.resize(*size)
            driver.wait(lambda: fills() == pytest.approx(0.95, abs=0.01))
            driver.wait(
                lambda: small._dock._dock.width() / window.width() == pytest.approx(0.4, abs=0.02)
            )
        small.viewer.reset_view()
        assert fills() == pytest.approx(0.95, abs=0.01)
        camera.zoom *= 2
        zoom = camera.zoom
        window.resize(1000, 650)
        driver.wait(lambda: small.viewer.canvas.size[0] < 600)
        assert camera.zoom == zoom

    def test_one_key_sets_the_focus_beside_and_others_move_by_five_pixels(
        self, small: object, driver: ModuleType
    ) -> None:
        controller, cells = small.controller, small.session.state.cells
        driver.press(small, "W", "Q")
        assert [cells[f"a-{i}"].label.focus_um for i in (0, 1)] == [0.5, -0.5]
        driver.press(small, "Right", "W")  # the range leaves the stack
        assert "cannot be kept" in small.message
        assert (controller.name, controller.plane) == ("a-2", 3)
        cell, way = controller.cell, controller.cell.y.copy()
        driver.press(small, "Ctrl+Shift+Up", "Alt+Shift+Down", "Shift+Down")
        np.testing.assert_allclose(cell.y - way, [5, 5, 5, 1, 5])
        place = small.pictures.film._places()[1].center()
        QTest.mouseClick(small.pictures.film, Qt.MouseButton.LeftButton, pos=place)
        assert (controller.name, controller.plane) == ("a-2", 1)
        QTest.mouseDClick(small.pictures.film, Qt.MouseButton.LeftButton, pos=place)
        assert cells["a-2"].label.focus_um == -0.5

    def test_deleted_layers_come_back(self, small: object, driver: ModuleType) -> None:
        layers = small.viewer.layers
        for name in ("cells", "field", "path", "centres"):
            layers.selection.active = layers[name]
            layers.remove_selected()
            driver.wait(lambda name=name: name in layers)
            assert f"the layer '{name}'" in small.message
        layers.select_all()
        layers.remove_selected()
        driver.wait(lambda: len(layers) == 4)
        assert layers[0].name == "field"
        driver.click(small, 60, 60)
        assert small.controller.name == "a-1"

    def test_the_width_that_a_person_gives_is_remembered(
        self, small: object, driver: ModuleType
    ) -> None:
        window, dock = small.window(), small._dock._dock
        field = window.centralWidget().geometry()
        at = QPoint((field.right() + dock.x()) // 2, field.center().y())
        to = QPoint(at.x() + 80, at.y())
        width = dock.width()
        QTest.mousePress(window, Qt.MouseButton.LeftButton, pos=at)
        QTest.mouseMove(window, to)
        driver.wait(lambda: dock.width() < width)
        QTest.mouseRelease(window, Qt.MouseButton.LeftButton, pos=to)
        try:
            driver.wait(lambda: read_preferences().panel_percent < 38)
            share = dock.width() / window.width()
            assert share == pytest.approx(read_preferences().panel_percent / 100, abs=0.01)
        finally:
            remember_panel(0.4)

    def test_closing_the_dock_ends_the_session(
        self, small: object, folder: Path, driver: ModuleType
    ) -> None:
        driver.press(small, "Space")
        QTest.mouseClick(small._dock._dock.title.close_button, Qt.MouseButton.LeftButton)
        driver.wait(lambda: small.life.ended)
        assert not len(small.viewer.layers)
        with Session.open(folder) as again:  # not locked any more
            assert not again.read_only
            assert again.state.cells["a-0"].label.verdict == "accept"


def test_status_and_agreement_of_a_session(raw: Path, tmp_path: Path) -> None:
    auto = ["auto", str(raw / "71.stack.h5"), "--out", str(tmp_path / "d.h5")]
    assert CliRunner().invoke(main, auto).exit_code == 0
    session = str(tmp_path / "d.session")
    told = CliRunner().invoke(main, ["status", session]).output
    assert "0 labelled by a person" in told
    assert f"next: fgaf-curate open --session {session}" in told
    assert AUTO in told
    told = CliRunner().invoke(main, ["agreement", session]).output
    assert "no cell was labelled twice" in told


def test_open_says_what_is_wrong_before_a_window_opens(
    raw: Path, tmp_path: Path, session: object
) -> None:
    def said(*words: object) -> str:
        result = CliRunner().invoke(main, ["open", *map(str, words)])
        assert result.exit_code in (1, 2)
        return str(result.stderr.splitlines()[-1])

    assert "contains no session" in said("--session", tmp_path / "new")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "contains no raw stacks" in said(empty, "--session", tmp_path / "new")
    stack = raw / "71.stack.h5"
    assert "not a multiple" in said(
        stack, "--session", tmp_path / "new", "--step", 0.7, "--half-range", 1.4
    )
    assert "is a session with --patch 16" in said("--session", session.folder, "--patch", 48)
    assert "is a session with --pixel-size of each stack, not " in said(
        "--session", session.folder, "--pixel-size", 0.2
    )
    assert not (tmp_path / "new").exists()


def test_every_shortcut_has_a_key_of_its_own_and_stands_in_help_and_docs() -> None:
    assert with_keys({}) == (SHORTCUTS, [])
    actions = [shortcut.action for shortcut in SHORTCUTS]
    assert len(set(actions)) == len(actions)
    assert all(shortcut.words in as_html() for shortcut in SHORTCUTS)
    assert as_markdown() in (DOCS / "curation.md").read_text(encoding="utf-8")


def test_keys_can_be_changed_and_only_clashing_ones_are_refused() -> None:
    table = {s.action: s.keys for s in with_keys({"accept": "K, Space", "unsure": ""})[0]}
    assert table["accept"] == ("K", "Space")
    assert table["unsure"] == ()
    table, said = with_keys({"unsure": "space", "focus_down": "W", "boxes": "K", "acept": "G"})
    assert {s.action for s in table if s not in SHORTCUTS} == {"boxes"}
    assert len(said) == 3, "only what clashes is left out"
    assert "did you mean accept" in said[0]
    assert any("the key space is used for accept already: unsure keeps" in line for line in said)
    assert any("the key W is used for focus_up already: focus_down" in line for line in said)
    swapped, said = with_keys({"plane_down": "D", "plane_up": "A"})
    assert [s.keys for s in swapped if s.action.startswith("plane_")][:2] == [("D",), ("A",)]
    assert not said
