"""Focus measures: how fast they are, and which of the later ones are worth having.

    python benchmarks/focus_measures.py            # both tables, about a minute
    python benchmarks/focus_measures.py --speed    # or one of them
    python benchmarks/focus_measures.py --failures

Speed: all images in one call, against a loop over the images that computes the same number with
scikit-image and, where it is installed, with OpenCV. Every loop is checked to give the same
numbers first. The figures are medians of alternating runs on one thread, in the processor's time:
a busy machine disturbs it less.

Failures: on simulated cells in bright field and in relief contrast, immotile and motile, the share
of cells whose focus a measure puts more than half a step away; by its peak, and by its dip between
two rises (what a phase object shows).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import click
import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from skimage import filters
from skimage.measure import shannon_entropy

from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.model.bench.methods.focus_measures import MEASURES
from fgaf.model.bench.methods.search import dip, vertex

Images = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]
Loop = Callable[[Images], float]

INNER = (slice(1, -1), slice(1, -1))
ROUNDS = 7


def scikit_image() -> dict[str, Loop]:
    """The measures of one image by scikit-image and numpy."""

    def gradients(a: Images) -> Floats:
        f = a.astype(np.float32)
        return np.asarray(16 * (filters.sobel_h(f) ** 2 + filters.sobel_v(f) ** 2)[INNER])

    def gray_level_gradient(a: Images) -> float:
        f = a.astype(np.float32)
        right, down = np.abs(np.diff(f, axis=1)), np.abs(np.diff(f, axis=0))
        return float((right[:-1] + down[:, :-1]).mean())

    def brenner(a: Images) -> float:
        f = a.astype(np.float32)
        return float(((f[:, 2:] - f[:, :-2]) ** 2).mean())

    return {
        "entropy": lambda a: float(shannon_entropy(a)),
        "tenengrad": lambda a: float(gradients(a).mean()),
        "laplacian": lambda a: float((filters.laplace(a.astype(np.float32))[INNER] ** 2).mean()),
        "gray_level_gradient": gray_level_gradient,
        "brenner": brenner,
    }


def open_cv(cv2: ModuleType) -> dict[str, Loop]:
    """The measures of one image by OpenCV, whose `norm` sums without another pass."""

    def sobel(a: Images) -> tuple[Floats, Floats]:
        return cv2.Sobel(a, cv2.CV_32F, 1, 0)[INNER], cv2.Sobel(a, cv2.CV_32F, 0, 1)[INNER]

    def entropy(a: Images) -> float:
        top = np.iinfo(a.dtype).max + 1
        counts = cv2.calcHist([a], [0], None, [top], [0, top]).ravel()
        share = counts[counts > 0] / a.size
        return float(-(share * np.log2(share)).sum())

    def tenengrad(a: Images) -> float:
        gx, gy = sobel(a)
        return float((cv2.norm(gx, cv2.NORM_L2SQR) + cv2.norm(gy, cv2.NORM_L2SQR)) / gx.size)

    def laplacian(a: Images) -> float:
        inner = cv2.Laplacian(a, cv2.CV_32F)[INNER]
        return float(cv2.norm(inner, cv2.NORM_L2SQR) / inner.size)

    def gray_level_gradient(a: Images) -> float:
        here, right, down = a[:-1, :-1], a[:-1, 1:], a[1:, :-1]
        total = cv2.norm(here, right, cv2.NORM_L1) + cv2.norm(here, down, cv2.NORM_L1)
        return float(total / here.size)

    def brenner(a: Images) -> float:
        return float(cv2.norm(a[:, 2:], a[:, :-2], cv2.NORM_L2SQR) / a[:, 2:].size)

    return {
        "entropy": entropy,
        "tenengrad": tenengrad,
        "laplacian": laplacian,
        "gray_level_gradient": gray_level_gradient,
        "brenner": brenner,
    }


def candidates() -> dict[str, Callable[[Images], Floats]]:
    """Later measures that were tried, of a stack (P, H, W)."""

    def each(of_one: Callable[[Floats], float]) -> Callable[[Images], Floats]:
        return lambda stack: np.array([of_one(image.astype(np.float64)) for image in stack])

    def modified_laplacian(f: Floats) -> float:
        kernel = np.array([-1.0, 2.0, -1.0])
        sides = (np.abs(ndimage.convolve1d(f, kernel, axis)) for axis in (0, 1))
        return float(sum(sides)[INNER].mean())  # type: ignore[index]

    def vollath_4(f: Floats) -> float:
        return float((f[:-1] * f[1:]).mean() - (f[:-2] * f[2:]).mean())

    def vollath_5(f: Floats) -> float:
        return float((f[:-1] * f[1:]).mean() - f.mean() ** 2)

    def wavelet(f: Floats) -> float:
        a, b, c, d = f[::2, ::2], f[1::2, ::2], f[::2, 1::2], f[1::2, 1::2]
        return float((((a - b + c - d) ** 2 + (a + b - c - d) ** 2) / 4).mean())

    def cosines(f: Floats) -> float:
        size = np.abs(fft.dctn(f - f.mean(), norm="ortho"))[:32, :32]
        share = size / size.sum()
        return float(-(share * np.log2(share + 1e-12)).sum())

    def tenengrad_variance(f: Floats) -> float:
        return float(np.hypot(ndimage.sobel(f, 0), ndimage.sobel(f, 1))[INNER].var())

    return {
        "variance of Tenengrad": each(tenengrad_variance),
        "variance of the Laplacian": each(lambda f: float(ndimage.laplace(f)[INNER].var())),
        "modified Laplacian": each(modified_laplacian),
        "Vollath F4": each(vollath_4),
        "Vollath F5": each(vollath_5),
        "normalised variance": each(lambda f: float(f.var() / f.mean() ** 2)),
        "Haar wavelet": each(wavelet),
        "entropy of the cosine transform": each(cosines),
    }


def show_speed(n_images: int) -> None:
    """Print microseconds per image and how many times faster ours are than each loop."""
    loops = {"scikit-image": scikit_image()}
    try:
        import cv2
    except ImportError:
        click.echo("OpenCV is not installed (opencv-python-headless): compared without it")
    else:
        cv2.setNumThreads(1)
        loops["OpenCV"] = open_cv(cv2)
    cells = -(-n_images // 9)
    for bits in (8, 12):
        images = simulate_cells(cells=cells, seed=1, bit_depth=bits).images[:n_images]
        click.echo(f"{len(images)} images of 96 x 96, {images.dtype}; µs per image, times faster")
        for name in next(iter(loops.values())):
            measure = MEASURES[name]
            runs: dict[str, Callable[[], object]] = {"ours": lambda m=measure, a=images: m(a)}
            for library, loop in loops.items():
                np.testing.assert_allclose(
                    [loop[name](image) for image in images[:9]], measure(images[:9]), rtol=1e-4
                )
                runs[library] = lambda one=loop[name], a=images: [one(image) for image in a]
            took = medians(runs)
            line = f"  {name:20} ours {1e6 * took['ours'] / len(images):6.1f}"
            for library in loops:
                line += f"   {library} {1e6 * took[library] / len(images):6.1f}"
                line += f" ({took[library] / took['ours']:4.1f} x)"
            click.echo(line)


def medians(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of the processor of each of some functions, run in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(took) for name, took in times.items()}


def show_failures(n_cells: int) -> None:
    """Print, per measure and kind of cell, the share of cells that each rule gets wrong."""
    groups = [(contrast, motile) for contrast in ("brightfield", "relief") for motile in (0, 1)]
    archives = [
        simulate_cells(cells=n_cells, motile=bool(motile), contrast=contrast, seed=41)
        for contrast, motile in groups
    ]
    click.echo(f"share of {n_cells} cells more than half a step off, %: by peak / by dip")
    heads = [f"{contrast}, {'motile' if motile else 'immotile'}" for contrast, motile in groups]
    click.echo(f"  {'':32}" + "".join(f"{head:>24}" for head in heads))
    for name, measure in {**MEASURES, **candidates()}.items():
        line = f"  {name:32}"
        for archive in archives:
            z = archive.class_depths_um
            curves = [measure(archive.images[9 * k : 9 * k + 9]) for k in range(n_cells)]
            half = archive.header.step_um / 2
            shares = [
                100 * np.mean([abs(found) > half for found in rule])
                for rule in (list(peaks(curves, z)), list(dips(curves, z)))
            ]
            line += f"{shares[0]:17.0f} / {shares[1]:3.0f} "
        click.echo(line)


def peaks(curves: list[Floats], z_um: Floats) -> Iterator[float]:
    """Focus by the peak of each curve."""
    return (vertex(z_um, curve) for curve in curves)


def dips(curves: list[Floats], z_um: Floats) -> Iterator[float]:
    """Focus by the dip of each curve; none is taken as wrong."""
    return (np.inf if (found := dip(z_um, curve)) is None else found for curve in curves)


@click.command()
@click.option("--speed", is_flag=True, help="Only the speed.")
@click.option("--failures", is_flag=True, help="Only the failures.")
@click.option("--images", default=900, show_default=True, help="Images for the speed.")
@click.option("--cells", default=160, show_default=True, help="Cells of each kind.")
def main(speed: bool, failures: bool, images: int, cells: int) -> None:
    """Compare the focus measures."""
    if speed or not failures:
        show_speed(images)
    if failures or not speed:
        show_failures(cells)


if __name__ == "__main__":
    main()
