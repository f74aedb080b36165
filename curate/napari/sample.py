"""Sample data for napari: a small simulated stack, made on request."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import napari
import numpy as np
import numpy.typing as npt
from napari.qt.threading import create_worker
from napari.viewer import Viewer

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.napari.plugin import LayerData, read_layers
from fgaf.dataset.raw import SUFFIX, RawHeader, RawWriter
from fgaf.dataset.truth import FrameTruth, StackTruth, write_truth

_INTERVAL_NS: Final = 33_000_000
_EXPOSURE_S: Final = 0.005
_STEPS: Final = 8
_STEP_UM: Final = 0.5
_PLANES: Final = 2 * _STEPS + 1
_SHAPE: Final = (520, 640)
_NAME: Final = "simulated"

Plane = tuple[int, npt.NDArray[Any]]


def sample_stack() -> list[LayerData]:
    """Simulate swimming sperm over ±4 µm, in a file that lives as long as the program.

    In a window the layer is there at once, and is filled plane by plane. The file can be curated
    like any other: the curation widget takes stacks that are open.
    """
    folder = Path(tempfile.mkdtemp(prefix="fgaf-sample-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / f"{_NAME}{SUFFIX}"
    viewer = napari.current_viewer()
    if viewer is None:
        for _ in simulate_planes(path):
            pass
        return read_layers(str(path))
    filling = _Filling(viewer, path)
    return [filling.layer_data()]


def simulate_planes(path: Path, seed: int = 1) -> Iterator[Plane]:
    """Write a stack of 17 planes of 520 x 640 pixels with 6 swimming sperm, and its truth.

    Parameters
    ----------
    path
        The file to write; it is there when all planes were taken.
    seed
        Random seed of the specimen.

    Yields
    ------
    Number and pixels of a plane, as soon as it is simulated.
    """
    scene = Scene(SimulationSettings(seed=seed, cells=6, shape=_SHAPE, debris=8))
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
    with RawWriter(path, header, (_PLANES, *_SHAPE), np.uint8) as writer:
        for plane in range(_PLANES):
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
            yield plane, pixels
        writer.publish()
    write_truth(path, StackTruth(stack_uuid=header.uuid, frames=tuple(truth)))


class _Filling:
    """Simulates in the background, and fills a layer of the viewer with the planes.

    Parameters
    ----------
    viewer
        napari's.
    path
        The stack to write.
    """

    def __init__(self, viewer: Viewer, path: Path) -> None:
        self._viewer, self._path = viewer, path
        self._pixels = np.zeros((_PLANES, *_SHAPE), np.uint8)
        self._worker: Any = create_worker(
            simulate_planes, path, _progress={"total": _PLANES, "desc": "simulating a stack"}
        )
        self._worker.yielded.connect(lambda taken: self._take(taken))
        self._worker.finished.connect(lambda: self._finish())

    def layer_data(self) -> LayerData:
        """The layer to fill; the simulation starts."""
        self._worker.start()
        settings = {
            "name": f"{_NAME}, please wait",
            "scale": (_STEP_UM, 1.0, 1.0),
            "contrast_limits": (0, 255),
        }
        return self._pixels, settings, "image"

    def _layer(self) -> Any:
        return next((x for x in self._viewer.layers if x.data is self._pixels), None)

    def _take(self, taken: Plane) -> None:
        plane, pixels = taken
        self._pixels[plane] = pixels
        if (layer := self._layer()) is None:
            self._worker.quit()  # the layer was deleted: nobody waits for the stack
            return
        layer.name = f"{_NAME}, plane {plane + 1} of {_PLANES}"
        layer.refresh()
        self._viewer.dims.set_current_step(self._viewer.dims.ndim - 3, plane)

    def _finish(self) -> None:
        layer = self._layer()
        if layer is None or not self._path.exists():
            return
        ((frames, settings, _),) = read_layers(str(self._path))
        layer.data = frames
        for name, value in settings.items():
            if name != "rgb":
                setattr(layer, name, value)
        self._viewer.dims.set_current_step(self._viewer.dims.ndim - 3, _STEPS)
        self._viewer.reset_view()
