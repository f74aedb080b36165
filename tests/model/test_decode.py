"""Decoding: probabilities, expected depth, spread, temperature."""

import numpy as np
import pytest
import torch

from fgaf.model.networks.decode import (
    class_probabilities,
    depth_spread,
    expected_depth,
    fit_temperature,
)
from fgaf.model.networks.losses import between

GRID = np.array([-0.5, 0.0, 0.5])


def test_softmax_and_temperature() -> None:
    logits = torch.tensor([[0.0, 2.0, 0.0]])
    hot = class_probabilities(logits, "ce", 2.0).numpy()
    assert hot[0] == pytest.approx(np.exp([0, 1, 0]) / np.exp([0, 1, 0]).sum())


def test_conditional_probabilities_chain() -> None:
    """P(above 0) = 0.8, P(above 1 | above 0) = 0.25."""
    logits = torch.tensor([[np.log(4.0), np.log(1 / 3)]])
    assert class_probabilities(logits, "corn").numpy()[0] == pytest.approx([0.2, 0.6, 0.2])


def test_expected_depth_and_spread() -> None:
    p = np.array([[0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [0.0, 1.0, 0.0]])
    assert expected_depth(p, GRID).tolist() == [0.0, 0.25, 0.0]
    assert depth_spread(p, GRID).tolist() == [0.5, 0.25, 0.0]


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_undoes_a_factor(factor: float) -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, (4000, 5)))
    p = logits.softmax(1).numpy()
    classes = torch.from_numpy((p.cumsum(1) < rng.random((4000, 1))).sum(1))
    assert fit_temperature(logits * factor, classes, "ce") == pytest.approx(factor, rel=0.08)


def test_temperature_without_patches_is_one() -> None:
    assert fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), "ce") == 1.0


def test_few_patches_that_are_all_right_make_no_certainty() -> None:
    logits = 3 * torch.eye(5)
    assert 0.3 < fit_temperature(logits, torch.arange(5), "ce") < 1.0


def test_a_depth_rightly_shared_between_two_classes_is_as_sure_as_can_be() -> None:
    """A network that answers with the very shares it was trained to needs no temperature."""
    shares = between(torch.linspace(0, 4, 4001), 5)
    logits = shares.clamp_min(1e-4).log()
    assert fit_temperature(logits, shares, "ce") == pytest.approx(1.0, abs=0.02)
    assert fit_temperature(logits, shares.argmax(dim=1), "ce") < 0.9
