"""The curation window in a real napari window, driven by key events."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf.base.errors import SettingError
from fgaf.curate.commands.main import main
from fgaf.curate.napari.shortcuts import SHORTCUTS, as_html, as_markdown, with_keys
from fgaf.curate.session.state import AUTO
from fgaf.dataset.archive import Archive

pytestmark = pytest.mark.long

on_screen = [
    # Warnings of the libraries below the window are not ours to mend.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        sys.platform == "linux" and "DISPLAY" not in os.environ, reason="no screen; see `make test`"
    ),
]
DRIVER = Path(__file__).with_name("window_driver.py")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def driver() -> ModuleType:
    spec = importlib.util.spec_from_file_location("window_driver", DRIVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def killed(raw_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of three stacks whose window was killed in the middle."""
    folder = tmp_path_factory.mktemp("killed") / "session"
    with subprocess.Popen(
        [sys.executable, str(DRIVER), str(folder), str(raw_folder)],
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
        driver.click(panel, 250.0, 300.0)
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


def test_status_and_agreement_of_a_session(raw_folder: Path, tmp_path: Path) -> None:
    auto = ["auto", str(raw_folder / "third.stack.h5"), "--out", str(tmp_path / "d.h5")]
    assert CliRunner().invoke(main, auto).exit_code == 0
    session = str(tmp_path / "d.session")
    told = CliRunner().invoke(main, ["status", session]).output
    assert "0 labelled by a person" in told
    assert f"next: fgaf-curate open --session {session}" in told
    assert AUTO in told
    told = CliRunner().invoke(main, ["agreement", session]).output
    assert "no cell was labelled twice" in told


def test_open_says_what_is_wrong_before_a_window_opens(
    raw_folder: Path, tmp_path: Path, session: object
) -> None:
    def said(*words: object) -> str:
        result = CliRunner().invoke(main, ["open", *map(str, words)])
        assert result.exit_code in (1, 2)
        return str(result.stderr.splitlines()[-1])

    assert "contains no session" in said("--session", tmp_path / "new")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "contains no raw stacks" in said(empty, "--session", tmp_path / "new")
    stack = raw_folder / "first.stack.h5"
    assert "not a multiple" in said(
        stack, "--session", tmp_path / "new", "--step", 0.7, "--half-range", 1.4
    )
    assert "is a session with --patch 16" in said("--session", session.folder, "--patch", 48)
    assert "is a session with --pixel-size of each stack, not " in said(
        "--session", session.folder, "--pixel-size", 0.2
    )
    assert not (tmp_path / "new").exists()


def test_every_shortcut_has_a_key_of_its_own_and_stands_in_help_and_docs() -> None:
    assert with_keys({}) == SHORTCUTS
    actions = [shortcut.action for shortcut in SHORTCUTS]
    assert len(set(actions)) == len(actions)
    assert all(shortcut.words in as_html() for shortcut in SHORTCUTS)
    assert as_markdown() in (DOCS / "curation.md").read_text(encoding="utf-8")


def test_keys_can_be_changed_and_clashes_are_refused() -> None:
    table = {s.action: s.keys for s in with_keys({"accept": "K, Space", "unsure": ""})}
    assert table["accept"] == ("K", "Space")
    assert table["unsure"] == ()
    with pytest.raises(SettingError, match="used for accept and for unsure"):
        with_keys({"unsure": "space"})
    with pytest.raises(SettingError, match="did you mean accept"):
        with_keys({"acept": "G"})
