"""Cells that `fgaf-refine` doubts, in a session's queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path

import numpy as np
import pytest

from fgaf.base.errors import FgafError
from fgaf.curate.session.queue import QueueSettings, queue_of
from fgaf.curate.session.session import Session
from fgaf.curate.session.suspects import suggest, suspects
from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.storage.refinement import Refinement

CHANGES = {"one": -0.3, "two": 0.1, "three [2]": 0.8, "gone": 1.0}


def _refined(path: Path, doubtful: Sequence[str] = ("one", "three [2]", "gone")) -> Path:
    k = len(CHANGES)
    blank = {
        name: [""] * k
        for name in ("source", "source_sha256", "sample_id", "field", "annotator", "labelled_utc")
    }
    change = np.array(list(CHANGES.values()))
    focus = -change
    cells = Cells.from_columns(
        blank
        | {
            "id": list(CHANGES),
            "focus_um": focus,
            "focus_plane": [0] * k,
            "method": ["refined"] * k,
            "confidence": [0.9] * k,
        }
    )
    zeros = np.zeros(k, np.int32)
    table = Refinement.of_none(np.zeros(k), np.zeros(k), np.array(["focus-curve"] * k, object))
    reasons = ["the label is off" if name in doubtful else "" for name in CHANGES]
    archive = Archive(
        header=ArchiveHeader.new(step_um=0.5, half_range_um=0.5, patch_px=8),
        images=np.zeros((k, 8, 8), np.uint8),
        depth_um=change,
        plane=zeros,
        cell=np.arange(k, dtype=np.int32),
        center_y=zeros,
        center_x=zeros,
        cells=cells,
        refinement=replace(table, change_um=change, suspect=np.array(reasons, object)),
    )
    return write_archive(path, archive)


def test_doubtful_cells_come_up_the_worst_first(session: Session, tmp_path: Path) -> None:
    doubts = suspects(_refined(tmp_path / "refined.h5", ("one", "two", "gone")))
    assert list(doubts) == ["gone", "one", "two"]
    names = suggest(session, doubts)
    assert names == ["one", "two"]
    shown = QueueSettings(order="uncertainty", only=tuple(map(escape, names)))
    assert queue_of(session.state, shown, "ann") == ["one", "two"]
    told = session.state.cells["one"].suggestion
    assert told is not None
    assert (told.focus_um, told.problem, told.by) == (
        0.3,
        "the label is off",
        "fgaf-refine refined",
    )
    written = (tmp_path / "s" / "journal.jsonl").read_bytes()
    suggest(session, doubts)
    assert (tmp_path / "s" / "journal.jsonl").read_bytes() == written


def test_an_archive_or_session_that_does_not_fit_is_said(session: Session, tmp_path: Path) -> None:
    with pytest.raises(FgafError, match="names no cell"):
        suspects(_refined(tmp_path / "sure.h5", ()))
    with pytest.raises(FgafError, match="has none of the cells"):
        suggest(session, suspects(_refined(tmp_path / "other.h5", ("gone",))))
