"""A line above the panel for raw files that are missing, with a button to find them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QMessageBox, QPushButton, QWidget

from fgaf.base.console import count
from fgaf.base.errors import FgafError
from fgaf.curate.session.session import Session
from fgaf.curate.session.status import unusable_files


class MissingFiles(QWidget):
    """Says which raw files of a session cannot be used; hidden if there are none.

    Parameters
    ----------
    session
        Open session.
    changed
        Called with a line after a search, and whether nothing was found.
    """

    def __init__(self, session: Session, changed: Callable[[str, bool], None]) -> None:
        super().__init__()
        self._session, self._changed = session, changed
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.button = QPushButton("Find…")
        self.button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.button.setToolTip("Search a folder, and all folders inside it, for these files")
        self.button.clicked.connect(self._ask)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.words, 1)
        layout.addWidget(self.button)
        self.tell()

    def tell(self) -> None:
        """Show the state of the session."""
        files = unusable_files(self._session.state)
        shown = [f"{file.source} {file.problem}" for file in files[:2]]
        shown += [f"{len(files) - 2} more"] if len(files) > 2 else []
        cells = sum(file.found for file in files)
        self.words.setText(f"{', '.join(shown)}: {count(cells, 'cell')} not shown")
        self.words.setToolTip("\n".join(file.line(say_kept=False) for file in files))
        self.setVisible(bool(files))

    def look_in(self, folder: Path) -> None:
        """Look for the files in a folder, and in all folders inside it."""
        try:
            found = self._session.relink([folder])
        except (FgafError, OSError) as error:
            self._changed(str(error), True)
            return
        self.tell()
        words = f"found {', '.join(found)}" if found else f"none of these files is in {folder}"
        self._changed(words, not found)

    def may_leave_out(self) -> bool:
        """Ask whether the kept cells of these files are left out of an export, if there are any."""
        self._session.relink()  # a file may have gone since
        self.tell()
        kept = [file for file in unusable_files(self._session.state) if file.kept]
        if not kept:
            return True
        names = ", ".join(f"{file.source} ({file.problem})" for file in kept)
        answer = QMessageBox.question(
            self,
            "Export without missing files",
            f"{count(sum(file.kept for file in kept), 'kept cell')} of {names} cannot be exported. "
            "Export the others without them?",
        )
        return answer == QMessageBox.StandardButton.Yes

    def _ask(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder of the raw files")
        if name:
            self.look_in(Path(name))
