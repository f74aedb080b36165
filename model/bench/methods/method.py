"""What every method of the benchmark is: settings that a preset writes, and answers."""

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
    """What a method says of N patches.

    Attributes
    ----------
    probabilities
        (N, C), rows add up to 1. Of a search only their order means something. NaN for a patch
        that it has no answer for: it is judged on the others.
    expected_um
        (N,) the depth it would report, µm, not bound to the class grid; NaN likewise.
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
    """One row of the benchmark: what a preset says of it, and how it answers.

    A subclass narrows `kind` to a literal of its own, adds its settings as fields, and is listed
    in `fgaf.model.bench.methods`. It learns from the training cells alone; the validation cells may
    choose its settings. Its module imports what is heavy when it is used.

    Attributes
    ----------
    id
        Name of its rows and files.
    label
        What tables show.
    kind
        Which method it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    label: str = ""
    kind: str

    seeded: ClassVar[bool] = False
    """Whether it draws at random, and is therefore run once per seed."""
    sees: ClassVar[Sight] = "patch"
    """What it looks at to say one depth: the patch, all planes of the cell, nothing, or all that
    a person saw."""
    calibrated: ClassVar[bool] = False
    """Whether its probabilities are meant as such, not only by their order."""

    def resolved_settings(self, data: EvaluationSet, seed: int | None) -> dict[str, Any]:  # noqa: ARG002
        """List everything it goes by, defaults included; with its code it decides the answers.

        Parameters
        ----------
        data
            The cells it will be asked about.
        seed
            None unless `seeded`.

        Returns
        -------
        dict
            JSON values, with the `seed` if there is one; nothing that names this machine.

        Raises
        ------
        FgafError
            It cannot be run so, or not on these data. Nothing was started.
        """
        resolved = self.model_dump(mode="json", exclude={"id", "label", "kind"})
        return resolved if seed is None else {**resolved, "seed": seed}

    @abstractmethod
    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:
        """Answer for the test patches of an evaluation set.

        Parameters
        ----------
        data
            Training cells to learn from, test cells to answer for.
        resolved
            As `resolved_settings` gave it.
        folder
            Its own, not there yet; for what it keeps, such as a network.

        Returns
        -------
        Prediction
            Of the N test patches ``data.rows``.
        """

    def cost(self, folder: Path) -> dict[str, float] | None:  # noqa: ARG002
        """Measure what an answer costs, after `answer`; None where that means nothing.

        Parameters
        ----------
        folder
            That of `answer`.

        Returns
        -------
        dict or None
            As `fgaf.model.bench.cost.network_cost`.
        """
        return None
