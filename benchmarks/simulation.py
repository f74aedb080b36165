"""How fast the simulated microscope is, beside a plain multi-slice loop in the same run.

Run ``OMP_NUM_THREADS=1 python benchmarks/simulation.py``; times are of one core's work, the
best of a few rounds, with the tables that a microscope fills once already filled.
"""

import time
from collections.abc import Callable

import numpy as np

from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.painter import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.reference import multislice
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import Contrast, SimulationSettings
from fgaf.acquire.simulation.swimming import Pose, draw_swimming

PIXEL = SimulationSettings().pixel_size_um
DEPTHS = np.arange(-2, 2.01, 0.5)
PLAIN_ORDER = 2
ROUNDS = 5


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Least processor time of a piece of work, after one round that does not count."""
    work()
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def motile_cell() -> Swimmer:
    """One swimming cell in the middle of a 96 px patch."""
    rng = np.random.default_rng(0)
    start = Pose(48 * PIXEL, 48 * PIXEL, 0.0, yaw=0.6)
    return Swimmer(draw_sperm(rng, motile=True), draw_swimming(rng, start, motile=True))


def fast_stack(painter: Painter, cell: Swimmer) -> None:
    """Nine planes of one cell, 30 ms apart, each kept in the patch's middle."""
    for k, depth in enumerate(DEPTHS):
        pose = cell.way.pose(k * 0.03)
        canvas = Canvas((96, 96), float(depth))
        shift = (48 * PIXEL - pose.y_um, 48 * PIXEL - pose.x_um, -pose.z_um)
        painter.sperm(canvas, cell, k * 0.03, 0.005, shift)
        canvas.relative()


def plain_stack(microscope: Microscope, cell: Swimmer) -> None:
    """The same by the multi-slice method in numpy, 96 px at the pixel's own sampling."""
    for k, depth in enumerate(DEPTHS):
        pose = cell.way.pose(k * 0.03)
        line = cell.body.flagellum(pose, cell.way.beat(k * 0.03))
        slices = cell.body.slices(pose, line, microscope.settings)
        multislice(microscope, slices, (48, 48), float(depth), 96, PLAIN_ORDER, oversampling=1)


def at_full_speed(time_s: float) -> tuple[float, float]:
    """Place of a stage that moves at 5 mm/s."""
    return 2000.0, 1000.0 + 5000.0 * time_s


def report(contrast: Contrast) -> None:
    """Measure one contrast and print it."""
    settings = SimulationSettings(contrast=contrast, cells=20, seed=1)
    painter, cell = Painter(settings), motile_cell()
    fast = seconds(lambda: fast_stack(painter, cell))
    plain = seconds(lambda: plain_stack(Microscope(settings), cell), rounds=2)
    points = len(Microscope(settings).source(PLAIN_ORDER)[1])
    print(f"{contrast}")
    print(f"  9 planes of a motile cell, 96 px   {fast * 1e3:7.0f} ms   (at most 100 ms)")
    print(
        f"    plain multi-slice, {points} points      {plain * 1e3:7.0f} ms   {plain / fast:.0f} x"
    )

    scene = Scene(settings)
    begin = time.process_time()
    scene.expose(0.0, 0.005, 1.0)
    first = time.process_time() - begin
    field = seconds(lambda: scene.expose(0.0, 0.005, 1.0))
    print(f"  1920 x 1200 plane, 20 cells        {field * 1e3:7.0f} ms   (at most 500 ms)")
    print(f"    the first one, filling tables    {first * 1e3:7.0f} ms")
    place = (2000.0, 1000.0)
    other = seconds(lambda: scene.expose(0.0, 0.005, 1.0, place=lambda _: place), rounds=3)
    print(f"    the same at another place        {other * 1e3:7.0f} ms   {other / field:.1f} x")
    moved = seconds(lambda: scene.expose(0.0, 0.005, 1.0, place=at_full_speed), rounds=1)
    print(f"    the same while the stage moves   {moved * 1e3:7.0f} ms   {moved / field:.1f} x")
    moving = []
    for k, depth in enumerate(DEPTHS):
        begin = time.process_time()
        scene.expose(k * 0.03, 0.005, float(depth))
        moving.append(time.process_time() - begin)
    print(f"    mean over a stack from scratch   {np.mean(moving) * 1e3:7.0f} ms")

    begin = time.process_time()
    simulate_cells(cells=60, contrast=contrast)
    taken = time.process_time() - begin
    print(f"  simulate_cells, 60 cells x 9       {taken:7.1f} s")
    begin = time.process_time()
    simulate_cells(cells=60, contrast=contrast, masks=True)
    masked = time.process_time() - begin
    print(f"    the same with masks of heads     {masked / taken:7.2f} times")


if __name__ == "__main__":
    report("brightfield")
    report("relief")
