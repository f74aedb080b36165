"""All cells of a session in a dock widget beside the field: the gallery, as the panel uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from napari.viewer import Viewer

from fgaf.curate.napari.colours import MARKS, Colours
from fgaf.curate.napari.dock import give_share
from fgaf.curate.napari.gallery import Gallery
from fgaf.curate.napari.shortcuts import DECIDE, Shortcut
from fgaf.curate.session.annotation_controller import REASONS, AnnotationController
from fgaf.curate.session.catalogue import Catalogue
from fgaf.curate.session.closeup import Closeups
from fgaf.curate.session.thumbnails import RawCut, Thumbnails

_SHARE: Final = 0.28
"""Share of the window's width at first."""
_MARKS: Final = {
    "open": MARKS["open"],
    "kept": MARKS["kept"],
    "rejected": MARKS["rejected"],
    "unsure": MARKS["unsure"],
    "kept by auto": MARKS["auto"],
    "rejected by auto": MARKS["rejected"],
    "done": MARKS["kept"],
}


class Cells:
    """Shows and hides the gallery of a session, and keeps it as the session is.

    Parameters
    ----------
    viewer
        napari's.
    controller
        The session and the cell in view.
    shortcuts
        The keys; those that decide work on the selected cells of the gallery.
    go
        Shows a cell in the panel.
    run
        Runs an action, and shows its words or its error.
    leave
        Gives the keyboard back to the panel.
    """

    def __init__(
        self,
        viewer: Viewer,
        controller: AnnotationController,
        shortcuts: Sequence[Shortcut],
        go: Callable[[str], None],
        run: Callable[[Callable[[], str]], None],
        leave: Callable[[], None],
    ) -> None:
        self.gallery: Gallery | None = None
        self._viewer, self._controller = viewer, controller
        self._go, self._run, self._leave = go, run, leave
        self._keys = {key: s.action for s in shortcuts if s.action in DECIDE for key in s.keys}
        self._catalogue = Catalogue(controller.session)
        self._cut: RawCut | None = None
        self._thumbnails: Thumbnails | None = None
        self._dock: Any = None

    @property
    def shown(self) -> bool:
        """Whether the gallery is seen."""
        return self.gallery is not None and self.gallery.isVisible()

    def toggle(self) -> str:
        """Show or hide the gallery."""
        if self.shown:
            self._dock.hide()
            self._leave()
        else:
            self._show().view.setFocus()
        return ""

    def jump(self) -> str:
        """Show the gallery, ready for the name of a cell."""
        self._show().jump.setFocus()
        return "type the name of a cell, or a part of it; Enter goes there"

    def update(self) -> None:
        """Show what changed, if the gallery is seen."""
        gallery, cut, thumbnails = self.gallery, self._cut, self._thumbnails
        if gallery is None or cut is None or thumbnails is None or not self.shown:
            return
        controller, state = self._controller, self._controller.session.state
        if cut.stacks != state.stacks:
            cut.stacks = dict(state.stacks)
            thumbnails.retry()
        changes = self._catalogue.changes(controller.queue, controller.names)
        if changes is None:
            gallery.show_entries(self._catalogue.of(controller.queue, controller.names))
        elif changes:
            gallery.renew(changes)
        gallery.show_in_view(controller.name or "")

    def dye(self, colours: Colours) -> None:
        """Take the colours of another theme."""
        if self.gallery is not None:
            self.gallery.colours = colours

    def close(self) -> None:
        """Remove the gallery, and close its files; may be called again."""
        self._gone()
        if self._dock is not None:
            with suppress(LookupError, RuntimeError):  # the window is gone already
                self._viewer.window.remove_dock_widget(self._dock)
            self._dock = None

    def _show(self) -> Gallery:
        if self.gallery is None:
            self.gallery = self._make()
        if self.gallery.parentWidget() is None:  # not docked yet, or its dock widget was closed
            self._place(self.gallery)
        self._dock.show()
        self._dock.raise_()
        self.update()
        return self.gallery

    def _make(self) -> Gallery:
        marks = {status: (mark.colour, mark.sign) for status, mark in _MARKS.items()}
        gallery = Gallery(Colours.of(self._viewer.theme), marks, REASONS, self._keys)
        gallery.opened.connect(self._go)
        gallery.entered.connect(self._enter)
        gallery.rejected.connect(
            lambda names, why: self._run(lambda: self._controller.reject_all(names, why))
        )
        gallery.reopened.connect(lambda names: self._run(lambda: self._controller.reopen(names)))
        gallery.left.connect(self._leave)
        gallery.destroyed.connect(self._gone)
        state = self._controller.session.state
        self._catalogue = Catalogue(self._controller.session)
        self._cut = RawCut(Closeups(state.settings.patch_px, state.head_um))
        self._thumbnails = Thumbnails(self._cut)
        gallery.show_pictures(self._thumbnails)
        return gallery

    def _place(self, gallery: Gallery) -> None:
        self._dock = self._viewer.window.add_dock_widget(
            gallery, name="Cells", area="left", add_vertical_stretch=False
        )
        give_share(self._dock, _SHARE)

    def _enter(self, name: str) -> None:
        self._go(name)
        self._leave()

    def _gone(self) -> None:
        """The gallery is deleted, with the window or by `close`."""
        if self._thumbnails is not None:
            self._thumbnails.close()
        self.gallery = None
