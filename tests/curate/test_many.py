"""A lunch's worth of cells: 232 labelled by a scripted person, against the simulator's truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fgaf.base.errors import FgafError
from fgaf.curate.compile import compile_archive
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.session.annotation_controller import AnnotationController
from fgaf.curate.session.finding import find_cells, take_in
from fgaf.curate.session.session import Session
from fgaf.dataset.raw import RawStack
from fgaf.dataset.truth import StackTruth

CELLS = 232
SEES_UM = 0.3
"""A plane nearer than this to the true focus looks sharp; planes are 0.5 µm apart."""
CASES = (("brightfield", False), ("relief", True), ("brightfield", True), ("relief", False))


class Person:
    """Sees where a cell is sharpest, and presses keys."""

    def __init__(self, controller: AnnotationController, truths: dict[str, StackTruth]) -> None:
        self.controller, self.truths = controller, truths
        self.keys = 0

    def press(self, action: Callable[[], str | None]) -> None:
        self.keys += 1
        action()

    def label(self) -> None:
        """Decide on the cell in view."""
        controller = self.controller
        cell, ref = controller.cell, controller.stack
        focus = focus_of(cell, ref, self.truths[cell.stack])
        try:
            state = controller.session.state
            there = None if focus is None else state.plane_of(cell, focus)
            if there is None:
                self.press(lambda: controller.reject("not a sperm"))
            elif there == controller.plane and state.focus_rejection_reason(cell, ref.z_um[there]):
                # the panel says so before a key is pressed
                self.press(lambda: controller.reject("no focus in the stack"))
            elif abs(ref.z_um[controller.plane] - focus) < SEES_UM:
                self.press(controller.accept)
            else:
                while abs(there - controller.plane) > 1:
                    self.press(lambda: controller.step(int(np.sign(there - controller.plane))))
                self.press(lambda: self.focus_at(there))
        except FgafError:  # its range leaves the stack, or its crop the frame
            self.press(lambda: controller.reject("no focus in the stack"))

    def focus_at(self, plane: int) -> None:
        """One key: the focus is in the plane in view, or in the one below or above it."""
        self.controller.to_plane(plane)
        self.controller.focus_here()


def focus_of(cell: object, ref: object, truth: StackTruth) -> float | None:
    """Where the sperm nearest a cell's path is in focus, µm; None where there is none."""
    z = np.array(ref.z_um)
    away: dict[int, list[float]] = {}
    focus: dict[int, dict[int, float]] = {}
    for plane, frame in enumerate(truth.frames):
        for it in frame.cells:
            if it.kind == "sperm":
                near = np.hypot(it.y_px - cell.y[plane], it.x_px - cell.x[plane])
                away.setdefault(it.id, []).append(float(near))
                focus.setdefault(it.id, {})[plane] = it.focus_um
    which = min(away, key=lambda i: np.median(away[i]))
    if np.median(away[which]) > 20:
        return None
    sharp = min(focus[which], key=lambda plane: abs(z[plane] - focus[which][plane]))
    return focus[which][sharp]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_232_cells_take_little_more_than_a_key_each_and_are_right(
    stack_taker: Callable[..., Path], tmp_path: Path
) -> None:
    truths: dict[str, StackTruth] = {}
    with Session.create(tmp_path / "session", PatchSettings()) as session:
        controller = AnnotationController(session, "ann")
        person = Person(controller, truths)
        labelled = seed = 0
        while labelled < CELLS:
            contrast, motile = CASES[seed % len(CASES)]
            options = {"motile": motile, "shape": (700, 900), "cells": 10}
            path = stack_taker(tmp_path / f"s{seed}.stack.h5", 9700 + seed, contrast, **options)
            with RawStack.open(path) as stack:
                truths[stack.fingerprint] = stack.truth()
            take_in(session, find_cells(path, session.state))
            controller.refresh()
            while controller.left and labelled < CELLS:
                controller.first_open()
                person.label()
                labelled += 1
            seed += 1
        kept = [(c, d) for c, d in session.state.kept() if d.annotator == "ann"]
        off = []
        for cell, decision in kept:
            ref = session.state.stacks[cell.stack]
            truth = focus_of(cell, ref, truths[cell.stack])
            planes = [session.state.plane_of(cell, um) for um in (decision.focus_um, truth)]
            off.append(abs(planes[0] - planes[1]))
        print(
            f"{labelled} cells of {seed} stacks, {person.keys / labelled:.2f} keys a cell, "
            f"{len(kept)} kept, {np.mean(np.array(off) == 0):.3f} exact, {max(off)} planes at worst"
        )
        assert person.keys <= 1.2 * labelled
        assert len(kept) >= 0.7 * labelled
        assert np.mean(np.array(off) == 0) >= 0.9
        assert max(off) <= 1
        assert compile_archive(session.state).n_cells == len(kept)
