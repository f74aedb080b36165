"""Raw stacks as OME-Zarr: a folder of chunks that many programs read, also over a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fgaf.base.errors import FgafError, SettingError
from fgaf.base.extras import optional
from fgaf.base.files import require_free
from fgaf.base.workers.progress import steps
from fgaf.dataset.exporters.folders import publishing_folder
from fgaf.dataset.formats import ZARR_RECORD
from fgaf.dataset.raw import SUFFIX as RAW_SUFFIX, RawStack
from fgaf.dataset.record import stack_record

VERSIONS: Final = ("0.4", "0.5")
SUFFIX: Final = ".ome.zarr"
_SPARE_BYTES = 1 << 20


def write_ome_zarr(
    stack: RawStack, path: Path, overwrite: bool = False, version: str = "0.5"
) -> Path:
    """Write an open raw stack as an OME-Zarr image with one chunk per plane.

    Parameters
    ----------
    stack
        Open stack.
    path
        The folder, ``NAME.ome.zarr``.
    overwrite
        Whether an earlier export may be replaced.
    version
        Version of the OME-Zarr specification: 0.5 uses Zarr 3, 0.4 uses Zarr 2.

    Raises
    ------
    SettingError
        Another version.
    FormatError
        The stack is damaged.
    ExistsError
        `path` exists and `overwrite` is false.
    FgafError
        The package zarr is missing, or the disk is full or cannot be written.
    """
    if version not in VERSIONS:
        raise SettingError(f"there is no OME-Zarr {version}; choose from {', '.join(VERSIONS)}")
    zarr = optional("zarr")
    stack.verify()
    require_free(path, stack.frames.size * stack.frames.dtype.itemsize + _SPARE_BYTES)
    described = _multiscales(stack)
    attributes: dict[str, Any] = (
        {"multiscales": [described | {"version": version}]}
        if version == "0.4"
        else {"ome": {"version": version, "multiscales": [described]}}
    )
    with publishing_folder(path, overwrite) as part:
        try:
            group = zarr.open_group(
                part,
                mode="w",
                zarr_format=2 if version == "0.4" else 3,
                attributes=attributes | {ZARR_RECORD: stack_record(stack)},
            )
            frames = group.create_array(
                "0",
                shape=stack.shape,
                chunks=(1, *stack.shape[1:]),
                dtype=stack.frames.dtype,
                chunk_key_encoding={
                    "name": "v2" if version == "0.4" else "default",
                    "separator": "/",
                },
                **({} if version == "0.4" else {"dimension_names": ("z", "y", "x")}),
            )
            for plane in steps(range(stack.n_planes)):
                frames[plane] = stack.frames[plane]
        except ValueError as error:
            raise FgafError(f"cannot write {path} ({error})") from error
    return path


def _multiscales(stack: RawStack) -> dict[str, Any]:
    header = stack.header
    size = header.optics.pixel_size_um
    pixel = {} if size is None else {"unit": "micrometer"}
    return {
        "name": stack.path.name.removesuffix(RAW_SUFFIX),
        "axes": [
            {"name": "z", "type": "space", "unit": "micrometer"},
            {"name": "y", "type": "space"} | pixel,
            {"name": "x", "type": "space"} | pixel,
        ],
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [header.step_um, size or 1.0, size or 1.0]},
                    {"type": "translation", "translation": [float(stack.z_um[0]), 0.0, 0.0]},
                ],
            }
        ],
    }
