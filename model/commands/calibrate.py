"""The command `fgaf-calibrate`: parse, call the library, print."""

from pathlib import Path
from typing import Any

import click

from fgaf.base.bounds import Count, PixelUm, Seed, Threads
from fgaf.base.console import Tool, bar, count, echo, finish, progress
from fgaf.base.errors import SettingError
from fgaf.base.options import (
    PATH,
    Number,
    head_option,
    json_option,
    overwrite_option,
    workers_option,
)
from fgaf.base.outputs import kept_if_used, output_folder


@click.command(cls=Tool)
@click.argument("raw", type=PATH, nargs=-1, required=True, metavar="RAW...")
@click.option("--out", type=PATH, help="Folder of the run.  [default: calibrated]")
@click.option(
    "--from",
    "start",
    default="sim",
    show_default=True,
    metavar="sim|RUN",
    help="Network to start from: the one that ships, or a run's.",
)
@click.option(
    "--pixel-size",
    type=Number(PixelUm),
    help="Pixel in the specimen, µm, if the stacks do not say.",
)
@head_option
@click.option(
    "--drift/--no-drift",
    "drifts",
    default=True,
    show_default=True,
    help="Whether a cell may climb or sink while its stack is taken.",
)
@click.option(
    "--steps",
    type=Number(Count),
    default=240,
    show_default=True,
    help="Steps of each of the four adaptations.",
)
@click.option("--seed", type=Number(Seed), default=0, show_default=True, help="Random seed.")
@click.option(
    "--threads",
    type=Number(Threads),
    default=0,
    help="Processor threads; 0: two, or what OMP_NUM_THREADS allows.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Only say how the network of --from follows the steps as it is; nothing is written.",
)
@workers_option
@overwrite_option
@json_option
def calibrate(
    raw: tuple[Path, ...],
    out: Path | None,
    pixel_size: float | None,
    check: bool,
    workers: int | None,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Adapt a network to a microscope with raw stacks that nobody labelled.

    RAW are raw stacks of one microscope, or folders of them. Their cells are found and followed;
    the steps of the drive say by how much the depths of a cell's planes differ, so that only where
    each cell is in focus is unknown. The network is adapted so that its depths follow the steps.
    The zero of depth is that of the focus rule, averaged over all cells.

    OUT is then a run like that of fgaf-train: checkpoint.pt, metrics.json, settings.toml; and
    cells.csv and cells.h5, the cells with the depths that were found. The last line says how well
    the depths of cells held out follow the steps. Nothing is written if the sign of depth is
    undecided, the depths are not proportional to the steps, or fewer than four cells are found.

    With --check the network is looked at as it is: how far its depths are off the steps, how its
    foci scatter about those of the focus rule, and how many planes are out of its range.

    \b
    fgaf-calibrate raw
    fgaf-calibrate raw/*.stack.h5 --out first-day
    fgaf-calibrate raw --from dataset-run --check
    fgaf-predict calibrated new.stack.h5
    fgaf-export calibrated --archive calibrated/cells.h5
    """  # noqa: D301 - click reads the backspace
    from fgaf.base.workers.cores import usable_cores
    from fgaf.curate.session.finding import find_stacks
    from fgaf.model.calibration.calibrate import calibrate as calibrate_on
    from fgaf.model.calibration.check import check as check_on
    from fgaf.model.calibration.settings import CalibrationSettings

    paths = find_stacks(raw)
    settings = CalibrationSettings(pixel_size_um=pixel_size, **given)
    workers = min(workers or usable_cores(), len(paths))
    if check:
        if out is not None:
            raise SettingError("--check writes nothing; leave out --out")
        figures = check_on(paths, settings, workers=workers, files=bar("searching"))
        _say_left_out(figures)
        finish(_as_it_is(figures), None, figures, as_json)
        return
    out = output_folder(out, Path("calibrated"), overwrite, as_json)
    with kept_if_used(out):
        metrics = calibrate_on(
            paths,
            out,
            settings,
            workers=workers,
            overwrite=overwrite,
            files=bar("searching"),
            progress=progress,
        )
    _say_left_out(metrics)
    finish(f"wrote {out}: {_summary(metrics)}", ["fgaf-predict", out, "IMAGES"], metrics, as_json)


def _say_left_out(figures: dict[str, Any]) -> None:
    for reason, n in sorted(figures["cells_left_out"].items()):
        echo(f"left out {count(n, 'cell')}: {reason}", err=True)


def _as_it_is(figures: dict[str, Any]) -> str:
    steps, unlike = figures["steps"], figures["out_of_range"]
    low, high = steps["error_interval_um"]
    return (
        f"{figures['start']} as it is, {count(figures['n_cells'], 'cell')} of "
        f"{count(figures['n_stacks'], 'stack')}: depths "
        f"{'rise' if figures['sign'] > 0 else 'fall'} with the drive, {steps['scale']:.2f} µm for "
        f"each µm (correlation {steps['correlation']:.2f}), steps off by "
        f"{steps['error_um']:.3f} µm ({low:.3f} to {high:.3f}), foci off those of the focus "
        f"rule by {figures['offset_spread_um']:.2f} µm, "
        + ("range not known" if unlike is None else f"{unlike:.0%} of the planes out of range")
    )


def _summary(metrics: dict[str, Any]) -> str:
    held, turned = metrics["held_out"], metrics["sign_of_start"] < 0
    low, high = held["error_interval_um"]
    return (
        f"{count(metrics['n_cells'], 'cell')} of {count(metrics['n_stacks'], 'stack')}, "
        f"{'sign turned, ' if turned else ''}steps of cells held out off by "
        f"{held['error_um']:.3f} µm ({low:.3f} to {high:.3f}; before "
        f"{metrics['start_steps']['error_um']:.3f}), focus of a cell known to "
        f"{metrics['focus_error_um']:.2f} µm, zero from {metrics['zero_by']}, known to "
        f"{metrics['zero_error_um']:.2f} µm beside the rule's own bias"
    )
