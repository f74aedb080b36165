"""The networks of a benchmark of segmentation: trained in its folder, or before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.model.bench.segmentation.methods import LABELS, NETWORKS, Method, network
from fgaf.model.deploy.open_model import open_segmenter
from fgaf.model.inference.heads import HeadModel
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.train import train


def opened(runs: Sequence[Path], archive: Archive, split: str) -> list[Method]:
    """Open networks that were trained before.

    Parameters
    ----------
    runs
        Runs, checkpoints or exports.
    archive, split
        What they must have been trained on.

    Raises
    ------
    FgafError
        One is no network for heads, or may have seen the test cells.
    """
    methods: list[Method] = []
    for run in runs:
        model = open_segmenter(run, threads=1)
        _require_unseen(model, run, archive, split)
        card = model.card
        label = LABELS.get(card.backbone, card.backbone)
        if card.kind == "checkpoint":
            name = card.backbone
        else:
            name, label = f"{card.backbone}-{card.kind}", f"{label}, {card.kind}"
        taken = sum(method.id.partition(":")[0] == name for method in methods)
        if taken:
            name, label = f"{name}:{taken + 1}", f"{label} ({taken + 1})"
        methods.append(network(name, label, model))
    return methods


def _require_unseen(model: HeadModel, run: Path, archive: Archive, split: str) -> None:
    if model.card.archive_fingerprint != archive.fingerprint:
        raise FgafError(
            f"{run} was trained on another archive and may have used these test cells; give a run "
            "trained on this archive"
        )
    if model.card.split != split:
        raise FgafError(
            f"{run} was trained on the split {model.card.split!r} and may have used the test cells "
            f"of {split!r}; pass --split {model.card.split}"
        )


def trained(backbone: str, archive: Archive, settings: TrainSettings, folder: Path) -> Method:
    """Train a network, or finish its training, or use the finished one.

    Parameters
    ----------
    backbone
        "unext" or "unext_s".
    archive
        With masks, in memory.
    settings
        Settings of the training; the backbone is replaced.
    folder
        Of the run.

    Raises
    ------
    FgafError
        The run was started with other settings or on another archive.
    """
    own = settings.with_values({"backbone": backbone})
    train(archive, own, folder, resume=True, checked=True)
    return network(backbone, NETWORKS[backbone], open_segmenter(folder))
