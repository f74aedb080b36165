"""Copies that give nobody away: no original value is left in their bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from fgaf.base.errors import ExistsError, FgafError, SettingError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.commands.main import main
from fgaf.dataset.derive.anonymise import AnonymiseSettings, anonymise
from fgaf.dataset.derive.pseudonyms import Pseudonyms, key_of, read_key
from fgaf.dataset.history import recorded
from fgaf.dataset.quality.validate import validate
from fgaf.dataset.raw import RawStack
from fgaf.dataset.storage.attributes import read_attribute

KEY = b"a key of sixteen bytes and more"
NAMES = Pseudonyms(KEY)
KEPT = {"method", "license", "format", "software", "end_seal", "created_utc"}


def text_in(path: Path) -> set[str]:
    """Collect every text of a file, attributes and columns, but the checksums of its contents."""
    found: set[str] = set()

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        texts = {key: read_attribute(item, key) for key in item.attrs if "sha256" not in key}
        found.update(str(v) for k, v in texts.items() if k not in KEPT and isinstance(v, str))
        column = isinstance(item, h5py.Dataset) and h5py.check_string_dtype(item.dtype)
        if column and name.rpartition("/")[2] not in KEPT:
            found.update(item.asstr()[:].tolist())

    with h5py.File(path) as file:
        visit("", file)
        file.visititems(visit)
    return {text for text in found if len(text) > 2}


@pytest.fixture
def telling(archive: Archive, tmp_path: Path) -> Path:
    """Return an archive full of names."""
    n = archive.n_cells
    cells = replace(
        archive.cells,
        id=np.array([f"Müller/left {k}" for k in range(n)], dtype=object),
        source=np.array([f"C:/Users/anna/Müller{k % 4}.stack.h5" for k in range(n)], dtype=object),
        source_sha256=np.array([f"{k % 4:064x}" for k in range(n)], dtype=object),
        sample_id=np.array([f"Müller {k % 4}" for k in range(n)], dtype=object),
        field=np.array([f"well of Müller {k % 4}" for k in range(n)], dtype=object),
    )
    header = archive.header.model_copy(
        update={
            "name": "Müller family",
            "description": "taken by anna in Room 7",
            "license": "CC0-1.0",
            "created_utc": "2019-05-06T07:08:09+00:00",
        }
    )
    told = recorded(replace(archive, cells=cells, header=header), "subset", of="Müller family")
    return write_archive(tmp_path / "Müller.h5", told)


@pytest.fixture
def stack(write_stack: Callable[..., Path], tmp_path: Path) -> Path:
    return write_stack(
        tmp_path / "Müller 3.stack.h5",
        sample_id="Müller 3",
        operator="anna",
        field="well of Müller 3",
        camera="Basler 21734567",
        stage="Prior in Room 7",
        rig='[stage]\nport = "/home/anna/port"\n',
    )


def test_no_original_value_is_left_in_the_bytes(telling: Path, stack: Path, tmp_path: Path) -> None:
    copies = anonymise([telling, stack], tmp_path / "out", NAMES)
    for source, copy in zip((telling, stack), copies, strict=True):
        values = text_in(source)
        assert len(values) > 6
        data = copy.read_bytes()
        left = [value for value in values if value.encode() in data]
        assert not left
        for word in ("Müller", "anna", "Room 7", "21734567", "2019", str(KEY, "ascii")):
            assert word.encode() not in data
            assert word not in str(copy.relative_to(tmp_path))
        assert validate(copy).ok, validate(copy).findings
    with RawStack.open(copies[1]) as kept, RawStack.open(stack) as first:
        times = first.planes["time_host_ns"]
        data = copies[1].read_bytes()
        assert not any(int(t).to_bytes(8, "little") in data for t in times)
        np.testing.assert_array_equal(kept.frames, first.frames)
        np.testing.assert_array_equal(kept.z_um, first.z_um)
        np.testing.assert_array_equal(np.diff(kept.planes["time_device_ns"]), 10**9)


def test_what_matters_stays(telling: Path, tmp_path: Path) -> None:
    settings = AnonymiseSettings(name="sperm", description="through focus")
    (copy,) = anonymise([telling], tmp_path / "out.h5", NAMES, settings)
    before, after = Archive.read(telling), Archive.read(copy)
    np.testing.assert_array_equal(after.images, before.images)
    np.testing.assert_array_equal(after.depth_um, before.depth_um)
    np.testing.assert_array_equal(after.splits["default"], before.splits["default"])
    assert after.header.optics == before.header.optics
    assert (after.header.name, after.header.license) == ("sperm", "CC0-1.0")
    for column in ("id", "source", "source_sha256", "sample_id", "field", "annotator"):
        was, now = getattr(before.cells, column), getattr(after.cells, column)
        assert len(set(zip(was, now, strict=True))) == len(set(was)) == len(set(now))


def test_one_key_gives_one_pseudonym_everywhere(telling: Path, stack: Path, tmp_path: Path) -> None:
    archive, raw = anonymise([telling, stack], tmp_path / "a", NAMES)
    again = anonymise([telling, stack], tmp_path / "b", NAMES)
    other = anonymise([telling, stack], tmp_path / "c", Pseudonyms(KEY[::-1]))
    with RawStack.open(raw) as opened:
        sample, identity = opened.header.sample_id, opened.header.uuid
    assert sample in Archive.read(archive).cells.sample_id
    assert [path.name for path in again] == [archive.name, raw.name]
    with RawStack.open(again[1]) as opened:
        assert opened.header.uuid == identity
    with RawStack.open(other[1]) as opened:
        assert opened.header.sample_id != sample
        assert opened.header.uuid != identity


def test_an_archives_sources_are_the_copies_of_its_stacks(
    stack: Path, archive: Archive, tmp_path: Path
) -> None:
    cells = replace(archive.cells, source=np.array([stack.name] * 12, dtype=object))
    path = write_archive(tmp_path / "a.h5", replace(archive, cells=cells))
    copy, raw = anonymise([path, stack], tmp_path / "out", NAMES)
    assert set(Archive.read(copy).cells.source) == {raw.name}


def test_times_stay_when_asked(telling: Path, stack: Path, tmp_path: Path) -> None:
    settings = AnonymiseSettings(keep_times=True)
    archive, raw = anonymise([telling, stack], tmp_path / "out", NAMES, settings)
    assert Archive.read(archive).header.created_utc.startswith("2019")
    assert set(Archive.read(archive).cells.labelled_utc) == {"2026-01-01T00:00:00+00:00"}
    with RawStack.open(raw) as kept, RawStack.open(stack) as first:
        np.testing.assert_array_equal(kept.planes["time_host_ns"], first.planes["time_host_ns"])


def test_nothing_happens_in_place(telling: Path, stack: Path, tmp_path: Path) -> None:
    before = telling.read_bytes(), stack.read_bytes()
    with pytest.raises(SettingError, match="stays unchanged"):
        anonymise([telling], telling, NAMES, overwrite=True)
    copies = anonymise([telling, stack], tmp_path / "out", NAMES)
    with pytest.raises(ExistsError):
        anonymise([stack, telling], tmp_path / "out", NAMES)
    assert anonymise([telling, stack], tmp_path / "out", NAMES, overwrite=True) == copies
    with pytest.raises(FgafError, match="takes a single archive"):
        anonymise([stack], tmp_path / "one.h5", NAMES)
    assert (telling.read_bytes(), stack.read_bytes()) == before


def test_keys_come_from_a_file_or_a_prompt(telling: Path, tmp_path: Path) -> None:
    key, out = tmp_path / "key", tmp_path / "out.h5"

    def run(*more: object, code: int = 0, typed: str | None = None) -> str:
        arguments = [str(a) for a in ("anonymise", telling, "--out", out, *more)]
        result = CliRunner().invoke(main, arguments, input=typed)
        assert result.exit_code == code, result.output
        return result.stderr if code else result.stdout

    assert "make a key with --new-key" in run("--key-file", key, code=2)
    assert f"wrote {out}" in run("--new-key", key)
    if os.name == "posix":
        assert key.stat().st_mode & 0o077 == 0
    made = Archive.read(out).cells.sample_id
    run("--key-file", key, "--overwrite")
    assert Archive.read(out).cells.sample_id.tolist() == made.tolist()
    assert "exists already" in run("--new-key", key, "--overwrite", code=1)
    assert "exists already" in run("--new-key", tmp_path / "other", code=1)
    assert not (tmp_path / "other").exists()
    assert "two keys" in run("--new-key", key, "--key-file", key, code=2)
    key.write_text("short")
    assert "has 5 bytes" in run("--key-file", key, code=2)
    phrase = "correct horse battery"
    run("--overwrite", typed=f"{phrase}\n{phrase}\n")
    expected = Pseudonyms(key_of(phrase)).name("sample", "Müller 0")
    assert expected in Archive.read(out).cells.sample_id
    assert "give 12 or more" in run("--overwrite", typed="short\nshort\n", code=2)
    assert phrase.encode() not in out.read_bytes()


def test_an_editor_may_end_the_key_with_a_newline(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(KEY)
    (tmp_path / "b").write_bytes(KEY + b"\r\n")
    assert read_key(tmp_path / "a") == read_key(tmp_path / "b")
