"""How fast archives are read, checked and split, and in how much memory.

An archive of noisy spots is generated on disk. Batches of 64 patches are drawn at random from
all of it: by `fgaf.dataset.splits.batches`, by plain h5py indexing with 64 sorted rows, and from
one tensor in memory (of a part, where all of it takes more than 2 GB). Beside it stands what a
training step of the default settings takes. The operating system's cache of the file is dropped
before each reader where the system lets us; the tensor's time does not include reading it.
Validation and split run in processes of their own, whose peak memory is told (Linux).

Run ``python benchmarks/archive.py [--patches N] [--folder DIR]``; 1,000,000 patches are 9.2 GB,
and twice that while the split is written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.splits.batches import MEMORY_BYTES, shuffled_batches
from fgaf.dataset.storage.optics import Optics

SIDE, PLANES, BATCH = 96, 9, 64
SECONDS = 8.0
MOST_IN_MEMORY = 2 * 10**9


class Spots:
    """Patches made when asked for: a spot that fades towards the middle plane, in noise."""

    def __init__(self, n_cells: int) -> None:
        self.shape, self.dtype = (n_cells * PLANES, SIDE, SIDE), np.dtype("u1")
        y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
        depth = np.abs(np.arange(PLANES) - PLANES // 2)[:, None, None]
        self._spots = (40 * (depth + 0.5) * np.exp(-(y**2 + x**2) / (2 * (4 + depth) ** 2))) // 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice) -> npt.NDArray[np.uint8]:
        start, stop, _ = index.indices(len(self))
        noise = np.random.default_rng(start).bytes((stop - start) * SIDE * SIDE)
        pixels = (np.frombuffer(noise, np.uint8) >> 3).reshape(-1, SIDE, SIDE)
        spots = self._spots[np.arange(start, stop) % PLANES]
        return (pixels + spots + 80).astype(np.uint8)


def generated(n_patches: int) -> Archive:
    """An archive of cells of a hundred samples, a hundred cells to a field, none overlapping."""
    k = -(-n_patches // PLANES)
    number = np.arange(k)
    cells = Cells.from_columns(
        {
            "id": [f"cell-{n}" for n in number],
            "source": [f"stack-{n // 100}.stack.h5" for n in number],
            "source_sha256": [""] * k,
            "sample_id": [f"sample-{n // 100 % 100}" for n in number],
            "field": [""] * k,
            "focus_um": np.zeros(k),
            "focus_plane": np.full(k, PLANES // 2),
            "annotator": ["nobody"] * k,
            "labelled_utc": ["2026-01-01T00:00:00+00:00"] * k,
            "method": ["simulation"] * k,
            "confidence": np.ones(k),
        }
    )
    cell = np.repeat(number.astype(np.int32), PLANES)
    plane = np.tile(np.arange(PLANES, dtype=np.int32), k)
    return Archive(
        header=ArchiveHeader.new(
            step_um=0.5, half_range_um=2.0, patch_px=SIDE, optics=Optics(pixel_size_um=0.1465)
        ),
        images=Spots(k),
        depth_um=(plane - PLANES // 2) * 0.5,
        plane=plane,
        cell=cell,
        center_y=(cell % 10 * 100 + 50).astype(np.int32),
        center_x=(cell // 10 % 10 * 100 + 50).astype(np.int32),
        cells=cells,
        splits={"default": (number % 10 // 7).astype(np.int8) * 2},
    )


def forget(path: Path) -> None:
    """Drop the system's cache of a file."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(draw: Callable[[], Any]) -> float:
    """Patches per second, batch after batch for some seconds; `draw` gives one of them."""
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        n += len(draw())
    return n / (time.perf_counter() - began)


def from_blocks(path: Path) -> float:
    """Shuffled batches as the trainer draws them."""
    with Archive.open(path) as archive:
        rows = np.arange(len(archive.images))

        def passes() -> Any:
            seed = 0
            while True:
                yield from shuffled_batches(archive, rows, BATCH, seed)
                seed += 1

        drawn = passes()
        return rate(lambda: next(drawn)[1])


def from_h5py(path: Path) -> float:
    """Batches by h5py's own indexing, rows sorted as it asks."""
    rng = np.random.default_rng(0)
    with h5py.File(path) as file:
        images = file["images"]
        return rate(lambda: images[np.sort(rng.choice(len(images), BATCH, replace=False))])


def from_tensor(path: Path) -> float:
    """Batches from a tensor that holds everything, or as much as 2 GB of it."""
    import torch

    with h5py.File(path) as file:
        images = torch.from_numpy(file["images"][: MOST_IN_MEMORY // SIDE**2])
    return rate(lambda: images[torch.randint(len(images), (BATCH,))])


def training_rate(path: Path) -> float:
    """Patches per second that a training step of the default settings takes, one thread."""
    from fgaf.model.networks.settings import preset
    from fgaf.model.training.compute import Compute
    from fgaf.model.training.optimise import step_seconds
    from fgaf.model.training.tasks import DepthTask

    settings = preset("default").with_values({"batch": BATCH, "stem_stride": 2})
    with Archive.open(path) as archive:
        return BATCH / step_seconds(Compute("cpu", 1, False), DepthTask(archive, settings))


def run(*arguments: str) -> dict[str, float]:
    """Run `fgaf-data` in a process of its own: seconds, and peak memory in MB."""
    code = (
        "import re, sys\n"
        "from fgaf.dataset.commands.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - began
    return {"seconds": round(seconds, 1), "peak_MB": int(done.stdout.split()[-1]) // 1024}


def main() -> None:
    """Measure and print one line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=40_000)
    parser.add_argument("--folder", type=Path, help="where the archive is generated")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        path = folder / "generated.h5"
        began = time.perf_counter()
        write_archive(path, generated(options.patches))
        results: dict[str, Any] = {
            "patches": options.patches,
            "GB": round(path.stat().st_size / 1e9, 2),
            "write_s": round(time.perf_counter() - began, 1),
            "window_MB": MEMORY_BYTES // 2**20,
        }
        for name, reader in (
            ("blocks", from_blocks),
            ("h5py", from_h5py),
            ("tensor", from_tensor),
        ):
            forget(path)
            results[f"{name}_patches_per_s"] = round(reader(path))
        results["training_patches_per_s"] = round(training_rate(path))
        forget(path)
        results["validate"] = run("validate", str(path))
        forget(path)
        results["split"] = run(
            "split", str(path), "--name", "again", "--out", str(folder / "split.h5")
        )
    finally:
        shutil.rmtree(folder)
    for name, value in results.items():
        print(f"{name}: {value}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
