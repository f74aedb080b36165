"""Fit the judge of tracks (`curate/tracking/judge.npz`) to realistic simulated stacks.

    python tools/fit_judge.py --work FOLDER

Stacks of `benchmarks/curation.py`'s two realistic cases are drawn from consecutive seeds, cells are
searched as in `fgaf-curate auto`, and each path is right if it follows a sperm's head better than
any other path does; paths on mirrored borders are left out. What is found in each stack is kept in
FOLDER, so that the command goes on after a stop. The table that it prints is of stacks that the
judge was not fitted to: each sixth of the seeds by a judge of the others.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from curation import (
    BORDER_UM,
    CASES,
    INTERVAL_S,
    NEAR_UM,
    distance_um,
    inside,
    on_mirrored,
    seen_in,
    stack_of,
    way_of,
)

from fgaf.curate.detection.detect import spots
from fgaf.curate.detection.scale import Scale
from fgaf.curate.tracking.follow import TRACK_SCORE, contrasts_of, link
from fgaf.curate.tracking.judge import FARTHEST, Judge, candidate_score, features_of

FIRST_SEED = 90_000
FITTED = ("realistic 40x", "realistic 10x to 60x")
HIDDEN, NETWORKS, STEPS, BATCH, RATE, DECAY = 32, 4, 800, 256, 3e-3, 0.05
LEAST_DEVIATION = 0.05
SHIFT = 0.4
"""Added to the logits, so that about as many heads are missed as paths are false at a score of a
half."""
FOLDS = 6
WEIGHTS = Path(__file__).parents[1] / "curate" / "tracking" / "judge.npz"
RIGHT, FALSE, LEFT_OUT = 1, 0, -1

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stack:
    """The paths found in one stack.

    Attributes
    ----------
    scores, features
        (N,) and (N, F), see `features_of`.
    labels
        (N,) `RIGHT`, `FALSE` or `LEFT_OUT`.
    of_counted
        (K,) for each sperm that counts, the number of its path; -1 if it has none.
    """

    scores: Array
    features: Array
    labels: npt.NDArray[np.int64]
    of_counted: npt.NDArray[np.int64]


def look_at(case: str, seed: int) -> Stack:
    """Draw a stack, and find and label its paths."""
    settings = CASES[case](seed)
    frames, z, truth = stack_of(settings)
    pixel, shape = settings.pixel_size_um, (frames.shape[1], frames.shape[2])
    scale = Scale(pixel)
    contrasts = contrasts_of(frames, scale)
    planes = [spots(contrast, scale) for contrast in contrasts]
    times = np.arange(len(z)) * INTERVAL_S
    tracks = link(planes, pixel, shape, times, least_score=candidate_score())
    scores, features = (
        features_of(tracks, contrasts, scale) if tracks else (np.zeros(0), np.zeros((0, 0)))
    )
    sperm = {cell.id for plane in truth for cell in plane if cell.kind == "sperm"}
    labels, taken = np.full(len(tracks), FALSE), dict[int, int]()
    for i in np.argsort(-scores):
        away = {c: distance_um(tracks[i], truth, c, pixel) for c in sperm - set(taken)}
        nearest = min(away, key=lambda c: away[c], default=None)
        if nearest is not None and away[nearest] < NEAR_UM:
            taken[nearest], labels[i] = int(i), RIGHT
        elif on_mirrored(tracks[i], truth, pixel):
            labels[i] = LEFT_OUT
    counted = []
    for cell in sorted(sperm & seen_in(frames, truth, pixel)):
        way = way_of(truth, cell)
        if way is not None and inside(way[:, :2], shape, BORDER_UM / pixel):
            counted.append(taken.get(cell, -1))
    return Stack(scores, features, labels, np.array(counted, np.int64))


def load(work: Path, case: str, seed: int) -> Stack:
    """The paths of one stack, from the folder or anew."""
    path = work / f"{case.replace(' ', '-')}-{seed}.npz"
    if not path.is_file():
        stack = look_at(case, seed)
        part = path.with_suffix(".part.npz")
        np.savez(part, **vars(stack))
        part.rename(path)
    with np.load(path) as file:
        return Stack(**{name: file[name] for name in file.files})


def fit(stacks: list[Stack]) -> Judge:
    """Fit the networks of a judge."""
    some = [stack for stack in stacks if len(stack.labels)]
    features = np.concatenate([stack.features for stack in some])
    labels = np.concatenate([stack.labels for stack in some])
    features, labels = features[labels != LEFT_OUT], labels[labels != LEFT_OUT]
    mean, deviation = features.mean(axis=0), features.std(axis=0) + LEAST_DEVIATION
    bounded = np.clip((features - mean) / deviation, -FARTHEST, FARTHEST)
    x = torch.from_numpy(bounded.astype(np.float32))
    networks = [_fitted(x, torch.from_numpy(labels).float(), seed) for seed in range(NETWORKS)]

    def of(layer: int, name: str) -> npt.NDArray[np.float32]:
        return np.stack([getattr(each[layer], name).detach().numpy() for each in networks])

    return Judge(
        mean.astype(np.float32),
        deviation.astype(np.float32),
        of(1, "weight").transpose(0, 2, 1),
        of(1, "bias"),
        of(4, "weight")[:, 0],
        of(4, "bias")[:, 0] + np.float32(SHIFT),
    )


def _fitted(x: Tensor, labels: Tensor, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Dropout(0.2),
        nn.Linear(x.shape[1], HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(HIDDEN, 1),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        batch = torch.randint(len(x), (BATCH,))
        loss = nn.functional.binary_cross_entropy_with_logits(
            network(x[batch])[:, 0], labels[batch]
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return network.eval()


def final_scores(judge: Judge, stack: Stack) -> Array:
    """Scores of the paths of a stack, as `judged` gives them."""
    return np.sqrt(stack.scores * judge(stack.features)) if len(stack.scores) else stack.scores


def table(name: str, stacks: list[Stack], scores: list[Array]) -> None:
    """Print recall and precision over the least score."""
    for least in np.arange(TRACK_SCORE - 0.1, TRACK_SCORE + 0.11, 0.05):
        found = counted = right = tracks = 0
        for stack, of_paths in zip(stacks, scores, strict=True):
            kept = of_paths >= least
            own = stack.of_counted[stack.of_counted >= 0]
            found, counted = found + int(kept[own].sum()), counted + len(stack.of_counted)
            right += int(np.count_nonzero(kept & (stack.labels == RIGHT)))
            tracks += int(np.count_nonzero(kept & (stack.labels != LEFT_OUT)))
        print(
            f"{name:24} {least:.2f} recall {found / max(counted, 1):.3f} ({found} of {counted}) "
            f"precision {right / max(tracks, 1):.3f} ({right} of {tracks})",
            flush=True,
        )


def main() -> None:
    """Draw, find, fit, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for what is found")
    parser.add_argument("--fields", type=int, default=100, help="stacks of each case")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    seeds = range(FIRST_SEED, FIRST_SEED + options.fields)
    found = {(case, seed): load(options.work, case, seed) for seed in seeds for case in FITTED}
    folds = [
        fit([stack for (_, seed), stack in found.items() if seed % FOLDS != fold])
        for fold in range(FOLDS)
    ]
    for case in FITTED:
        own = {seed: stack for (name, seed), stack in found.items() if name == case}
        scores = [final_scores(folds[seed % FOLDS], stack) for seed, stack in own.items()]
        table(case, list(own.values()), scores)
        table(f"{case}, no judge", list(own.values()), [stack.scores for stack in own.values()])
    judge = fit(list(found.values()))
    np.savez_compressed(WEIGHTS, **{k: v.astype(np.float16) for k, v in vars(judge).items()})


if __name__ == "__main__":
    main()
