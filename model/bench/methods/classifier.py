"""Method `classifier`: a network trained on the archive's training cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods.method import Method, Prediction
from fgaf.model.bench.methods.trained import ask_network, training_of
from fgaf.model.networks.settings import RANDOM, TrainSettings, preset as training_preset


class ClassifierMethod(Method):
    """A network trained on the archive's training cells, once per seed.

    Attributes
    ----------
    settings
        Training settings that differ from those of the preset, by name; `preset` names the preset.
        By default it is the one that `fgaf-train` chooses for the archive.
    """

    kind: Literal["classifier"]
    settings: dict[str, Any] = Field(default_factory=dict)

    seeded: ClassVar[bool] = True
    calibrated: ClassVar[bool] = True

    def resolved_settings(self, data: EvaluationSet, seed: int | None) -> dict[str, Any]:
        """List all training settings; the given ones replace those of the preset."""
        from fgaf.model.training.defaults import default_preset

        given = dict(self.settings)
        named = given.pop("preset", None)
        base = named or default_preset(data.archive, str(given.get("start", RANDOM)))
        values = {**given, "seed": seed, "split": data.split}
        return asdict(training_preset(str(base)).with_values(values))

    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:
        """Train in `folder`, or resume a training that was stopped there, then predict."""
        from fgaf.model.training.train import train

        train(data.archive, TrainSettings(**resolved), folder, resume=True, pictures=False)
        return ask_network(folder, data)

    def cost(self, folder: Path) -> dict[str, float]:
        """Measure the network trained in `folder`."""
        from fgaf.model.bench.cost import network_cost

        return network_cost(folder)

    def training(self, folder: Path) -> dict[str, Any] | None:
        """Read the epochs and the time of the training in `folder`."""
        return training_of(folder)
