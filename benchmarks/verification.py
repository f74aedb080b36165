"""What it costs to compare files with their checksums before they are used.

A raw stack as it is, one deflated and an archive are made, and each is read whole and by a command,
with the comparison and without it (``--no-verify``); a checkpoint is read as fgaf does and by the
plain library. The two take turns, the ratio of their times is that of neighbours in time, and its
median is given. The files are in the system's cache: from a disk, reading takes longer and the
comparison does not.

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
from click.testing import CliRunner

from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.commands.main import main as data_command
from fgaf.dataset.raw import RawHeader, RawStack, RawWriter
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.initial_weights import shipped

FRAME = (1200, 1920)
SIDE, PLANES = 96, 9
_READINGS = 5


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="of pixels in each HDF5 file")
    n_bytes = parser.parse_args().megabytes * 10**6
    torch.set_num_threads(1)
    print("| file | what | without, s | with, s | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, compress in (("raw stack", False), ("raw stack, deflated", True)):
            stack = _stack(folder / f"{compress}.stack.h5", n_bytes, compress)
            _rows(f"{label}, {n_bytes / 1e6:.0f} MB", stack, _read_stack)
        archive = _archive(folder / "archive.h5", n_bytes)
        _rows(f"archive, {n_bytes / 1e6:.0f} MB", archive, _read_archive)
        for suffix in (".pt", ".safetensors"):
            _checkpoint(folder / f"checkpoint{suffix}")


def _rows(label: str, path: Path, read: Callable[[Path, bool], None]) -> None:
    _row(label, "all pixels read", lambda: read(path, False), lambda: read(path, True))
    _row(label, "`fgaf-data info`", lambda: _info(path, False), lambda: _info(path, True))


def _row(
    label: str, what: str, without: Callable[[], object], compared: Callable[[], object]
) -> None:
    pairs = [(_seconds(without), _seconds(compared)) for _ in range(_READINGS)]
    plain, whole = (median(times) for times in zip(*pairs, strict=True))
    ratio = median(b / a for a, b in pairs)
    print(f"| {label} | {what} | {plain:.3f} | {whole:.3f} | {ratio:.1f} |", flush=True)


def _checkpoint(path: Path) -> None:
    from safetensors.torch import load_file

    shipped().save(path)
    read: Callable[[], object] = (
        (lambda: torch.load(path, weights_only=True))
        if path.suffix == ".pt"
        else (lambda: load_file(path))
    )
    label = f"{path.name}, {path.stat().st_size / 1e6:.0f} MB"
    _row(label, "loaded", read, lambda: Checkpoint.load(path))


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


def _read_stack(path: Path, compared: bool) -> None:
    with RawStack.open(path, compared) as stack:
        for plane in range(stack.n_planes):
            stack.frames[plane]


def _read_archive(path: Path, compared: bool) -> None:
    with Archive.open(path, compared) as archive:
        _ = archive.images[:]


def _info(path: Path, compared: bool) -> None:
    done = CliRunner().invoke(
        data_command, ["info", str(path), *([] if compared else ["--no-verify"])]
    )
    if done.exit_code:
        raise RuntimeError(done.output)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
