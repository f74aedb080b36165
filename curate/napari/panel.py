"""The panel beside the field: one cell at a time, with keys for decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from napari.utils.notifications import show_info
from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut, QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from fgaf.base.console import count
from fgaf.base.errors import FgafError
from fgaf.curate.compile import compile_archive, compiled_line
from fgaf.curate.napari.caption import Lines, coloured, ending, facts, legend, title
from fgaf.curate.napari.cells import Cells
from fgaf.curate.napari.colours import Colours
from fgaf.curate.napari.dock import Dock
from fgaf.curate.napari.field import Field
from fgaf.curate.napari.mask_layer import MaskLayer
from fgaf.curate.napari.missing import MissingFiles
from fgaf.curate.napari.overlay import Overlay
from fgaf.curate.napari.preferences import Preferences, remember_panel
from fgaf.curate.napari.search import Progress, Search
from fgaf.curate.napari.shortcuts import (
    DECIDE,
    FAR_PX,
    NEED_A_CELL,
    ONLY_DRAWING,
    WHILE_DRAWING,
    as_html,
    with_keys,
)
from fgaf.curate.napari.views import Pictures
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
_WAYS: Final = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
_LOADING: Final = "loading…"
_AFTER_BLIND: Final = "Not during a blind pass: an archive would tell how many cells were kept"
_BUTTONS: Final = (
    (
        ("accept", "Accept"),
        ("focus_here", "Focus here"),
        ("reject", "Reject"),
        ("unsure", "Unsure"),
    ),
    (
        ("undo", "Undo"),
        ("redo", "Redo"),
        ("add_cell", "Add"),
        ("gallery", "Cells"),
        ("help", "Keys"),
    ),
)


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
        Annotator, order, keys, width.
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
        self.closeups = Closeups(state.settings.patch_px, state.head_um)
        self.controller = AnnotationController(
            session, preferences.name, queue, advance=preferences.advance, closeups=self.closeups
        )
        self.message = ""
        self.finished = False
        self._adding = False
        self._loaded = ""
        self._overlay: Overlay | None = None
        self._bound: list[tuple[str, QShortcut]] = []
        self.shortcuts, clashes = with_keys(preferences.keys)
        note = "; ".join(filter(None, (note, *clashes)))
        self.field = Field(viewer, self._placed, self._turned, self._clicked, self._lost)
        self.field.hint = f"{self._key('help')}: keys of the curation"
        self.search = Search(state, paths, network)
        self.search.found.connect(self._found)
        self.search.ended.connect(self._searched)
        self.mask_layer = MaskLayer(viewer, self._lost)
        self.life = Lifetime(session, self.closeups, self.field, self.search)
        self.destroyed.connect(self.life.end)
        self.cells = Cells(
            viewer, self.controller, self.shortcuts, self.go, self._decide_all, self.setFocus
        )
        self._actions = self._table()
        self._build()
        self._bind()
        self._dock = Dock(self, preferences.panel_percent / 100, remember_panel, self._closed)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.follow)
        viewer.events.theme.connect(self._themed)
        self.say(note)
        if paths and not session.read_only:
            self._progress.begin(len(paths))
            self.search.start()
        self._finish()
        self.refresh()

    @property
    def loading(self) -> bool:
        """Whether the pictures of the cell in view are still being read."""
        return self.pictures.empty and self.pictures.words == _LOADING

    def act(self, action: str) -> None:
        """Run an action of the shortcuts' table; errors are shown in the line below."""
        if action in NEED_A_CELL and self.pictures.empty:
            self.say(f"no cell is in view ({self._why_empty()}): nothing is done")
            return
        if self.mask_layer.drawing and action not in WHILE_DRAWING:
            self._say_drawing()
            return
        try:
            self.say(self._actions[action]() or "")
        except (FgafError, OSError) as error:
            self.say(str(error), wrong=True)
        else:
            if action in DECIDE and self.controller.advance:
                self._finish()
        if action not in ("help", "status"):
            self.refresh()

    def _decide_all(self, decide: Callable[[], str]) -> None:
        """Decide on several cells of the gallery at once."""
        if self.mask_layer.drawing:
            self._say_drawing()
            return
        try:
            self.say(decide())
        except (FgafError, OSError) as error:
            self.say(str(error), wrong=True)
        self._finish()
        self.refresh()

    def go(self, name: str) -> None:
        """Show a cell.

        Parameters
        ----------
        name
            Its name; it need not be in the queue.
        """
        if self.mask_layer.drawing:
            self._say_drawing()
            return
        self.controller.go(name)
        self.finished = False
        self.say("")
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
        self._line.set_text(words, self.colours.warning if wrong else None)

    def refresh(self) -> None:
        """Show the state of the controller; the field and a missing curve follow a little later."""
        cell = self.controller.cell
        at_hand = cell is None or cell.stack == self._loaded or self.closeups.has(cell)
        if at_hand or self.finished:
            self._paint(quick=True)
        else:
            self.pictures.show_words(_LOADING)
        self._tell()
        self._later.start(_SOON_MS)

    def follow(self) -> None:
        """Show the state of the controller in the field, and prepare the next cell."""
        if self.life.ended:
            return
        loads = self.pictures.empty
        self._paint(quick=False)
        if loads:
            self._tell()
            self.repaint()  # before the next key is handled
        self.field.update(self.controller, self.closeups, cell_in_view=not self.finished)
        if self.controller.cell is not None:
            self.mask_layer.follow(self.controller.cell, self.controller.plane)
        self._dock.show_step_numbers(False)
        self.cells.update()
        QTimer.singleShot(0, self._prepare_next)

    def export(self, path: Path, overwrite: bool = False, leave_out_missing: bool = False) -> None:
        """Compile the kept cells into an archive, and show its size.

        Parameters
        ----------
        path
            The archive to write.
        overwrite
            Replace a file that is there.
        leave_out_missing
            Leave out the cells of missing raw files.
        """
        archive = compile_archive(self.session.state, leave_out_missing=leave_out_missing)
        write_archive(path, archive, overwrite)
        self.say(f"wrote {path}: {compiled_line(self.session.state, archive)}")

    def shut(self) -> None:
        """End as when the window is closed, and remove the layers; may be called again."""
        if not self.life.ended:
            self._later.stop()
            self.viewer.events.theme.disconnect(self._themed)
            if self._overlay is not None:
                self._overlay.hide_sheet()
            self.cells.close()
            self._dock.show_step_numbers(True)
            self.mask_layer.leave()
            self.field.forget()
            self.life.end()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take the panel's share of the window."""
        super().showEvent(event)
        self._dock.settle()

    def _table(self) -> dict[str, Callable[[], str | None]]:
        """The functions of all actions."""
        controller = self.controller
        actions: dict[str, Callable[[], str | None]] = {
            "accept": controller.accept,
            "focus_here": controller.focus_here,
            "focus_down": lambda: self._focus_beside(-1),
            "focus_up": lambda: self._focus_beside(1),
            "reject": controller.reject,
            "unsure": controller.unsure,
            "reopen": lambda: controller.reopen([controller.name or ""]),
            "undo": lambda: self._again(self._undoes().undo),
            "redo": lambda: self._again(self._undoes().redo),
            "plane_down": lambda: controller.step(-1),
            "plane_up": lambda: controller.step(1),
            "plane_suggested": self._to_suggested,
            "next": controller.next,
            "previous": self._previous,
            "first_open": controller.first_open,
            "gallery": self.cells.toggle,
            "jump": self.cells.jump,
            "zoom": lambda: self.field.toggle_close(controller),
            "boxes": self._toggle_boxes,
            "add_cell": self._arm,
            "edit_path": self._edit_path,
            "mask": self._begin_mask,
            "store_mask": self._store_mask,
            "status": lambda: self._toggle_overlay("status"),
            "help": lambda: self._toggle_overlay("help"),
            "leave": self._leave,
        }
        for n, reason in enumerate(REASONS, start=1):
            actions[f"reject_{n}"] = partial(controller.reject, reason)
        for way, (dy, dx) in _WAYS.items():
            for far, px in (("", 1), ("_far", FAR_PX)):
                one, all_ = f"nudge{far}_{way}", f"nudge_all{far}_{way}"
                actions[one] = partial(controller.nudge, px * dy, px * dx, every=False)
                actions[all_] = partial(controller.nudge, px * dy, px * dx, every=True)
        return actions

    def _build(self) -> None:
        self.colours = Colours.of(self.viewer.theme)
        self._title, self._about, self._line = Lines(2), Lines(4), Lines(2)
        self.pictures = Pictures(self.colours)
        self.pictures.picked.connect(self._pick)
        self.pictures.chosen.connect(self._choose)
        self.pictures.turned.connect(
            lambda planes: self.act("plane_up" if planes > 0 else "plane_down")
        )
        self._task, self._order = _choice(TASKS), _choice(ORDERS)
        self._task.setCurrentText(self.controller.queue.task)
        self._order.setCurrentText(self.controller.queue.order)
        for choice in (self._task, self._order):
            choice.currentTextChanged.connect(self._requeue)
        self._buttons = {
            action: _button(words, partial(self.act, action))
            for row in _BUTTONS
            for action, words in row
        }
        self._export = _button("Export…", self._ask_export)
        self._progress = Progress()
        self._progress.cancelled.connect(self._cancel)
        self._missing = MissingFiles(self.session, self._relinked)

        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addWidget(_row((self._task, 1), (self._order, 1), (self._export, 0)))
        layout.addWidget(self._missing)
        layout.addWidget(self._title)
        layout.addWidget(self._about)
        layout.addWidget(self.pictures, 1)
        for row in _BUTTONS:
            layout.addWidget(_row(*((self._buttons[action], 1) for action, _ in row)))
        layout.addWidget(_row((self._line, 3), (self._progress, 2)))
        self.setMinimumWidth(_WIDTH)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def _bind(self) -> None:
        for shortcut in self.shortcuts:
            for key in shortcut.keys:
                bound = QShortcut(QKeySequence(key), self)
                bound.setContext(Qt.ShortcutContext.WindowShortcut)
                bound.setAutoRepeat(shortcut.action not in DECIDE)
                bound.activated.connect(partial(self.act, shortcut.action))
                bound.setEnabled(shortcut.action not in ONLY_DRAWING)
                self._bound.append((shortcut.action, bound))
            if shortcut.action in self._buttons:
                button = self._buttons[shortcut.action]
                keys = " or ".join(shortcut.keys)
                button.setToolTip(f"{shortcut.words} ({keys})" if keys else shortcut.words)

    def _key(self, action: str) -> str:
        """The first key of an action; empty if it has none."""
        return next((s.keys[0] for s in self.shortcuts if s.action == action and s.keys), "")

    def _tell(self) -> None:
        words = "" if self.finished else title(self.controller)
        if self.mask_layer.drawing:
            self._title.set_text(words)
            self._about.set_text("<br>".join(self._how_to_draw()))
        elif words:
            self._title.set_text(words)
            self._about.set_text("<br>".join(facts(self.controller, self.colours)))
        else:
            self._title.set_text(f"<b>{self._why_empty()}</b>")
            self._about.set_text("")
        blind = self.controller.queue.blind
        cannot: set[str] = set()
        if not words:
            cannot |= NEED_A_CELL
        if self.controller.suggestion is None:
            cannot.add("accept")
        if self.session.read_only:
            cannot |= self._buttons.keys() - {"gallery", "help"}
        if self.mask_layer.drawing:
            cannot |= self._buttons.keys() - WHILE_DRAWING
        for choice in (self._task, self._order):
            choice.setEnabled(not self.mask_layer.drawing)
        for action, button in self._buttons.items():
            button.setEnabled(action not in cannot)
        self._export.setEnabled(not blind)
        self._export.setToolTip(_AFTER_BLIND if blind else "Compile the kept cells into an archive")

    def _why_empty(self) -> str:
        """Why no cell is in view, in a few words."""
        more = ", the search for more goes on" if self.search.running else ""
        if self.finished:
            return f"all {count(len(self.controller.names), 'cell')} of this queue are done{more}"
        if self.loading:
            return _LOADING
        return "searching for cells…" if self.search.running else "no cell is in this queue"

    def _paint(self, quick: bool) -> None:
        controller, cell = self.controller, self.controller.cell
        if self.finished or cell is None:
            words = ending(controller) if self.finished else [self._why_empty()]
            self.pictures.show_words("<br><br>".join(words))
            return
        closeup = self._closeup(quick)
        if closeup is None:
            self.pictures.show_words("the raw stack cannot be read")
            return
        suggestion, decision = controller.suggestion, controller.decision
        self.pictures.show_cell(
            closeup,
            min(controller.plane, len(closeup.z_um) - 1),
            None if suggestion is None else suggestion.focus_um,
            None if decision is None else decision.focus_um,
            cell.jump,
        )

    def _closeup(self, quick: bool) -> Closeup | None:
        cell, ref = self.controller.cell, self.controller.stack
        if cell is None or ref is None:
            return None
        try:
            closeup = self.closeups.of(cell, ref, quick)
        except (FgafError, OSError) as error:
            self.say(str(error), wrong=True)
            return None
        self._loaded = ref.fingerprint
        return closeup

    def _prepare_next(self) -> None:
        """Make the closeup of the next cell in advance."""
        controller = self.controller
        if controller.name not in controller.names or self.life.ended:
            return
        at = controller.names.index(controller.name)
        state = self.session.state
        for name in controller.names[at + 1 : at + 2]:
            cell = state.cells[name]
            with suppress(FgafError, OSError):  # said when the cell is shown
                self.closeups.of(cell, state.stacks[cell.stack])

    def _finish(self) -> None:
        """Show the end of the queue instead of a cell, if all its cells are done."""
        self.finished = bool(self.controller.names) and not self.controller.left

    def _undoes(self) -> AnnotationController | MaskLayer:
        """What undo and redo work on: the strokes of a mask, or the session."""
        return self.mask_layer if self.mask_layer.drawing else self.controller

    def _again(self, action: Callable[[], str]) -> str:
        """Undo or redo, and show the cell."""
        words = action()
        self.finished = False
        return words

    def _previous(self) -> str:
        if self.finished:
            self.finished = False
            return ""
        return self.controller.previous()

    def _pick(self, plane: int) -> None:
        self.controller.to_plane(plane)
        self.refresh()

    def _choose(self, plane: int) -> None:
        self.controller.to_plane(plane)
        self.act("focus_here")

    def _focus_beside(self, planes: int) -> str:
        """Set the focus some planes away; the plane in view stays if that is refused."""
        controller, here = self.controller, self.controller.plane
        controller.step(planes)
        if controller.plane == here:
            raise FgafError("the stack ends at this plane")
        try:
            return controller.focus_here()
        except FgafError:
            controller.to_plane(here)
            raise

    def _turned(self, plane: int) -> None:
        if not self.pictures.empty and plane != self.controller.plane:
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

    def _toggle_boxes(self) -> str:
        return "boxes are shown" if self.field.toggle_boxes() else "boxes are hidden"

    def _arm(self) -> str:
        self._adding = not self._adding
        return "click the cell in the field" if self._adding else "no cell is added"

    def _edit_path(self) -> str:
        self.field.toggle_editing()
        ends = " or ".join(filter(None, (self._key("edit_path"), self._key("leave"))))
        return f"drag the points of the path; {ends} ends it" if self.field.editing else "path kept"

    def _begin_mask(self) -> str:
        """Draw the mask of the cell in view, in this plane."""
        if self.mask_layer.drawing:
            return self._ways_out()
        self._leave()
        self.follow()
        ref, frame = self.controller.stack, self.field.frame()
        if ref is None or frame is None:
            raise FgafError("the field is not shown: no mask can be drawn")
        self.mask_layer.begin(self.controller, ref, frame, self.field.over_the_head())
        self._let_keys()
        if self._dock.field is not None:
            self._dock.field.setFocus()
        return ""

    def _store_mask(self) -> str:
        words = self.controller.draw(self.mask_layer.drawn, self.mask_layer.plane)
        self._end_mask()
        return words

    def _end_mask(self) -> None:
        self.mask_layer.end()
        self._let_keys()
        self.setFocus()
        self._take_new_cells()

    def _let_keys(self) -> None:
        """While a mask is drawn, most keys are napari's."""
        drawing = self.mask_layer.drawing
        allowed = WHILE_DRAWING if drawing else self._actions.keys() - ONLY_DRAWING
        for action, bound in self._bound:
            bound.setEnabled(action in allowed)

    def _how_to_draw(self) -> list[str]:
        """What to do while a mask is drawn, one line each."""
        what = f"mask of the head in plane {self.mask_layer.plane + 1}, {self.mask_layer.origin}"
        return [
            coloured(what, self.colours.suggested),
            "napari's keys: 2 paint, 1 erase, 3 polygon, 4 fill, [ and ] size of the brush",
            self._ways_out(),
        ]

    def _ways_out(self) -> str:
        return (
            f"{self._key('store_mask')} stores it, {self._key('leave')} leaves it as it was, "
            f"{self._key('undo')} takes back a stroke"
        )

    def _say_drawing(self) -> None:
        self.say(f"a mask is being drawn: {self._ways_out()}")

    def _leave(self) -> str:
        words = ""
        if self.mask_layer.drawing and not (self._overlay is not None and self._overlay.shown):
            self._end_mask()
            words = "the mask is as it was"
        if self._adding:
            words = self._arm()
        if self.field.editing:
            words = self._edit_path()
        if self._overlay is not None:
            self._overlay.hide_sheet()
        return words

    def _clicked(self, y: float, x: float) -> None:
        """Add a cell at a position of the field, or go to the cell there."""
        try:
            if self._adding:
                self._adding = False
                self.say(self.controller.add(y, x))
                self.finished = False
            elif not self.field.editing and not self.mask_layer.drawing:
                name = self.field.cell_at(y, x)
                if name is not None and (name != self.controller.name or self.finished):
                    self.go(name)
                return
        except (FgafError, OSError) as error:
            self.say(str(error), wrong=True)
        self.refresh()

    def _lost(self, layer: str) -> None:
        """A layer of the field was deleted: show it again."""
        self.say(f"the layer {layer!r} is needed here and was put back; its eye hides it")
        self._later.start(_SOON_MS)

    def _requeue(self, _: str) -> None:
        task, order = self._task.currentIndex(), self._order.currentIndex()
        queue = replace(self.controller.queue, task=list(TASKS)[task], order=list(ORDERS)[order])
        self.controller.show(queue)
        self._finish()
        self.say(TASKS[queue.task])
        self.refresh()

    def _toggle_overlay(self, what: str) -> None:
        beside = self._dock.field
        if beside is None:
            return
        if self._overlay is None:
            self._overlay = Overlay(beside)
        if self._overlay.shown == what:
            self._overlay.hide_sheet()
            return
        if what == "help":
            text = f"{as_html(self.shortcuts)}<p>boxes in the field: {legend()}</p>"
        else:
            text = "<br><br>".join(self.controller.progress())
        keys = " or ".join(filter(None, (self._key(what), self._key("leave"))))
        self._overlay.show_sheet(what, f"{text}<p><i>{keys} closes this.</i></p>", self.colours)

    def _ask_export(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Export the kept cells", str(self.session.folder / "dataset.h5"), "*.h5"
        )
        if name:
            try:
                if self._missing.may_leave_out():  # the dialogs have asked
                    self.export(Path(name), overwrite=True, leave_out_missing=True)
            except FgafError as error:
                self.say(str(error), wrong=True)

    def _found(self, found: Found) -> None:
        try:
            take_in(self.session, found)
        except FgafError as error:
            self.search.stop()
            self.say(str(error), wrong=True)
        self._progress.note(self.search.done)
        self._take_new_cells()

    def _searched(self, problem: str) -> None:
        if self.life.ended:
            return
        self._progress.hide()
        if problem:
            self.say(problem, wrong=True)
        else:
            try:
                repeats = note_repeats(self.session)
            except FgafError as error:
                self.say(str(error), wrong=True)
                return
            told = count(len(self.session.state.stacks), "stack")
            if not self.controller.queue.blind:
                told += f": {status(self.session.state).why_fewer()}"
            also = "".join(f"; one field: {', '.join(names)}" for names in repeats)
            self.say(f"searched {told}{also}")
        self.refresh()

    def _relinked(self, words: str, wrong: bool) -> None:
        self.say(words, wrong)
        self._take_new_cells()

    def _take_new_cells(self) -> None:
        if self.mask_layer.drawing:  # at its end
            return
        self.controller.refresh()
        if self.finished and self.controller.left:
            self.finished = False
            self.controller.first_open()
        self.refresh()

    def _cancel(self) -> None:
        self.search.stop()
        self.say("the search ends after the current stack")

    def _closed(self) -> None:
        """The dock widget was closed, and the window was not."""
        if not self.life.ended:
            self.shut()
            show_info(f"The session {self.session.folder} is closed; all decisions are stored.")

    def _themed(self, _: Any) -> None:
        self.colours = Colours.of(self.viewer.theme)
        self.pictures.dye(self.colours)
        self.cells.dye(self.colours)
        if self._overlay is not None:
            self._overlay.dye(self.colours)
        self.say(self.message)
        self.refresh()


def _choice(words: dict[Any, str]) -> QComboBox:
    choice = QComboBox()
    choice.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    for i, (name, meaning) in enumerate(words.items()):
        choice.addItem(name)
        choice.setItemData(i, meaning, Qt.ItemDataRole.ToolTipRole)
    return choice


def _button(words: str, act: Callable[[], None]) -> QPushButton:
    button = QPushButton(words)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    button.clicked.connect(lambda: act())
    return button


def _row(*items: tuple[QWidget, int]) -> QWidget:
    holder = QWidget()
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    for item, stretch in items:
        layout.addWidget(item, stretch)
    return holder
