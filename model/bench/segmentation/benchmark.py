"""The benchmark of segmentation: several methods segment the same patches, and whole fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from fgaf.base.errors import ExistsError, FgafError, FormatError, SettingError
from fgaf.base.files import write_text
from fgaf.base.folder_lock import RUN_LOCK, working_in
from fgaf.base.inputs import parse_json, read_bytes
from fgaf.base.version import __version__
from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.split import TEST, TRAIN
from fgaf.model.bench.detection.fields import Fields
from fgaf.model.bench.runs import machine
from fgaf.model.bench.segmentation.benchmark_page import benchmark_page
from fgaf.model.bench.segmentation.judge import (
    COMPARED,
    differences,
    least_area,
    moved,
    outcomes,
)
from fgaf.model.bench.segmentation.latency import latencies_ms
from fgaf.model.bench.segmentation.methods import NETWORKS, Method, checked_ids, plain
from fgaf.model.bench.segmentation.networks import opened, trained
from fgaf.model.bench.segmentation.tables import results_csv
from fgaf.model.bench.segmentation.whole_fields import judge_fields
from fgaf.model.bench.statistics import correct
from fgaf.model.metrics.heads import judge
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.defaults import resolve_schedule
from fgaf.model.training.fit import require_cells, require_fit, require_masks

Progress = Callable[[str], Callable[[Sequence[Any]], Iterable[Any]]]

RESULTS, TABLE, REPORT, MODELS = "results.json", "results.csv", "report.html", "models"
_FORMAT: Final = "fgaf-heads-benchmark"


@dataclass(frozen=True)
class Request:
    """What a benchmark of segmentation compares.

    Attributes
    ----------
    methods
        Ids of methods, see `fgaf.model.bench.segmentation.methods.LABELS`; the first is the one
        that the others are compared with. A network of the same id in `trained` is used instead.
    settings
        Settings of the networks that are trained here, with split and seed; all else being equal,
        only the backbone differs.
    trained
        Networks trained before on the same archive and split: runs, checkpoints or exports.
    shift_px
        Largest move of a test patch, whole pixels, so that its cell is not in the middle.
    fields
        Whole images with labelled heads; None for none.
    head_um
        Length of a head in them, µm.
    """

    methods: tuple[str, ...]
    settings: TrainSettings
    trained: tuple[Path, ...] = ()
    shift_px: int = 0
    fields: Fields | None = None
    head_um: float = 4.7


def run_benchmark(
    archive: Archive, request: Request, out: Path, progress: Progress = lambda _: iter
) -> dict[str, Any]:
    """Segment the test patches of an archive, and fields, by several methods.

    Parameters
    ----------
    archive
        With masks, in memory.
    request
        What to compare.
    out
        Folder for ``models/``, ``results.json``, ``results.csv`` and ``report.html``. Networks
        whose training was stopped there are trained to the end, finished ones are used.
    progress
        Makes a wrapper of a list from what is done with it.

    Returns
    -------
    dict
        What ``results.json`` holds.

    Raises
    ------
    FgafError
        The archive has no masks, no pixel size, nothing to train on or to test on; or a network may
        have seen the test cells.
    ExistsError
        The folder holds something else.
    LockedError
        Another program uses the folder.
    """
    split = request.settings.split
    pixel_um = check(archive, request)
    with working_in(out):
        _enter(out, archive, split)
        methods = _methods(archive, request, out / MODELS, pixel_um)
        least_px = least_area(archive, split, request.settings.least_area)
        seen = moved(archive, request.shift_px, request.settings.seed)
        rows = np.flatnonzero(archive.split_of_rows(split) == TEST)
        results = [
            outcomes(method, seen, rows, least_px, progress(method.label)) for method in methods
        ]
        against = [differences(one, results[0], archive.cell[rows]) for one in results[1:]]
        for key in COMPARED:
            correct([test for tests in against if (test := tests[key]) is not None])
        times = latencies_ms(methods, seen.images[rows])
        searched: dict[str, Any] | None = None
        on_fields: Sequence[dict[str, Any] | None] = [None] * len(methods)
        if request.fields is not None:
            searched, on_fields = judge_fields(
                methods,
                request.fields,
                pixel_um,
                archive.header.patch_px,
                least_px,
                request.head_um,
                progress("fields"),
            )
        told = {
            "format": _FORMAT,
            "software": f"fgaf {__version__}",
            "archive": archive.header.name or (archive.path.name if archive.path else ""),
            "archive_fingerprint": archive.fingerprint,
            "split": split,
            "seed": request.settings.seed,
            "epochs": resolve_schedule(request.settings, archive).epochs,
            "train_cells": _cells(archive, split, TRAIN),
            "test_cells": _cells(archive, split, TEST),
            "pixel_size_um": pixel_um,
            "shift_px": request.shift_px,
            "least_px": least_px,
            "machine": machine(),
            "fields": searched,
            "methods": [
                {
                    "id": method.id,
                    "label": method.label,
                    **_training(method),
                    "parameters": method.parameters,
                    "latency_ms": ms,
                    "metrics": judge(result, archive, rows, request.settings.seed),
                    "against_reference": tests,
                    "fields": field,
                }
                for method, result, tests, ms, field in zip(
                    methods, results, [None, *against], times, on_fields, strict=True
                )
            ],
        }
        page = benchmark_page(told, methods, seen, rows)
        for name, text in (
            (RESULTS, json.dumps(told, indent=1) + "\n"),
            (TABLE, results_csv(told)),
            (REPORT, page),
        ):
            write_text(out / name, text, overwrite=True)
    return told


def check(archive: Archive, request: Request) -> float:
    """Refuse what cannot be compared; return the pixel size of the archive, µm.

    Parameters
    ----------
    archive
        In memory.
    request
        What to compare.

    Raises
    ------
    FgafError
        The archive has no masks, no pixel size, or nothing to train on or to test on.
    SettingError
        No method, or one that is not known.
    """
    if not checked_ids(request.methods) and not request.trained:
        raise SettingError("nothing to compare; name methods, or give --trained RUN")
    require_masks(archive)
    require_cells(archive, request.settings.split)
    require_fit(archive)
    pixel_um = archive.header.optics.pixel_size_um
    if pixel_um is None:
        raise FgafError(
            f"{archive.path or 'the archive'} does not say its pixel size, which the finder needs; "
            "compile it from stacks with a pixel size"
        )
    return pixel_um


def _methods(archive: Archive, request: Request, folder: Path, pixel_um: float) -> list[Method]:
    """The methods in their order, with networks trained before at their places, others after."""
    before = {
        method.id: method for method in opened(request.trained, archive, request.settings.split)
    }
    methods = []
    for name in request.methods:
        if name in before:
            methods.append(before.pop(name))
        elif name in NETWORKS:
            methods.append(trained(name, archive, request.settings, folder / name))
        else:
            methods.append(plain(name, pixel_um))
    return [*methods, *before.values()]


def _training(method: Method) -> dict[str, Any]:
    """Epoch of a network's weights, and seed of its training."""
    known = method.network.card.metrics if method.network else {}
    return {"chosen_epoch": known.get("epochs"), "seed": known.get("seed")}


def _cells(archive: Archive, split: str, side: int) -> int:
    return len(np.unique(archive.cell[archive.split_of_rows(split) == side]))


def _enter(out: Path, archive: Archive, split: str) -> None:
    """Refuse a folder that holds something else, or the results of other patches."""
    if any(path.name not in (RUN_LOCK, MODELS, RESULTS, TABLE, REPORT) for path in out.iterdir()):
        raise ExistsError(
            f"{out} already exists and is not a benchmark of heads; choose another folder"
        )
    if not (out / RESULTS).is_file():
        return
    try:
        held = parse_json(read_bytes(out / RESULTS))
        of = held["format"], held["archive_fingerprint"], held["split"]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{out / RESULTS} is damaged; remove it, or choose another") from error
    if of != (_FORMAT, archive.fingerprint, split):
        raise ExistsError(
            f"{out} holds a benchmark with another archive or split; choose another folder"
        )
