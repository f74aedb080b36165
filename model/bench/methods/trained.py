"""Method `trained`: a network that `fgaf-train` trained before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

from fgaf.base.errors import FgafError
from fgaf.base.inputs import parse_json, read_bytes
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods.method import Method, Prediction


class TrainedMethod(Method):
    """A network that `fgaf-train` trained before, on the same archive and split.

    Attributes
    ----------
    run
        Folder of that training run.
    """

    kind: Literal["trained"]
    run: Path

    calibrated: ClassVar[bool] = True

    def resolved_settings(self, data: EvaluationSet, seed: int | None) -> dict[str, Any]:  # noqa: ARG002
        """Read the network's settings; refuse one that may have seen the test cells."""
        from fgaf.model.inference.predict import Predictor

        checkpoint = Predictor.load(self.run).checkpoint
        if checkpoint.archive_fingerprint != data.archive.fingerprint:
            raise FgafError(
                f"{self.run} was trained on another archive and may have used these test cells; "
                "give a run trained on this archive"
            )
        if checkpoint.settings.split != data.split:
            raise FgafError(
                f"{self.run} was trained on the split {checkpoint.settings.split!r} and may have "
                f"used the test cells of {data.split!r}; pass --split {checkpoint.settings.split}"
            )
        return {**asdict(checkpoint.settings), "trained_utc": checkpoint.created_utc}

    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:  # noqa: ARG002
        """Predict with that network."""
        return ask_network(self.run, data)

    def cost(self, folder: Path) -> dict[str, float]:  # noqa: ARG002
        """Measure that network."""
        from fgaf.model.bench.cost import network_cost

        return network_cost(self.run)

    def training(self, folder: Path) -> dict[str, Any] | None:  # noqa: ARG002
        """Read the epochs and the time of that training."""
        return training_of(self.run)


def ask_network(run: Path, data: EvaluationSet) -> Prediction:
    """Predict the test patches with the network of a training run.

    Parameters
    ----------
    run
        Folder of the training run.
    data
        Its test patches are predicted.
    """
    from fgaf.model.inference.predict import Predictor

    shares = Predictor.load(run).probabilities(data.archive.images[data.rows])
    return Prediction.of_shares(shares, data.archive.class_depths_um)


def training_of(run: Path) -> dict[str, Any] | None:
    """Read from a training run how long it was trained.

    Parameters
    ----------
    run
        Its folder.

    Returns
    -------
    dict or None
        `epochs`; `best_epoch`, the one with the best validation, and `at_plateau`, both None
        without validation cells; `core_s`, the time of one processor core, seconds. None for a run
        of an earlier version, which did not write these.
    """
    from fgaf.model.training.resume import METRICS

    metrics = parse_json(read_bytes(run / METRICS)) if (run / METRICS).is_file() else {}
    if "trained_epochs" not in metrics:
        return None
    return {
        "epochs": metrics["trained_epochs"],
        "best_epoch": metrics.get("best_epoch"),
        "at_plateau": metrics.get("at_plateau"),
        "core_s": metrics["timing"]["core_s"],
    }
