"""Default preset, view, epochs and learning rate for an archive."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from fgaf.base.errors import SettingError
from fgaf.dataset.archive import Archive
from fgaf.model.inference.images import shine
from fgaf.model.inference.initial_weights import SHIPPED, InitialWeights
from fgaf.model.networks.settings import RANDOM, TrainSettings
from fgaf.model.training.sides import TRAIN

_VIEW, _LEAST_VIEW_PX = 0.5, 48
_FEWEST_PX, _SMALL_PX = 8, 64


@dataclass(frozen=True)
class _Schedule:
    """Epochs and learning rate for settings of zero; more epochs for small archives."""

    epochs: int
    steps: int
    lr: float


_FROM_RANDOM = _Schedule(epochs=60, steps=600, lr=0.05)
_FROM_TRAINED = _Schedule(epochs=30, steps=300, lr=0.01)
_FROM_SHIPPED = _Schedule(epochs=30, steps=300, lr=0.03)
"""It was trained on whole patches, and learns to look at the middle of one more finely."""
_ADAMW = 20
"""Its learning rates are this many times smaller."""


def default_preset(archive: Archive, start: str) -> str:
    """Choose the preset of a depth network for an archive and the initial weights.

    Parameters
    ----------
    archive
        The training archive; the choice depends on its patches.
    start
        Source of the initial weights: value of the setting `start`.
    """
    return "fluorescence" if start == RANDOM and shine(archive.images) else "default"


def resolve_settings(settings: TrainSettings, archive: Archive) -> TrainSettings:
    """Replace settings of zero of a depth network by values for archive and initial weights.

    Parameters
    ----------
    settings
        Settings of the training.
    archive
        To train on.

    Raises
    ------
    FgafError
        The initial weights cannot be read, or the view leaves too few pixels of a patch.
    """
    view, stride = _looking(settings, archive.header.patch_px)
    return resolve_schedule(replace(settings, view=view, stem_stride=stride), archive)


def resolve_schedule(settings: TrainSettings, archive: Archive) -> TrainSettings:
    """Replace epochs and a learning rate of zero.

    Parameters
    ----------
    settings
        Settings of the training.
    archive
        To train on.
    """
    patches = int((archive.split_of_rows(settings.split) == TRAIN).sum())
    schedule = {RANDOM: _FROM_RANDOM, SHIPPED: _FROM_SHIPPED}.get(settings.start, _FROM_TRAINED)
    epochs = max(schedule.epochs, ceil(schedule.steps / steps_per_epoch(patches, settings)))
    rate = schedule.lr / (_ADAMW if settings.optimizer == "adamw" else 1)
    return replace(settings, epochs=settings.epochs or epochs, lr=settings.lr or rate)


def _looking(settings: TrainSettings, side: int) -> tuple[float, Literal[1, 2]]:
    """Choose the view, a fraction of the patch, and the stride of the stem.

    A run given as start keeps its own; the shipped network, trained on whole patches, errs less if
    it is tuned to the view that suits random weights.
    """
    start = None if settings.start == SHIPPED else InitialWeights.load(settings.start)
    its = start.checkpoint.settings if start and start.checkpoint else None
    suiting_view = (its.view or 1.0) if its else 1.0
    if start is None:
        suiting_view = min(1.0, max(_VIEW, _LEAST_VIEW_PX / side))
    view = settings.view or suiting_view
    seen_px = round(view * side)
    if seen_px < min(side, _FEWEST_PX):
        raise SettingError(
            f"view = {view:g} leaves {seen_px} of {side} px; give {_FEWEST_PX / side:.2g} or more"
        )
    fine = seen_px <= _SMALL_PX or (its is not None and its.stem_stride == 1)
    return view, settings.stem_stride or (1 if fine else 2)


def steps_per_epoch(patches: int, settings: TrainSettings) -> int:
    """Number of steps in which every training patch is drawn once.

    Parameters
    ----------
    patches
        Number of training patches.
    settings
        `batch` is the number of patches of a step.
    """
    return max(1, round(patches / settings.batch))
