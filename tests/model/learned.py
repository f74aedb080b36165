"""A run that has learned heads, for tests of what uses one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgaf.dataset.archive import Archive
from fgaf.model.networks.settings import TrainSettings, preset


def quick(**values: Any) -> TrainSettings:
    """Settings of a small network for heads that learns within seconds."""
    return preset("heads").with_values(
        {"backbone": "unext_s", "epochs": 2, "batch": 10, "threads": 1, "shift_px": 2, **values}
    )


@dataclass(frozen=True)
class LearnedHeads:
    """The folder of the run, the archive it learned from with its file, and the metrics."""

    run: Path
    archive: Archive
    file: Path
    metrics: dict[str, Any]
