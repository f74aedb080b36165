"""Whatever a stack or an archive holds, every export brings it back with its checksum."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import get_type_hints

import numpy as np
from hypothesis import HealthCheck, given, settings, strategies as st

from fgaf.base.bounds import bound_of
from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.exporters.export import ARCHIVE_FORMATS, STACK_FORMATS, export
from fgaf.dataset.importers.patch_sets import import_patches
from fgaf.dataset.importers.stacks import import_stacks
from fgaf.dataset.raw import RawHeader, RawStack
from fgaf.dataset.storage.optics import Optics
from fgaf.dataset.whole_stack import write_whole_stack

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
POSITIVE = st.floats(1e-3, 1e3)
OPTICS = st.builds(
    Optics,
    **{
        name: st.none() | st.floats(bound.least, bound.most)
        for name, kind in get_type_hints(Optics, include_extras=True).items()
        if (bound := bound_of(kind)) is not None
    },
)
SLOW = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def stacks(draw: st.DrawFn) -> tuple[RawHeader, np.ndarray, dict[str, np.ndarray]]:
    """A header, pixels and columns: odd sizes, texts, clocks at their limits."""
    n, rows, columns = (draw(st.integers(low, 9)) for low in (2, 1, 1))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    step = draw(POSITIVE)
    header = RawHeader.new(
        step_um=step,
        half_range_um=step * (n - 1) / 2,
        center_um=draw(st.floats(-1e4, 1e4)),
        optics=draw(OPTICS),
        bit_depth=8 * np.dtype(dtype).itemsize,
        **{name: draw(TEXT) for name in ("sample_id", "operator", "field", "camera", "rig")},
    )
    z = header.center_um + (np.arange(n) - (n - 1) / 2) * step
    times = draw(st.lists(st.integers(0, 2**62), min_size=n, max_size=n))
    planes = {
        "z_requested_um": z,
        "z_measured_um": z + rng.normal(0, 0.01 * step, n),
        "time_device_ns": np.array(times),
        "time_host_ns": np.array(times[::-1]) % (4 * 10**18),
        "frame_id": np.arange(n) * 7,
        "exposure_us": rng.uniform(0, 1e6, n),
    }
    high = np.iinfo(dtype).max
    return header, rng.integers(0, high, (n, rows, columns), dtype, endpoint=True), planes


@st.composite
def archives(draw: st.DrawFn) -> Archive:
    """Cells with different numbers of planes, depths off the grid, odd names."""
    planes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    k, m = len(planes), sum(planes)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    side = draw(st.integers(1, 7))
    cell = np.repeat(np.arange(k, dtype=np.int32), planes)
    plane = np.concatenate([np.arange(n, dtype=np.int32) for n in planes])
    texts = ("source", "source_sha256", "sample_id", "field", "annotator", "labelled_utc")
    cells = {name: draw(st.lists(TEXT, min_size=k, max_size=k)) for name in (*texts, "method")}
    numbers = {
        "id": draw(st.lists(TEXT, min_size=k, max_size=k, unique=True)),
        "focus_um": rng.normal(size=k),
        "focus_plane": np.full(k, 2),
        "confidence": rng.uniform(size=k),
    }
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    depth = (plane - 2) * 0.5 + rng.uniform(-0.2, 0.2, m)
    sides = st.lists(st.integers(0, 2), min_size=k, max_size=k)
    images = rng.integers(0, 255, (m, side, side), dtype)
    return Archive(
        header=ArchiveHeader.new(
            step_um=0.5,
            half_range_um=1.0,
            patch_px=side,
            optics=draw(OPTICS),
            name=draw(TEXT),
            description=draw(TEXT),
        ),
        images=images,
        masks=(images % 3).astype(np.uint8) if draw(st.booleans()) else None,
        depth_um=depth,
        plane=plane,
        cell=cell,
        center_y=rng.integers(0, 999, m, np.int32),
        center_x=rng.integers(0, 999, m, np.int32),
        cells=Cells.from_columns(cells | numbers),
        true_depth_um=depth + 0.1 if draw(st.booleans()) else None,
        splits={name: np.array(draw(sides), np.int8) for name in ("default", "other")},
    )


@SLOW
@given(made=stacks(), kind=st.sampled_from(sorted(STACK_FORMATS)))
def test_every_stack_comes_back(
    made: tuple[RawHeader, np.ndarray, dict[str, np.ndarray]], kind: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = write_whole_stack(folder / "a.stack.h5", *made)
        (back,) = import_stacks(export([first], kind, folder / "out"), folder / "back")
        with RawStack.open(first) as before, RawStack.open(back.path) as after:
            assert after.fingerprint == before.fingerprint


@SLOW
@given(archive=archives(), kind=st.sampled_from(ARCHIVE_FORMATS))
def test_every_archive_comes_back(archive: Archive, kind: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = write_archive(folder / "a.h5", archive)
        out = folder / ("set.npz" if kind == "npz" else "set")
        export([first], kind, out)
        back = write_archive(folder / "b.h5", import_patches(out))
        assert Archive.read(back).fingerprint == Archive.read(first).fingerprint
