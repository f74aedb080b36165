"""Calibration: a network adapted to a microscope by raw stacks that nobody labelled.

The drive tells by how much the depths of a cell's planes differ; only where each cell is in focus
is unknown. First the steps decide whether the network's depths rise or fall with the drive. Then
the network is adapted in folds, with the foci of the focus rule, and each fold gives the foci of
the cells that it did not see: these are better, as the rule's error of one cell is no longer
learned with it. The last adaptation, with these foci and on all cells, is the result. The folds
also tell how good it is, by the steps of cells held out, for which no truth is needed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from fgaf.base.console import count
from fgaf.base.folder_lock import working_in
from fgaf.model.calibration.adapt import Adapter, Planes
from fgaf.model.calibration.cells import Files, Searched, Usable, find_cells
from fgaf.model.calibration.check import follow
from fgaf.model.calibration.offsets import Foci
from fgaf.model.calibration.result import Evidence, Labelled, Result
from fgaf.model.calibration.settings import CalibrationSettings
from fgaf.model.calibration.steps import Steps, measure_steps, require_proportional, sign_of
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.out_of_distribution import learn
from fgaf.model.inference.predict import load_checkpoint
from fgaf.model.networks.decode import fit_temperature
from fgaf.model.training.compute import Compute
from fgaf.model.training.run_folder import require_new_run

_log = logging.getLogger(__name__)

_FOLDS: Final = 3

Bar = Callable[[Iterable[int], str, int], Iterable[int]]


def calibrate(
    paths: Sequence[Path],
    out: Path,
    settings: CalibrationSettings | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    files: Files | None = None,
    progress: Bar = lambda items, _label, _length: items,
) -> dict[str, Any]:
    """Adapt a network to the microscope of some raw stacks; no label is used.

    Parameters
    ----------
    paths
        Raw stacks of one microscope.
    out
        Folder of the run: `checkpoint.pt`, `metrics.json`, `settings.toml`, the cells with the
        depths that were found for them (`cells.h5`, `cells.csv`).
    settings
        Settings of the calibration.
    workers
        Processes that search the stacks.
    overwrite
        Replace the run in `out`.
    files, progress
        Wrap the stacks, and the adaptations.

    Returns
    -------
    dict
        Content of `metrics.json`.

    Raises
    ------
    FgafError
        Too few cells; the sign is undecided; the depths of cells held out are not proportional to
        the steps; stacks of several microscopes; the start is no depth network; or the folder is in
        use or holds a run.
    """
    settings = settings or CalibrationSettings()
    started = time.perf_counter()
    start = load_checkpoint(Path(settings.start), "depth")
    with working_in(out):
        require_new_run(out, resume=False, overwrite=overwrite)
        stacks, found = find_cells(paths, start, settings, workers=workers, files=files)
        result = Calibration(start, settings, stacks, found).run(progress)
        result.metrics["timing"] = {"total_s": round(time.perf_counter() - started, 2)}
        result.write(out)
    return result.metrics


class Calibration:
    """One calibration in memory.

    Parameters
    ----------
    start
        Network to start from.
    settings
        Settings of the calibration.
    stacks
        The stacks.
    found
        Their cells.
    """

    def __init__(
        self,
        start: Checkpoint,
        settings: CalibrationSettings,
        stacks: Sequence[Searched],
        found: Usable,
    ) -> None:
        self.start, self.settings, self.stacks, self.found = start, settings, stacks, found
        self.planes = Planes.of(found)
        of_network = replace(
            start.settings,
            start=settings.start,
            lr=settings.lr,
            optimizer="sgd",
            schedule="warmup_cosine",
            seed=settings.seed,
            threads=settings.threads,
            epochs=1,
        )
        device = "cuda" if torch.cuda.is_available() else "cpu"
        threads = settings.threads or min(2, torch.get_num_threads())
        self.machine = Compute(device, threads, bf16=False)
        self.adapter = Adapter(start, self.planes, of_network, settings.steps, self.machine)
        self.n = len(found.cells)

    def run(self, progress: Bar) -> Result:
        """Decide the sign, adapt in folds, and then with all cells."""
        with self.machine.used():
            before = self._turn()
            folds = self._folds()
            logits = torch.zeros(len(self.planes.cell), len(self.start.class_depths_um))
            n_folds = int(folds.max()) + 1
            unknown = Foci.unknown(self.n)
            for fold in progress(range(n_folds + 1), "adapting", n_folds + 1):
                own = folds[self.planes.cell]
                if fold < n_folds:
                    seed = self.settings.seed + 1 + fold
                    network = self.adapter.adapt(np.flatnonzero(own != fold), unknown, seed)
                    held = np.flatnonzero(own == fold)
                    logits[held] = self.adapter.logits(network, held, self._tta)
                    continue
                foci, after = self._held_out(logits)
                network = self.adapter.adapt(np.arange(len(own)), foci, self.settings.seed)
        evidence = Evidence(self.planes, self.adapter.depths(logits), foci, folds, before, after)
        found = Labelled(self.stacks, self.found, evidence, self.start)
        checkpoint = self._checkpoint(network, logits, evidence, found)
        metrics = self._metrics(evidence, checkpoint)
        return Result(checkpoint, found.archive(), found.rows(), metrics)

    @property
    def _tta(self) -> bool:
        return self.adapter.settings.tta

    def _turn(self) -> Steps:
        """Find the sign of the start, and how well it follows the steps as it is."""
        planes = self.planes
        within = np.flatnonzero(np.abs(planes.height_um) <= self.start.half_range_um)
        logits = self.adapter.logits(self.adapter.network(), within, tta=False)
        depth, height, cell = (
            self.adapter.depths(logits), planes.height_um[within], planes.cell[within],
        )  # fmt: skip
        sign = sign_of(height, depth, cell, self.n)
        self.adapter.turned = sign < 0
        return measure_steps(height, sign * depth, cell, self.n)

    def _folds(self) -> npt.NDArray[np.intp]:
        """Fold (K,) of each cell: the cells of a stack stay together where there are enough."""
        stack = np.array([cell.stack for cell in self.found.cells])
        groups = np.unique(stack, return_inverse=True)[1]
        if groups.max() + 1 < _FOLDS:
            groups = np.arange(self.n)
        n_groups = int(groups.max()) + 1
        rng = np.random.default_rng(self.settings.seed)
        fold = np.arange(n_groups) % _FOLDS
        return np.asarray(rng.permutation(fold)[groups])

    def _held_out(self, logits: torch.Tensor) -> tuple[Foci, Steps]:
        """Foci and error of steps by networks that did not see the cell."""
        foci, steps = follow(
            self.planes,
            self.adapter.depths(logits),
            self.found.prior_error_um,
            self.start.half_range_um,
            self.settings.drifts,
        )
        _log.info("held out: %s, zero ± %.3f µm", steps, foci.zero_error_um)
        require_proportional(steps)
        return foci, steps

    def _checkpoint(
        self,
        network: torch.nn.Module,
        logits: torch.Tensor,
        evidence: Evidence,
        found: Labelled,
    ) -> Checkpoint:
        planes, settings = self.planes, self.adapter.settings
        depth = evidence.depth_um
        within = found.within
        held = within & (evidence.folds[planes.cell] == 0)
        temperature = fit_temperature(
            logits[torch.from_numpy(within)],
            self.adapter.shares(depth)[torch.from_numpy(within)],
            settings.loss,
        )
        return Checkpoint(
            settings=settings,
            weights={k: v.cpu().contiguous() for k, v in network.state_dict().items()},
            scale=self.adapter.scale,
            step_um=self.start.step_um,
            half_range_um=self.start.half_range_um,
            patch_px=self.start.patch_px,
            optics=found.optics,
            archive_name=found.name,
            archive_fingerprint="",
            epoch=1,
            temperature=temperature,
            familiar=learn(
                settings, self.adapter.scale, planes.images[within & ~held], planes.images[held]
            ),
        )

    def _metrics(self, evidence: Evidence, checkpoint: Checkpoint) -> dict[str, Any]:
        foci = evidence.foci
        rules = sorted({focus.rule for focus in self.found.foci})
        return {
            "task": "depth",
            "calibrated_without_labels": True,
            "start": self.settings.start,
            "n_stacks": len(self.stacks),
            "n_cells": self.n,
            "n_planes": len(self.planes.cell),
            "cells_left_out": self.found.left_out,
            "sign_of_start": -1 if self.adapter.turned else 1,
            "start_steps": asdict(evidence.before),
            "held_out": asdict(evidence.after),
            "offset_spread_um": float(np.std(foci.shift_um)),
            "focus_error_um": float(np.sqrt(np.mean(foci.error_um**2))),
            "drift_spread": float(np.std(foci.slope)),
            "zero_error_um": foci.zero_error_um,
            "zero_by": f"the focus rule ({', '.join(rules)}) over {count(self.n, 'cell')}",
            "temperature": checkpoint.temperature,
            "seed": self.settings.seed,
            "steps": self.settings.steps,
        }
