"""Archives larger than the memory that may be used: 100,000 patches, 0.92 GB, on disk.

`benchmarks/archive.py --patches 1000000` is the same with 9.2 GB.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.storage.optics import Optics

CELLS, PLANES, SIDE = 11_112, 9, 96
PEAK_MB = 450
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]
PEAK = """
import re
from pathlib import Path
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


class Noise:
    """Patches that are made when they are asked for."""

    shape, dtype = (CELLS * PLANES, SIDE, SIDE), np.dtype("u1")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice) -> npt.NDArray[np.uint8]:
        start, stop, _ = index.indices(len(self))
        noise = np.random.default_rng(start).bytes((stop - start) * SIDE * SIDE)
        return np.frombuffer(noise, np.uint8).reshape(-1, SIDE, SIDE) >> 1


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    number = np.arange(CELLS)
    texts = dict.fromkeys(("source_sha256", "field", "annotator", "labelled_utc"), [""] * CELLS)
    cells = Cells.from_columns(
        {
            **texts,
            "id": [f"cell-{n}" for n in number],
            "source": [f"stack-{n // 50}" for n in number],
            "sample_id": [f"sample-{n // 500}" for n in number],
            "focus_um": np.zeros(CELLS),
            "focus_plane": np.zeros(CELLS),
            "method": ["person"] * CELLS,
            "confidence": np.ones(CELLS),
        }
    )
    cell = np.repeat(number.astype(np.int32), PLANES)
    plane = np.tile(np.arange(PLANES, dtype=np.int32), CELLS)
    archive = Archive(
        header=ArchiveHeader.new(
            step_um=0.5, half_range_um=2.0, patch_px=SIDE, optics=Optics(pixel_size_um=0.1)
        ),
        images=Noise(),
        depth_um=(plane - PLANES // 2) * 0.5,
        plane=plane,
        cell=cell,
        center_y=cell % 10 * 100,
        center_x=cell // 10 % 5 * 100,
        cells=cells,
    )
    return write_archive(tmp_path_factory.mktemp("large") / "large.h5", archive)


def peak_mb(code: str, *arguments: object) -> float:
    """Run code in a process of its own; its largest resident memory."""
    done = subprocess.run(
        [sys.executable, "-c", code + PEAK, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1]) / 1024


def test_validate_and_split_take_bounded_memory(large: Path, tmp_path: Path) -> None:
    command = (
        "import sys; from fgaf.dataset.commands.main import main\n"
        "main(sys.argv[1:], standalone_mode=False)"
    )
    assert large.stat().st_size > 1.5 * PEAK_MB * 2**20
    assert peak_mb(command, "validate", large) < PEAK_MB
    out = tmp_path / "split.h5"
    assert peak_mb(command, "split", large, "--name", "new", "--out", out) < PEAK_MB


def test_a_pass_of_shuffled_batches_takes_the_stated_memory(large: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from fgaf.dataset.archive import Archive\n"
        "from fgaf.dataset.splits.batches import shuffled_batches\n"
        "with Archive.open(Path(sys.argv[1])) as archive:\n"
        "    rows = np.arange(len(archive.images))\n"
        "    memory = 64 * 2**20\n"
        "    n = sum(len(r) for r, _ in shuffled_batches(archive, rows, memory_bytes=memory))\n"
        "    assert n == len(rows)\n"
    )
    assert peak_mb(code, large) < 64 + 200
