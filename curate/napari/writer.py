"""Saving an image layer of napari as a raw stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fgaf.base.errors import FgafError
from fgaf.dataset.raw import FORMAT as RAW, RawHeader, RawWriter
from fgaf.dataset.storage.optics import Optics

_KEPT = ("step_um", "center_um", "bit_depth", "optics", "sample_id", "operator", "field")
_MICROMETRES = ("micrometer", "um", "µm", "μm")


def write_stack(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write planes (P, Y, X) as a raw stack; napari calls it for "Save Selected Layers".

    Parameters
    ----------
    path
        The target, ending in ``.stack.h5``.
    data
        (P, Y, X) uint8 or uint16, z ascending.
    meta
        The layer's: `scale` in `units` of µm gives step and pixel size. The metadata of a stack
        opened by this plugin (optics, sample, ...) are kept, with a new identity.

    Returns
    -------
    The path written.

    Raises
    ------
    FgafError
        Not three dimensions, another pixel type, units other than µm, or the file exists.
    """
    target = Path(path)
    if data.ndim != 3 or data.dtype not in (np.dtype("u1"), np.dtype("u2")):
        raise FgafError(
            f"a raw stack has planes (P, Y, X) of uint8 or uint16, not {data.dtype} "
            f"{list(data.shape)}; convert the layer first"
        )
    header = _header(meta, len(data), 8 * data.dtype.itemsize)
    with RawWriter(target, header, data.shape, data.dtype) as writer:
        for plane in range(len(data)):
            z_um = header.center_um - header.half_range_um + plane * header.step_um
            writer.write(
                plane,
                np.asarray(data[plane]),
                z_requested_um=z_um,
                z_measured_um=z_um,
                time_device_ns=0,
                time_host_ns=0,
                frame_id=plane,
                exposure_us=0.0,
            )
        writer.publish()
    return [str(target)]


def _header(meta: dict[str, Any], planes: int, bits: int) -> RawHeader:
    """The header of the stack that the layer came from, else one made from its scale."""
    about = meta.get("metadata", {})
    if about.get("format") == RAW:
        kept = RawHeader.model_validate(about["fgaf"])
        fields = {name: getattr(kept, name) for name in _KEPT}
        whole = planes == kept.planned_planes
        if whole:
            return RawHeader.new(**fields, half_range_um=kept.half_range_um)
        return RawHeader.new(**fields, half_range_um=kept.step_um * (planes - 1) / 2)
    units = [str(unit) for unit in meta.get("units") or ()]
    if len(units) < 3 or any(unit not in _MICROMETRES for unit in units[-3:]):
        raise FgafError(
            "the layer has no scale in µm: set its scale and units (z step, pixel, pixel) before "
            "saving it as a raw stack"
        )
    step, pixel = float(meta["scale"][-3]), float(meta["scale"][-1])
    return RawHeader.new(
        step_um=step,
        half_range_um=step * (planes - 1) / 2,
        center_um=float(meta.get("translate", (0.0,) * 3)[-3]) + step * (planes - 1) / 2,
        bit_depth=bits,
        optics=Optics(pixel_size_um=pixel),
    )
