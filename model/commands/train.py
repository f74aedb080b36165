"""The commands `fgaf-train` and `fgaf-pretrain`: parse, call the library, print."""

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fgaf.base.bounds import Cells, Epochs, Folds, Hours, Repeats, Seed, Threads
from fgaf.base.console import Tool, bar, count, echo, finish, progress
from fgaf.base.errors import SettingError
from fgaf.base.inputs import read_toml
from fgaf.base.options import PATH, Number, json_option, overwrite_option, workers_option
from fgaf.base.outputs import free_path, kept_if_used, output_folder
from fgaf.base.toml import parse_assignment
from fgaf.model.networks.settings import (
    NETWORKS,
    PRESETS,
    TrainSettings,
    preset,
    read_settings,
    to_toml,
)

if TYPE_CHECKING:
    from fgaf.dataset.archive import Archive


@click.command(cls=Tool)
@click.argument("dataset", type=PATH, required=False)
@click.option("--out", type=PATH, help="Folder of the run.  [default: DATASET-run]")
@click.option(
    "--task",
    type=click.Choice(list(NETWORKS)),
    help="What to learn: the depth of each patch, or the masks of the heads in it.  "
    "[default: depth]",
)
@click.option(
    "--preset",
    "base",
    type=click.Choice(sorted(PRESETS)),
    help="Settings to start from; by default chosen from the patches.",
)
@click.option("--settings", "file", type=PATH, help="TOML file of settings (key = value).")
@click.option("--backbone", help="Network: see --list.")
@click.option("--fgaf/--no-fgaf", default=None, help="With the FGAF module or bare.")
@click.option("--epochs", type=Number(Epochs), help="Passes over the training cells.")
@click.option("--seed", type=Number(Seed), help="Random seed.")
@click.option("--split", help="Name of the split in the archive.")
@click.option(
    "--pretrained", metavar="sim|RUN", help="Start from the shipped network, or from a run's."
)
@click.option(
    "--weights", type=PATH, help="Start from a torchvision network's weights (ImageNet's .pth)."
)
@click.option(
    "--folds",
    type=Number(Folds),
    help="Cross-validate: number of folds; every cell is tested once.",
)
@click.option("--precision", help="fp32, bf16, or auto: the faster one in a few timed steps.")
@click.option(
    "--threads",
    type=Number(Threads),
    help="Processor threads; 0: two, or what OMP_NUM_THREADS allows.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set any setting; may be repeated.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Resume a stopped run with its settings: the one in --out, or the only unfinished one of "
    "DATASET.",
)
@overwrite_option
@click.option("--show-settings", is_flag=True, help="Print the settings as TOML and stop.")
@click.option(
    "--list",
    "pattern",
    is_flag=False,
    flag_value="*",
    metavar="[PATTERN]",
    help="List the networks whose name fits, such as '*shuffle*', and stop.",
)
@json_option
def train(
    dataset: Path | None,
    out: Path | None,
    base: str | None,
    file: Path | None,
    assignments: tuple[str, ...],
    pretrained: str | None,
    weights: Path | None,
    folds: int | None,
    resume: bool,
    overwrite: bool,
    show_settings: bool,
    pattern: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train a network on the archive DATASET and evaluate it on its test cells.

    The network estimates depth, or with --task heads segments the heads of sperm, for which the
    archive must hold masks. OUT then holds the checkpoint, settings.toml, history.csv, metrics.json
    and pictures, for heads also report.html, with --folds of all folds. Settings come from the
    preset, then --settings, then the flags, then --set. Without a preset, heads are trained with
    `heads`, bright objects on a dark background, such as fluorescent beads, with `fluorescence`,
    all others with `default`. With few cells, start from the network that was pretrained on
    simulated ones. Several processes or machines train together under torchrun.

    \b
    fgaf-train dataset.h5
    fgaf-train dataset.h5 --preset paper --epochs 30 --out run34
    fgaf-train dataset.h5 --backbone shufflenet_v2_x0_5 --set loss=wloss
    fgaf-train dataset.h5 --pretrained sim
    fgaf-train dataset.h5 --task heads --backbone unext_s
    fgaf-train dataset.h5 --folds 5
    fgaf-train dataset.h5 --resume
    torchrun --nproc-per-node 2 -m fgaf.model.commands.train dataset.h5
    """  # noqa: D301 - click reads the backspace
    if pattern is not None:
        _list(pattern, as_json)
        return
    if pretrained and weights:
        raise SettingError("give --pretrained or --weights, not both")
    flags["start"] = pretrained or (str(weights) if weights else None)
    settings = _settings(base, file, flags, assignments)
    if show_settings and dataset is None:
        echo(to_toml(settings), nl=False)
        return
    if dataset is None:
        raise SettingError("give an archive, as in: fgaf-train dataset.h5")

    from fgaf.model.training.defaults import default_preset
    from fgaf.model.training.fit import require_fit
    from fgaf.model.training.folds import cross_validate
    from fgaf.model.training.out_of_core import opened
    from fgaf.model.training.parallel import leads
    from fgaf.model.training.resume import FIRST_FOLD, Resumed, unfinished_run, usual_folder
    from fgaf.model.training.train import train as train_once

    how: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "checked": True}
    how["progress"] = progress
    free = base is None and file is None and settings.task == "depth"
    with opened(dataset, progress=bar("verifying") if leads() else iter) as archive:
        resumed = None
        if resume:
            if out is None:
                out = unfinished_run(dataset, folds)
                if leads() and not show_settings:
                    echo(f"writing {out}", err=as_json)
            resumed = Resumed.of(out)
        if resumed is not None:
            resumed.check(_given(base, file), None, f"--preset {base}" if base else str(file))
            resumed.check(_flags(flags, assignments), folds, "the command line")
            settings, folds = resumed.settings, resumed.folds
        elif free and (suits := default_preset(archive, settings.start)) != "default":
            settings = _settings(suits, None, flags, assignments)
            if leads():
                echo(
                    f"the objects are bright on a dark background: the preset {suits} is taken",
                    err=True,
                )
        if show_settings:
            echo(to_toml(settings), nl=False)
            return
        require_fit(archive, (lambda line: echo(line, err=True)) if leads() else lambda _: None)
        usual = usual_folder(dataset, folds)
        if leads():
            folder = output_folder(out, usual, overwrite, as_json)
        else:
            folder = out or free_path(usual)
        with kept_if_used(folder):
            if folds is None:
                metrics = train_once(archive, settings, folder, **how)
            else:
                metrics = cross_validate(archive, settings, folder, folds, **how)
            if leads() and settings.task == "heads":
                _write_report(folder, metrics, archive, settings.seed)
    if not leads():
        return
    if metrics.get("better_than_chance") is False:
        echo(
            "warning: no better than chance: the interval of top-1 includes the share of the most "
            "common depth; check the labels (fgaf-data validate), train longer, or add cells",
            err=True,
        )
    if metrics.get("refined_cells"):
        echo(
            f"warning: the labels of {metrics['refined_cells']} of "
            f"{count(metrics['n_cells'], 'test cell')} were corrected by networks "
            "(fgaf-refine --test): judged by them, a network looks better than it is",
            err=True,
        )
    network = folder if folds is None else folder / FIRST_FOLD
    finish(
        f"wrote {folder}: {_summary(metrics)}",
        ["fgaf-predict", network, "IMAGES"],
        metrics,
        as_json,
    )


@click.command(cls=Tool)
@click.option(
    "--out",
    type=PATH,
    default=Path("pretrained"),
    show_default=True,
    help="Folder for all results; an unfinished run there is resumed.",
)
@click.option(
    "--cells",
    type=Number(Cells),
    default=16,
    show_default=True,
    help="Cells of each microscope.",
)
@click.option(
    "--microscopes",
    type=Number(Repeats),
    default=24,
    show_default=True,
    help="Microscopes of each epoch; no two epochs have the same.",
)
@click.option(
    "--seed", type=Number(Seed), default=1, show_default=True, help="Random seed of the simulation."
)
@click.option("--epochs", type=Number(Repeats), default=1000, show_default=True)
@click.option(
    "--hours",
    type=Number(Hours),
    default=10.0,
    show_default=True,
    help="End after these, also where epochs are left.",
)
@workers_option
@json_option
def pretrain(
    out: Path,
    cells: int,
    microscopes: int,
    seed: int,
    epochs: int,
    hours: float,
    workers: int | None,
    as_json: bool,
) -> None:
    """Train the default network on simulated cells under many microscopes.

    Every epoch has new cells, simulated while the epoch before is trained. OUT then holds the
    weights (sim.safetensors), their card (sim.md), the cells of microscopes held out and the
    training run. Run the command again to resume after a kill. Start from the network with
    fgaf-train --pretrained OUT/sim.safetensors.
    """
    from dataclasses import replace

    from fgaf.base.workers.cores import usable_cores
    from fgaf.model.training.pretrain import SETTINGS, WEIGHTS, pretrain as pretrain_in
    from fgaf.model.training.worlds import Worlds

    worlds = Worlds(microscopes=microscopes, cells=cells, seed=seed)
    echo(f"writing {out}", err=as_json)
    settings = replace(SETTINGS, epochs=epochs, hours=hours)
    metrics = pretrain_in(out, worlds, settings, progress, workers or usable_cores())
    finish(
        f"wrote {out}: {_summary(metrics)}",
        ["fgaf-train", "dataset.h5", "--pretrained", out / WEIGHTS],
        metrics,
        as_json,
    )


def _write_report(out: Path, metrics: dict[str, Any], archive: "Archive", seed: int) -> None:
    import numpy as np

    from fgaf.base.files import write_text
    from fgaf.dataset.splits.split import TEST
    from fgaf.model.bench.segmentation.page import segmentation_page
    from fgaf.model.inference.segment import Segmenter
    from fgaf.model.training.folds import draw_folds, folder_of_fold
    from fgaf.model.training.resume import METRICS
    from fgaf.model.training.run_folder import REPORT

    if "folds" in metrics:
        folders = [folder_of_fold(out, k + 1) for k in range(metrics["folds"])]
        sides = [split[archive.cell] for split in draw_folds(archive, metrics["folds"], seed)]
    else:
        folders, sides = [out], [archive.split_of_rows(metrics["split"])]
    runs = [json.loads((folder / METRICS).read_text()) for folder in folders]
    rows = [np.flatnonzero(side == TEST) for side in sides]
    tested = list(zip(map(Segmenter.load, folders), rows, strict=True))
    write_text(out / REPORT, segmentation_page(metrics, runs, tested, archive), overwrite=True)


def _list(pattern: str, as_json: bool) -> None:
    known = [name for names in NETWORKS.values() for name in names]
    names = [name for name in known if fnmatch(name, pattern)]
    if not names:
        raise SettingError(f"no network matches {pattern!r}; choose from {', '.join(known)}")
    finish("\n".join(names), None, {"backbones": names}, as_json)


def _settings(
    base: str | None, file: Path | None, flags: dict[str, Any], assignments: tuple[str, ...]
) -> TrainSettings:
    if file is not None and base is not None:
        raise SettingError(
            "give --preset or --settings, not both: a settings file gives its own preset"
        )
    given = _flags(flags, assignments)
    usual = "heads" if given.get("task") == "heads" else "default"
    settings = preset(base or usual) if file is None else read_settings(file, usual)
    return settings.with_values(given)


def _flags(flags: dict[str, Any], assignments: tuple[str, ...]) -> dict[str, Any]:
    """Settings given by flags and by --set."""
    given = {key: value for key, value in flags.items() if value is not None}
    return given | dict(map(parse_assignment, assignments))


def _given(base: str | None, file: Path | None) -> dict[str, Any]:
    """Settings given by --preset or --settings."""
    if file is None:
        return dict(PRESETS[base]) if base else {}
    values = read_toml(file)
    return dict(PRESETS.get(str(values.pop("preset", "default")), {})) | values


def _summary(metrics: dict[str, Any]) -> str:
    return _SUMMARIES[metrics["task"]](metrics)


def _percent(metrics: dict[str, Any], key: str) -> str:
    if metrics[key] is None:
        return "unknown"
    interval = metrics["intervals"][key]
    span = f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
    return f"{100 * metrics[key]:.1f} %{span}"


def _summary_of_depth(metrics: dict[str, Any]) -> str:
    return (
        f"top-1 {_percent(metrics, 'top1')}, top-3 {_percent(metrics, 'top3')}, mean error "
        f"{metrics['mae_um']:.3f} µm, of the expected depth {metrics['expected_mae_um']:.3f} µm, "
        f"on {count(metrics['n_cells'], 'test cell')}, judged by the {metrics['judged_by']}"
    )


def _summary_of_heads(metrics: dict[str, Any]) -> str:
    off = metrics["centre_median_px"]
    return (
        f"IoU {_percent(metrics, 'iou')}, heads found {_percent(metrics, 'recall')}, "
        + ("" if off is None else f"centre off {off:.2f} px in the median, ")
        + f"on {count(metrics['n_cells'], 'test cell')}"
    )


_SUMMARIES = {"depth": _summary_of_depth, "heads": _summary_of_heads}


if __name__ == "__main__":
    train()
