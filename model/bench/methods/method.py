"""The base class of the benchmark's methods: settings from a preset, and answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from fgaf.model.bench.evaluation_set import EvaluationSet

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=64)]
Sight = Literal["patch", "stack", "nothing", "all"]


@dataclass(frozen=True)
class Prediction:
    """The answers of a method for N patches.

    Attributes
    ----------
    probabilities
        (N, C), rows add up to 1. For a search only their order has a meaning. NaN for a patch
        without an answer: the method is evaluated on the others.
    expected_um
        (N,) continuous estimate of the depth, µm; NaN likewise.
    values
        (N,) the focus measure of each patch, where the method has one.
    """

    probabilities: Floats
    expected_um: Floats
    values: Floats | None = None

    @classmethod
    def of_shares(cls, probabilities: Floats, class_depths_um: Floats) -> Prediction:
        """Make a prediction whose depth is the mean over its probabilities.

        Parameters
        ----------
        probabilities
            (N, C), rows add up to 1.
        class_depths_um
            (C,) depth of each class, µm.
        """
        return cls(probabilities, np.asarray(probabilities @ class_depths_um))


class Method(BaseModel):
    """One row of the benchmark: its settings from a preset, and its answers.

    A subclass narrows `kind` to its own literal, adds its settings as fields, and is listed in
    `fgaf.model.bench.methods`. It learns from the training cells only; the validation cells may
    choose its settings. Its module imports heavy libraries inside functions.

    Attributes
    ----------
    id
        Name in results and files.
    label
        Name in tables.
    kind
        Which method it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    label: str = ""
    kind: str

    seeded: ClassVar[bool] = False
    """Whether it uses random numbers, and is therefore run once per seed."""
    sees: ClassVar[Sight] = "patch"
    """What it uses for one depth: the patch, all planes of the cell, nothing, or a person's view of
    all planes."""
    calibrated: ClassVar[bool] = False
    """Whether its probabilities have a meaning beyond their order."""

    def resolved_settings(self, data: EvaluationSet, seed: int | None) -> dict[str, Any]:  # noqa: ARG002
        """List all its settings, defaults included; with its code they decide the answers.

        Parameters
        ----------
        data
            The cells it will predict.
        seed
            None unless `seeded`.

        Returns
        -------
        dict
            JSON values, with the `seed` if there is one; nothing that identifies this machine.

        Raises
        ------
        FgafError
            It cannot run with these settings or these data. Nothing was started.
        """
        resolved = self.model_dump(mode="json", exclude={"id", "label", "kind"})
        return resolved if seed is None else {**resolved, "seed": seed}

    @abstractmethod
    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:
        """Answer for the test patches of an evaluation set.

        Parameters
        ----------
        data
            Training cells to learn from, test cells to predict.
        resolved
            From `resolved_settings`.
        folder
            Folder for its files, such as a network; not there yet.

        Returns
        -------
        Prediction
            For the N test patches ``data.rows``.
        """

    def cost(self, folder: Path) -> dict[str, float] | None:  # noqa: ARG002
        """Measure the cost of an answer, after `answer`; None where that has no meaning.

        Parameters
        ----------
        folder
            The folder given to `answer`.

        Returns
        -------
        dict or None
            As `fgaf.model.bench.cost.network_cost`.
        """
        return None

    def training(self, folder: Path) -> dict[str, Any] | None:  # noqa: ARG002
        """Say how long a network was trained, after `answer`; None where none is.

        Parameters
        ----------
        folder
            The folder given to `answer`.

        Returns
        -------
        dict or None
            As `fgaf.model.bench.methods.trained.training_of`.
        """
        return None
