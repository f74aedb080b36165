"""The benchmark: several methods asked about the same test cells, and judged alike.

A *run* is one method with one seed; its answers are one JSON file, named by the fingerprint of
what they depend on (method, data, code). A stopped benchmark therefore goes on where it was, and
a finished run is repeated only when something that it depends on has changed. Judging is cheap
and done anew each time, from the answers of all runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.errors import ExistsError, FormatError
from fgaf.dataset.files import write_text
from fgaf.model.exam import Exam
from fgaf.model.methods import Method
from fgaf.model.preset import Preset
from fgaf.model.report import render_report
from fgaf.model.results import judge_runs, results_csv

Say = Callable[[str], None]

_DECIMALS: Final = 6


@dataclass(frozen=True)
class Run:
    """One method with one seed.

    Attributes
    ----------
    method, seed
        What is run; the seed is None for a method that draws nothing.
    settings
        Everything the method was told, defaults included.
    fingerprint
        SHA-256 over method, settings, data and code.
    """

    method: Method
    seed: int | None
    settings: dict[str, Any]
    fingerprint: str

    @property
    def name(self) -> str:
        """Name of its files."""
        seed = "" if self.seed is None else f"-seed{self.seed}"
        return f"{self.method.id}{seed}-{self.fingerprint[:12]}"


def plan_runs(preset: Preset, exam: Exam, seeds: Sequence[int] | None = None) -> list[Run]:
    """List the runs of a benchmark in the order of the preset, methods that draw once per seed.

    Raises
    ------
    SettingError
        A method has a setting or a measure that does not exist.
    """
    chosen = tuple(dict.fromkeys(seeds or preset.seeds))
    runs = []
    for method in preset.methods:
        for seed in chosen if method.seeded else (None,):
            settings = method.told(exam, seed)
            runs.append(Run(method, seed, settings, _fingerprint(method, settings, exam)))
    return runs


def is_finished(run: Run, out: Path) -> bool:
    """Whether the folder of a benchmark holds the answers of a run."""
    return _run_path(run, out).is_file()


def run_benchmark(
    archive: Archive,
    preset: Preset,
    out: Path,
    *,
    seeds: Sequence[int] | None = None,
    split: str = DEFAULT_SPLIT,
    overwrite: bool = False,
    say: Say = lambda _line: None,
) -> dict[str, Any]:
    """Ask every method of a preset about the test cells and judge the answers.

    Parameters
    ----------
    archive
        The data; in memory trains fastest (`Archive.read`).
    preset
        What to compare.
    out
        Folder for ``runs/*.json``, ``models/``, ``results.json``, ``results.csv`` and
        ``report.html``. An unfinished benchmark of the same preset and data goes on.
    seeds
        Instead of the preset's own.
    split
        Which split of the archive to use.
    overwrite
        Begin anew in a folder that holds another benchmark.
    say
        Called with a line per run, when it begins or is found finished.

    Returns
    -------
    dict
        What ``results.json`` holds.

    Raises
    ------
    FgafError
        The archive has nothing to train on or to test on, or a run failed.
    ExistsError
        The folder holds something else.
    """
    exam = Exam(archive, split)
    exam.check()
    runs = plan_runs(preset, exam, seeds)
    _enter(out, preset, exam, overwrite)
    answers = []
    for number, run in enumerate(runs, start=1):
        known = _load(run, out)
        say(f"[{number}/{len(runs)}] {run.name}{' (finished before)' if known else ''}")
        answers.append(known or _perform(run, exam, out))
    results = judge_runs(preset, exam, [run.method for run in runs], answers)
    write_text(out / "results.json", json.dumps(results, indent=1) + "\n", overwrite=True)
    write_text(out / "results.csv", results_csv(results), overwrite=True)
    write_text(out / "report.html", render_report(results, archive), overwrite=True)
    return results


def versions() -> dict[str, str]:
    """Versions of this program and of what its numbers depend on."""
    packages = ("numpy", "scipy", "torch", "torchvision")
    return {
        "fgaf": version("fgaf"),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def machine() -> dict[str, Any]:
    """Kind of machine, without anything that names this one."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "processors": os.cpu_count(),
    }


def _fingerprint(method: Method, settings: dict[str, Any], exam: Exam) -> str:
    """Digest what the answers depend on; not the name that tables give the method."""
    code = hashlib.sha256()
    for name in (type(method).__module__, *method.code):
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(name)
        code.update(Path(spec.origin).read_bytes())
    depends = {
        "kind": method.kind,
        "settings": settings,
        "archive": exam.archive.fingerprint,
        "split": exam.archive.splits[exam.split].tolist(),
        "code": code.hexdigest(),
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _enter(out: Path, preset: Preset, exam: Exam, overwrite: bool) -> None:
    """Claim the folder for this benchmark, or refuse one that holds something else."""
    identity = {
        "format": "fgaf-benchmark-folder",
        "preset": preset.model_dump(mode="json", exclude={"seeds", "description"}),
        "archive": exam.archive.fingerprint,
        "split": exam.split,
    }
    card = out / "benchmark.json"
    if card.is_file():
        held = json.loads(card.read_text(encoding="utf-8"))
        if held == identity:
            return
        if not overwrite:
            differs = [key for key in ("preset", "archive", "split") if held[key] != identity[key]]
            raise ExistsError(
                f"{out} holds a benchmark with another {' and '.join(differs)}; "
                "choose another folder or pass --overwrite"
            )
        for folder in ("runs", "models"):
            shutil.rmtree(out / folder, ignore_errors=True)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExistsError(f"{out} is there already and holds no benchmark; choose another folder")
    write_text(card, json.dumps(identity, indent=1) + "\n", overwrite=True)


def _run_path(run: Run, out: Path) -> Path:
    return out / "runs" / f"{run.name}.json"


def _load(run: Run, out: Path) -> dict[str, Any] | None:
    """Read the answers of a run that was finished before."""
    path = _run_path(run, out)
    if not path.is_file():
        return None
    try:
        answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise FormatError(f"{path} is damaged; remove it and its run is repeated") from error
    return answer if answer["fingerprint"] == run.fingerprint else None


def _perform(run: Run, exam: Exam, out: Path) -> dict[str, Any]:
    started = time.perf_counter()
    prediction = run.method.answer(exam, run.settings, out / "models" / run.name)
    answer = {
        "format": "fgaf-benchmark-run",
        "format_version": 1,
        "fingerprint": run.fingerprint,
        "method": run.method.model_dump(mode="json"),
        "seed": run.settings.get("seed"),
        "settings": run.settings,
        "seconds": round(time.perf_counter() - started, 3),
        "versions": versions(),
        "machine": machine(),
        "values": None if prediction.values is None else prediction.values.tolist(),
        "expected_um": np.round(prediction.expected_um, _DECIMALS).tolist(),
        "probabilities": np.round(prediction.probabilities, _DECIMALS).tolist(),
    }
    write_text(_run_path(run, out), json.dumps(answer) + "\n", overwrite=True)
    return answer
