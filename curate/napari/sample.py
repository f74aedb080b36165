"""Sample data for napari: a small simulated stack, made on request."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.napari.plugin import LayerData, read_layers
from fgaf.dataset.raw import SUFFIX, RawHeader, RawWriter
from fgaf.dataset.truth import FrameTruth, StackTruth, write_truth

_INTERVAL_NS: Final = 33_000_000
_EXPOSURE_S: Final = 0.005
_STEPS: Final = 8
_STEP_UM: Final = 0.5


def sample_stack() -> list[LayerData]:
    """Simulate swimming sperm over ±4 µm, in a file that lives as long as the program.

    The file can be curated like any other: the curation widget takes stacks that are open.
    """
    folder = Path(tempfile.mkdtemp(prefix="fgaf-sample-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return read_layers(str(simulate_stack(folder / f"simulated{SUFFIX}")))


def simulate_stack(path: Path, seed: int = 1) -> Path:
    """Write a stack of 17 planes of 520 x 640 pixels with 6 swimming sperm, and its truth.

    Parameters
    ----------
    path
        The file to write.
    seed
        Random seed of the specimen.
    """
    scene = Scene(SimulationSettings(seed=seed, cells=6, shape=(520, 640), debris=8))
    header = RawHeader.new(
        step_um=_STEP_UM,
        half_range_um=_STEPS * _STEP_UM,
        center_um=0.0,
        bit_depth=8,
        optics=scene.settings.optics,
        sample_id="simulated",
        camera="simulated",
        stage="simulated",
    )
    truth = []
    with RawWriter(path, header, (2 * _STEPS + 1, *scene.settings.shape), np.uint8) as writer:
        for plane in range(2 * _STEPS + 1):
            z_um, now = (plane - _STEPS) * _STEP_UM, plane * _INTERVAL_NS
            pixels, cells = scene.expose(now * 1e-9, _EXPOSURE_S, z_um)
            truth.append(FrameTruth(time_ns=now, cells=cells))
            writer.write(
                plane,
                pixels,
                z_requested_um=z_um,
                z_measured_um=z_um,
                time_device_ns=now,
                time_host_ns=now,
                frame_id=plane,
                exposure_us=_EXPOSURE_S * 1e6,
            )
        writer.publish()
    write_truth(path, StackTruth(stack_uuid=header.uuid, frames=tuple(truth)))
    return path
