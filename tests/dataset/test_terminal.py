"""Long work shows progress on a terminal, whatever the command."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fgaf.dataset.archive import Archive, write_archive
from tests.terminal import commands_on_terminal, percents

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are of Unix"),
]

DATA, BENCH = "fgaf.dataset.commands.main", "fgaf.model.commands.bench"


@dataclass(frozen=True)
class Work:
    """A command, and the labels of its bars."""

    words: tuple[str, ...]
    labels: tuple[str, ...]
    module: str = DATA
    name: str = "main"
    moves: bool = False  # within its only file


WORKS = [
    Work(("info", "big.h5"), ("verifying",)),
    Work(("validate", "big.h5"), ("validate",)),
    Work(("split", "big.h5", "--name", "other"), ("verifying", "writing")),
    Work(("subset", "big.h5", "--most", "9"), ("verifying", "writing")),
    Work(("merge", "big.h5", "big-subset.h5"), ("verifying", "writing")),
    Work(("card", "big.h5"), ("verifying",)),
    Work(("diff", "big.h5", "big.h5"), ("comparing checksums",)),
    *(
        Work(("export", "big.h5", "--to", kind), ("export",), moves=True)
        for kind in ("npz", "imagefolder", "webdataset")
    ),
    Work(("import-patches", "cells", "--step", "0.5"), ("import", "writing")),
    Work(("import", "stack.tif", "--step", "0.5"), ("import",), moves=True),
    *(
        Work(("export", "raw/stack.stack.h5", "--to", kind), ("export",), moves=True)
        for kind in ("ome-tiff", "ome-zarr")
    ),
    Work(("anonymise", "raw/stack.stack.h5", "--new-key", "key"), ("anonymise",), moves=True),
    Work(("import", "cells", "--step", "0.5", "--out", "many"), ("import",)),
    Work(("big.h5", "--preset", "fig6", "--dry-run"), ("verifying",), BENCH, "bench"),
]


@pytest.fixture
def folder(archive: Archive, tmp_path: Path) -> Path:
    """An archive of several blocks, a z-stack, and a folder of patches of cells."""
    side = 640
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(archive.cell), side, side), np.uint8)
    header = archive.header.model_copy(update={"patch_px": side})
    write_archive(tmp_path / "big.h5", replace(archive, images=images, header=header))
    tifffile.imwrite(tmp_path / "stack.tif", images[:9])
    (tmp_path / "cells").mkdir()
    for k in range(3):
        tifffile.imwrite(tmp_path / "cells" / f"{k}.tif", images[9 * k : 9 * k + 9])
    return tmp_path


def test_long_work_shows_a_bar(folder: Path) -> None:
    shown = commands_on_terminal([(w.module, w.name, w.words) for w in WORKS], folder)
    for work, text in zip(WORKS, shown, strict=True):
        for label in work.labels:
            shown_percents = percents(text, label)
            assert shown_percents[-1:] == [100], (work.words, text)
            if work.moves:
                assert shown_percents == sorted(shown_percents)
                assert len(set(shown_percents)) >= 4, (work.words, text)
