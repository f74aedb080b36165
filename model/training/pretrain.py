"""Pretraining: one network for many microscopes, from an endless supply of simulated cells."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fgaf.base import console
from fgaf.base.errors import FgafError
from fgaf.base.files import write_text
from fgaf.base.folder_lock import working_in
from fgaf.base.workers.outcomes import in_order
from fgaf.base.workers.processes import in_processes
from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.train import train
from fgaf.model.training.worlds import (
    INTERVAL_S,
    MAGNIFICATION,
    RANGES,
    Worlds,
    join,
    simulate_epoch,
    simulate_epochs,
    simulate_held_out,
)

WORLDS, RUN, WEIGHTS, CARD = "worlds.h5", "run", "sim.safetensors", "sim.md"

SETTINGS = TrainSettings(epochs=1000, hours=10.0, batch=64)
"""Settings of the training: those of the preset `default`, with more patches in a step."""

Bar = Callable[[Iterable[int], str, int], Iterator[int]]


def pretrain(
    out: Path,
    worlds: Worlds | None = None,
    settings: TrainSettings = SETTINGS,
    progress: Bar = console.progress,
    workers: int = 1,
) -> dict[str, Any]:
    """Simulate, train, and write the network with its card; resumes after a kill.

    Every epoch has cells of its own, which worker processes simulate while the epoch before is
    trained; they are not stored. Those of the first epoch and of the microscopes held out are.

    Parameters
    ----------
    out
        Folder for `WORLDS`, the training run `RUN`, `WEIGHTS` and `CARD`.
    worlds, settings
        Amount of data, and training settings.
    progress
        Wraps the long loops.
    workers
        Number of processes for the simulation; the cells are the same for any number.

    Returns
    -------
    dict
        The metrics of the run, on held-out microscopes.

    Raises
    ------
    FgafError
        `out` holds another pretraining.
    """
    worlds = worlds or Worlds()
    with working_in(out):
        path = out / WORLDS
        if not path.is_file():
            write_archive(path, _first_and_held_out(worlds, progress, workers))
        archive = Archive.read(path)
        if archive.header.name != str(worlds):
            raise FgafError(
                f"{out} was started with {archive.header.name}, not {worlds}; choose "
                "another folder, or use those numbers"
            )

        def supply(first: int) -> Generator[Archive, None, None]:
            return simulate_epochs(worlds, first, settings.epochs, workers)

        metrics = train(archive, settings, out / RUN, resume=True, progress=progress, supply=supply)
        checkpoint = Checkpoint.load(out / RUN / "checkpoint.pt")
        kept = {key: metrics[key] for key in _KEPT if key in metrics}
        replace(checkpoint, metrics=kept).save(out / WEIGHTS)
        write_text(out / CARD, _card(worlds, checkpoint.settings, metrics), overwrite=True)
        return metrics


_KEPT = ("top1", "top3", "mae_um", "expected_mae_um", "expected_p95_um", "n_cells", "n_patches")


def _first_and_held_out(worlds: Worlds, progress: Bar, workers: int) -> Archive:
    """Cells of the first epoch, and of the microscopes held out."""
    numbers = range(worlds.held_out)
    outcomes = in_processes(partial(simulate_held_out, worlds), numbers, workers)
    with closing(in_order(outcomes, [f"microscope {number}" for number in numbers])) as each:
        bar = progress(numbers, "simulating microscopes held out", len(numbers))
        parts = [part for _, part in zip(bar, each, strict=True)]
    return join([simulate_epoch(worlds, 0), *parts], str(worlds))


def _card(worlds: Worlds, settings: TrainSettings, metrics: dict[str, Any]) -> str:
    def span(key: str, digits: int = 3) -> str:
        value, interval = f"{metrics[key]:.{digits}f}", metrics["intervals"][key]
        if interval is None:  # of a single cell
            return value
        return f"{value} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"

    command = (
        f"fgaf-pretrain --cells {worlds.cells} --microscopes {worlds.microscopes} "
        f"--seed {worlds.seed} --epochs {settings.epochs} --hours {settings.hours:g}"
    )
    epochs = metrics["trained_epochs"]
    microscopes = epochs * worlds.microscopes
    hours = metrics["timing"]["train_s"] / 3600
    ranges = "\n".join(f"| {key} | {low:g} to {high:g} |" for key, (low, high) in RANGES.items())
    return f"""# The network `sim`

A {settings.backbone} with the FGAF module ({metrics["parameters"] / 1e6:.2f} million parameters)
that estimates the depth of a sperm in one 96 px patch, within ±2 µm of its focus. It was trained
on simulated cells only, without any real image. Use it as a start for fine-tuning (`fgaf-train
dataset.h5 --pretrained sim --out run`); do not rely on its depths on a real microscope without
fine-tuning. Licence: that of fgaf.

Made by `{command}`, which took {hours:.1f} hours for {epochs} epochs. Each had cells of its own:
{microscopes * worlds.cells} cells at nine depths each, drawn uniformly, under {microscopes}
microscopes. Contrast, light, camera and the looks of the sperm were drawn as for realistic fields
(`fgaf.acquire.simulation.realistic`), with {MAGNIFICATION:g}x objectives and these ranges:

| setting | range |
|---|---|
{ranges}
| interval between planes, s | {INTERVAL_S[0]:g} to {INTERVAL_S[1]:g} |

On {metrics["n_cells"]} cells of microscopes held out (same ranges; 95 % intervals over cells):
top-1 {span("top1")}, mean error of the expected depth {span("expected_mae_um")} µm, 95 % within
{span("expected_p95_um")} µm.
"""
