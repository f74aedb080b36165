"""Archives: what is written is read, and nothing unsound is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fgaf.base.errors import ExistsError, FgafError, FormatError
from fgaf.base.files import publishing, require_free, require_new, sha256_of
from fgaf.dataset.archive import CELL_COLUMNS, ROW_COLUMNS, Archive, write_archive

texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=9)


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25
)
@given(
    names=st.lists(texts.filter(bool), min_size=1, max_size=6, unique=True),
    note=texts,
    dtype=st.sampled_from([np.uint8, np.uint16]),
    truth=st.booleans(),
    splits=st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.integers(0, 2)),
)
def test_what_is_written_is_read(
    names: list[str],
    note: str,
    dtype: type[np.unsignedinteger],
    truth: bool,
    splits: dict[str, int],
    archive: Archive,
    tmp_path: Path,
) -> None:
    k = len(names)
    rows = slice(0, 5 * k)
    cells = replace(
        archive.cells.take(np.arange(k)),
        id=np.array(names, dtype=object),
        annotator=np.array([note] * k, dtype=object),
    )
    written = replace(
        archive,
        header=archive.header.model_copy(update={"description": note}),
        images=archive.images[rows].astype(dtype),
        cells=cells,
        true_depth_um=archive.depth_um[rows] + 0.1 if truth else None,
        splits={name: np.full(k, side, np.int8) for name, side in splits.items()},
        **{name: getattr(archive, name)[rows] for name in ROW_COLUMNS},
    )
    read = Archive.read(write_archive(tmp_path / "a.h5", written, overwrite=True))
    assert read.header == written.header
    for name in ("images", "true_depth_um", *ROW_COLUMNS):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    for name in CELL_COLUMNS:
        assert getattr(read.cells, name).tolist() == getattr(cells, name).tolist()
    assert {n: v.tolist() for n, v in read.splits.items()} == {
        n: v.tolist() for n, v in written.splits.items()
    }
    assert read.fingerprint


def test_classes_follow_from_depth_and_step(archive: Archive) -> None:
    assert archive.n_classes == 5
    np.testing.assert_allclose(archive.class_depths_um, [-1, -0.5, 0, 0.5, 1])
    assert archive.depth_class[archive.rows_of(3)].tolist() == [0, 1, 2, 3, 4]
    assert archive.true_class is not None
    assert archive.true_class[archive.rows_of(3)].tolist() == [0, 1, 2, 3, 4]
    assert archive.classes_of(np.array([-9.0, 0.26, 9.0])).tolist() == [0, 3, 4]
    assert archive.split_of_rows().shape == archive.cell.shape
    with pytest.raises(FgafError, match="has no split 'other' \\(it has: default\\)"):
        archive.split_of_rows("other")


UNSOUND: dict[str, tuple[str, Any]] = {
    "depth of too few": ("depth_um", lambda a: a.depth_um[1:]),
    "not finite": ("depth_um", lambda a: a.depth_um * np.nan),
    "depth descends": ("depth_um", lambda a: -a.depth_um),
    "rows mixed": ("cell", lambda a: np.roll(a.cell, 2)),
    "a cell unnamed": ("cell", lambda a: np.minimum(a.cell, 10)),
    "side 3": ("splits", lambda a: {"default": np.full(a.n_cells, 3, np.int8)}),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_archive_is_not_written(name: str, archive: Archive, tmp_path: Path) -> None:
    column, change = UNSOUND[name]
    with pytest.raises(FgafError, match="the archive is not valid"):
        write_archive(tmp_path / "a.h5", replace(archive, **{column: change(archive)}))
    assert list(tmp_path.iterdir()) == []


def test_a_raw_stack_is_no_archive(good_stack: Path) -> None:
    with pytest.raises(FormatError, match="is not of format 'fgaf-dataset' but format 'fgaf-raw'"):
        Archive.read(good_stack)


def test_outputs_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"

    def fail() -> None:
        with publishing(path) as part:
            part.write_text("half")
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        fail()
    assert not path.parent.exists()
    with publishing(path) as part:
        part.write_text("whole")
    assert path.read_text() == "whole"
    with pytest.raises(ExistsError), publishing(path):
        pass
    with publishing(path, overwrite=True) as part:
        part.write_text("newer")
    assert [p.read_text() for p in path.parent.iterdir()] == ["newer"]


def test_places_that_cannot_take_the_output_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FgafError, match="free some space or choose another disk"):
        require_free(tmp_path / "a", 10**18)
    (tmp_path / "file").write_text("")
    with pytest.raises(FgafError, match="cannot make the folder"):
        require_new(tmp_path / "file" / "a")
    assert sha256_of(tmp_path / "file").startswith("e3b0c442")
