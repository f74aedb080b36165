"""Do simulated fields look like real ones? Statistics of both, side by side.

    python benchmarks/realism.py                           # the simulator alone
    python benchmarks/realism.py --real FOLDER:0.15:1-51   # beside real ones of 0.15 µm per pixel

A FOLDER holds images and, of the same name, text files with a YOLO box per head (class, x, y,
width, height, as shares of the image); the last part takes only the images of these numbers. Per
image: the noise of the ground. Per head: how dark, how bright, its middle, its size, and the
spectrum of a crop. The table shows the median and, in brackets, the 10th and 90th percentile;
docs/realism.md explains the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from fgaf.acquire.simulation.realistic import draw_settings
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.base.options import PATH

Pixels = NDArray[np.float32]

CROP_UM, HEAD_UM, MIDDLE_UM = 24.0, 3.0, 0.7
BANDS = ((0.1, 0.3), (0.3, 0.6), (0.6, 1.0), (1.0, 1.6))
SIMULATED: dict[str, dict[str, Any]] = {
    "realistic, 40x": {"contrast": "brightfield", "magnification": 40.0},
    "realistic, 20x": {"contrast": "brightfield", "magnification": 20.0},
}
IMAGES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


@dataclass(frozen=True)
class Field:
    """One image, its pixel size in µm, and the centres (N, 2) of its heads, (y, x) in pixels."""

    image: Pixels
    pixel_um: float
    heads: NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """Statistics of one head; grey levels relative to the ground."""

    middle: float
    darkest: float
    brightest: float
    length_um: float
    width_um: float
    behind: float
    """Middle of the rear part of the head minus that of the front part, along its axis."""
    bands: tuple[float, ...]
    """Decimal logarithm of the power density in each band of `BANDS`."""


def ground_noise(field: Field) -> tuple[float, float]:
    """Noise of the ground relative to its level: less the shading, and less all but the finest.

    Median absolute deviations, times 1.48 as of a normal distribution, from Gaussian means of 5 µm
    and of 0.5 µm.
    """
    level = np.median(field.image)
    coarse, fine = (
        field.image - ndimage.gaussian_filter(field.image, width / field.pixel_um)
        for width in (5.0, 0.5)
    )
    return tuple(
        float(1.4826 * np.median(np.abs(each - np.median(each))) / level) for each in (coarse, fine)
    )  # type: ignore[return-value]


def crop_at(field: Field, y: float, x: float) -> Pixels | None:
    """Departure from the ground around a place; None if the crop leaves the image."""
    half = round(CROP_UM / 2 / field.pixel_um)
    row, column = round(y), round(x)
    rows, columns = field.image.shape
    if not (half <= row < rows - half and half <= column < columns - half):
        return None
    crop = field.image[row - half : row + half + 1, column - half : column + half + 1]
    return crop / np.float32(np.median(crop)) - 1


def measure(crop: Pixels, pixel_um: float) -> Head | None:
    """Measure the head nearest to the middle of a crop; None if nothing stands out there."""
    y, x = np.indices(crop.shape, np.float32)
    half = len(crop) // 2
    smooth = ndimage.gaussian_filter(crop, 0.3 / pixel_um)
    near = np.hypot(y - half, x - half) < HEAD_UM / pixel_um
    if smooth[near].max() < -smooth[near].min():
        smooth = -smooth
    strong = smooth > 0.3 * smooth[near].max()
    parts, _ = ndimage.label(strong)
    sizes = np.bincount(parts[near & strong], minlength=parts.max() + 1)
    own = ndimage.binary_fill_holes(parts == int(np.argmax(sizes[1:]) + 1))
    own = ndimage.binary_opening(own, iterations=max(1, round(0.5 / pixel_um)))
    if own.sum() * pixel_um**2 < 2.0:
        return None
    cy, cx = float(y[own].mean()), float(x[own].mean())
    spread = np.cov(np.stack([y[own], x[own]]))
    sizes, axes = np.linalg.eigh(spread)
    length, width = 4 * np.sqrt(sizes[::-1]) * pixel_um
    away = np.hypot(y - cy, x - cx) * pixel_um
    along = ((y - cy) * axes[0, 1] + (x - cx) * axes[1, 1]) * pixel_um
    ends = [float(crop[own & (side * along > 0.12 * length)].mean()) for side in (1, -1)]
    inside = away < HEAD_UM
    return Head(
        middle=float(crop[away < MIDDLE_UM].mean()),
        darkest=float(crop[inside].min()),
        brightest=float(crop[inside].max()),
        length_um=float(length),
        width_um=float(width),
        behind=-abs(ends[0] - ends[1]),
        bands=spectrum(crop, pixel_um),
    )


def spectrum(crop: Pixels, pixel_um: float) -> tuple[float, ...]:
    """Decimal logarithm of the mean power density (µm²) in each of `BANDS`; NaN above Nyquist."""
    window = np.hanning(len(crop))
    window = np.outer(window, window)
    power = np.abs(np.fft.fft2(crop * window)) ** 2 * pixel_um**2 / np.square(window).sum()
    frequency = np.fft.fftfreq(len(crop), pixel_um)
    radius = np.hypot(frequency[:, None], frequency)
    return tuple(
        float(np.log10(power[(radius >= low) & (radius < high)].mean()))
        if high <= 0.5 / pixel_um
        else float("nan")
        for low, high in BANDS
    )


def real_fields(folder: Path, pixel_um: float, numbers: tuple[int, int] | None) -> Iterator[Field]:
    """Read the images of a folder that have a file of boxes."""
    for path in sorted(folder.iterdir()):
        boxes = path.with_suffix(".txt")
        if path.suffix.lower() not in IMAGES or not boxes.exists():
            continue
        if numbers and not (path.stem.isdigit() and numbers[0] <= int(path.stem) <= numbers[1]):
            continue
        with Image.open(path) as file:
            image = np.asarray(file.convert("L"), np.float32)
        rows, columns = image.shape
        table = np.array([line.split()[1:3] for line in boxes.read_text().splitlines()], float)
        yield Field(image, pixel_um, table.reshape(-1, 2)[:, ::-1] * (rows, columns))


def simulated_fields(count: int, draw: Callable[[int], SimulationSettings]) -> Iterator[Field]:
    """Expose a plane of each of some fields, with the drive at 0, where people photograph."""
    for seed in range(count):
        settings = draw(seed)
        pixels, truth = Scene(settings).expose(0.0, settings.reference_exposure_s, 0.0)
        heads = np.array([(cell.y_px, cell.x_px) for cell in truth if cell.kind == "sperm"])
        yield Field(pixels.astype(np.float32), settings.pixel_size_um, heads.reshape(-1, 2))


def standard(seed: int) -> SimulationSettings:
    """The usual field of the rig `sim`."""
    return SimulationSettings(seed=seed, shape=(600, 800))


@dataclass(frozen=True)
class Column:
    """Statistics of one kind of images."""

    name: str
    noise: NDArray[np.float64]
    heads: list[Head]


def column(name: str, fields: Iterator[Field]) -> Column:
    """Measure all heads of some fields."""
    noise, heads = [], []
    for field in fields:
        noise.append(ground_noise(field))
        for y, x in field.heads:
            crop = crop_at(field, y, x)
            head = None if crop is None else measure(crop, field.pixel_um)
            if head is not None:
                heads.append(head)
    return Column(name, np.array(noise).reshape(-1, 2), heads)


def rows(found: Column) -> dict[str, str]:
    """The cells of a column of the table by the names of their rows."""
    named: dict[str, NDArray[np.float64]] = {
        "ground noise": found.noise[:, 0],
        "finest ground noise": found.noise[:, 1],
    }
    labels = {
        "middle": "middle of the head",
        "darkest": "darkest pixel",
        "brightest": "brightest pixel",
        "length_um": "length, µm",
        "width_um": "width, µm",
        "behind": "darker less paler end",
    }
    for entry in fields(Head):
        values = [getattr(head, entry.name) for head in found.heads]
        if entry.name in labels:
            named[labels[entry.name]] = np.array(values)
    bands = np.array([head.bands for head in found.heads]).reshape(-1, len(BANDS))
    for (low, high), values in zip(BANDS, bands.T, strict=True):
        named[f"log power, {low:g} to {high:g} per µm"] = values
    dark = np.mean([head.middle < 0 for head in found.heads]) if found.heads else np.nan
    return {
        "images, heads": f"{len(found.noise)}, {len(found.heads)}",
        "heads with a dark middle": f"{100 * dark:.0f} %",
    } | {name: shown(values) for name, values in named.items()}


def shown(values: NDArray[np.float64]) -> str:
    """Median, and the 10th and 90th percentile, of the numbers among some values."""
    values = values[np.isfinite(values)]
    if not values.size:
        return "-"
    low, middle, high = np.percentile(values, (10, 50, 90))
    digits = 3 if abs(middle) < 0.1 else 2
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(columns: list[Column]) -> str:
    """All columns as a table in markdown."""
    cells = [rows(each) for each in columns]
    lines = [
        "| | " + " | ".join(each.name for each in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    lines += [f"| {name} | " + " | ".join(each[name] for each in cells) + " |" for name in cells[0]]
    return "\n".join(lines)


def parse_real(text: str) -> tuple[Path, float, tuple[int, int] | None]:
    """Parts of FOLDER:UM or FOLDER:UM:FIRST-LAST."""
    folder, *rest = text.rsplit(":", 2)
    if len(rest) == 2 and "-" not in rest[1]:
        folder, rest = f"{folder}:{rest[0]}", rest[1:]
    try:
        first, last = rest[1].split("-") if len(rest) == 2 else ("", "")
        return Path(folder), float(rest[0]), (int(first), int(last)) if first else None
    except (IndexError, ValueError):
        raise click.BadParameter(
            f"{text!r} is not FOLDER:UM or FOLDER:UM:FIRST-LAST", param_hint="--real"
        ) from None


@click.command()
@click.option("--real", "folders", multiple=True, metavar="FOLDER:UM[:FIRST-LAST]")
@click.option(
    "--fields", "count", default=12, show_default=True, help="Simulated fields per column."
)
@click.option("--out", type=PATH, help="Write the table here too.")
def main(folders: tuple[str, ...], count: int, out: Path | None) -> None:
    """Print the statistics of real and simulated heads, side by side."""
    columns = []
    for text in folders:
        folder, pixel_um, numbers = parse_real(text)
        name = (
            f"real, {folder.name} {numbers[0]} to {numbers[1]}"
            if numbers
            else f"real, {folder.name}"
        )
        columns.append(column(name, real_fields(folder, pixel_um, numbers)))
    for name, fixed in SIMULATED.items():
        columns.append(column(name, simulated_fields(count, partial(draw_settings, **fixed))))
    columns.append(column("standard", simulated_fields(count, standard)))
    text = table(columns)
    click.echo(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
