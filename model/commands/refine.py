"""The command `fgaf-refine`: parse, call the library, print."""

import shutil
from pathlib import Path

import click

from fgaf.base.bounds import Folds, Seed
from fgaf.base.console import Tool, bar, count, echo, finish, progress
from fgaf.base.errors import SettingError
from fgaf.base.files import require_new
from fgaf.base.options import PATH, Number, json_option, overwrite_option
from fgaf.base.outputs import output_file
from fgaf.base.toml import parse_assignment
from fgaf.dataset.archive import DEFAULT_SPLIT
from fgaf.model.networks.settings import RANDOM, preset
from fgaf.model.refine.settings import RefineSettings, Rounds

ROUNDS = ".rounds"
_SHOWN = 10
_OWN = {"task", "split", "seed"}


@click.command(cls=Tool)
@click.argument("dataset", type=PATH)
@click.option(
    "--out",
    type=PATH,
    help="Archive to write; DATASET stays unchanged.  [default: DATASET-refined.h5]",
)
@click.option(
    "--test",
    is_flag=True,
    help="Refine the labels of test cells too. Networks judged by such labels look better than "
    "they are; reports say so.",
)
@click.option(
    "--split",
    default=DEFAULT_SPLIT,
    show_default=True,
    help="Split whose test cells are neither changed nor learned from.",
)
@click.option(
    "--folds", type=Number(Folds), default=5, show_default=True, help="Parts of the cells."
)
@click.option(
    "--rounds",
    type=Number(Rounds),
    default=RefineSettings.rounds,
    show_default=True,
    help="How often is learned, each time from the labels of the round before.",
)
@click.option("--seed", type=Number(Seed), default=0, show_default=True, help="Of the folds.")
@click.option(
    "--networks",
    is_flag=True,
    help="Train whole networks in every fold and round, as fgaf-train does; this takes hours on a "
    "processor. Otherwise only a last layer is learned, on what the shipped network sees.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set any setting of the training of --networks; may be repeated.",
)
@click.option("--resume", is_flag=True, help="Go on with a stopped refinement.")
@click.option(
    "--keep", is_flag=True, help="Keep the networks, in the folder OUT with the suffix .rounds."
)
@overwrite_option
@json_option
def refine(
    dataset: Path,
    out: Path | None,
    test: bool,
    split: str,
    folds: int,
    rounds: int,
    seed: int,
    networks: bool,
    assignments: tuple[str, ...],
    resume: bool,
    keep: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Correct the depth labels of the archive DATASET, which were judged cell by cell.

    A label is the distance of a plane to the focus of its cell, found from the cell's own stack.
    All cells together know that focus better: the cells are divided into folds, each fold is read
    by a network that learned from the others, and a cell whose planes are all read too high or too
    low gets another focus; one that climbs or dives during its stack also a slope. What the
    readings do not tell well is corrected less. An error that all labels share stays.

    Writes another archive with the labels after and before, the change of each cell and its
    standard error, and lists the cells that a person should look at. Labels of test cells stay.

    \b
    fgaf-refine dataset.h5
    fgaf-refine dataset.h5 --out better.h5 --folds 10
    fgaf-refine dataset.h5 --resume
    fgaf-curate open --session dataset.session --suspects dataset-refined.h5
    """  # noqa: D301 - click reads the backspace
    given = dict(map(parse_assignment, assignments))
    if given and not networks:
        raise SettingError("--set is for the training of networks; give --networks too")
    if not _OWN.isdisjoint(given):
        raise SettingError("--set takes no task, split or seed here; see --split and --seed")
    usual = Path(f"{dataset.stem}-refined.h5")
    if resume and out is None:
        out = usual
    if out is not None:
        require_new(out, overwrite)

    from fgaf.dataset.archive import write_archive
    from fgaf.model.refine.refine import refine as refine_archive
    from fgaf.model.training.defaults import default_preset
    from fgaf.model.training.out_of_core import opened

    with opened(dataset, progress=bar("verifying")) as archive:
        out = output_file(out, usual, overwrite, as_json, beside=ROUNDS)
        folder = out.with_suffix(ROUNDS)
        training = None
        if networks:
            suits = default_preset(archive, str(given.get("start", RANDOM)))
            training = preset(suits).with_values({"seed": seed} | given)
        settings = RefineSettings(folds, rounds, split, test, seed, training)
        found = refine_archive(
            archive,
            settings,
            folder,
            resume=resume,
            overwrite=overwrite and not resume,
            progress=progress,
            say=lambda line: echo(line, err=True),
        )
        write_archive(out, found.archive, overwrite, bar("writing"))
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    told = found.summary()
    suspects = told["suspects"]
    for each in suspects[:_SHOWN]:
        echo(f"look at {each['cell']}: {each['why']}", err=True)
    if len(suspects) > _SHOWN:
        echo(f"... and {count(len(suspects) - _SHOWN, 'more cell')}", err=True)
    if test:
        echo("the labels of test cells were refined too: judge networks by others", err=True)
    finish(
        f"wrote {out}: labels of {told['refined']} of {count(told['cells'], 'cell')} changed by "
        f"{told['change_rms_um']:.3f} µm r.m.s., {count(len(suspects), 'cell')} to look at",
        ["fgaf-train", out],
        {"path": str(out), **told},
        as_json,
    )


if __name__ == "__main__":
    refine()
