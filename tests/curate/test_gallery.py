"""The gallery of cells: what it lists, and what clicks and keys do in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fgaf.base.errors import SettingError
from fgaf.curate.detection.crop import AT_BORDER, PatchSettings
from fgaf.curate.session.catalogue import Catalogue, Entry, Filter, Picture, listed, named
from fgaf.curate.session.closeup import Closeups
from fgaf.curate.session.queue import QueueSettings, queue_of
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import AUTO, CellState, StackRef, Suggested
from fgaf.curate.session.thumbnails import RawCut, Thumbnails
from fgaf.dataset.raw import RawStack
from tests.screen import on_screen

REASONS = ("not a sperm", "dead")


def entries_of(session: Session, queue: QueueSettings | None = None) -> dict[str, Entry]:
    names = list(session.state.cells)
    listing = Catalogue(session).of(queue or QueueSettings(), names)
    return {entry.name: entry for entry in listing}


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not until():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.002)


def test_each_cell_is_listed_with_what_was_decided(session: Session) -> None:
    session.decide("one", "focus", "ann", focus_um=-0.5)
    session.decide("two", "reject", AUTO, reason="overlaps another cell")
    entries = entries_of(session)
    assert [(e.status, e.focus_um, e.reason) for e in entries.values()] == [
        ("kept", -0.5, ""),
        ("rejected by auto", 0.2, "overlaps another cell"),
        ("open", 0.2, ""),
    ]
    assert [e.picture.plane for e in entries.values()] == [1, 2, 2]
    assert {e.sample for e in entries.values()} == {"donor 1"}
    session.decide("two", "unsure", "ann")
    session.decide("three", "accept", AUTO)
    assert [e.status for e in entries_of(session).values()] == ["kept", "unsure", "kept by auto"]


def test_after_a_change_only_the_changed_cells_are_new(session: Session) -> None:
    catalogue, names = Catalogue(session), list(session.state.cells)
    before = catalogue.of(QueueSettings(), names)
    session.decide("two", "accept", "ann")
    session.nudge("three", 1, 0, "ann")
    after = catalogue.of(QueueSettings(), names)
    assert [new is old for new, old in zip(after, before, strict=True)] == [True, False, False]
    session.undo_last("ann")
    session.undo_last("ann")
    assert catalogue.of(QueueSettings(), names) == before


def test_a_blind_pass_lists_nothing_of_the_first(session: Session) -> None:
    session.decide("one", "reject", "ann", reason="dead")
    session.decide("two", "accept", "ann")
    blind = QueueSettings(task="second")
    first = Catalogue(session).of(blind, ["one", "two"])
    assert [e.name for e in first] == ["one", "two"]
    told = {(e.status, e.reason, e.confidence, e.focus_um) for e in first}
    assert told == {("open", "", None, None)}
    session.decide("two", "focus", "bob", focus_um=0.5, purpose="second", blind=True)
    own = Catalogue(session).of(blind, ["one", "two"])[1]
    assert (own.status, own.focus_um, own.picture.plane) == ("done", 0.5, 3)


def made(name: str, confidence: float | None = 0.5, focus_um: float | None = 0.0) -> Entry:
    at = tuple(float(part) for part in name.partition("cell")[2:])
    return Entry(name, "open", "", "", confidence, focus_um, at, 0)


def test_lists_are_sorted_as_people_expect_and_filtered() -> None:
    cells = [made("cell10", 0.9, None), made("cell2", 0.1, 1.0), made("cell1", None, -1.0)]

    def names(sort: str, which: Filter | None = None) -> list[str]:
        return [entry.name for entry in listed(cells, which or Filter(), sort)]  # type: ignore[arg-type]

    assert names("name") == ["cell1", "cell2", "cell10"]
    assert names("uncertainty") == ["cell1", "cell2", "cell10"]
    assert names("focus") == ["cell1", "cell2", "cell10"]
    assert names("position", Filter(confidence=(0.05, 1.0))) == ["cell2", "cell10"]
    assert names("position", Filter(status="kept")) == []


def test_a_cell_is_found_by_its_name_or_a_part_of_it() -> None:
    cells = ["day1-001", "day1-012", "day2-001"]
    assert named("DAY1-001 ", cells) == "day1-001"
    assert named("012", cells) == "day1-012"
    with pytest.raises(SettingError, match="2 cells have '001' in their name: day1-001, day2-001"):
        named("001", cells)
    with pytest.raises(SettingError, match="no cell is named 'day1-002'; did you mean day1-0"):
        named("day1-002", cells)


def test_pictures_are_cut_in_a_thread_and_those_of_missing_files_say_why(session: Session) -> None:
    cut = RawCut(Closeups(16, 5.0))
    cut.stacks = dict(session.state.stacks)
    ((fingerprint, ref),) = cut.stacks.items()
    inside, outside = Picture(fingerprint, 2, 20.0, 25.0), Picture(fingerprint, 2, -30.0, 25.0)
    thumbnails = Thumbnails(cut, kept=2)
    try:
        assert thumbnails.get(inside) is None
        thumbnails.get(outside)
        wait(lambda: not thumbnails.busy)
        assert thumbnails.news() == 2
        picture = thumbnails.get(inside)
        assert picture.shape == (16, 16)
        assert (picture.min(), picture.max()) == (0, 255)
        assert not thumbnails.get(outside).any()
        thumbnails.get(Picture("gone", 0, 0.0, 0.0))
        wait(lambda: not thumbnails.busy)
        assert thumbnails.get(inside) is None, "more than two were kept"
    finally:
        thumbnails.close()
    Path(ref.path).rename(Path(ref.path).with_suffix(".elsewhere"))
    cut = RawCut(Closeups(16, 5.0))
    cut.stacks = dict(session.state.stacks)
    thumbnails = Thumbnails(cut)
    try:
        thumbnails.get(inside)
        wait(lambda: not thumbnails.busy)
        assert "does not exist" in thumbnails.get(inside)
        Path(ref.path).with_suffix(".elsewhere").rename(ref.path)
        thumbnails.retry()
        thumbnails.get(inside)
        wait(lambda: not thumbnails.busy)
        assert isinstance(thumbnails.get(inside), np.ndarray)
    finally:
        thumbnails.close()
    assert thumbnails.get(outside) is None


@pytest.mark.parametrize("dark", [range(1, 5), range(4), (0, 1, 3, 4)])
def test_a_blind_pass_shows_cells_in_planes_where_they_are_seen(
    tmp_path: Path, flat_stack: Callable[..., Path], dark: Sequence[int]
) -> None:
    frames = np.random.default_rng(0).integers(90, 200, (5, 40, 50)).astype(np.uint8)
    frames[list(dark)] //= 100
    path = flat_stack(tmp_path / "dark.stack.h5", frames=frames)
    cut = RawCut(Closeups(16, 5.0))
    with RawStack.open(path) as stack:
        ref = StackRef.of(stack)
    cut.stacks = {ref.fingerprint: ref}
    with Session.create(tmp_path / "s", PatchSettings(16, 0.5, 0.5)) as session:
        way = np.full(5, 20.0)
        names = [f"cell{i}" for i in range(6)]
        session.begin([ref], [CellState(n, ref.fingerprint, way, way, 5, 5, 0.9) for n in names])
        for name, focus_um in zip(names, np.linspace(-0.5, 0.5, 6), strict=True):
            session.decide(name, "focus", "ann", focus_um=focus_um)
        before = Catalogue(session).of(QueueSettings(task="second"), names)
        assert all(cut(entry.picture).max() > 89 for entry in before)
        for name in names:
            session.decide(name, "focus", "eve", focus_um=0.0)
        again = Catalogue(session).of(QueueSettings(task="second"), names)
        assert again == before, "the first label shows in a blind pass"
    cut.close()


@pytest.fixture
def gallery(session: Session) -> Iterator[object]:
    """A gallery of 40 cells, of which every fourth is doubted; opened, rejected and so on noted."""
    from qtpy.QtWidgets import QApplication

    from fgaf.curate.napari.colours import Colours
    from fgaf.curate.napari.gallery import Gallery

    app = QApplication.instance() or QApplication([])
    stack, way = next(iter(session.state.stacks)), np.full(5, 20.0)
    for number in range(1, 38):
        doubt = "" if number % 4 else "overlaps another cell"
        suggested = Suggested(0.2, 0.3 if doubt else 0.9, "phase", doubt, "focus-curve")
        session.add_cell(
            CellState(f"cell{number}", stack, way, way + number / 9, 5, 5, 0.5, (), suggested)
        )
    keys = {"X": "reject", "2": "reject_2", "T": "reopen", "Space": "accept"}
    gallery = Gallery(Colours.of("dark"), {"open": ("#ffe14d", "□")}, REASONS, keys)
    gallery.noted = []
    gallery.opened.connect(lambda name: gallery.noted.append(name))
    gallery.entered.connect(lambda name: gallery.noted.append(f"entered {name}"))
    gallery.rejected.connect(lambda names, why: gallery.noted.append((names, why)))
    gallery.reopened.connect(lambda names: gallery.noted.append(names))
    cut = RawCut(Closeups(16, 5.0))
    cut.stacks = dict(session.state.stacks)
    thumbnails = Thumbnails(cut)
    gallery.show_pictures(thumbnails)
    gallery.resize(440, 560)
    gallery.show()
    gallery.show_entries(entries_of(session).values())
    gallery.activateWindow()
    app.setActiveWindow(gallery)
    app.processEvents()
    yield gallery
    thumbnails.close()
    gallery.close()
    app.processEvents()


def middle_of(gallery: object, row: int) -> object:
    return gallery.view.visualRect(gallery.model.index(row)).center()


@pytest.fixture
def panel(session: Session, driver: ModuleType) -> Iterator[object]:
    """The window on six cells; "auto" has rejected one of two, and one that the border cuts."""
    stack = next(iter(session.state.stacks))
    for name, y in (("four", 20.0), ("five", 21.0), ("edge", 3.0)):
        way, suggested = np.full(5, y), Suggested(0.2, 0.9, "phase", "", "focus-curve")
        session.add_cell(CellState(name, stack, way, way + 9, 5, 5, 0.5, (), suggested))
    session.decide("two", "reject", AUTO, reason="overlaps another cell")
    session.decide("edge", "reject", AUTO, reason=AT_BORDER)
    session.close()
    panel = driver.opened(session.folder, None)
    yield panel
    driver.close(panel)


class TestBesideThePanel:
    pytestmark = on_screen

    def test_several_are_rejected_by_a_key_and_one_undo_takes_it_back(
        self, panel: object, driver: ModuleType
    ) -> None:
        from qtpy.QtCore import Qt

        driver.press(panel, "G")
        gallery, cells = panel.cells.gallery, panel.session.state.cells
        driver.wait(lambda: gallery.view.hasFocus())
        names = [entry.name for entry in gallery.model.entries]
        assert sorted(names) == sorted(cells)
        click(gallery, names.index("three"))
        assert panel.controller.name == "three"
        click(gallery, names.index("four"), Qt.KeyboardModifier.ControlModifier)
        press(gallery.view, "2")
        assert panel.message == "rejected 2 cells: overlaps another cell"
        driver.wait(lambda: status_of(gallery, "four") == "rejected")
        assert {cells[n].decision.reason for n in ("three", "four")} == {"overlaps another cell"}
        press(gallery.view, "Space")
        assert "Enter goes to the cell" in gallery.line.text()
        press(gallery.view, "Ctrl+Z")
        driver.wait(lambda: status_of(gallery, "four") == "open")
        assert panel.session.state.cells["three"].decision is None

        click(gallery, names.index("five"))
        press(gallery.view, "Return")
        assert panel.controller.name == "five"
        assert not gallery.view.hasFocus()
        driver.wait(lambda: not panel.pictures.empty)
        driver.press(panel, "Space")
        assert panel.session.state.cells["five"].decision.kept
        driver.press(panel, "G")
        assert not panel.cells.shown

    def test_what_auto_rejected_is_taken_back(self, panel: object, driver: ModuleType) -> None:
        driver.press(panel, "G")
        gallery, controller = panel.cells.gallery, panel.controller
        gallery.status.setCurrentIndex(gallery.status.findData("rejected by auto"))
        assert {e.reason for e in gallery.model.entries} == {"overlaps another cell", AT_BORDER}
        assert "edge" not in controller.names
        press(gallery.view, "Ctrl+A", "T")
        assert "open for a decision again: 2 cells; 1 cell cannot be kept" in panel.message
        assert "edge" in controller.names
        driver.wait(lambda: not gallery.model.entries)
        press(gallery.view, "Ctrl+Z")
        driver.wait(lambda: len(gallery.model.entries) == 2)
        assert "edge" not in queue_of(panel.session.state, controller.queue, "ann")

    def test_a_name_is_typed_and_enter_decides_nothing(
        self, panel: object, driver: ModuleType
    ) -> None:
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QApplication

        records = len(panel.session.records)
        driver.press(panel, "J")
        gallery = panel.cells.gallery
        driver.wait(lambda: gallery.jump.hasFocus())
        QTest.keyClicks(gallery.jump, "fou")
        press(QApplication.activePopupWidget() or gallery.jump, "Return")
        driver.wait(lambda: panel.controller.name == "four" and not gallery.jump.text())
        assert len(panel.session.records) == records
        driver.press(panel, "J")
        QTest.keyClicks(gallery.jump, "xu2")
        assert gallery.jump.text() == "xu2"
        press(QApplication.activePopupWidget() or gallery.jump, "Escape")
        press(gallery.jump, "Escape")
        driver.wait(lambda: not gallery.jump.hasFocus())
        assert len(panel.session.records) == records

    def test_a_blind_pass_hides_the_first_labels(self, panel: object, driver: ModuleType) -> None:
        panel.session.decide("one", "reject", "eve", reason="dead or deformed")
        panel.session.decide("three", "accept", "eve")
        driver.press(panel, "G")
        panel._task.setCurrentText("second")
        gallery = panel.cells.gallery
        driver.wait(lambda: len(gallery.model.entries) == 2)
        assert {(e.status, e.reason, e.focus_um) for e in gallery.model.entries} == {
            ("open", "", None)
        }
        assert {c.isVisible() for c in (gallery.status, gallery.reason, gallery.confidence)} == {
            False
        }
        enabled = [b.isEnabled() for b in (panel._export, panel._buttons["accept"])]
        assert enabled == [False, False]
        assert panel._buttons["focus_here"].isEnabled()
        panel._task.setCurrentText("label")
        enabled = [b.isEnabled() for b in (panel._export, panel._buttons["accept"])]
        assert enabled == [True, True]

    def test_closing_the_gallery_leaves_the_panel(self, panel: object, driver: ModuleType) -> None:
        driver.press(panel, "G")
        panel.cells._dock.destroyOnClose()  # as its x does
        assert not panel.cells.shown
        assert not panel.life.ended
        driver.press(panel, "G")
        driver.wait(lambda: panel.cells.shown)
        assert len(panel.cells.gallery.model.entries) == 6


def status_of(gallery: object, name: str) -> str:
    return str(gallery.model.entries[gallery.model.row_of(name)].status)


def click(gallery: object, row: int, held: object = None) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    held = held or Qt.KeyboardModifier.NoModifier
    port = gallery.view.viewport()
    QTest.mouseClick(port, Qt.MouseButton.LeftButton, held, middle_of(gallery, row))
    QApplication.processEvents()


def press(widget: object, *keys: str) -> None:
    from qtpy.QtGui import QKeySequence
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    for key in keys:
        combination = QKeySequence(key)[0]
        QTest.keyClick(widget, combination.key(), combination.keyboardModifiers())
        QApplication.processEvents()


class TestInAWindow:
    pytestmark = on_screen

    def test_clicks_go_to_a_cell_and_select_several(self, gallery: object) -> None:
        from qtpy.QtCore import Qt

        names = [entry.name for entry in gallery.model.entries]
        click(gallery, 1)
        assert gallery.noted == [names[1]]
        click(gallery, 3, Qt.KeyboardModifier.ControlModifier)
        assert gallery.selected() == [names[1], names[3]]
        click(gallery, 3)
        click(gallery, 5, Qt.KeyboardModifier.ShiftModifier)
        assert gallery.selected() == names[3:6]
        assert gallery.noted == [names[1], names[3]]
        assert "40 cells, 3 selected" in gallery.line.text()
        press(gallery.view, "2")
        assert gallery.noted[-1] == (names[3:6], "dead")
        press(gallery.view, "T")
        assert gallery.noted[-1] == names[3:6]
        press(gallery.view, "Ctrl+A")
        press(gallery.view, "X")
        assert gallery.noted[-1] == (names, "")

    def test_a_rubber_band_selects(self, gallery: object) -> None:
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        port, left = gallery.view.viewport(), Qt.MouseButton.LeftButton
        first = middle_of(gallery, 0)
        across = next(row for row in range(1, 40) if middle_of(gallery, row).x() == first.x())
        QTest.mousePress(port, left, pos=first - QPoint(8, 8))
        for row in (1, 1, across + 1, across + 1):
            QTest.mouseMove(port, middle_of(gallery, row))
        QTest.mouseRelease(port, left, pos=middle_of(gallery, across + 1))
        names = [entry.name for entry in gallery.model.entries]
        assert gallery.selected() == [*names[:2], *names[across : across + 2]]
        assert gallery.noted == []

    def test_enter_goes_to_the_cell_and_keys_of_other_decisions_decide_nothing(
        self, gallery: object
    ) -> None:
        gallery.view.setFocus()
        gallery.view.setCurrentIndex(gallery.model.index(0))
        press(gallery.view, "Right")
        press(gallery.view, "Return")
        assert gallery.noted == [f"entered {gallery.model.entries[1].name}"]
        gallery.view._keys["F"] = "focus_here"
        press(gallery.view, "F")
        assert "Enter goes to the cell" in gallery.line.text()
        assert len(gallery.noted) == 1

    def test_a_typed_name_goes_to_its_cell_also_if_it_is_filtered_out(
        self, gallery: object
    ) -> None:
        from qtpy.QtTest import QTest

        gallery.reason.setCurrentIndex(1)
        assert {entry.reason for entry in gallery.model.entries} == {"overlaps another cell"}
        gallery.sort.setCurrentIndex(gallery.sort.findData("name"))
        assert [e.name for e in gallery.model.entries][:2] == ["cell4", "cell8"]
        QTest.keyClicks(gallery.jump, "cell3")
        press(gallery.jump, "Return")
        assert gallery.noted == ["entered cell3"]
        assert gallery.selected() == ["cell3"]
        assert len(gallery.model.entries) == 40
        QTest.keyClicks(gallery.jump, "nobody")
        press(gallery.jump, "Return")
        assert "no cell is named" in gallery.line.text()

    def test_selection_and_place_stay_when_cells_change(
        self, gallery: object, session: Session
    ) -> None:
        from qtpy.QtWidgets import QApplication

        assert gallery.sort.isVisible()
        bar = gallery.view.verticalScrollBar()
        bar.setValue(200)
        gallery.select(["cell9", "cell12", "cell30"])
        gallery.status.setCurrentIndex(0)
        session.decide("cell9", "reject", "ann")
        gallery.show_entries(entries_of(session).values())
        assert bar.value() == 200
        assert sorted(gallery.selected()) == ["cell12", "cell30", "cell9"]
        gallery.status.setCurrentIndex(gallery.status.findData("open"))
        assert len(gallery.model.entries) == 39
        assert sorted(gallery.selected()) == ["cell12", "cell30"]
        assert bar.value() == 200
        entry = gallery.model.entries[20]
        wait(lambda: QApplication.processEvents() or gallery.picture(entry) is not None)

    @pytest.mark.parametrize("sort", ["position", "name", "focus"])
    @pytest.mark.parametrize("status", ["", "open", "kept"])
    def test_a_change_shows_the_list_that_would_be_made_anew(
        self, gallery: object, session: Session, sort: str, status: str
    ) -> None:
        session.decide("cell5", "accept", "ann")
        catalogue, queue = Catalogue(session), QueueSettings()
        gallery.show_entries(catalogue.of(queue, []))
        gallery.sort.setCurrentIndex(gallery.sort.findData(sort))
        gallery.status.setCurrentIndex(max(gallery.status.findData(status), 0))
        gallery.select(["cell9"])
        resets, rows = [], []
        gallery.model.modelReset.connect(lambda: resets.append(1))
        gallery.model.dataChanged.connect(lambda first, last: rows.append((first, last)))
        session.decide("cell9", "focus", "ann", focus_um=0.5)
        session.decide("cell5", "reject", "ann")
        session.undo_last("ann")
        gallery.renew(catalogue.changes(queue, []))
        every = catalogue.of(queue, [])
        assert gallery.model.entries == listed(every, Filter(status=status), sort)
        assert [gallery.model.row_of(e.name) for e in gallery.model.entries] == list(
            range(len(gallery.model.entries))
        )
        offered = [gallery.status.itemText(i) for i in range(gallery.status.count())]
        assert offered == ["all states", "kept (2)", "open (38)"]
        assert gallery.selected() == ([] if status else ["cell9"])
        assert not resets, "the whole list was made anew"
        in_place = status == "" and sort != "focus"
        assert len(rows) == in_place, "other rows were painted"
