"""A second person's labels, from real sessions and archives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fgaf.base.errors import FgafError, FormatError, SettingError
from fgaf.curate.compile import compile_archive
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import CellState, StackRef, Suggested
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive, write_archive
from fgaf.dataset.raw import RawHeader, RawStack, RawWriter
from fgaf.dataset.storage.optics import Optics
from fgaf.model.bench.benchmark import run_benchmark
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods.annotator import AnnotatorMethod
from fgaf.model.bench.preset import Preset

CELLS = ("one", "two", "three", "four", "five", "six")
PLANES = 9
SIDES = np.array([0, 0, 2, 2, 2, 2], np.int8)


def write_stack(path: Path, seed: int) -> Path:
    header = RawHeader.new(
        step_um=0.5,
        half_range_um=2.0,
        center_um=0.0,
        bit_depth=8,
        optics=Optics(pixel_size_um=0.15),
        sample_id="donor 1",
    )
    frames = np.random.default_rng(seed).integers(0, 255, (PLANES, 60, 240), dtype=np.uint8)
    with RawWriter(path, header, frames.shape, np.uint8) as writer:
        for plane, frame in enumerate(frames):
            z = (plane - PLANES // 2) * 0.5
            writer.write(
                plane,
                frame,
                z_requested_um=z,
                z_measured_um=z,
                time_device_ns=plane,
                time_host_ns=plane,
                frame_id=plane,
                exposure_us=5000.0,
            )
        return writer.publish()


def begin(folder: Path, stack: Path, aside_px: float = 0.0) -> Session:
    """Begin a session on a stack with six cells in a row, named by their order."""
    with RawStack.open(stack) as raw:
        ref = StackRef.of(raw)
    drift = np.linspace(0, 4, PLANES)
    cells = [
        CellState(
            name,
            ref.fingerprint,
            28 + drift + aside_px,
            24 + 38 * k + drift,
            5.0,
            6.0,
            0.9,
            suggestion=Suggested(0.0, 0.9, "phase", "", "focus-curve"),
        )
        for k, name in enumerate(CELLS)
    ]
    session = Session.create(folder, PatchSettings(32, 0.5, 1.0))
    session.begin([ref], cells)
    return session


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Ann labelled all six cells at 0 µm."""
    with begin(tmp_path / "ann", write_stack(tmp_path / "a.stack.h5", 0)) as session:
        for name in CELLS:
            session.decide(name, "focus", "ann", focus_um=0.0)
        yield session


def compiled(session: Session) -> Archive:
    return replace(compile_archive(session.state), splits={DEFAULT_SPLIT: SIDES}, fingerprint="a")


def annotator(**source: Path) -> AnnotatorMethod:
    return AnnotatorMethod(id="bob", kind="annotator", **source)


def test_a_blind_second_pass_is_judged_on_its_cells(session: Session, tmp_path: Path) -> None:
    session.decide("three", "focus", "bob", focus_um=0.0, purpose="second")
    session.decide("four", "focus", "bob", focus_um=0.5, purpose="second")
    session.decide("five", "reject", "bob", reason="two heads", purpose="second")
    preset = {
        "name": "people",
        "reference": "constant",
        "methods": [
            {"id": "constant", "kind": "constant"},
            {"id": "bob", "kind": "annotator", "session": str(session.folder), "label": "Bob"},
        ],
    }
    archive = compiled(session)
    results = run_benchmark(archive, Preset.model_validate(preset), tmp_path / "out")
    row = next(row for row in results["methods"] if row["id"] == "bob")
    assert row["label"] == "Bob (2 of 4 cells)"
    assert row["metrics"]["expected_mae_um"]["value"] == pytest.approx(0.2)
    # Where the focus is a step higher, only the lowest plane, taken as the outermost, is right.
    assert row["metrics"]["top1"]["value"] == pytest.approx(6 / 10)
    assert row["metrics"]["bias_um"]["value"] == pytest.approx(-0.2)
    assert row["against_reference"]["expected_mae_um"]["value"] == pytest.approx(0.2 - 0.6)
    again = run_benchmark(archive, Preset.model_validate(preset), tmp_path / "out")
    assert again == results
    assert str(session.folder) not in (tmp_path / "out" / "results.json").read_text()


def test_labels_that_change_are_asked_for_again(session: Session) -> None:
    data = EvaluationSet(compiled(session))
    session.decide("three", "focus", "bob", focus_um=0.0, purpose="second")
    first = annotator(session=session.folder).resolved_settings(data, None)
    session.decide("three", "focus", "bob", focus_um=0.5, purpose="second")
    assert annotator(session=session.folder).resolved_settings(data, None) != first


def test_cells_of_another_session_are_known_by_their_place(
    session: Session, tmp_path: Path
) -> None:
    archive = compiled(session)
    stack = tmp_path / "a.stack.h5"
    with begin(tmp_path / "bob", stack, aside_px=2.0) as other:
        for name in CELLS[::-1]:
            other.decide(name, "focus", "bob", focus_um=0.1 * CELLS.index(name))
        told = annotator(session=other.folder).resolved_settings(EvaluationSet(archive), None)
        theirs = write_archive(tmp_path / "bob.h5", compiled(other))
    assert told["shift_um"] == pytest.approx({str(k): 0.1 * k for k in range(6)})
    assert annotator(archive=theirs).resolved_settings(EvaluationSet(archive), None) == told


def test_nothing_that_matches_is_one_clear_line(session: Session, tmp_path: Path) -> None:
    data = EvaluationSet(compiled(session))
    same = write_archive(tmp_path / "same.h5", compiled(session))
    with begin(tmp_path / "far", tmp_path / "a.stack.h5", aside_px=6.0) as far:
        far.decide("one", "focus", "bob", focus_um=0.0)
    with begin(tmp_path / "else", write_stack(tmp_path / "b.stack.h5", 1)) as elsewhere:
        elsewhere.decide("one", "focus", "bob", focus_um=0.0)
    for source in (
        {"session": session.folder},
        {"archive": same},
        {"session": tmp_path / "far"},
        {"session": tmp_path / "else"},
    ):
        with pytest.raises(FgafError, match="has no label by another person") as caught:
            annotator(**source).resolved_settings(data, None)
        assert "\n" not in str(caught.value)


def test_a_second_pass_of_training_cells_only_is_refused(session: Session, tmp_path: Path) -> None:
    session.decide("one", "focus", "bob", focus_um=0.0, purpose="second")
    methods = [{"id": "bob", "kind": "annotator", "session": str(session.folder)}]
    preset = Preset.model_validate({"name": "p", "reference": "bob", "methods": methods})
    with pytest.raises(FgafError, match="'bob' has no answer for any of the 4 test cells"):
        run_benchmark(compiled(session), preset, tmp_path / "out")


def test_a_source_that_is_not_there_is_named(session: Session, tmp_path: Path) -> None:
    data = EvaluationSet(compiled(session))
    with pytest.raises(FormatError, match="contains no session"):
        annotator(session=tmp_path).resolved_settings(data, None)
    with pytest.raises(SettingError, match="no archive"):
        annotator(archive=tmp_path / "none.h5").resolved_settings(data, None)
    for source in ({}, {"session": tmp_path, "archive": tmp_path}):
        with pytest.raises(ValueError, match="give either session or archive"):
            annotator(**source)
