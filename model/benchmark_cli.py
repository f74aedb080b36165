"""The command `fgaf-bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fgaf.dataset.console import Tool, finish
from fgaf.dataset.errors import SettingError


def _show_presets(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from fgaf.model.preset import shipped

    for preset in shipped().values():
        click.echo(f"{preset.name}: {preset.description}")
        for method in preset.methods:
            click.echo(f"  {method.id}: {method.label or method.kind}")
    ctx.exit()


@click.command(cls=Tool)
@click.argument("dataset", type=click.Path(path_type=Path))
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
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the runs, results and report. A stopped benchmark goes on there.",
)
@click.option(
    "--seed",
    "seeds",
    type=click.IntRange(0, 2**31 - 1),
    multiple=True,
    help="Train every classifier with this seed; give it again for more seeds.",
)
@click.option(
    "--trained",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Take this run of fgaf-train for the preset's reference in place of training one.",
)
@click.option(
    "--split", default="default", show_default=True, help="Which split of the archive to use."
)
@click.option(
    "--overwrite", is_flag=True, help="Begin anew in a folder that holds another benchmark."
)
@click.option("--dry-run", is_flag=True, help="Say what would be run and what is finished, only.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_presets,
    help="List the presets and their methods.",
)
def bench(
    dataset: Path,
    preset_name: str,
    out: Path,
    seeds: tuple[int, ...],
    trained: Path | None,
    split: str,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Compare depth classifiers with depth from focus on the test cells of DATASET.

    Every method is asked about the same cells and judged alike: by the true depth where the
    archive knows it, else by its labels. OUT/report.html is the result to read,
    OUT/results.json and OUT/results.csv hold its numbers.
    """
    from fgaf.dataset.archive import Archive
    from fgaf.model.benchmark import is_finished, plan_runs, run_benchmark
    from fgaf.model.exam import Exam, notices
    from fgaf.model.preset import load_preset, with_trained

    preset = load_preset(preset_name)
    if trained is not None:
        preset = with_trained(preset, trained)
    if not dataset.is_file():
        raise SettingError(f"no archive {dataset}; make one with `fgaf-curate auto`")
    archive = Archive.read(dataset)
    exam = Exam(archive, split)
    exam.check()
    for notice in notices(exam):
        click.echo(f"{notice['level']}: {notice['text']}", err=as_json)
    if dry_run:
        for run in plan_runs(preset, exam, seeds):
            click.echo(f"{'finished' if is_finished(run, out) else 'to do':8}  {run.name}")
        return
    results = run_benchmark(
        archive,
        preset,
        out,
        seeds=seeds,
        split=split,
        overwrite=overwrite,
        say=lambda line: click.echo(line, err=True),
    )
    report = out / "report.html"
    finish(
        f"{_table(results)}\n{results['headline']}\n{results['summary']}\nwrote {report}",
        None,
        results,
        as_json,
    )


def _table(results: dict[str, Any]) -> str:
    """Lay out the main figures for a terminal."""
    width = max(len(row["label"]) for row in results["methods"])
    lines = [f"{'judged by the ' + results['judged_by']:{width}}  top-1 %  top-3 %  mean error µm"]
    for row in results["methods"]:
        top1, top3, mae = (row["metrics"][key]["value"] for key in ("top1", "top3", "mae_um"))
        lines.append(f"{row['label']:{width}}  {100 * top1:7.1f}  {100 * top3:7.1f}  {mae:13.2f}")
    return "\n".join(lines)
