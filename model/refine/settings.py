"""Settings of a refinement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fgaf.base.bounds import Bound, Folds, Seed, require_bounded
from fgaf.dataset.archive import DEFAULT_SPLIT
from fgaf.model.networks.settings import TrainSettings

Rounds = Annotated[int, Bound(1, 20)]


@dataclass(frozen=True)
class RefineSettings:
    """How labels are refined.

    Attributes
    ----------
    folds
        Parts of the cells; each is read by what was learned from the others.
    rounds
        How often is learned, each time from the labels of the round before.
    split
        Its test cells are neither refined nor learned from, unless `test` is set.
    test
        Whether labels of test cells are refined too.
    seed
        Of the folds.
    networks
        Settings of whole networks to train; None to learn only a last layer, on the features of the
        network that ships.
    """

    folds: Folds = 5
    rounds: Rounds = 1
    split: str = DEFAULT_SPLIT
    test: bool = False
    seed: Seed = 0
    networks: TrainSettings | None = None

    def __post_init__(self) -> None:
        require_bounded(self)
