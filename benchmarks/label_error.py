"""How fast must a stack be? Label error of cells that swim along the axis, by simulation.

    python benchmarks/label_error.py                 # writes benchmarks/results/label_error.*
    python benchmarks/label_error.py --cells 6       # quicker, rougher

For every duration of a stack and every speed of the cells, stacks are simulated, labelled by the
focus suggestion of `fgaf.curate` and compared with the truth (`fgaf.curate.focus.drift`). The table
goes to label_error.csv, the figure to label_error.png: measured points, and the line that follows
from speed, duration and distance alone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path

import click
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.base.options import PATH
from fgaf.curate.focus.drift import DriftError, measure_drift

DURATIONS_S = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
SPEEDS_UM_S = (0.0, 0.25, 0.5, 1.0, 2.0)
NAMES = {"brightfield": "bright field", "relief": "relief contrast"}
COLOURS = ("#888888", "#0072b2", "#009e73", "#e69f00", "#d55e00")


def write_table(found: list[DriftError], path: Path) -> None:
    """Write one line per duration and speed."""
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = [field.name for field in fields(DriftError)]
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in found:
            writer.writerow(
                {key: round(v, 4) if isinstance(v, float) else v for key, v in asdict(row).items()}
            )


def draw(found: list[DriftError], path: Path, contrast: str) -> None:
    """Draw the mean error, and the share of good labels, against the duration."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    errors, shares = figure.subplots(1, 2)
    tolerance = found[0].tolerance_um
    for speed, colour in zip(dict.fromkeys(row.speed_um_s for row in found), COLOURS, strict=False):
        rows = [row for row in found if row.speed_um_s == speed]
        durations = [row.duration_s for row in rows]
        label = f"{speed:g} µm/s"
        errors.plot(durations, [row.mean_um for row in rows], "o", color=colour, label=label)
        expected = [row.expected_mean_um for row in rows]
        if speed:
            errors.plot(durations, expected, "-", color=colour, linewidth=1)
        shares.plot(durations, [100 * row.within for row in rows], "o-", color=colour, linewidth=1)
    errors.axhline(tolerance, color="#888888", linestyle="--", linewidth=1)
    errors.set(xscale="log", yscale="log", ylabel="mean label error (µm)")
    errors.set_title("points: simulated; lines: speed and duration alone", fontsize=9, loc="left")
    errors.legend(title="along the axis", frameon=False)
    shares.set(xscale="log", ylim=(0, 100), ylabel=f"labels within ±{tolerance:g} µm (%)")
    errors.yaxis.set_major_formatter("{x:g}")
    for axes in (errors, shares):
        axes.set_xticks(sorted({row.duration_s for row in found}), minor=False)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_xlabel("seconds from the first to the last labelled plane")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Labels of cells that swim along the axis, {NAMES[contrast]}", fontsize=11)
    figure.savefig(path, dpi=130)


@click.command()
@click.option("--cells", default=16, show_default=True, help="Cells per duration and speed.")
@click.option(
    "--contrast",
    type=click.Choice(["brightfield", "relief"]),
    default="brightfield",
    show_default=True,
    help="Of the simulated microscope.",
)
@click.option("--seed", default=0, show_default=True, help="Everything follows from it.")
@click.option(
    "--out",
    type=PATH,
    default=Path(__file__).parent / "results",
    help="Folder for the table and the figure; benchmarks/results by default.",
)
def main(cells: int, contrast: str, seed: int, out: Path) -> None:
    """Measure the label error over stack duration and swimming speed."""
    n = len(DURATIONS_S) * len(SPEEDS_UM_S)
    with click.progressbar(length=n, label="stacks") as bar:

        def progress(pairs: Iterable[int]) -> Iterator[int]:
            for pair in pairs:
                yield pair
                bar.update(1)

        found = measure_drift(
            DURATIONS_S,
            SPEEDS_UM_S,
            cells=cells,
            seed=seed,
            settings=SimulationSettings(contrast=contrast),
            progress=progress,
        )
    suffix = "" if contrast == "brightfield" else f"_{contrast}"
    write_table(found, out / f"label_error{suffix}.csv")
    draw(found, out / f"label_error{suffix}.png", contrast)
    for row in found:
        click.echo(
            f"{row.duration_s:5g} s  {row.speed_um_s:5g} µm/s  kept {row.kept:2}/{row.cells}  "
            f"mean {row.mean_um:.3f}  95 % below {row.p95_um:.3f}  within ±{row.tolerance_um:g}: "
            f"{100 * row.within:3.0f} %  expected mean {row.expected_mean_um:.3f}, "
            f"outermost {row.expected_max_um:.3f}"
        )


if __name__ == "__main__":
    main()
