"""Settings of a calibration."""

from __future__ import annotations

from dataclasses import dataclass

from fgaf.base.bounds import Count, HeadUm, PixelUm, Seed, Threads, require_bounded
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.model.inference.initial_weights import SHIPPED


@dataclass(frozen=True)
class CalibrationSettings:
    """Settings of a calibration.

    Attributes
    ----------
    start
        Network to start from: "sim", or the folder or checkpoint of a run.
    steps
        Steps of each adaptation.
    lr
        Its highest learning rate.
    drifts
        Whether a cell may drift along z while its stack is taken.
    seed
        Random seed.
    threads
        Processor threads; 0 for two, or what OMP_NUM_THREADS allows.
    pixel_size_um
        Pixel in the specimen; None for the stacks' own.
    head_um
        Length of a head.
    """

    start: str = SHIPPED
    steps: Count = 240
    lr: float = 0.01
    drifts: bool = True
    seed: Seed = 0
    threads: Threads = 0
    pixel_size_um: PixelUm | None = None
    head_um: HeadUm = HEAD_UM[0]

    def __post_init__(self) -> None:
        require_bounded(self)
