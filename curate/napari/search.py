"""The search for cells, in a background thread, and its progress bar."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from fgaf.base.console import count
from fgaf.base.errors import FgafError
from fgaf.curate.session.finding import Found, find_cells
from fgaf.curate.session.network import Network
from fgaf.curate.session.state import State

_log = logging.getLogger(__name__)


class Search(QObject):
    """Searches for the cells of raw stacks, one stack after the other.

    Parameters
    ----------
    state
        State of the session when the search starts.
    paths
        Raw stack files; those already in the session are skipped.
    network
        Suggests focus instead of the focus curve; None for the curve.

    Signals
    -------
    found
        The cells of one stack.
    ended
        The problem that ended it; empty when all stacks are done.
    """

    found = Signal(object)
    ended = Signal(str)

    def __init__(self, state: State, paths: Sequence[Path], network: Network | None = None) -> None:
        super().__init__()
        self.done = 0
        self.running = False
        # A copy for the thread: the session may change meanwhile.
        self._state = replace(state, stacks=dict(state.stacks), cells={}, pending={})
        self._paths = list(paths)
        self._network = network
        self._worker: Any = None
        self._stopped = False
        self._problem = ""

    def start(self) -> None:
        """Start; signals are emitted in the window's thread."""
        self.running = True
        self._worker = create_worker(self._run)
        self._worker.yielded.connect(self._one)
        self._worker.errored.connect(self._failed)
        self._worker.finished.connect(self._finished)
        self._worker.start()

    def stop(self) -> None:
        """Stop after the current stack."""
        if self._worker is not None and self.running:
            self._stopped = True
            self._worker.quit()

    def _run(self) -> Iterator[Found | str | None]:
        # In a thread of Python: one of Qt ends with a crash after OpenVINO ran in it.
        with ThreadPoolExecutor(1, "search") as thread:
            for path in self._paths:
                try:
                    found = thread.submit(self._found_in, path).result()
                except (FgafError, OSError) as error:
                    _log.info("%s cannot be searched", path, exc_info=True)
                    yield str(error)
                    return
                if found is not None:
                    self._state.stacks[found.ref.fingerprint] = found.ref
                yield found

    def _found_in(self, path: Path) -> Found | None:
        found = find_cells(path, self._state)
        if found is None or self._network is None:
            return found
        return self._network.improve(found, self._state.settings, self._state.head_um)

    def _one(self, found: Found | str | None) -> None:
        if isinstance(found, str):
            self._problem = found
            return
        self.done += 1
        if found is not None and not self._stopped:
            self.found.emit(found)

    def _failed(self, error: Exception) -> None:
        _log.info("the search failed", exc_info=error)
        self._problem = f"the search failed: {error}"

    def _finished(self) -> None:
        self.running = False
        if self._stopped and not self._problem:
            self._problem = (
                f"searched {self.done} of {count(len(self._paths), 'stack')}; open the session "
                "with the same stacks to continue"
            )
        self.ended.emit(self._problem)


class Progress(QWidget):
    """Progress bar of a search, with a button that stops it; hidden when none runs.

    Signals
    -------
    cancelled
        The button was clicked.
    """

    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._bar = QProgressBar()
        self._bar.setFormat("stack %v of %m")
        self._bar.setToolTip("Searching the stacks for cells")
        cancel = QPushButton("Cancel")
        cancel.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        cancel.clicked.connect(self.cancelled)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._bar, 1)
        layout.addWidget(cancel)
        self.hide()

    def begin(self, stacks: int) -> None:
        """Show it, for a search of some stacks."""
        self._bar.setMaximum(stacks)
        self.show()

    def note(self, done: int) -> None:
        """Show how many stacks are done."""
        self._bar.setValue(done)
