"""Commands of `fgaf-data` that make an archive ready to be shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fgaf.base.console import Tool, bar, finish, progress
from fgaf.base.errors import SettingError
from fgaf.base.options import PATH, json_option, overwrite_option
from fgaf.base.outputs import output_file


@click.command("card", cls=Tool)
@click.argument("path", type=PATH, metavar="FILE")
@click.option("--out", type=PATH, help="Write the card as Markdown.  [default: FILE-card.md]")
@click.option("--croissant", type=PATH, help="Write it as Croissant JSON-LD, for machines.")
@click.option("--about", type=PATH, help="TOML: licence, DOI, consent, known limits, ...")
@click.option("--agreement", type=PATH, help="Output of `fgaf-curate agreement SESSION --json`.")
@click.option("--new-about", type=PATH, help="Write a commented file for --about to fill in.")
@overwrite_option
@json_option
def card_command(
    path: Path,
    out: Path | None,
    croissant: Path | None,
    about: Path | None,
    agreement: Path | None,
    new_about: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write an archive's card: what it is, how it was made, and its licence.

    Optics, counts per class and sample, labels and splits come from the archive; other facts
    come from --about, and missing ones are called not stated. The card names samples and
    annotators as the archive does: run `fgaf-data anonymise` first if they must stay private.
    """
    from fgaf.base.files import require_new, write_text
    from fgaf.dataset.archive import Archive
    from fgaf.dataset.cards.card import card, read_agreement
    from fgaf.dataset.cards.card_metadata import TEMPLATE, CardMetadata, read_card_metadata
    from fgaf.dataset.cards.croissant import croissant as as_croissant

    if out or not (croissant or new_about):
        out = output_file(out, Path(f"{path.stem}-card.md"), overwrite, as_json)
    targets = [target for target in (out, croissant, new_about) if target]
    for target in targets:
        require_new(target, overwrite)
    facts = read_card_metadata(about) if about else CardMetadata()
    agreed = read_agreement(agreement) if agreement else None
    with Archive.open(path, whole=True, progress=bar("verifying")) as archive:
        texts = {
            out: card(archive, facts, agreed),
            croissant: as_croissant(archive, facts, agreed),
            new_about: TEMPLATE,
        }
    for target in targets:
        write_text(target, texts[target], overwrite)
    finish(
        "\n".join(f"wrote {target}" for target in targets),
        ["fgaf-data", "card", path, "--about", new_about] if new_about else None,
        {"paths": [str(target) for target in targets]},
        as_json,
    )


@click.command("anonymise", cls=Tool)
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="FILES...")
@click.option(
    "--out",
    type=PATH,
    help="Folder; for one archive, a file NAME.h5.  [default: anonymised]",
)
@click.option("--key-file", type=PATH, help="The key; without it a passphrase is asked for.")
@click.option("--new-key", type=PATH, help="Make a key, keep it in this file, and use it.")
@click.option("--keep-times", is_flag=True, help="Keep dates and clock times.")
@click.option("--name", default="", help="New name of an archive; the old one is removed.")
@click.option("--description", default="", help="New description of an archive.")
@overwrite_option
@json_option
def anonymise_command(
    sources: tuple[Path, ...],
    out: Path | None,
    key_file: Path | None,
    new_key: Path | None,
    overwrite: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Write copies of raw stacks and archives that name neither donors nor people.

    Samples, operators, annotators, fields, cells and source files get pseudonyms (HMAC-SHA256),
    the same in all files made with one key. Only the holder of the key can find the pseudonym of
    a known name. Free text, paths, device names and dates are removed. Pixels, positions, optics,
    labels, splits and the licence stay. The key is stored in no other file.
    """
    from fgaf.base.files import require_new
    from fgaf.dataset.derive import pseudonyms
    from fgaf.dataset.derive.anonymise import (
        ARCHIVE_SUFFIX,
        AnonymiseSettings,
        plan_copies,
        write_copy,
    )

    if key_file and new_key:
        raise SettingError("--key-file and --new-key are two keys; give one of them")
    if new_key:
        require_new(new_key)
        key = pseudonyms.new_key()
    elif key_file:
        key = pseudonyms.read_key(key_file)
    else:
        asked = click.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)
        key = pseudonyms.key_of(asked)
    shared = out is not None and out.suffix != ARCHIVE_SUFFIX
    out = output_file(out, Path("anonymised"), overwrite, as_json, shared=shared)
    names, settings = pseudonyms.Pseudonyms(key), AnonymiseSettings(**values)
    planned = plan_copies(sources, out, names, overwrite)
    if new_key:
        pseudonyms.keep_key(new_key, key)
    written = [
        write_copy(source, target, names, settings)
        for source, target in progress(planned, "anonymise", len(planned))
    ]
    finish(
        "\n".join(f"wrote {path}" for path in written),
        ["fgaf-data", "info", written[0]],
        {"paths": [str(path) for path in written]},
        as_json,
    )


COMMANDS = (card_command, anonymise_command)
