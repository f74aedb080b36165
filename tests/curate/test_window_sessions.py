"""The window on sessions: a missing file, an empty form, a blind pass and its review."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.session.journal import begun
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import CellState, StackRef
from fgaf.dataset.archive import Archive
from fgaf.dataset.raw import RawStack
from tests.screen import on_screen

pytestmark = [pytest.mark.long, *on_screen]


@pytest.fixture
def two(
    flat_stack: Callable[..., Path], cell_maker: Callable[..., CellState], tmp_path: Path
) -> Path:
    """A session of a.stack.h5 and b.stack.h5, with two cells of each that "ann" kept."""
    folder = tmp_path / "session"
    with Session.create(folder, PatchSettings(16, 0.5, 0.5)) as session:
        for seed, name in enumerate("ab"):
            with RawStack.open(flat_stack(tmp_path / f"{name}.stack.h5", seed=seed)) as stack:
                ref = StackRef.of(stack)
            cells = [cell_maker(f"{name}-{i}", ref.fingerprint) for i in range(2)]
            session.begin([ref], cells)
            for cell in cells:
                session.decide(cell.id, "accept", "ann")
    return folder


@pytest.fixture
def opened(driver: ModuleType) -> Iterator[Callable[..., object]]:
    """Opens windows that are closed after the test."""
    panels = []

    def open_it(*arguments: object) -> object:
        panels.append(driver.opened(*arguments))
        return panels[-1]

    yield open_it
    for panel in panels:
        driver.close(panel)


def answer(reply: Callable[[object], None]) -> None:
    """Reply to the next dialog, as soon as it is shown."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            QTimer.singleShot(20, look)
        else:
            reply(dialog)

    QTimer.singleShot(0, look)


def enter(text: str) -> Callable[[object], None]:
    """Type a name into a file dialog, and accept it."""

    def reply(dialog: object) -> None:
        from qtpy.QtWidgets import QDialogButtonBox, QLineEdit

        dialog.findChild(QLineEdit, "fileNameEdit").setText(text)
        dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Open).click()

    return reply


def test_a_missing_file_is_said_and_found_by_a_dialog(
    two: Path, opened: Callable[..., object], tmp_path: Path
) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QMessageBox

    away = tmp_path / "away" / "deep"
    away.mkdir(parents=True)
    (tmp_path / "b.stack.h5").rename(away / "renamed.h5")
    panel = opened(two, None)
    line = panel._missing
    assert line.isVisible()
    assert line.words.text() == "b.stack.h5 is missing: 2 cells not shown"
    assert "give its folder with --raw" in line.words.toolTip()
    assert panel.controller.names == ["a-0", "a-1"]

    out = tmp_path / "d.h5"
    for button in (QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes):
        answer(lambda dialog, b=button: dialog.button(b).click())
        if line.may_leave_out():
            panel.export(out, leave_out_missing=True)
        assert out.exists() == (button == QMessageBox.StandardButton.Yes)
    assert Archive.read(out).cells.id.tolist() == ["a-0", "a-1"]

    answer(enter(str(tmp_path / "session")))
    QTest.mouseClick(line.button, Qt.MouseButton.LeftButton)
    assert "none of these files is in" in panel.message
    answer(enter(str(tmp_path / "away")))
    QTest.mouseClick(line.button, Qt.MouseButton.LeftButton)
    assert panel.message == "found b.stack.h5"
    assert not line.isVisible()
    assert panel.controller.names == ["a-0", "a-1", "b-0", "b-1"]
    panel.export(out, overwrite=True)
    assert Archive.read(out).n_cells == 4


def test_a_start_without_a_session_folder_asks_for_one(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import napari

    from fgaf.curate.napari.start import Start

    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    viewer = napari.Viewer(show=False)
    try:
        start = Start(viewer)
        start.begin()
        assert start.panel is None
        assert "choose a session folder" in start._line.text()
        assert not begun(Path("session"))
        assert list(Path().iterdir()) == []

        start._folder.setText(str(two))
        start._look.setChecked(True)
        start.begin()
        assert start.panel.session.read_only
        start.panel.shut()
    finally:
        viewer.close()


def test_a_blind_pass_hides_first_labels_and_a_review_shows_all(
    two: Path, opened: Callable[..., object], driver: ModuleType
) -> None:
    from fgaf.curate.napari.caption import facts

    panel = opened(two, None, "bob")
    panel._task.setCurrentText("second")
    driver.press(panel, "I")
    text = panel._overlay.text.text()
    assert "blind second pass by bob: 4 cells, 0 done, 4 to do" in text
    assert not any(word in text for word in ("kept", "donor", "accept", "ann", "µm", "rejected"))
    driver.press(panel, "I", "1", "2")
    driver.press(panel, "I")
    assert "4 cells, 2 done, 2 to do" in panel._overlay.text.text()
    driver.press(panel, "I", "1", "2")
    assert panel.finished
    assert "kept" not in panel.pictures.words
    assert "Next: fgaf-curate agreement" in panel.pictures.words

    panel._task.setCurrentText("review")
    name = panel.controller.name
    driver.press(panel, "4")
    panel.go(name)
    said = facts(panel.controller, panel.colours)
    assert "ann: suggestion accepted at +0.20 µm" in said
    assert "bob: rejected: not a sperm" in said
    assert "bob, review: rejected: no focus in the stack" in said[-1]
