"""The panel beside the field: one cell at a time, with keys for decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QColor, QKeySequence, QResizeEvent, QShortcut
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from fgaf.base.console import count
from fgaf.base.errors import FgafError, SettingError
from fgaf.curate.compile import compile_archive
from fgaf.curate.napari.caption import coloured, facts, title
from fgaf.curate.napari.colours import Colours
from fgaf.curate.napari.field import COLOURS, Field
from fgaf.curate.napari.overlay import Overlay
from fgaf.curate.napari.preferences import Preferences
from fgaf.curate.napari.search import Search
from fgaf.curate.napari.shortcuts import as_html, with_keys
from fgaf.curate.napari.views import CurveView, FilmStrip, PatchView
from fgaf.curate.session.annotation_controller import REASONS, AnnotationController
from fgaf.curate.session.closeup import Closeup, Closeups
from fgaf.curate.session.finding import Found, note_repeats, take_in
from fgaf.curate.session.network import Network
from fgaf.curate.session.queue import ORDERS, TASKS, QueueSettings
from fgaf.curate.session.session import Session
from fgaf.curate.session.status import status
from fgaf.dataset.archive import write_archive

_SOON_MS: Final = 15
"""Delay of the field, so that several keys in quick succession move it only once."""
_WIDTH: Final = 330
_NUDGES: Final = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


class Lifetime:
    """Resources to release with the panel, however it is closed; Qt's own may be gone already."""

    def __init__(self, session: Session, closeups: Closeups, field: Field, search: Search) -> None:
        self.ended = False
        self._session, self._closeups = session, closeups
        self._field, self._search = field, search

    def end(self) -> None:
        """Stop the search, remove the layers, close the files; may be called again."""
        if not self.ended:
            self.ended = True
            self._search.stop()
            self._field.leave()
            self._closeups.close()
            self._session.close()


class Panel(QWidget):
    """The curation panel of one session.

    Parameters
    ----------
    viewer
        napari's.
    session
        Open session; closed with the panel.
    preferences
        Annotator, order, keys.
    queue
        Which cells; None for all in the preferred order.
    paths
        Raw stacks to search for cells first; those already in the session are skipped.
    note
        A line to show at the start, such as why the session is read-only.
    network
        Suggests focus for the stacks that are searched; None for the focus curve.
    """

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        preferences: Preferences,
        queue: QueueSettings | None = None,
        paths: Sequence[Path] = (),
        note: str = "",
        network: Network | None = None,
    ) -> None:
        super().__init__()
        self.viewer = viewer
        self.session = session
        state = session.state
        queue = queue or QueueSettings(order=preferences.order)
        self.controller = AnnotationController(
            session, preferences.name, queue, advance=preferences.advance
        )
        self.closeups = Closeups(state.settings.patch_px, state.head_um)
        self.field = Field(viewer, self._placed, self._turned)
        self.message = ""
        self._adding = False
        try:
            self.shortcuts = with_keys(preferences.keys)
        except SettingError as error:
            self.shortcuts, note = with_keys({}), f"{error} (the default keys are used)"
        self._build()
        self._bind()
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.follow)
        viewer.events.theme.connect(self._themed)
        viewer.mouse_drag_callbacks.append(self._clicked)
        self.search = Search(state, paths, network)
        self.search.found.connect(self._found)
        self.search.ended.connect(self._searched)
        self.life = Lifetime(session, self.closeups, self.field, self.search)
        self.destroyed.connect(self.life.end)
        self.say(note)
        self.refresh()
        if paths and not session.read_only:
            self._progress.setMaximum(len(paths))
            self._searching.show()
            self.search.start()

    def act(self, action: str) -> None:
        """Run an action of the shortcuts' table; errors are shown in the line below."""
        try:
            self.say(self._actions()[action]() or "")
        except (FgafError, OSError) as error:
            self.say(str(error), wrong=True)
        if action not in ("help", "status"):
            self.refresh()

    def say(self, words: str, wrong: bool = False) -> None:
        """Put a line under the panel.

        Parameters
        ----------
        words
            The line.
        wrong
            Whether it is an error; sets the colour.
        """
        self.message = words
        colour = self.colours.warning if wrong else self.colours.text
        self._line.setStyleSheet(f"color: {colour.name()}")
        self._line.setText(words)

    def refresh(self) -> None:
        """Show the state of the controller; the field and a missing curve follow a little later."""
        self._paint(quick=True)
        self._tell()
        self._later.start(_SOON_MS)

    def follow(self) -> None:
        """Show the state of the controller in the field, and prepare the next cell."""
        if not self.life.ended:
            self._paint(quick=False)
            self.field.update(self.controller, self.closeups)
            QTimer.singleShot(0, self._prepare_next)

    def export(self, path: Path, overwrite: bool = False) -> None:
        """Compile the kept cells into an archive, and show its size.

        Parameters
        ----------
        path
            The archive to write.
        overwrite
            Replace a file that is there.
        """
        archive = compile_archive(self.session.state)
        write_archive(path, archive, overwrite)
        self.say(f"wrote {path}: {count(archive.n_cells, 'cell')} x {archive.n_classes} depths")

    def shut(self) -> None:
        """End as when the window is closed, and remove the layers; may be called again."""
        if not self.life.ended:
            self._later.stop()
            self.field.forget()
            self.life.end()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Keep the overlay over the panel."""
        super().resizeEvent(event)
        self._overlay.setGeometry(self.rect())

    def _actions(self) -> dict[str, Callable[[], str | None]]:
        controller = self.controller
        actions: dict[str, Callable[[], str | None]] = {
            "accept": controller.accept,
            "focus_here": controller.focus_here,
            "reject": controller.reject,
            "unsure": controller.unsure,
            "undo": controller.undo,
            "redo": controller.redo,
            "plane_down": lambda: controller.step(-1),
            "plane_up": lambda: controller.step(1),
            "plane_suggested": self._to_suggested,
            "next": controller.next,
            "previous": controller.previous,
            "first_open": controller.first_open,
            "zoom": lambda: self.field.toggle_close(controller),
            "add_cell": self._arm,
            "edit_path": self._edit_path,
            "status": lambda: self._toggle_overlay("status"),
            "help": lambda: self._toggle_overlay("help"),
        }
        for n, reason in enumerate(REASONS, start=1):
            actions[f"reject_{n}"] = partial(controller.reject, reason)
        for name, (dy, dx) in _NUDGES.items():
            actions[f"nudge_{name}"] = partial(controller.nudge, dy, dx, every=False)
            actions[f"nudge_all_{name}"] = partial(controller.nudge, dy, dx, every=True)
        return actions

    def _build(self) -> None:
        self.colours = Colours.of(self.viewer.theme)
        self._title = QLabel()
        self._title.setWordWrap(True)
        self._about = QLabel()
        self._about.setWordWrap(True)
        self._patch, self._film = PatchView(self.colours), FilmStrip(self.colours)
        self._curve = CurveView(self.colours)
        for view in (self._patch, self._film, self._curve):
            view.picked.connect(self._pick)
            view.turned.connect(lambda planes: self.act("plane_up" if planes > 0 else "plane_down"))
        self._task, self._order = _choice(TASKS), _choice(ORDERS)
        self._task.setCurrentText(self.controller.queue.task)
        self._order.setCurrentText(self.controller.queue.order)
        for choice in (self._task, self._order):
            choice.currentTextChanged.connect(self._requeue)
        self._buttons = {
            action: self._button(action, words)
            for action, words in (
                ("accept", "Accept"),
                ("focus_here", "Focus here"),
                ("reject", "Reject"),
                ("unsure", "Unsure"),
                ("undo", "Undo"),
                ("redo", "Redo"),
                ("add_cell", "Add"),
                ("help", "Keys"),
            )
        }
        export = QPushButton("Export…")
        export.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        export.setToolTip("Compile the kept cells into an archive")
        export.clicked.connect(self._ask_export)
        self._line = QLabel()
        self._line.setWordWrap(True)
        self._searching = QWidget()
        self._progress = QProgressBar()
        self._progress.setFormat("searching for cells: stack %v of %m")
        cancel = QPushButton("Cancel")
        cancel.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        cancel.clicked.connect(self._cancel)
        _row(self._searching, (self._progress, 1), (cancel, 0))
        self._searching.hide()
        self._overlay = Overlay(self)

        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        top = QWidget()
        _row(top, (self._task, 1), (self._order, 1), (export, 0))
        first, second = QWidget(), QWidget()
        _row(first, *((self._buttons[a], 1) for a in ("accept", "focus_here", "reject", "unsure")))
        _row(second, *((self._buttons[a], 1) for a in ("undo", "redo", "add_cell", "help")))
        for item, stretch in (
            (top, 0),
            (self._title, 0),
            (self._about, 0),
            (self._patch, 6),
            (self._film, 5),
            (self._curve, 2),
            (first, 0),
            (second, 0),
            (self._searching, 0),
            (self._line, 0),
        ):
            layout.addWidget(item, stretch)
        self.setMinimumWidth(_WIDTH)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._overlay.raise_()

    def _button(self, action: str, words: str) -> QPushButton:
        button = QPushButton(words)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.clicked.connect(lambda: self.act(action))
        return button

    def _bind(self) -> None:
        for shortcut in self.shortcuts:
            for key in shortcut.keys:
                bound = QShortcut(QKeySequence(key), self)
                bound.setContext(Qt.ShortcutContext.WindowShortcut)
                bound.activated.connect(lambda action=shortcut.action: self.act(action))
            if shortcut.action in self._buttons:
                button = self._buttons[shortcut.action]
                keys = " or ".join(shortcut.keys)
                button.setToolTip(f"{shortcut.words} ({keys})" if keys else shortcut.words)

    def _tell(self) -> None:
        words = title(self.controller)
        if words:
            self._title.setText(words)
            self._about.setText("<br>".join(facts(self.controller, self.colours)))
        else:
            empty = "searching for cells…" if self.search.running else "no cell in this queue"
            self._title.setText(f"<b>{empty}</b>")
            self._about.setText("")
        for action in ("accept", "focus_here", "reject", "unsure", "undo", "redo", "add_cell"):
            self._buttons[action].setEnabled(not self.session.read_only)

    def _paint(self, quick: bool) -> None:
        controller, cell, closeup = self.controller, self.controller.cell, self._closeup(quick)
        suggestion, decision = controller.suggestion, controller.decision
        for view in (self._patch, self._film, self._curve):
            view.show_cell(
                closeup,
                min(controller.plane, len(closeup.z_um) - 1) if closeup is not None else 0,
                None if suggestion is None else suggestion.focus_um,
                None if decision is None else decision.focus_um,
                () if cell is None else cell.jump,
            )

    def _closeup(self, quick: bool) -> Closeup | None:
        cell, ref = self.controller.cell, self.controller.stack
        if cell is None or ref is None:
            return None
        try:
            return self.closeups.of(cell, ref, quick)
        except (FgafError, OSError) as error:
            self.say(str(error), wrong=True)
            return None

    def _prepare_next(self) -> None:
        """Make the closeup of the next cell in advance."""
        controller = self.controller
        if controller.name not in controller.names or self.life.ended:
            return
        at = controller.names.index(controller.name)
        state = self.session.state
        for name in controller.names[at + 1 : at + 2]:
            cell = state.cells[name]
            self.closeups.of(cell, state.stacks[cell.stack])

    def _pick(self, plane: int) -> None:
        self.controller.to_plane(plane)
        self.refresh()

    def _turned(self, plane: int) -> None:
        if (
            not self.life.ended
            and self.controller.cell is not None
            and plane != self.controller.plane
        ):
            self._pick(plane)

    def _placed(self, plane: int, y: float, x: float) -> None:
        try:
            self.say(self.controller.place(plane, y, x))
        except FgafError as error:
            self.say(str(error), wrong=True)
        self.refresh()

    def _to_suggested(self) -> str:
        suggestion, cell = self.controller.suggestion, self.controller.cell
        if suggestion is None or cell is None:
            return "nothing is suggested"
        self.controller.to_plane(self.session.state.plane_of(cell, suggestion.focus_um))
        return ""

    def _arm(self) -> str:
        self._adding = not self._adding
        return "click the cell in the field" if self._adding else "no cell is added"

    def _edit_path(self) -> str:
        self.field.toggle_editing()
        return "drag the points of the path; E ends it" if self.field.editing else "path kept"

    def _clicked(self, _: Any, event: Any) -> None:
        if not self._adding or self.life.ended:
            return
        self._adding = False
        place = self.field.place_of(event.position)
        try:
            self.say(
                "no field is shown: open a stack first"
                if place is None
                else self.controller.add(*place)
            )
        except (FgafError, OSError) as error:
            self.say(str(error), wrong=True)
        self.refresh()

    def _requeue(self, _: str) -> None:
        task, order = self._task.currentIndex(), self._order.currentIndex()
        queue = replace(self.controller.queue, task=list(TASKS)[task], order=list(ORDERS)[order])
        self.controller.show(queue)
        self.say(TASKS[queue.task])
        self.refresh()

    def _toggle_overlay(self, what: str) -> None:
        if self._overlay.shown == what:
            self._overlay.hide_sheet()
            return
        if what == "help":
            boxes = ", ".join(coloured(name, QColor(c)) for name, c in COLOURS.items())
            text = f"{as_html(self.shortcuts)}<p>boxes in the field: {boxes}</p>"
        else:
            text = "<br><br>".join(status(self.session.state).lines())
        key = next(s.keys[0] for s in self.shortcuts if s.action == what and s.keys)
        closes = f"<p><i>{key} closes this.</i></p>"
        self._overlay.show_sheet(what, f"{text}{closes}", self.colours.ground)

    def _ask_export(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Export the kept cells", str(self.session.folder / "dataset.h5"), "*.h5"
        )
        if name:
            try:
                self.export(Path(name), overwrite=True)  # the dialog has asked
            except FgafError as error:
                self.say(str(error), wrong=True)

    def _found(self, found: Found) -> None:
        try:
            take_in(self.session, found)
        except FgafError as error:
            self.search.stop()
            self.say(str(error), wrong=True)
        self._progress.setValue(self.search.done)
        self.controller.refresh()
        self.refresh()

    def _searched(self, problem: str) -> None:
        self._searching.hide()
        if self.life.ended:
            return
        if problem:
            self.say(problem, wrong=True)
        else:
            try:
                repeats = note_repeats(self.session)
            except FgafError as error:
                self.say(str(error), wrong=True)
                return
            cells, stacks = len(self.session.state.cells), len(self.session.state.stacks)
            also = "".join(f"; one field: {', '.join(names)}" for names in repeats)
            self.say(f"searched: {count(cells, 'cell')} in {count(stacks, 'stack')}{also}")
        self.refresh()

    def _cancel(self) -> None:
        self.search.stop()
        self.say("the search ends after the current stack")

    def _themed(self, _: Any) -> None:
        if self.life.ended:
            return
        self.colours = Colours.of(self.viewer.theme)
        for view in (self._patch, self._film, self._curve):
            view.colours = self.colours
        self._overlay.paint_ground(self.colours.ground)
        self.say(self.message)
        self.refresh()


def _choice(words: dict[Any, str]) -> QComboBox:
    choice = QComboBox()
    choice.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    for i, (name, meaning) in enumerate(words.items()):
        choice.addItem(name)
        choice.setItemData(i, meaning, Qt.ItemDataRole.ToolTipRole)
    return choice


def _row(holder: QWidget, *items: tuple[QWidget, int]) -> None:
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    for item, stretch in items:
        layout.addWidget(item, stretch)
