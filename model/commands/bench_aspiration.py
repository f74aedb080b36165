"""The command `fgaf-bench-aspiration`: parse, call the library, print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fgaf.base.bounds import AnyCount, Seed
from fgaf.base.console import Tool, bar, count, echo, finish
from fgaf.base.extras import require
from fgaf.base.options import PATH, Number, json_option, scheduler_option, workers_option
from fgaf.base.toml import parse_assignment
from fgaf.base.workers.cores import team_size


def _show_rows(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from fgaf.model.bench.aspiration.design import design

    for row in design():
        echo(f"{row.group:16}  {row.id:34}  {row.label}")
    ctx.exit()


@click.command(cls=Tool)
@click.option(
    "--rows",
    "names",
    default="",
    metavar="LIST",
    help="Ids or groups of --list, such as table,flow.  [default: all]",
)
@click.option(
    "--trials",
    type=Number(AnyCount),
    default=400,
    show_default=True,
    help="Trials of each row of Table III.",
)
@click.option(
    "--factor-trials",
    type=Number(AnyCount),
    default=100,
    show_default=True,
    help="Trials of each other row.",
)
@click.option(
    "--depth",
    "model",
    default="sim",
    show_default=True,
    metavar="MODEL",
    help="The depth network: a training run, a checkpoint, an export, or the one that ships.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of all rows, such as procedure.flow_nl_s=0.02 or pipette.viscosity_mpa_s=10.",
)
@click.option(
    "--seed",
    type=Number(Seed),
    default=2026,
    show_default=True,
    help="Random seed; trial k of every row has the same cell.",
)
@click.option(
    "--out",
    type=PATH,
    default=Path("aspiration"),
    show_default=True,
    help="Folder for trials, results and report; a stopped benchmark is resumed there.",
)
@workers_option
@scheduler_option
@click.option(
    "--overwrite", is_flag=True, help="Start over in a folder that holds another benchmark."
)
@json_option
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_rows,
    help="List the rows, and stop.",
)
def bench_aspiration(
    names: str,
    trials: int,
    factor_trials: int,
    model: str,
    assignments: tuple[str, ...],
    seed: int,
    out: Path,
    workers: int | None,
    scheduler: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw simulated sperm into a micropipette, as in Table III of the paper, many times.

    In each trial a cell, which swims or not, is held 100 pixels before the tip by a stage with a
    real one's errors; its height is known from the depth network, from a search for focus, from the
    truth, or not at all; the procedure of the aspiration draws it in, and the truth judges. Further
    rows vary one factor at a time: flow, diameter, heading, speed, line, height.

    OUT/report.html is the report; results.json, results.csv and trials.csv hold its numbers. Run
    the same command to resume a stopped benchmark.

    \b
    fgaf-bench-aspiration --rows table --trials 400
    fgaf-bench-aspiration --rows flow,heading --factor-trials 50
    fgaf-bench-aspiration --depth dataset-run --set procedure.flow_nl_s=0.02
    """  # noqa: D301 - click reads the backspace
    require("torch", "torchvision", "jinja2", "matplotlib", "markupsafe")
    from fgaf.model.bench.aspiration.benchmark import Request, run_benchmark
    from fgaf.model.bench.aspiration.design import chosen, design
    from fgaf.model.bench.aspiration.tables import headline, table
    from fgaf.model.live.loop import open_live

    team = team_size(workers, scheduler)
    given: dict[str, Any] = dict(map(parse_assignment, assignments))
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    rows = chosen(design(given), wanted)
    if any(row.conditions.depth == "network" for row in rows):
        open_live(model)  # an error comes at once, and not from a worker
    request = Request(rows, trials, factor_trials, seed, model)
    echo(f"{count(len(request.jobs()), 'trial')}, writing {out}", err=True)
    results = run_benchmark(
        request,
        out,
        workers=team,
        scheduler=scheduler,
        overwrite=overwrite,
        progress=bar("trials"),
        say=lambda line: echo(line, err=True),
    )
    finish(
        f"{table(results)}\n{headline(results)}\n"
        f"wrote {out / 'report.html'}, results.json, results.csv, trials.csv",
        None,
        results,
        as_json,
    )
