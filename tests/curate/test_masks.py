"""Masks of heads that people draw: stored in the session, moved with the path, compiled."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from fgaf.base.errors import FgafError, FormatError
from fgaf.curate.commands.main import main
from fgaf.curate.compile import compile_archive
from fgaf.curate.detection.outline import proposed_head
from fgaf.curate.detection.scale import HEAD_UM, Scale
from fgaf.curate.session import state as state_module
from fgaf.curate.session.annotation_controller import AnnotationController
from fgaf.curate.session.catalogue import WITH_MASK, WITHOUT_MASK, Catalogue, Filter, listed
from fgaf.curate.session.journal import read_journal
from fgaf.curate.session.masks import MASKS, read_mask
from fgaf.curate.session.queue import QueueSettings
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import read_state
from fgaf.dataset.archive import Archive
from fgaf.dataset.raw import RawStack
from fgaf.dataset.truth import CellTruth, FrameTruth, StackTruth, as_outline, write_truth
from tests.curate.drawings import PIXEL_UM, Drawing

FRAME = (40, 50)
CELLS = ("one", "two", "three")


def drawn(top: int, left: int, height: int = 3, width: int = 4) -> npt.NDArray[np.bool_]:
    mask = np.zeros(FRAME, np.bool_)
    mask[top : top + height, left : left + width] = True
    return mask


def in_plane(session: Session, plane: int) -> npt.NDArray[np.bool_] | None:
    controller = AnnotationController(session, "ann")
    controller.go("one")
    controller.to_plane(plane)
    return controller.mask(FRAME)


def export(folder: Path, *options: str) -> Result:
    arguments = ["export", str(folder), "--out", str(folder.parent / "d.h5"), "--overwrite"]
    return CliRunner().invoke(main, [*arguments, *options])


def test_a_mask_counts_in_the_planes_near_it_moved_with_the_path(session: Session) -> None:
    assert in_plane(session, 2) is None
    session.draw("one", 2, drawn(12, 21), "ann")  # the path goes by half a pixel a plane
    np.testing.assert_array_equal(in_plane(session, 2), drawn(12, 21))
    np.testing.assert_array_equal(in_plane(session, 4), drawn(13, 22))
    session.draw("one", 4, drawn(9, 20), "bob")
    np.testing.assert_array_equal(in_plane(session, 4), drawn(9, 20))
    np.testing.assert_array_equal(in_plane(session, 3), drawn(13, 21))  # of two, the lower one's
    session.nudge("one", 5, -2, "ann")  # the crop moves, the head does not
    np.testing.assert_array_equal(in_plane(session, 4), drawn(9, 20))


def test_a_mask_is_undone_redone_and_read_back(session: Session) -> None:
    session.draw("one", 2, drawn(12, 21), "ann")
    session.draw("one", 2, drawn(14, 21, width=6), "ann")
    session.close()
    with Session.open(session.folder) as again:
        (mask,) = again.state.cells["one"].masks.values()
        assert (mask.annotator, mask.plane, mask.top, mask.left) == ("ann", 2, 14, 21)
        assert read_mask(again.folder, mask).shape == (3, 6)
        controller = AnnotationController(again, "ann")
        assert controller.undo() == "undone: mask of one"
        np.testing.assert_array_equal(controller.mask(FRAME), drawn(12, 21))
        controller.undo()
        assert controller.mask(FRAME) is None
        assert controller.redo() == "redone: mask of one"
        assert "taken away" in controller.draw(np.zeros(FRAME, np.bool_), 2)
        assert controller.mask(FRAME) is None
        controller.undo()
        np.testing.assert_array_equal(controller.mask(FRAME), drawn(12, 21))


def test_cells_whose_head_is_drawn_can_be_listed_but_not_in_a_blind_pass(session: Session) -> None:
    session.decide("two", "accept", "ann")
    session.draw("two", 2, drawn(12, 21), "ann")
    entries = Catalogue(session).of(QueueSettings(), [])
    for mask, names in ((WITH_MASK, ["two"]), (WITHOUT_MASK, ["one", "three"]), ("", CELLS)):
        assert [e.name for e in listed(entries, Filter(mask=mask))] == list(names)
    (blind,) = Catalogue(session).of(QueueSettings(task="second"), ["two"])
    assert blind.mask == ""


def test_equal_masks_are_one_file(session: Session) -> None:
    session.draw("one", 2, drawn(12, 21), "ann")
    session.draw("two", 3, drawn(1, 1), "ann")
    assert len(list((session.folder / MASKS).iterdir())) == 1


@pytest.mark.parametrize(
    ("cell", "plane", "mask", "told"),
    [
        ("four", 2, drawn(1, 1), "no cell 'four'"),
        ("one", 5, drawn(1, 1), "no plane 6"),
        ("one", 2, np.zeros(FRAME, np.bool_), "the mask is empty"),
        ("one", 2, np.ones((3, 3), np.bool_), "draw it on the frame"),
    ],
)
def test_what_is_no_mask_is_refused(
    session: Session, cell: str, plane: int, mask: npt.NDArray[np.bool_], told: str
) -> None:
    lines = len(session.records)
    with pytest.raises(FgafError, match=told):
        session.draw(cell, plane, mask, "ann")
    assert len(session.records) == lines
    with Session.look(session.folder) as looked, pytest.raises(FgafError, match="reading only"):
        looked.draw("one", 2, drawn(1, 1), "ann")
    assert not (session.folder / MASKS).exists()


def test_a_program_that_knows_no_masks_refuses_the_journal(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.draw("one", 2, drawn(12, 21), "ann")
    older = tuple(kind for kind in state_module._KINDS if kind != "mask")
    monkeypatch.setattr(state_module, "_KINDS", older)
    with pytest.raises(FormatError, match="'mask'; update this program"):
        read_state(session.records)


CHILD = """
import sys
from pathlib import Path
import numpy as np
from fgaf.curate.session.session import Session
session = Session.open(Path(sys.argv[1]))
for size in range(1, 41):
    mask = np.zeros((40, 50), np.bool_)
    mask[:size, :5] = True
    session.draw("one", 2, mask, "ann")
    print(size, flush=True)
"""


@pytest.mark.parametrize("after", [1, 7])
def test_a_kill_loses_no_mask(session: Session, after: int) -> None:
    session.close()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(session.folder)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    told = [int(child.stdout.readline()) for _ in range(after)]
    child.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    rest, _ = child.communicate(timeout=20)
    told += [int(line) for line in rest.split("\n")[:-1]]
    with Session.open(session.folder) as again:
        records = [record for record in again.records if record["record"] == "mask"]
        assert len(records) in (told[-1], told[-1] + 1)
        mask = again.state.cells["one"].masks[2]
        assert read_mask(again.folder, mask).shape == (len(records), 5)


@pytest.fixture
def kept(session: Session) -> Session:
    """Three kept cells, whose crops of 16 px are at rows 5 to 20; two and three lie beside one."""
    for name in CELLS:
        session.decide(name, "focus", "ann", focus_um=0.0)
    session.nudge("two", 6, 0, "ann")
    session.nudge("three", 14, 20, "ann")
    return session


def test_kept_cells_with_masks_give_an_archive_with_masks(kept: Session) -> None:
    for name, place in zip(CELLS, ((11, 20), (18, 22), (27, 42)), strict=True):
        kept.draw(name, 2, drawn(*place), "ann")
    kept.draw("one", 3, drawn(17, 20), "ann")  # over the head of two
    archive = compile_archive(kept.state)
    assert archive.masks is not None
    for row, mask in enumerate(archive.masks):
        name = str(archive.cells.id[archive.cell[row]])
        plane = int(archive.plane[row])
        cell, other = kept.state.cells[name], {"one": "two", "two": "one"}.get(name)
        frame = np.zeros(FRAME, np.uint8)
        for value, which in ((2, other), (1, name)):
            if which is not None:
                controller = AnnotationController(kept, "ann")
                controller.go(which)
                controller.to_plane(plane)
                frame[controller.mask(FRAME)] = value
        top, left = (round(float(way[plane])) - 8 for way in (cell.y, cell.x))
        np.testing.assert_array_equal(mask, frame[top : top + 16, left : left + 16])
    one = archive.masks[archive.cell == archive.cells.id.tolist().index("one")]
    assert (one == 2).any()
    assert archive.header.created_utc == max(record["time_utc"] for record in kept.records)


def test_the_same_archive_from_a_session_that_was_moved(kept: Session, tmp_path: Path) -> None:
    for name in CELLS:
        kept.draw(name, 2, drawn(11, 20), "ann")
    kept.close()
    assert export(kept.folder).exit_code == 0
    before = (tmp_path / "d.h5").read_bytes()
    for place in ("elsewhere", "torn"):
        shutil.copytree(kept.folder, tmp_path / place / "s")
        shutil.copy(tmp_path / "a.stack.h5", tmp_path / place)
    shutil.rmtree(tmp_path / "torn" / "s" / MASKS)
    assert export(tmp_path / "elsewhere" / "s").exit_code == 0
    assert (tmp_path / "elsewhere" / "d.h5").read_bytes() == before
    refused = export(tmp_path / "torn" / "s")
    assert refused.exit_code == 1
    assert "copy the session with all its files" in refused.stderr


def test_kept_cells_that_lack_one_are_counted_and_may_be_left_out(
    kept: Session, tmp_path: Path
) -> None:
    kept.close()
    assert "mask" not in export(kept.folder).output
    refused = export(kept.folder, "--masks")
    assert refused.exit_code == 1
    assert "none of 3 kept cells has a mask; draw masks" in refused.stderr
    with Session.open(kept.folder) as again:
        again.draw("three", 2, drawn(27, 42), "ann")
    assert "without masks, as only 1 of 3 kept cells have one" in export(kept.folder).output
    assert Archive.read(tmp_path / "d.h5").masks is None
    done = export(kept.folder, "--masks")
    assert "with masks; left out 2 kept cells without a mask" in done.output.replace("\n", " ")
    archive = Archive.read(tmp_path / "d.h5")
    assert archive.cells.id.tolist() == ["three"]
    assert archive.masks is not None
    assert json.loads(archive.history[0])["cells_without_mask_left_out"] == 2


def test_a_damaged_picture_is_told(kept: Session) -> None:
    kept.draw("one", 2, drawn(12, 21), "ann")
    (picture,) = (kept.folder / MASKS).iterdir()
    picture.write_bytes(picture.read_bytes()[:-9])
    with pytest.raises(FormatError, match=r"\.png is damaged; restore it from a copy"):
        compile_archive(kept.state)


def test_drawn_heads_come_before_true_ones(kept: Session) -> None:
    cells = tuple(
        CellTruth(
            id=number,
            kind="sperm",
            y_px=y,
            x_px=x,
            focus_um=0.0,
            outline_px=as_outline([(y - 2, x - 2), (y - 2, x + 2), (y + 2, x + 2), (y + 2, x - 2)]),
        )
        for number, (y, x) in enumerate([(13.0, 22.0), (19.0, 22.0), (27.0, 42.0)])
    )
    (ref,) = kept.state.stacks.values()
    with RawStack.open(Path(ref.path)) as stack:
        frames = tuple(FrameTruth(time_ns=plane, cells=cells) for plane in range(5))
        write_truth(stack.path, StackTruth(stack_uuid=stack.header.uuid, frames=frames))
    true = compile_archive(kept.state).masks
    assert set(true[1].ravel()) == {0, 1, 2}
    kept.draw("one", 2, drawn(13, 22, 1, 1), "ann")
    found = compile_archive(kept.state).masks
    np.testing.assert_array_equal(found[6:], true[6:])
    np.testing.assert_array_equal(found[:3] == 2, true[:3] == 2)
    assert np.argwhere(found[1] == 1).tolist() == [[8, 8]]


def test_the_journal_names_what_was_drawn(session: Session) -> None:
    session.draw("one", 2, drawn(12, 21), "ann")
    record = read_journal(session.folder)[0][-1]
    known = {"record": "mask", "cell": "one", "plane": 2, "annotator": "ann"}
    assert record.items() >= (known | {"top": 12, "left": 21, "height": 3, "width": 4}).items()
    assert (session.folder / MASKS / f"{record['sha256']}.png").is_file()


@pytest.mark.parametrize("angle", [0.0, 50.0, 130.0])
def test_the_proposal_is_near_a_drawn_head(angle: float) -> None:
    drawing = Drawing(40.0).head((2.0, -3.0), angle).head((9.0, 9.0), 10)
    (y, x), _ = drawing.places_px()
    mask = proposed_head(drawing.image(), y + 2, x - 2, Scale(PIXEL_UM))
    rows, columns = np.indices(mask.shape)
    turn = np.deg2rad(angle)
    along = np.cos(turn) * (columns - x) + np.sin(turn) * (rows - y)
    across = np.cos(turn) * (rows - y) - np.sin(turn) * (columns - x)
    true = np.hypot(2 * along / HEAD_UM[0], 2 * across / HEAD_UM[1]) < 1 / PIXEL_UM
    assert (mask & true).sum() / (mask | true).sum() >= 0.7


def test_where_no_head_is_seen_a_disc_of_its_area_is_proposed() -> None:
    mask = proposed_head(Drawing(40.0).image(), 100.0, 120.0, Scale(PIXEL_UM))
    area_um2 = np.pi / 4 * HEAD_UM[0] * HEAD_UM[1]
    assert mask.sum() * PIXEL_UM**2 == pytest.approx(area_um2, rel=0.02)
    assert np.argwhere(mask).mean(axis=0) == pytest.approx((100, 120))
