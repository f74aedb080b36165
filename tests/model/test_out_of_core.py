"""Training with the patches on disk: the same patches, the same result every time."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fgaf.base.errors import FormatError, SettingError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.networks.settings import preset
from fgaf.model.training.out_of_core import DiskImages, opened
from fgaf.model.training.sides import TRAIN, load_sides
from fgaf.model.training.tasks.depth import DepthTask
from fgaf.model.training.train import train as train_and_draw

train = partial(train_and_draw, pictures=False)
SETTINGS = preset("default").with_values(
    {
        "backbone": "shufflenet_v2_x0_5",
        "width": 32,
        "epochs": 1,
        "batch": 16,
        "threads": 1,
        "shift_px": 2,
        "stem_stride": 2,
        "precision": "fp32",
    }
)


def test_small_archives_are_read_and_large_ones_stay_on_disk(archive_file: Path) -> None:
    with opened(archive_file) as small, opened(archive_file, in_memory_bytes=1000) as large:
        assert isinstance(small.images, np.ndarray)
        assert not isinstance(large.images, np.ndarray)
    damaged = bytearray(archive_file.read_bytes())
    damaged[20_000] ^= 1
    archive_file.write_bytes(damaged)
    with pytest.raises(FormatError, match="checksum"), opened(archive_file, 1000):
        pass


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_patches_on_disk_are_those_in_memory(
    dtype: str, make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    path = write_archive(tmp_path / "a.h5", make_archive(dtype=dtype))
    with opened(path) as small, opened(path, 0) as large:
        (memory, scale), (disk, same_scale) = (
            load_sides(archive, SETTINGS, DepthTask(archive, SETTINGS).targets("cpu"), "cpu")
            for archive in (small, large)
        )
        assert scale == same_scale
        for side, data in memory.items():
            assert isinstance(disk[side].images, DiskImages)
            order = disk[side].order(torch.Generator().manual_seed(1), balance=False)
            assert sorted(order.tolist()) == list(range(len(data.rows)))
            assert torch.equal(disk[side].images[order], data.images[order])
            assert torch.equal(disk[side].classes, data.classes)
        with pytest.raises(SettingError, match="balance=false"):
            disk[TRAIN].order(torch.Generator(), balance=True)


def test_a_run_from_disk_repeats(archive_file: Path, tmp_path: Path) -> None:
    runs: list[dict[str, Any]] = []
    with opened(archive_file, 0) as large:
        for name in ("one", "two"):
            metrics = train(large, SETTINGS, tmp_path / name)
            runs.append({key: value for key, value in metrics.items() if key != "timing"})
    assert json.dumps(runs[0]) == json.dumps(runs[1])
    assert runs[0]["n_cells"] == 2
