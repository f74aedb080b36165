"""Commands of `fgaf-data` that make an archive from others: split, subset, merge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fgaf.base.bounds import Count, Folds, HalfRangeUm, Seed, Share
from fgaf.base.console import Tool, bar, count, finish
from fgaf.base.errors import FgafError
from fgaf.base.options import PATH, Number, json_option, overwrite_option
from fgaf.base.outputs import output_file
from fgaf.dataset.commands.options import split_seed_option

if TYPE_CHECKING:
    from fgaf.dataset.archive import Archive


Command = TypeVar("Command", bound=Callable[..., Any])


def _out_option(usual: str) -> Callable[[Command], Command]:
    return click.option(
        "--out",
        type=PATH,
        help=f"Archive to write; the input stays unchanged.  [default: {usual}]",
    )


def _shares(ctx: click.Context, param: click.Parameter, fractions: str) -> list[float]:
    """Read "0.7,0.1,0.2"."""
    shares = fractions.split(",")
    if len(shares) != len(("train", "validation", "test")):
        raise click.BadParameter(
            f"{fractions!r} is not three numbers; give for example 0.7,0.1,0.2", ctx, param
        )
    return [Number(Share).convert(share, param, ctx) for share in shares]


@click.command(cls=Tool)
@click.argument("path", type=PATH, metavar="FILE")
@click.option("--name", required=True, help="Name of the new split; with --folds NAME_1, NAME_2...")
@_out_option("FILE-split.h5")
@click.option(
    "--by",
    type=click.Choice(["auto", "sample", "field", "cell"]),
    default="auto",
    show_default=True,
    help="What stays on one side. auto: samples, else fields, if there are three or more.",
)
@click.option(
    "--fractions",
    "shares",
    callback=_shares,
    metavar="LIST",
    default="0.7,0.1,0.2",
    show_default=True,
    help="Shares of train, validation and test, counted in cells.",
)
@click.option(
    "--folds",
    type=Number(Folds),
    help="Number of splits; all share one test side, and each fold is the validation side of one. "
    "With a test share of 0 each fold is the test side of one.",
)
@click.option("--test-of", default="", metavar="SPLIT", help="Keep the test side of this split.")
@click.option("--seed", type=Number(Seed), default=0, show_default=True, help="Seed of the split.")
@overwrite_option
@json_option
def split(
    path: Path,
    name: str,
    out: Path | None,
    by: str,
    shares: list[float],
    folds: int | None,
    test_of: str,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Add a named split, or those of a cross-validation, to a copy of an archive.

    Overlapping crops of one field and repeats of a cell are always on one side. Splits that the
    archive already has stay unchanged.
    """
    from fgaf.dataset.archive import write_archive
    from fgaf.dataset.history import split_fingerprints
    from fgaf.dataset.splits.split import SIDES, TEST, with_folds, with_split

    out = output_file(out, Path(f"{path.stem}-split.h5"), overwrite, as_json)
    with ExitStack() as files:
        (archive,) = _opened([path], out, overwrite, files)
        if folds is None:
            archive, one = with_split(archive, name, shares, by, seed, test_of)
            made = {name: one}
        else:
            archive, made = with_folds(archive, name, folds, shares[TEST], by, seed, test_of)
        prints = split_fingerprints(archive)
        write_archive(out, archive, overwrite, bar("writing"))
    finish(
        "\n".join(f"wrote {out} with split {name!r}: {made[name]}" for name in made),
        ["fgaf-train", out, "--split", next(iter(made))],
        {
            "path": str(out),
            "splits": {
                name: {
                    "by": one.by,
                    "groups": one.groups,
                    "cells": dict(zip(SIDES, one.counts, strict=True)),
                    "fingerprint": prints[name],
                }
                for name, one in made.items()
            },
        },
        as_json,
    )


@click.command(cls=Tool)
@click.argument("path", type=PATH, metavar="FILE")
@_out_option("FILE-subset.h5")
@click.option("--sample", "samples", multiple=True, help="Cells of this sample; repeatable.")
@click.option(
    "--method", "methods", multiple=True, help="Cells labelled by this method, such as person."
)
@click.option("--cell", "cells", multiple=True, metavar="ID", help="This cell; repeatable.")
@click.option("--without", multiple=True, metavar="ID", help="All but this cell; repeatable.")
@click.option(
    "--min-confidence", type=Number(Share), default=0.0, help="Least confidence of a label, 0 to 1."
)
@click.option("--split", default="", help="With --side: the cells on one side of this split.")
@click.option("--side", default="", help="train, validation or test.")
@click.option("--most", type=Number(Count), help="At most this many cells, drawn at random.")
@click.option("--seed", type=Number(Seed), default=0, show_default=True, help="For --most.")
@click.option(
    "--half-range",
    "half_range_um",
    type=Number(HalfRangeUm),
    help="Only depths from - to + this value, µm.",
)
@overwrite_option
@json_option
def subset(path: Path, out: Path | None, overwrite: bool, as_json: bool, **wishes: Any) -> None:
    """Copy some cells, or fewer depths, of an archive to a new one.

    A cell must meet all conditions. Cells that stay keep their sides in every split.
    """
    from fgaf.dataset.archive import write_archive
    from fgaf.dataset.derive.subset import Selection, subset as take

    out = output_file(out, Path(f"{path.stem}-subset.h5"), overwrite, as_json)
    with ExitStack() as files:
        (archive,) = _opened([path], out, overwrite, files)
        part = take(archive, Selection(**wishes))
        write_archive(out, part, overwrite, bar("writing"))
        finish(
            f"wrote {out}: {part.n_cells} of {count(archive.n_cells, 'cell')}, "
            f"{count(len(part.images), 'patch')}",
            ["fgaf-data", "info", out],
            {"path": str(out), "cells": part.n_cells, "patches": len(part.images)},
            as_json,
        )


@click.command(cls=Tool)
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="FILES...")
@_out_option("merged.h5")
@click.option(
    "--resample",
    type=click.Choice(["crop", "scale"]),
    help="If patch sizes differ. crop: crop to the smallest; scale: also interpolate other "
    "pixel sizes to the first archive's. Interpolation blurs, and blur encodes depth.",
)
@click.option(
    "--relabel",
    type=click.Choice(["thin", "nearest"]),
    help="If steps or half ranges differ: the first archive's step and smallest half range apply. "
    "thin: keep one plane per cell and class; nearest: keep all in range.",
)
@click.option("--mixed-optics", is_flag=True, help="Allow different apertures, wavelengths, ...")
@click.option(
    "--keep-split",
    "keep_splits",
    multiple=True,
    metavar="NAME",
    help="Keep a split that all have. Without it `default` is drawn again, others are dropped.",
)
@click.option(
    "--drop-masks", is_flag=True, help="Leave out masks; otherwise all must have them, or none."
)
@click.option("--name", default="", help="Name of the merged archive; default: the first one's.")
@click.option("--description", default="", help="Description; default: the first one's.")
@click.option("--license", default="", help="Licence of the merged archive, if they differ.")
@split_seed_option
@overwrite_option
@json_option
def merge(
    paths: tuple[Path, ...], out: Path | None, overwrite: bool, as_json: bool, **settings: Any
) -> None:
    """Merge several archives into one.

    A cell in two archives is taken once. Different patch sizes, pixel sizes, steps or optics
    are refused unless an option says how to handle them; the history records it.
    """
    from fgaf.dataset.archive import write_archive
    from fgaf.dataset.derive.merge import MergeSettings, merge as join

    out = output_file(out, Path("merged.h5"), overwrite, as_json)
    with ExitStack() as files:
        merged = join(_opened(paths, out, overwrite, files), MergeSettings(**settings))
        archive = merged.archive
        write_archive(out, archive, overwrite, bar("writing"))
    facts = {
        f"{merged.twice} taken once": merged.twice,
        f"{merged.renamed} renamed": merged.renamed,
        f"{count(merged.dropped_patches, 'patch')} left out": merged.dropped_patches,
    }
    said = "".join(f", {what}" for what, n in facts.items() if n)
    finish(
        f"wrote {out}: {count(archive.n_cells, 'cell')}, {count(len(archive.images), 'patch')} of "
        f"{archive.header.patch_px} px from {count(len(paths), 'archive')}{said}",
        ["fgaf-data", "validate", out],
        {
            "path": str(out),
            "cells": archive.n_cells,
            "patches": len(archive.images),
            "twice": merged.twice,
            "renamed": merged.renamed,
            "dropped_patches": merged.dropped_patches,
        },
        as_json,
    )


def _opened(paths: Sequence[Path], out: Path, overwrite: bool, files: ExitStack) -> list[Archive]:
    """Open archives for a new one at `out`, and compare all checksums."""
    from fgaf.base.files import require_new
    from fgaf.dataset.archive import Archive

    for path in paths:
        if out.resolve() == path.resolve():
            raise FgafError(f"--out {out} is an input and stays unchanged; name a new file")
    require_new(out, overwrite)
    checking = bar("verifying")
    return [files.enter_context(Archive.open(path, True, checking)) for path in paths]


COMMANDS = (split, subset, merge)
