"""Runs of the benchmark: one method, one seed, one fold, and its answers as one JSON file.

A run is named by the fingerprint of what its answers depend on: method, data, code. A finished run
is therefore repeated only when one of these has changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError, SettingError
from fgaf.base.files import write_text
from fgaf.base.inputs import parse_json, read_bytes
from fgaf.base.workers.code import code_digest
from fgaf.dataset.storage.sealed_json import seal_json, unseal_json
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods import Method, TrainedMethod
from fgaf.model.bench.preset import CLASSIFIER, Preset

_log = logging.getLogger(__name__)

_DECIMALS: Final = 6
_CPUINFO: Final = Path("/proc/cpuinfo")
_COUNTED: Final = ("fgaf.model.", "fgaf.curate.")
_LEFT_OUT: Final = "fgaf.model.bench."
_METHODS: Final = "fgaf.model.bench.methods."


@dataclass(frozen=True)
class Run:
    """One method with one seed on one fold.

    Attributes
    ----------
    method, seed
        What is run; the seed is None for a deterministic method.
    data
        The cells it learns from and predicts; those of one fold if there are folds.
    fold
        Number of the fold, from 1; 0 without folds.
    settings
        All settings of the method, defaults included.
    fingerprint
        SHA-256 over method, settings, data and code.
    """

    method: Method
    seed: int | None
    data: EvaluationSet
    fold: int
    settings: dict[str, Any]
    fingerprint: str

    @property
    def name(self) -> str:
        """Name of its files."""
        fold = f"-fold{self.fold}" if self.fold else ""
        seed = "" if self.seed is None else f"-seed{self.seed}"
        return f"{self.method.id}{fold}{seed}-{self.fingerprint[:12]}"

    def path(self, out: Path) -> Path:
        """Where its answers are in the folder of a benchmark."""
        return out / "runs" / f"{self.name}.json"


def plan_runs(preset: Preset, data: EvaluationSet, seeds: Sequence[int] | None = None) -> list[Run]:
    """List the runs of a benchmark in the order of the preset.

    Methods that use random numbers are run once per seed; every method once per fold.

    Parameters
    ----------
    preset
        Which methods, in which order.
    data
        The cells they predict, in all folds.
    seeds
        Used instead of those of the preset.

    Raises
    ------
    SettingError
        A method has a setting or a measure that does not exist, two classifiers are the same, or a
        network trained before is used with folds.
    """
    chosen = tuple(dict.fromkeys(seeds or preset.seeds))
    runs = []
    for method in preset.methods:
        if isinstance(method, TrainedMethod) and data.folds:
            raise SettingError(
                f"{method.id!r} was trained on one split and cannot be tested in folds; leave out "
                "--folds or this method"
            )
        for seed in chosen if method.seeded else (None,):
            for fold, part in enumerate(data.parts, start=1 if data.folds else 0):
                settings = _resolved(method, part, seed)
                mark = fingerprint(method, settings, part)
                runs.append(Run(method, seed, part, fold, settings, mark))
    _check_distinct(runs)
    return runs


def fingerprint(method: Method, settings: dict[str, Any], data: EvaluationSet) -> str:
    """Hash what the answers depend on; the method's label is not part of it.

    Parameters
    ----------
    method
        Its kind and its code enter the hash.
    settings
        All its settings, from `Method.resolved_settings`.
    data
        Its archive and its split enter the hash.
    """
    depends = {
        "kind": method.kind,
        "settings": settings,
        "archive": data.archive.fingerprint,
        "split": data.archive.splits[data.split].tolist(),
        "code": code_digest(type(method).__module__, counts),
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def counts(module: str) -> bool:
    """Whether the answers of a method that imports a module depend on it.

    Modules that plan, store and report a benchmark are left out, and so are file formats: the
    archive's fingerprint covers the data.
    """
    left_out = module.startswith(_LEFT_OUT) and not module.startswith(_METHODS)
    return module.startswith(_COUNTED) and not left_out


def perform(run: Run, folder: Path) -> dict[str, Any]:
    """Run a method; return its answers, settings and cost.

    Parameters
    ----------
    run
        What to run.
    folder
        For the method's files, such as a network.

    Returns
    -------
    dict
        JSON values, as `save` writes them.
    """
    _log.info("%s starts", run.name)
    started = time.perf_counter()
    prediction = run.method.answer(run.data, run.settings, folder)
    seconds = round(time.perf_counter() - started, 3)
    _log.info("%s finished after %.1f s", run.name, seconds)
    return {
        "format": "fgaf-benchmark-run",
        "format_version": 2,
        "fingerprint": run.fingerprint,
        "method": run.method.model_dump(mode="json"),
        "seed": run.seed,
        "fold": run.fold,
        "settings": run.settings,
        "seconds": seconds,
        "cost": run.method.cost(folder),
        "training": run.method.training(folder),
        "versions": versions(),
        "machine": machine(),
        "values": None if prediction.values is None else prediction.values.tolist(),
        "expected_um": _written(prediction.expected_um),
        "probabilities": _written(prediction.probabilities),
    }


def _written(numbers: NDArray[np.float64]) -> list[Any]:
    """Numbers for JSON: rounded, and null if there is none."""
    rounded = np.round(numbers, _DECIMALS).astype(object)
    rounded[np.isnan(numbers)] = None
    written: list[Any] = rounded.tolist()
    return written


def save(run: Run, answer: dict[str, Any], out: Path) -> None:
    """Write the answers of a run into the folder of its benchmark.

    Parameters
    ----------
    run
        Which run.
    answer
        JSON values.
    out
        Folder of the benchmark.
    """
    write_text(run.path(out), seal_json(answer), overwrite=True)


def load(run: Run, out: Path) -> dict[str, Any] | None:
    """Read the answers of a run; None where it is not finished.

    Parameters
    ----------
    run
        Which run.
    out
        Folder of the benchmark.

    Raises
    ------
    FormatError
        Its file is damaged.
    """
    path = run.path(out)
    if not path.is_file():
        return None
    try:
        answer = unseal_json(parse_json(read_bytes(path)))
        return answer if answer["fingerprint"] == run.fingerprint else None
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is damaged; remove it, so that its run is repeated") from error


def versions() -> dict[str, str]:
    """Versions of this program and of the libraries that its numbers depend on."""
    packages = ("numpy", "scipy", "torch", "torchvision")
    return {
        "fgaf": version("fgaf"),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def machine() -> dict[str, Any]:
    """Type of machine, without anything that identifies this one."""
    return {
        "system": platform.system(),
        "processor": _processor() or platform.machine(),
        "processors": os.cpu_count(),
    }


def _processor() -> str:
    """Model of the processor, where Linux or Windows give it."""
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _resolved(method: Method, data: EvaluationSet, seed: int | None) -> dict[str, Any]:
    """Get a method's settings; an error names the method."""
    try:
        return method.resolved_settings(data, seed)
    except SettingError as error:
        raise SettingError(f"method {method.id!r}: {error}") from error


def _check_distinct(runs: Sequence[Run]) -> None:
    """Refuse two classifiers with the same settings, which must be a mistake."""
    by_fingerprint: dict[str, str] = {}
    for run in runs:
        other = by_fingerprint.setdefault(run.fingerprint, run.method.id)
        if other != run.method.id and run.method.kind == CLASSIFIER:
            raise SettingError(
                f"methods {other!r} and {run.method.id!r} have the same settings; change or "
                "remove one of them, or a --set that makes them equal"
            )
