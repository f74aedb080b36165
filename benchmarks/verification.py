"""What it costs to compare files with their checksums before they are used.

A raw stack as it is, one deflated, an archive and a checkpoint are made, and each is read whole
with and without. Times are medians of several readings, the files in the system's cache: from a
disk, reading takes longer and the comparison does not.

Run ``python benchmarks/verification.py [--megabytes N]``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.integrity import verify
from fgaf.dataset.raw import RawHeader, RawStack, RawWriter
from fgaf.model.checkpoint import Checkpoint
from fgaf.model.start import shipped

FRAME = (1200, 1920)
SIDE, PLANES = 96, 9
_READINGS = 5


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="of pixels in each HDF5 file")
    n_bytes = parser.parse_args().megabytes * 10**6
    torch.set_num_threads(1)
    print("| file | MB | read, s | compared, s | compared, MB/s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, compress in (("raw stack", False), ("raw stack, deflated", True)):
            path = _stack(folder / f"{compress}.stack.h5", n_bytes, compress)
            _row(label, n_bytes, lambda path=path: _read_stack(path), lambda p=path: _compare(p))
        path = _archive(folder / "archive.h5", n_bytes)
        _row("archive", n_bytes, lambda: _read_archive(path), lambda: _compare(path))
        for suffix in (".pt", ".safetensors"):
            _checkpoint(folder / f"checkpoint{suffix}")


def _row(
    label: str, n_bytes: int, read: Callable[[], object], compare: Callable[[], object]
) -> None:
    reading, comparing = _seconds(read), _seconds(compare)
    rate = n_bytes / 1e6 / comparing
    print(f"| {label} | {n_bytes / 1e6:.0f} | {reading:.3f} | {comparing:.3f} | {rate:.0f} |")


def _checkpoint(path: Path) -> None:
    from safetensors.torch import load_file

    shipped().save(path)
    read: Callable[[], object] = (
        (lambda: torch.load(path, weights_only=True))
        if path.suffix == ".pt"
        else (lambda: load_file(path))
    )
    plain, whole = _seconds(read), _seconds(lambda: Checkpoint.load(path))
    size = path.stat().st_size / 1e6
    rate = size / (whole - plain)
    print(f"| {path.name} | {size:.0f} | {plain:.3f} | {whole - plain:.3f} | {rate:.0f} |")


def _stack(path: Path, n_bytes: int, compress: bool) -> Path:
    planes = max(1, n_bytes // (2 * FRAME[0] * FRAME[1]))
    header = RawHeader.new(step_um=0.5, half_range_um=planes / 4, center_um=0.0, bit_depth=12)
    rng = np.random.default_rng(1)
    frame = rng.normal(1000, 30, FRAME).astype(np.uint16)
    with RawWriter(path, header, (planes, *FRAME), np.uint16, compress=compress) as writer:
        for k in range(planes):
            writer.write(
                k,
                np.roll(frame, k),
                z_requested_um=float(k),
                z_measured_um=float(k),
                time_device_ns=k,
                time_host_ns=k,
                frame_id=k,
                exposure_us=500.0,
            )
        return writer.publish()


def _archive(path: Path, n_bytes: int) -> Path:
    cells = max(3, n_bytes // (PLANES * SIDE * SIDE))
    cell = np.repeat(np.arange(cells, dtype=np.int32), PLANES)
    plane = np.tile(np.arange(PLANES, dtype=np.int32), cells)
    row = {"source": "", "source_sha256": "", "sample_id": "", "field": "", "focus_um": 0.0}
    row |= {"focus_plane": 4, "annotator": "", "labelled_utc": "", "method": "import"}
    table = Cells.from_rows([{**row, "id": f"cell-{k}", "confidence": 1.0} for k in range(cells)])
    archive = Archive(
        header=ArchiveHeader.new(step_um=0.5, half_range_um=2.0, patch_px=SIDE),
        images=np.random.default_rng(1).integers(0, 255, (len(cell), SIDE, SIDE), dtype=np.uint8),
        depth_um=(plane - PLANES // 2) * 0.5,
        plane=plane,
        cell=cell,
        center_y=np.zeros_like(cell),
        center_x=np.zeros_like(cell),
        cells=table,
        splits={"default": (np.arange(cells) % 3).astype(np.int8)},
    )
    return write_archive(path, archive)


def _read_stack(path: Path) -> None:
    with RawStack.open(path) as stack:
        for plane in range(stack.n_planes):
            stack.frames[plane]


def _read_archive(path: Path) -> None:
    with Archive.open(path) as archive:
        _ = archive.images[:]


def _compare(path: Path) -> None:
    opened = RawStack.open(path) if path.name.endswith(".stack.h5") else Archive.open(path)
    with opened as held:
        data = held.frames if isinstance(held, RawStack) else held.images
        verify(data.file, path)


def _seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_READINGS):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return median(taken)


if __name__ == "__main__":
    main()
