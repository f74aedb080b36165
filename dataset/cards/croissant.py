"""Croissant 1.0: an archive's card as JSON-LD for data search engines.

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fgaf.base.files import sha256_of
from fgaf.dataset.archive import METHODS, Archive
from fgaf.dataset.cards.card import depths, description, limits, samples, title
from fgaf.dataset.cards.card_metadata import CardMetadata

_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(
    archive: Archive,
    about: CardMetadata | None = None,
    agreement: Mapping[str, float] | None = None,
) -> str:
    """Describe an archive's file in Croissant.

    The file is described with its size and checksum; the depth classes and the counts per sample
    are tables. Facts missing in `about` are left out.

    Parameters
    ----------
    archive
        Read or opened from a file.
    about
        Facts that the archive does not hold.
    agreement
        Agreement of two annotators, see `fgaf.dataset.cards.card.read_agreement`.

    Raises
    ------
    ValueError
        The archive is not in a file.
    """
    about = about or CardMetadata()
    if archive.path is None:
        raise ValueError("an archive in memory has no file to describe")
    optional = {
        "version": about.version,
        "datePublished": about.published.isoformat() if about.published else "",
        "license": about.license or archive.header.license,
        "url": about.url or about.doi_url,
        "sameAs": about.doi_url if about.url else "",
        "citeAs": about.citation,
        "keywords": list(about.keywords),
        "creator": [{"@type": "Person", "name": name} for name in about.creators],
        "rai:dataCollection": about.collected,
        "rai:dataAnnotationProtocol": _labelling(archive, about),
        "rai:dataAnnotationAnalysis": _agreed(agreement),
        "rai:dataLimitations": limits(archive, about),
        "rai:dataUseCases": about.uses,
        "rai:personalSensitiveInformation": " ".join(t for t in (about.ethics, about.consent) if t),
    }
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.0",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": title(archive, about),
        "description": description(archive, about),
        **{name: value for name, value in optional.items() if value},
        "dateCreated": archive.header.created_utc,
        "distribution": [_file(archive.path, archive.masks is not None)],
        "recordSet": [_depth_table(archive), _sample_table(archive)],
    }
    text = json.dumps(described, indent=2, ensure_ascii=False)
    # Web pages embed this JSON unchanged, so no name may close the element that holds it.
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text + "\n"


def _file(path: Path, masks: bool) -> dict[str, Any]:
    pixels = "images (M, S, S), masks (M, S, S)" if masks else "images (M, S, S)"
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "description": f"HDF5; {pixels}, depth_um (M,), cell (M,), cells/*, splits/*",
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/x-hdf5",
        "sha256": sha256_of(path),
    }


def _depth_table(archive: Archive) -> dict[str, Any]:
    rows = [(k, depth, n) for k, (depth, n) in enumerate(depths(archive))]
    fields = {
        "depth_class": ("sc:Integer", "Class, 0 the lowest plane"),
        "depth_um": ("sc:Float", "z of the plane minus z of the cell's focus, µm"),
        "patches": ("sc:Integer", "Patches of this class"),
    }
    return _table("depth_classes", "Depth classes", fields, rows)


def _sample_table(archive: Archive) -> dict[str, Any]:
    rows = [(name, k, m) for name, (k, m) in samples(archive).items()]
    fields = {
        "sample": ("sc:Text", "Sample; empty where unknown"),
        "cells": ("sc:Integer", "Cells of this sample"),
        "patches": ("sc:Integer", "Patches of this sample"),
    }
    return _table("samples", "Counts per sample", fields, rows)


def _table(
    name: str, text: str, fields: dict[str, tuple[str, str]], rows: list[tuple[Any, ...]]
) -> dict[str, Any]:
    ids = [f"{name}/{field}" for field in fields]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": text,
        "key": {"@id": ids[0]},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{field}",
                "name": field,
                "description": meaning,
                "dataType": kind,
            }
            for field, (kind, meaning) in fields.items()
        ],
        "data": [dict(zip(ids, row, strict=True)) for row in rows],
    }


def _labelling(archive: Archive, about: CardMetadata) -> str:
    found = sorted(set(archive.cells.method.tolist()))
    made = [f"{name}: {METHODS[name]}." for name in found if name in METHODS]
    return " ".join([*([about.labelled] if about.labelled else []), *made])


def _agreed(agreement: Mapping[str, float] | None) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in (agreement or {}).items())
