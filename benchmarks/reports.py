"""Reports of the benchmarks that are kept beside their tables, without their bulk.

    python benchmarks/reports.py                          # `make reports`: write every report.html
    python benchmarks/reports.py keep OUT/report.html benchmarks/results/NAME

A kept report is the page without its pictures, compressed (``page.html.xz``), and a picture per
cell that it shows, its planes side by side, in ``benchmarks/results/cells``; reports that show the
same cell share it. The page that is written again is the one that was kept, byte for byte.
"""

from __future__ import annotations

import base64
import hashlib
import io
import lzma
import re
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgaf.base.options import PATH
from fgaf.model.bench.report.pictures import as_source

RESULTS = Path(__file__).parent / "results"
PAGE, CELLS, REPORT = "page.html.xz", "cells", "report.html"
_FIGURE = re.compile(r'<figure class="cell">.*?</figure>', re.DOTALL)
_SOURCE = re.compile(r'src="data:image/png;base64,([^"]*)"')
_PLACE = re.compile(rf'src="\.\./{CELLS}/([^"#]*)#(\d+)"')


def keep(html: str, folder: Path) -> None:
    """Keep a report in a folder beside the folder of pictures."""
    pictures = folder.parent / CELLS
    pictures.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)

    def without_pictures(figure: re.Match[str]) -> str:
        planes = [_pixels(source) for source in _SOURCE.findall(figure[0])]
        digest = hashlib.sha256(b"".join(plane.tobytes() for plane in planes)).hexdigest()
        name = f"{digest[:12]}.png"
        Image.fromarray(np.hstack(planes)).save(pictures / name, optimize=True)
        numbers = iter(range(len(planes)))
        return _SOURCE.sub(lambda _: f'src="../{CELLS}/{name}#{next(numbers)}"', figure[0])

    text = _FIGURE.sub(without_pictures, html)
    (folder / PAGE).write_bytes(lzma.compress(text.encode(), preset=9))


def kept(folder: Path) -> str:
    """Put the pictures back into the report that a folder keeps."""

    def picture(place: re.Match[str]) -> str:
        with Image.open(folder.parent / CELLS / place[1]) as file:
            strip = np.asarray(file)
        side, number = len(strip), int(place[2])
        return f'src="{as_source(strip[:, number * side : (number + 1) * side])}"'

    return _PLACE.sub(picture, lzma.decompress((folder / PAGE).read_bytes()).decode())


def _pixels(source: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(source))) as file:
        return np.asarray(file)


@click.group(invoke_without_command=True)
@click.pass_context
def reports(context: click.Context) -> None:
    """Write report.html beside the tables of every benchmark that is kept."""
    if context.invoked_subcommand is None:
        for page in sorted(RESULTS.glob(f"*/{PAGE}")):
            page.with_name(REPORT).write_text(kept(page.parent), encoding="utf-8")
            click.echo(page.with_name(REPORT))


@reports.command("keep")
@click.argument("report", type=PATH)
@click.argument("folder", type=PATH)
def keep_command(report: Path, folder: Path) -> None:
    """Keep REPORT in FOLDER."""
    keep(report.read_text(encoding="utf-8"), folder)


if __name__ == "__main__":
    reports()
