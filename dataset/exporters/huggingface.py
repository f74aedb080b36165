"""Archives in the layout of Hugging Face `datasets`: parquet files per side, and a card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.extras import optional
from fgaf.base.workers.progress import advance
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.cards.card import card, title
from fgaf.dataset.cards.card_metadata import CardMetadata
from fgaf.dataset.exporters.patches import (
    PNG,
    class_names,
    exporting,
    patch_blocks,
    patch_columns,
    patch_names,
    png_of,
    png_of_mask,
    side_rows,
)

_FILE_PATCHES: Final = 50_000
_GROUP_PATCHES: Final = 500
_KINDS: Final = {"f": "float64", "i": "int64", "O": "string"}


def write_huggingface(
    archive: Archive,
    path: Path,
    split: str = DEFAULT_SPLIT,
    overwrite: bool = False,
    about: CardMetadata | None = None,
) -> Path:
    """Write a folder that ``datasets.load_dataset`` reads and that is ready to upload.

    ``data/SIDE-*.parquet`` have the columns ``image`` and, where there are masks, ``mask`` (PNG),
    ``label`` (the depth class with its names), and all other metadata of every patch.
    ``README.md`` is the card. ``fgaf.json`` is the record from which `import_patches` restores the
    archive.

    Parameters
    ----------
    archive
        In memory or open.
    path
        The folder.
    split
        Name of the split.
    overwrite
        Whether an earlier export may be replaced.
    about
        Further facts for the card.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false.
    FgafError
        The package pyarrow is missing, there is no such split, or the disk cannot be written.
    """
    arrow, parquet = optional("pyarrow"), optional("pyarrow.parquet")
    about = about or CardMetadata()
    names = patch_names(archive)
    columns = patch_columns(archive)
    columns["label"] = columns.pop("depth_class")
    kinds = {name: _KINDS[_kind(values)] for name, values in columns.items()}
    picture = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    schema = arrow.schema(
        [(name, picture) for name in _pictures(archive)]
        + [(name, getattr(arrow, kind)()) for name, kind in kinds.items()]
    ).with_metadata({"huggingface": json.dumps(_features(archive, kinds))})
    with exporting(archive, path, overwrite) as (part, files):
        (part / "data").mkdir()
        sides = list(side_rows(archive, split))
        for side, rows in sides:
            starts = range(0, len(rows), _FILE_PATCHES)
            for number, start in enumerate(starts):
                file = f"data/{side}-{number:05d}-of-{len(starts):05d}.parquet"
                held = rows[start : start + _FILE_PATCHES]
                for place, row in enumerate(held.tolist()):
                    files[row] = f"{file}/{place}"
                with parquet.ParquetWriter(part / file, schema) as writer:
                    for block, patches in patch_blocks(archive, held, _GROUP_PATCHES):
                        batch = _batch(columns, names, block, patches)
                        if archive.masks is not None:
                            batch["mask"] = _stored(archive.masks[block], png_of_mask, names, block)
                        writer.write_table(arrow.Table.from_pydict(batch, schema))
                        advance(len(block) / len(archive.cell))
        text = _front_matter(archive, about, [side for side, _ in sides]) + card(archive, about)
        (part / "README.md").write_text(text, encoding="utf-8")
    return path


def _batch(
    columns: dict[str, NDArray[Any]],
    names: list[str],
    rows: NDArray[np.intp],
    patches: NDArray[Any],
) -> dict[str, list[Any]]:
    images = _stored(patches, png_of, names, rows)
    return {"image": images} | {name: values[rows].tolist() for name, values in columns.items()}


def _stored(
    pictures: NDArray[Any],
    png: Callable[[NDArray[Any]], bytes],
    names: list[str],
    rows: NDArray[np.intp],
) -> list[dict[str, Any]]:
    return [
        {"bytes": png(picture), "path": names[row] + PNG}
        for picture, row in zip(pictures, rows.tolist(), strict=True)
    ]


def _pictures(archive: Archive) -> list[str]:
    return ["image"] if archive.masks is None else ["image", "mask"]


def _kind(values: NDArray[Any]) -> str:
    return "i" if values.dtype.kind in "iu" else values.dtype.kind


def _features(archive: Archive, kinds: dict[str, str]) -> dict[str, Any]:
    """Column types of `datasets`: images, classes with names, values."""
    features: dict[str, Any] = {name: {"_type": "Image"} for name in _pictures(archive)}
    features |= {name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()}
    features["label"] = {"names": class_names(archive), "_type": "ClassLabel"}
    return {"info": {"features": features}}


def _front_matter(archive: Archive, about: CardMetadata, sides: list[str]) -> str:
    """The card's YAML header for the hub; JSON strings are valid YAML."""
    licence = (about.license or archive.header.license).lower()
    lines = [
        "---",
        f"pretty_name: {json.dumps(title(archive, about), ensure_ascii=False)}",
        *([f"license: {json.dumps(licence)}"] if licence else []),
        "task_categories:",
        "- image-classification",
        *(["- image-segmentation"] if archive.masks is not None else []),
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for side in sides:
        lines += [f"  - split: {side}", f"    path: data/{side}-*.parquet"]
    return "\n".join([*lines, "---", "", ""])
