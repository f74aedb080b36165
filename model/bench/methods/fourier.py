"""Method `fourier`: a small network on the Fourier magnitude of a patch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from fgaf.base.bounds import Bound, LearningRate, OffsetPx
from fgaf.dataset.splits.split import VALIDATION
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods.method import Method, Prediction


class FourierMethod(Method):
    """A fully connected network on the strength of each spatial frequency, once per seed.

    After H. Pinkard et al., Optica 6, 2019: the magnitude of the Fourier transform of the patch's
    centre, up to the cut-off of the optics, and a few dense layers. The best epoch on the
    validation cells is kept; without such cells the last.

    Attributes
    ----------
    window_px
        Side of the central square that is transformed; 0 for two thirds of the patch.
    hidden
        Width of each hidden layer.
    epochs, learning_rate, dropout
        Settings of the training (AdamW, batches of 64).
    """

    kind: Literal["fourier"]
    window_px: OffsetPx = 0
    hidden: tuple[Annotated[int, Bound(1, 4096)], ...] = (128, 64)
    epochs: Annotated[int, Bound(1, 10_000)] = 30
    learning_rate: LearningRate = 2e-3
    dropout: Annotated[float, Bound(0, 0.999)] = 0.3

    seeded: ClassVar[bool] = True
    calibrated: ClassVar[bool] = True

    def resolved_settings(self, data: EvaluationSet, seed: int | None) -> dict[str, Any]:
        """List the settings and the seed."""
        side = data.archive.header.patch_px
        window = min(self.window_px or max(2 * side // 3, 8), side)
        return {**super().resolved_settings(data, seed), "window_px": window // 2 * 2}

    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:  # noqa: ARG002
        """Train on the training patches, then predict."""
        from fgaf.model.bench.methods.fourier_network import magnitudes, train_dense

        archive, window = data.archive, int(resolved["window_px"])
        rows, held_out = data.training_rows, data.rows_of(VALIDATION)
        cutoff = archive.header.optics.cutoff_per_um
        pixel_um = archive.header.optics.pixel_size_um
        limit = 0.5 if cutoff is None or pixel_um is None else min(2 * cutoff * pixel_um, 0.5)
        known, unseen, asked = (
            magnitudes(archive.images[part], window, limit) for part in (rows, held_out, data.rows)
        )
        shares = train_dense(
            (known, archive.depth_class[rows]),
            (unseen, archive.depth_class[held_out]),
            asked,
            n_classes=archive.n_classes,
            hidden=self.hidden,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            dropout=self.dropout,
            seed=int(resolved["seed"]),
        )
        return Prediction.of_shares(shares, archive.class_depths_um)
