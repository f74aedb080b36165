"""The archive in other people's training loops."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.exporters.image_folder import write_image_folder
from fgaf.dataset.splits.subset_arrays import load_side
from fgaf.dataset.storage.optics import Optics
from fgaf.model.training.patch_dataset import PatchDataset


@pytest.fixture(scope="module")
def archive() -> Archive:
    rng = np.random.default_rng(5)
    cell = np.repeat(np.arange(9, dtype=np.int32), 5)
    plane = np.tile(np.arange(5, dtype=np.int32), 9)
    text = {name: [""] * 9 for name in ("source", "source_sha256", "field", "labelled_utc")}
    cells = Cells.from_columns(
        text
        | {
            "id": [f"c{k}" for k in range(9)],
            "sample_id": [f"s{k % 3}" for k in range(9)],
            "focus_um": np.zeros(9),
            "focus_plane": np.full(9, 2),
            "annotator": ["a"] * 9,
            "method": ["person"] * 9,
            "confidence": np.ones(9),
        }
    )
    return Archive(
        header=ArchiveHeader.new(step_um=0.5, half_range_um=1.0, patch_px=24, optics=Optics()),
        images=rng.integers(0, 255, (45, 24, 24), dtype=np.uint8),
        depth_um=(plane - 2) * 0.5,
        plane=plane,
        cell=cell,
        center_y=np.full(45, 12, np.int32),
        center_x=np.full(45, 12, np.int32),
        cells=cells,
        splits={"default": np.array([0, 0, 0, 0, 0, 1, 1, 2, 2], np.int8)},
    )


@pytest.fixture(scope="module")
def path(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive") / "a.h5", archive)


def test_a_side_is_read_patch_by_patch(path: Path, archive: Archive) -> None:
    data = PatchDataset(path, "test", transform=lambda patch: patch / 255)
    assert (len(data), data.classes) == (10, [-1.0, -0.5, 0.0, 0.5, 1.0])
    for k in range(len(data)):
        patch, target = data[k]
        assert patch.shape == (1, 24, 24)
        np.testing.assert_allclose(patch[0] * 255, archive.images[35 + k], rtol=1e-6)
        assert target == archive.depth_class[35 + k] == data.targets[k]
    with pytest.raises(IndexError):
        data[10]
    data.close()


@pytest.mark.slow
def test_workers_open_the_file_for_themselves(path: Path, archive: Archive) -> None:
    data = PatchDataset(path, "train")
    data[0]
    loader = DataLoader(data, batch_size=8, num_workers=2, multiprocessing_context="spawn")
    patches, targets = zip(*loader, strict=True)
    np.testing.assert_array_equal(torch.cat(patches)[:, 0], archive.images[:25])
    np.testing.assert_array_equal(torch.cat(targets), archive.depth_class[:25])
    data.close()


def test_it_goes_to_another_process_without_its_file(path: Path) -> None:
    data = PatchDataset(path)
    data[0]
    again = pickle.loads(pickle.dumps(data))
    assert again[3][1] == data.targets[3]
    again.close()
    data.close()


def test_what_is_not_in_the_archive_is_named(path: Path) -> None:
    with pytest.raises(FgafError, match=r"no side 'tests'; did you mean test\?"):
        PatchDataset(path, "tests")
    with pytest.raises(FgafError, match="no split 'other'"):
        PatchDataset(path, split="other")


def test_plain_arrays_of_a_side(path: Path, archive: Archive) -> None:
    side = load_side(path, "validation")
    np.testing.assert_array_equal(side.images, archive.images[25:35])
    np.testing.assert_array_equal(side.depth_um, archive.depth_um[25:35])
    assert side.sample_id.tolist() == ["s2"] * 5 + ["s0"] * 5
    with pytest.raises(FgafError, match="no side"):
        load_side(path, "all")


def test_torchvision_reads_the_class_folders(archive: Archive, tmp_path: Path) -> None:
    folder = write_image_folder(archive, tmp_path / "set")
    read = ImageFolder(str(folder / "train"))
    assert read.classes == ["0_-1um", "1_-0.5um", "2_+0um", "3_+0.5um", "4_+1um"]
    for name, target in read.samples:
        row = int(Path(name).name.partition("_")[0])
        assert target == archive.depth_class[row]
    image, _ = read[0]
    np.testing.assert_array_equal(np.asarray(image)[..., 0], archive.images[0])
