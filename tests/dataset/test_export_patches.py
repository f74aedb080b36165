"""Archives leave as files that other programs read, and come back with the checksum they had."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from fgaf.base.errors import ExistsError, FgafError, FormatError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.exporters.export import ExportSettings, export
from fgaf.dataset.history import recorded
from fgaf.dataset.importers.patch_sets import import_patches
from fgaf.dataset.splits.split import SIDES, with_split

OUT = {"npz": "set.npz", "imagefolder": "set", "webdataset": "set", "huggingface": "set"}


def exported(archive: Archive, kind: str, folder: Path, split: str = "default") -> Path:
    source = write_archive(folder / "source.h5", archive)
    (path,) = export([source], kind, folder / OUT[kind], ExportSettings(split=split))
    return path


def eight_bit(archive: Archive) -> Archive:
    return replace(archive, images=(archive.images >> 4).astype(np.uint8), true_depth_um=None)


def odd_names(archive: Archive) -> Archive:
    ids = np.array([f"../Zoë {k}\n,;<>:" for k in range(archive.n_cells)], dtype=object)
    unsure = archive.cells.confidence.copy()
    unsure[3] = np.nan
    cells = replace(archive.cells, id=ids, confidence=unsure)
    return recorded(with_split(replace(archive, cells=cells), "other", seed=5)[0], "test")


@pytest.mark.parametrize("kind", OUT)
@pytest.mark.parametrize("change", [lambda a: a, eight_bit, odd_names])
def test_an_archive_comes_back_as_it_was(
    kind: str, change: Callable[[Archive], Archive], archive: Archive, tmp_path: Path
) -> None:
    path = exported(change(archive), kind, tmp_path)
    back = write_archive(tmp_path / "back.h5", import_patches(path))
    assert Archive.read(back).fingerprint == Archive.read(tmp_path / "source.h5").fingerprint


def test_npz_is_laid_out_as_medmnist_has_it(archive: Archive, tmp_path: Path) -> None:
    path = exported(archive, "npz", tmp_path)
    sides = archive.split_of_rows()
    with np.load(path, allow_pickle=False) as file:
        for number, key in enumerate(("train", "val", "test")):
            rows = np.flatnonzero(sides == number)
            np.testing.assert_array_equal(file[f"{key}_images"], archive.images[rows])
            np.testing.assert_array_equal(file[f"{key}_labels"][:, 0], archive.depth_class[rows])
            assert file[f"{key}_labels"].dtype == np.uint8
            np.testing.assert_array_equal(file[f"{key}_depth_um"], archive.depth_um[rows])
    again = tmp_path / "again"
    again.mkdir()
    assert exported(archive, "npz", again).read_bytes() == path.read_bytes()


def test_image_folders_hold_every_patch_under_its_class(archive: Archive, tmp_path: Path) -> None:
    path = exported(archive, "imagefolder", tmp_path)
    classes = sorted(p.name for p in (path / "train").iterdir())
    assert classes == ["0_-1um", "1_-0.5um", "2_+0um", "3_+0.5um", "4_+1um"]
    sides = archive.split_of_rows()
    with (path / "metadata.csv").open(encoding="utf-8", newline="") as table:
        lines = list(csv.DictReader(table))
    assert len(lines) == len(archive.images) == len(list(path.rglob("*.png")))
    for row, line in enumerate(lines):
        side, name, _ = line["file_name"].split("/")
        assert (side, name) == (SIDES[sides[row]], classes[archive.depth_class[row]])
        assert line["sample_id"] == archive.cells.sample_id[archive.cell[row]]
        with Image.open(path / line["file_name"]) as image:
            np.testing.assert_array_equal(np.asarray(image), archive.images[row])


def test_shards_are_tar_files_of_image_class_and_facts(archive: Archive, tmp_path: Path) -> None:
    source = write_archive(tmp_path / "source.h5", archive)
    settings = ExportSettings(shard_patches=15)
    (path,) = export([source], "webdataset", tmp_path / "set", settings)
    sides = archive.split_of_rows()
    order = []
    for number, side in enumerate(SIDES):
        rows = np.flatnonzero(sides == number)
        shards = sorted(path.glob(f"{side}-*.tar"))
        assert len(shards) == -(-len(rows) // 15)
        for shard in shards:
            with tarfile.open(shard) as tar:
                held = {member.name: tar.extractfile(member).read() for member in tar}
            for name in [n.removesuffix(".png") for n in held if n.endswith(".png")]:
                row = int(name.partition("_")[0])
                assert row in rows
                order.append(row)
                facts = json.loads(held[f"{name}.json"])
                assert facts["depth_um"] == archive.depth_um[row]
                assert int(held[f"{name}.cls"]) == facts["depth_class"] == archive.depth_class[row]
                with Image.open(io.BytesIO(held[f"{name}.png"])) as image:
                    np.testing.assert_array_equal(np.asarray(image), archive.images[row])
    assert sorted(order) == list(range(len(archive.images)))
    train = [row for row in order if sides[row] == 0]
    assert train != sorted(train)


def test_parquet_says_what_datasets_reads(archive: Archive, tmp_path: Path) -> None:
    path = exported(archive, "huggingface", tmp_path)
    sides = archive.split_of_rows()
    for number, side in enumerate(SIDES):
        table = parquet.read_table(path / f"data/{side}-00000-of-00001.parquet")
        rows = np.flatnonzero(sides == number)
        np.testing.assert_array_equal(table["label"].to_numpy(), archive.depth_class[rows])
        np.testing.assert_array_equal(table["depth_um"].to_numpy(), archive.depth_um[rows])
        for cell, row in zip(table["image"].to_pylist(), rows, strict=True):
            with Image.open(io.BytesIO(cell["bytes"])) as image:
                np.testing.assert_array_equal(np.asarray(image), archive.images[row])
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        assert features["image"] == {"_type": "Image"}
        assert features["label"]["names"][2] == "2_+0um"
        assert set(features) == set(table.column_names)
    text = (path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\npretty_name: ")
    assert "  - split: train\n    path: data/train-*.parquet\n" in text
    assert "## Ethics and consent" in text


def test_another_split_may_divide_the_export(archive: Archive, tmp_path: Path) -> None:
    archive = with_split(archive, "halves", (0.5, 0.0, 0.5))[0]
    path = exported(archive, "imagefolder", tmp_path, "halves")
    assert sorted(p.name for p in path.iterdir() if p.is_dir()) == ["test", "train"]
    with pytest.raises(FgafError, match="no split 'thirds'"):
        export([tmp_path / "source.h5"], "npz", tmp_path / "b", ExportSettings(split="thirds"))
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("kind", OUT)
def test_nothing_is_overwritten_unasked(kind: str, archive: Archive, tmp_path: Path) -> None:
    path = exported(archive, kind, tmp_path)
    source = tmp_path / "source.h5"
    with pytest.raises(ExistsError):
        export([source], kind, path)
    export([source], kind, path, ExportSettings(overwrite=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["source.h5", path.name])
    assert write_archive(tmp_path / "back.h5", import_patches(path)).is_file()


@pytest.mark.parametrize("kind", ["webdataset", "huggingface", "npz"])
def test_a_damaged_export_is_said_to_be_one(kind: str, archive: Archive, tmp_path: Path) -> None:
    path = exported(archive, kind, tmp_path)
    file = next(path.rglob("train-*")) if path.is_dir() else path
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(FormatError, match="damaged"):
        import_patches(path)
    file.unlink()
    with pytest.raises(FormatError, match=r"lacks|does not exist"):
        import_patches(path)


def test_an_export_that_was_altered_is_not_taken_for_the_archive(
    archive: Archive, tmp_path: Path
) -> None:
    folder = exported(archive, "imagefolder", tmp_path)
    first = sorted(folder.rglob("*.png"))[0]
    pixels = np.zeros((16, 16), np.uint16)
    Image.fromarray(pixels).save(first)
    with pytest.raises(FormatError, match="not those that were exported"):
        import_patches(folder)
    first.unlink()
    with pytest.raises(FormatError, match=r"lacks .*of the export"):
        import_patches(folder)
    (folder / "fgaf.json").write_text('{"format": "fgaf-dataset"}')
    with pytest.raises(FormatError, match="not the record of an exported archive"):
        import_patches(folder)
