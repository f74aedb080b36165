"""Dataset cards: a description of an archive for its users, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.console import count
from fgaf.base.errors import FormatError, SettingError
from fgaf.base.inputs import parse_json, read_bytes
from fgaf.base.names import printable
from fgaf.dataset.archive import METHODS, UNCONFIRMED, Archive
from fgaf.dataset.cards.card_metadata import CardMetadata
from fgaf.dataset.splits.split import SIDES

_NOT_STATED: Final = "*not stated*"
# Markdown's own characters: at the start of a heading or a list, within a line, and underscores at
# the edge of a word.
_SIGNS: Final = re.compile(r"^[#+-]|[\\`*\[\]>~]|(?<!\w)_|_(?!\w)")
_OPTICS: Final = {
    "pixel_size_um": "Pixel in the specimen, µm",
    "numerical_aperture": "Numerical aperture",
    "magnification": "Magnification",
    "medium_index": "Refractive index under the objective",
    "wavelength_um": "Wavelength, µm",
}
_AGREEMENT: Final = {
    "cells": "Cells labelled twice",
    "same_verdict": "Share with the same decision to keep the cell",
    "exact": "Share with the same focus plane",
    "within_one": "Share at most one plane apart",
    "mean_um": "Mean distance of the focus positions, µm",
    "kappa": "Cohen's kappa, quadratic weights",
}


def read_agreement(path: Path) -> dict[str, float]:
    """Read the output of ``fgaf-curate agreement SESSION --json``.

    Raises
    ------
    SettingError
        The file does not exist or has other content.
    """
    try:
        read = parse_json(read_bytes(path))
        known = {name: read[name] for name in _AGREEMENT}
        return {name: float(value) for name, value in known.items() if value is not None}
    except FormatError as error:
        raise SettingError(str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SettingError(
            f"{path} is not the output of `fgaf-curate agreement SESSION --json`; write it again"
        ) from error


def card(
    archive: Archive,
    about: CardMetadata | None = None,
    agreement: Mapping[str, float] | None = None,
) -> str:
    """Write an archive's card.

    Parameters
    ----------
    archive
        In memory or open; no image is read.
    about
        Facts that the archive does not hold; missing ones are called not stated.
    agreement
        Agreement of two annotators, see `read_agreement`.

    Returns
    -------
    str
        Markdown with a heading for each subject.
    """
    about = about or CardMetadata()
    parts = [
        f"# {_literal(title(archive, about))}",
        _described(archive, about),
        _table(("", ""), _facts(archive, about)),
        "## Optics",
        _table(("", ""), _optics(archive)),
        "## Counts",
        _table(("Depth, µm", "Class", "Patches"), _depths(archive)),
        _table(("Sample", "Cells", "Patches"), _samples(archive)),
        _table(("Split", *SIDES), _splits(archive)),
        "## How the images were taken",
        _text(about.collected) or _NOT_STATED,
        "## How the labels were made",
        _text(about.labelled),
        _table(("Method", "Cells", "Median confidence"), _methods(archive)),
        _table(("Annotator", "Cells"), _tally(archive.cells.annotator)),
        "### Agreement",
        _table(("", ""), _agreement(agreement)) if agreement else _NOT_STATED,
        "## Known limits",
        "\n".join(f"- {_text(_plain(limit))}" for limit in limits(archive, about)),
        "## Uses",
        _text(about.uses) or _NOT_STATED,
        "## Ethics and consent",
        f"Approval: {_text(about.ethics) or _NOT_STATED}",
        f"Consent: {_text(about.consent) or _NOT_STATED}",
        "## Citation",
        _text(about.citation) or _NOT_STATED,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def title(archive: Archive, about: CardMetadata) -> str:
    """Name of the dataset: from the facts, else the archive's, else its file's.

    Parameters
    ----------
    archive
        The archive.
    about
        What its owner states.
    """
    name = about.title or archive.header.name
    return _plain(name or (archive.path.stem if archive.path else "") or "dataset")


def description(archive: Archive, about: CardMetadata) -> str:
    """Description of the dataset: from the facts, else the archive's text, else from its numbers.

    Parameters
    ----------
    archive
        The archive.
    about
        What its owner states.
    """
    half = archive.header.half_range_um
    return (
        about.description
        or archive.header.description
        or f"{count(len(archive.images), 'patch')} of {count(archive.n_cells, 'cell')} "
        f"through focus, each labelled with its depth from {-half:g} to {half:+g} µm."
    )


def limits(archive: Archive, about: CardMetadata) -> list[str]:
    """List the known limits: those stated, and those that the archive shows.

    Parameters
    ----------
    archive
        The archive.
    about
        What its owner states.
    """
    cells = archive.cells
    found = list(about.limits)
    unconfirmed = int(np.isin(cells.method.astype(str), UNCONFIRMED).sum())
    if unconfirmed:
        found.append(f"{unconfirmed} of {archive.n_cells} labels were not confirmed by a person.")
    if (cells.method == "simulation").any() or archive.true_depth_um is not None:
        found.append("Images are simulated, wholly or in part.")
    samples = set(cells.sample_id.tolist()) - {""}
    if not samples:
        found.append("Samples are unknown, so no split can separate donors.")
    elif len(samples) < 3:
        found.append(f"Only {len(samples)} sample(s): results may not generalise to others.")
    unknown = [
        text for name, text in _OPTICS.items() if getattr(archive.header.optics, name) is None
    ]
    if unknown:
        found.append("Not recorded: " + "; ".join(unknown) + ".")
    return found or ["None known."]


def samples(archive: Archive) -> dict[str, tuple[int, int]]:
    """Count the cells and patches of every sample; an empty name means unknown."""
    names, of_cell = np.unique(archive.cells.sample_id.astype(str), return_inverse=True)
    cells = np.bincount(of_cell, minlength=len(names))
    patches = np.bincount(of_cell[archive.cell], minlength=len(names))
    return {str(name): (int(k), int(m)) for name, k, m in zip(names, cells, patches, strict=True)}


def depths(archive: Archive) -> list[tuple[float, int]]:
    """Depth in µm and number of patches of every class, the lowest plane first."""
    counts = np.bincount(archive.depth_class, minlength=archive.n_classes)
    return [(float(d), int(n)) for d, n in zip(archive.class_depths_um, counts, strict=True)]


def _facts(archive: Archive, about: CardMetadata) -> list[tuple[str, str]]:
    header = archive.header
    return [
        ("Patches", f"{len(archive.images)}, {archive.images.dtype}, {header.patch_px} px square"),
        *([("Masks", "of the heads in every patch")] if archive.masks is not None else []),
        ("Cells", str(archive.n_cells)),
        ("Depth classes", f"{archive.n_classes}, step {header.step_um:g} µm"),
        ("Version", _text(about.version) or _NOT_STATED),
        ("Published", about.published.isoformat() if about.published else _NOT_STATED),
        ("Creators", _text(", ".join(about.creators)) or _NOT_STATED),
        ("Contact", _text(about.contact) or _NOT_STATED),
        ("Licence", _text(about.license) or _literal(header.license) or _NOT_STATED),
        ("DOI", _text(about.doi_url) or _NOT_STATED),
        ("Address", _text(about.url) or _NOT_STATED),
        ("Compiled", _literal(f"{header.created_utc} by {header.software}")),
        ("Fingerprint", f"`{_literal(archive.fingerprint)}`"),
    ]


def _optics(archive: Archive) -> list[tuple[str, str]]:
    optics = archive.header.optics
    known = [(text, getattr(optics, name)) for name, text in _OPTICS.items()]
    known.append(("Depth of field, µm", optics.depth_of_field_um))
    return [(text, f"{value:.4g}" if value else _NOT_STATED) for text, value in known]


def _depths(archive: Archive) -> list[tuple[str, str, str]]:
    return [(f"{depth:+g}", str(k), str(n)) for k, (depth, n) in enumerate(depths(archive))]


def _samples(archive: Archive) -> list[tuple[str, str, str]]:
    return [
        (_literal(name) or _NOT_STATED, str(k), str(m)) for name, (k, m) in samples(archive).items()
    ]


def _splits(archive: Archive) -> list[tuple[str, ...]]:
    return [
        (
            _literal(name),
            *(f"{count(int((sides == number).sum()), 'cell')}" for number in range(len(SIDES))),
        )
        for name, sides in archive.splits.items()
    ]


def _methods(archive: Archive) -> list[tuple[str, str, str]]:
    cells, found = archive.cells, []
    names, counts = np.unique(cells.method.astype(str), return_counts=True)
    for name, n in zip(names.tolist(), map(str, counts.tolist()), strict=True):
        sure = cells.confidence[cells.method.astype(str) == name]
        sure = sure[np.isfinite(sure)]
        median = f"{np.median(sure):.2f}" if len(sure) else _NOT_STATED
        found.append((f"{name}: {METHODS[name]}" if name in METHODS else _literal(name), n, median))
    return found


def _tally(values: NDArray[Any]) -> list[tuple[str, str]]:
    names, counts = np.unique(values.astype(str), return_counts=True)
    return [(_literal(str(a)) or _NOT_STATED, str(n)) for a, n in zip(names, counts, strict=True)]


def _agreement(agreement: Mapping[str, float]) -> list[tuple[str, str]]:
    return [
        (text, f"{agreement[name]:.4g}") for name, text in _AGREEMENT.items() if name in agreement
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_cell(text) for text in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return _plain(text).replace("|", r"\|")


def _described(archive: Archive, about: CardMetadata) -> str:
    """The description: the user's Markdown, or the archive's text, escaped."""
    said = description(archive, about)
    return _text(said) if about.description else _literal(said)


def _text(text: str) -> str:
    """The user's Markdown for the card, without its HTML."""
    return printable(text).replace("&", "&amp;").replace("<", "&lt;")


def _literal(text: str) -> str:
    """Text from a file, escaped so that Markdown shows it literally."""
    return _text(_SIGNS.sub(r"\\\g<0>", _plain(text)))


def _plain(text: str) -> str:
    return " ".join(text.split())
