"""The command `fgaf-bench`."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fgaf.base.bounds import FoldsOrNone, Seed
from fgaf.base.console import Tool, bar, count, echo, finish
from fgaf.base.errors import SettingError
from fgaf.base.options import PATH, Number, json_option, scheduler_option
from fgaf.base.toml import parse_assignment

_WRAPPED = textwrap.TextWrapper(
    96, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
)


def _show_presets(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from fgaf.model.bench.preset import shipped

    for preset in shipped().values():
        runs = count(preset.n_runs(), "run")
        if preset.seeded and preset.seeded < len(preset.methods):
            runs += f", plus {preset.seeded * len(preset.seeds)} for every further seed"
        elif preset.seeded:
            runs += ", and as many for every further seed"
        echo(f"{preset.name}: {preset.description} ({runs})")
        ids = ", ".join(method.id for method in preset.methods)
        echo(_WRAPPED.fill(ids))
    ctx.exit()


def _numbers(ctx: click.Context, param: click.Parameter, lists: tuple[str, ...]) -> tuple[int, ...]:
    """Read "0,1,2", given once or more often."""
    words = (word.strip() for text in lists for word in text.split(","))
    return tuple(Number(Seed).convert(word, param, ctx) for word in words)


@click.command(cls=Tool)
@click.argument("dataset", type=PATH)
@click.option(
    "--preset",
    "preset_name",
    default="smoke",
    show_default=True,
    metavar="NAME|FILE",
    help="What to compare: a name from --list, or your own TOML file.",
)
@click.option(
    "--out",
    type=PATH,
    help="Folder for the runs, results and report. A stopped benchmark is resumed there.  "
    "[default: DATASET-PRESET]",
)
@click.option(
    "--seeds",
    "--seed",
    "seeds",
    multiple=True,
    callback=_numbers,
    metavar="LIST",
    help="Run every method that uses random numbers with these seeds, such as 0,1,2.",
)
@click.option(
    "--folds",
    type=Number(FoldsOrNone),
    help="Number of folds: test every cell once per seed; 0 for the archive's split.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A training setting of all classifiers, such as epochs=10.",
)
@click.option(
    "--trained",
    type=PATH,
    metavar="RUN",
    help="Use this run of fgaf-train as the preset's reference instead of training one.",
)
@click.option(
    "--split", default="default", show_default=True, help="Which split of the archive to use."
)
@scheduler_option
@click.option(
    "--beside",
    multiple=True,
    type=PATH,
    metavar="ARCHIVE|FOLDER",
    help="Show the focus measures on other cells too: an archive, or a folder of raw stacks.",
)
@click.option(
    "--keep-models", is_flag=True, help="Keep best.pt and last.pt of finished trainings too."
)
@click.option(
    "--overwrite", is_flag=True, help="Start over in a folder that holds another benchmark."
)
@click.option("--dry-run", is_flag=True, help="Only list what would be run and what is finished.")
@json_option
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_presets,
    help="List the presets, their methods and numbers of runs, and stop.",
)
def bench(
    dataset: Path,
    preset_name: str,
    out: Path | None,
    seeds: tuple[int, ...],
    folds: int | None,
    assignments: tuple[str, ...],
    trained: Path | None,
    split: str,
    scheduler: str | None,
    beside: tuple[Path, ...],
    keep_models: bool,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Compare methods of finding depth on the test cells of DATASET.

    Every method predicts the same cells and is evaluated in the same way: by the true depth where
    the archive has it, else by its labels. OUT/report.html is the report; results.json, results.csv
    and tables.tex hold its numbers. Finished runs are not repeated: run the same command to resume
    a stopped benchmark.

    \b
    fgaf-bench dataset.h5
    fgaf-bench dataset.h5 --preset table1 --seeds 0,1,2 --set epochs=10
    fgaf-bench dataset.h5 --preset readings --folds 5
    fgaf-bench motile.h5 --preset fig6 --beside immotile.h5
    fgaf-bench dataset.h5 --preset table2 --scheduler tcp://10.0.0.1:8786
    """  # noqa: D301 - click reads the backspace
    from fgaf.dataset.archive import Archive
    from fgaf.model.bench.benchmark import folder_for, run_benchmark
    from fgaf.model.bench.evaluation_set import EvaluationSet, notices
    from fgaf.model.bench.motility import read_group
    from fgaf.model.bench.preset import load_preset, with_settings, with_trained
    from fgaf.model.bench.runs import plan_runs

    preset = with_settings(load_preset(preset_name), dict(map(parse_assignment, assignments)))
    if trained is not None:
        preset = with_trained(preset, trained)
    if not dataset.is_file():
        raise SettingError(f"there is no archive {dataset}; make one with `fgaf-curate auto`")
    archive = Archive.read(dataset, bar("verifying"))
    data = EvaluationSet(archive, split, preset.folds if folds is None else folds)
    data.check()
    runs = plan_runs(preset, data, seeds)
    if out is None:
        usual = Path(f"{dataset.stem}-{Path(preset_name).stem}")
        out = usual if overwrite else folder_for(usual, preset, data)
        if not dry_run:
            echo(f"writing {out}", err=as_json)
    if dry_run:
        _show_plan(runs, out, as_json)
        return
    for notice in notices(data):
        echo(f"{notice['level']}: {notice['text']}", err=as_json)
    results = run_benchmark(
        archive,
        preset,
        out,
        seeds=seeds,
        folds=folds,
        split=split,
        overwrite=overwrite,
        keep_models=keep_models,
        scheduler=scheduler,
        beside=[read_group(path, archive.header) for path in beside],
        say=lambda line: echo(line, err=True),
    )
    finish(
        f"{_table(results)}\n{results['headline']}\n{results['summary']}\n"
        f"wrote {out / 'report.html'}, results.json, results.csv, tables.tex",
        _next(results),
        results,
        as_json,
    )


def _show_plan(planned: Sequence[Any], out: Path, as_json: bool) -> None:
    """List the runs and which of them are finished."""
    from fgaf.model.bench.runs import load

    runs = [(run, load(run, out) is not None) for run in planned]
    if as_json:
        listed = [
            {
                "name": run.name,
                "method": run.method.id,
                "seed": run.seed,
                "fold": run.fold,
                "finished": finished,
            }
            for run, finished in runs
        ]
        echo(json.dumps({"runs": listed}, indent=2))
        return
    for run, finished in runs:
        echo(f"{'finished' if finished else 'to do':8}  {run.name}")
    echo(f"{sum(finished for _, finished in runs)} of {count(len(runs), 'run')} are finished")


def _next(results: dict[str, Any]) -> list[object] | None:
    """The command with more seeds, where the methods were trained with one only."""
    if all(len(row["seeds"]) != 1 for row in results["methods"]):
        return None
    given = click.get_current_context().params
    words: list[object] = ["fgaf-bench", given["dataset"], "--preset", given["preset_name"]]
    if given["out"] is not None:
        words += ["--out", given["out"]]
    for name in ("trained", "folds", "split", "scheduler"):
        if given[name] not in (None, "default"):
            words += [f"--{name}", given[name]]
    for path in given["beside"]:
        words += ["--beside", path]
    for assignment in given["assignments"]:
        words += ["--set", assignment]
    return [*words, "--seeds", "0,1,2"]


def _table(results: dict[str, Any]) -> str:
    """Lay out the main figures for a terminal."""
    width = max(len(row["label"]) for row in results["methods"])
    width = max(width, len(f"judged by the {results['judged_by']}"))
    lines = [f"{'judged by the ' + results['judged_by']:{width}}  top-1 %  top-3 %  mean error µm"]
    for row in results["methods"]:
        top1, top3, mae = (row["metrics"][key]["value"] for key in ("top1", "top3", "mae_um"))
        lines.append(f"{row['label']:{width}}  {100 * top1:7.1f}  {100 * top3:7.1f}  {mae:13.2f}")
    return "\n".join(lines)
