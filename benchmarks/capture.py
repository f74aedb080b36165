"""What share of sperm a pipette captures, by flow, heading, and height of the tip over the cell.

A cell starts 100 pixels (14.65 µm) before the mouth, 5 µm over the dish, and the tip stands d µm
too high. Three kinds: "point", a head of 0.5 µm without a tail, which is how the flow is felt at
one place; "whole", a head of 5 x 3 µm with a tail; "still", the same, immotile. Headings lie in the
plane, at random or within 30° of the tip. A cell is captured when the centre of its head has passed
the plane of the mouth within the bore. Pipette: 5 µm inside, 7 µm outside, level.

The file has for each case the share with its 95 % Wilson interval, and of the captured cells the
medians of time, distance from the axis, height error and speed at the entry, the touches of the rim
for each cell, and the share that is still in view, within 100 µm of bore, 50 ms after the entry.

Then a pump of 1.2 nL/s starts at rest on a compliant line: when immotile cells enter, at what flow,
and how long they take for 100 µm of the bore. At last it prints what one step costs, for one cell
and for each of a hundred, far from the mouth and beside it.

Run ``python benchmarks/capture.py benchmarks/results/capture.csv [--trials 400] [--seconds 2]
[--kinds point whole still] [--speed 60] [--seed 0]``.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from fgaf.acquire.simulation.aspiration.carried import Carried
from fgaf.acquire.simulation.aspiration.cells import Cells
from fgaf.acquire.simulation.aspiration.mouth import Mouth
from fgaf.acquire.simulation.aspiration.mouth_flow import MouthFlow
from fgaf.acquire.simulation.aspiration.settings import AspirationSettings

START_UM, HEIGHT_UM, VIEW_UM, SEEN_S = 14.65, 5.0, 100.0, 0.05
TOO_HIGH_UM = (1.0, 4.0, 6.0, 10.0, 15.0)
CASES = ((0.2, 180.0), (0.1, 180.0), (0.1, 30.0), (0.05, 30.0))
KINDS = {
    "point": AspirationSettings(
        head_length_um=0.5, head_width_um=0.5, tail_length_um=1.0, tail_weight=0.0
    ),
    "whole": AspirationSettings(),
    "still": AspirationSettings(),
}


@dataclass(frozen=True)
class Trial:
    """One case of the table."""

    kind: str
    flow_nl_s: float
    within_deg: float
    too_high_um: float

    def run(self, trials: int, seconds: float, speed: float, seed: int) -> dict[str, object]:
        """Let so many cells swim, and say what became of them."""
        settings, rng = KINDS[self.kind], np.random.default_rng(seed)
        mouth = Mouth(
            (0.0, 0.0, HEIGHT_UM + self.too_high_um),
            settings.direction,
            settings.inner_diameter_um / 2,
            settings.outer_diameter_um / 2,
        )
        yaw = np.radians(rng.uniform(-self.within_deg, self.within_deg, trials))
        places = np.tile([0.0, -START_UM, HEIGHT_UM], (trials, 1))
        cells = Cells.starting(places, yaw, 0.0 if self.kind == "still" else speed)
        carried, field = Carried(settings, cells, view_um=VIEW_UM), MouthFlow(mouth)
        for _ in range(math.ceil(seconds / 0.1)):
            carried.advance(0.1, lambda at: field.velocity(at, self.flow_nl_s), mouth)
        found = carried.entries
        entered = ~np.isnan(found.time_s)
        count = int(entered.sum())
        interval = binomtest(count, trials).proportion_ci(method="wilson")
        row = {
            "kind": self.kind,
            "flow_nl_s": self.flow_nl_s,
            "within_deg": self.within_deg,
            "too_high_um": self.too_high_um,
            "captured": count,
            "trials": trials,
            "share": round(count / trials, 3),
            "low": round(interval.low, 3),
            "high": round(interval.high, 3),
            "rim_touches": round(float(found.rim_touches.mean()), 2),
        }
        if count:
            stay = found.left_s[entered] - found.time_s[entered]
            row |= {
                "time_s": round(float(np.median(found.time_s[entered])), 3),
                "radius_um": round(float(np.median(found.radius_um[entered])), 2),
                "z_um": round(float(np.median(found.z_um[entered])), 2),
                "speed_um_s": round(float(np.median(found.speed_um_s[entered]))),
                "seen": round(float((np.isnan(stay) | (stay > SEEN_S)).mean()), 3),
            }
        return row


def slow_start(inner_um: float, wall_um: float, length_um: float, seed: int) -> str:
    """A pump of 1.2 nL/s on a compliant line, and 40 immotile cells 14.65 µm before the mouth."""
    settings = AspirationSettings(
        inner_diameter_um=inner_um,
        outer_diameter_um=inner_um + 2 * wall_um,
        bore_length_um=length_um,
    )
    line, high = settings.hydraulics(), max(6.0, settings.outer_diameter_um / 2 + 0.5)
    mouth = Mouth(
        (0.0, 0.0, high), settings.direction, inner_um / 2, settings.outer_diameter_um / 2
    )
    field, rng = MouthFlow(mouth), np.random.default_rng(seed)
    places = np.tile([0.0, -START_UM, HEIGHT_UM], (40, 1))
    cells = Cells.starting(places, rng.uniform(-math.pi, math.pi, 40), 0.0)
    carried, step = Carried(settings, cells, view_um=VIEW_UM), 0.005
    while carried.time_s < 20 and not carried.left.all():
        flow = line.flow_after(step / 2, 1.2)
        line.run(step, 1.2)
        carried.advance(step, lambda at, flow=flow: field.velocity(at, flow), mouth)
    found = carried.entries
    entered = float(np.nanmedian(found.time_s))
    flow = settings.hydraulics().flow_after(entered, 1.2)
    stay = 1e3 * float(np.nanmedian(found.left_s - found.time_s))
    return (
        f"bore {inner_um:g} µm: {np.isfinite(found.time_s).sum()} of 40 enter, after {entered:.2f}"
        f" s, at {flow:.3f} nL/s; {VIEW_UM:g} µm of bore take {stay:.0f} ms"
    )


def step_us(count: int, away_um: float) -> float:
    """Processor time of one step of each cell, the least of five repeats."""
    settings = KINDS["whole"]
    mouth = Mouth((0.0, 0.0, 6.0), settings.direction, 2.5, 3.5)
    field, best = MouthFlow(mouth), math.inf
    places = np.stack([np.linspace(0, 3, count), np.full(count, -away_um), np.full(count, 5.0)], 1)
    for _ in range(5):
        carried = Carried(settings, Cells.starting(places, np.full(count, 0.3), 60.0))
        begun = time.process_time()
        for _ in range(50):
            carried.advance(1e-7, lambda at: field.velocity(at, 0.02), mouth)
        best = min(best, time.process_time() - begun)
    return best / 50 / count * 1e6


COLUMNS = (
    "kind", "flow_nl_s", "within_deg", "too_high_um", "captured", "trials", "share", "low", "high",
    "rim_touches", "time_s", "radius_um", "z_um", "speed_um_s", "seen",
)  # fmt: skip


def main() -> None:
    """Write the table, and time a step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    run(args)
    for inner, length in ((5.0, 200.0), (10.0, 1000.0)):
        print(slow_start(inner, 1.0, length, args.seed))
    for away in (60.0, 8.0):
        alone, among = step_us(1, away), step_us(100, away)
        print(f"a step {away:g} µm away: one cell {alone:.0f} µs, of 100 each {among:.0f} µs")


def run(args: argparse.Namespace) -> None:
    """Write the table."""
    with args.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for kind in args.kinds:
            for flow, within in CASES:
                if kind == "still" and within < 180:
                    continue
                for too_high in TOO_HIGH_UM:
                    trial = Trial(kind, flow, within, too_high)
                    row = trial.run(args.trials, args.seconds, args.speed, args.seed)
                    writer.writerow(row)
                    file.flush()
                    print(", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
