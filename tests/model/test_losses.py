"""Losses against tables by hand, and values of coral-pytorch 1.4 and dlordinal 2.7."""

import math

import numpy as np
import pytest
import torch

from fgaf.model.networks.decode import class_probabilities
from fgaf.model.networks.losses import (
    LossSettings,
    between,
    corn,
    distance,
    loss_function,
    outputs,
    ranked_probability_score,
    sample_weights,
    soft_targets,
    weighted,
)

LOGITS = torch.tensor(
    [
        [2.0, -1.0, 0.5, 0.1, -0.3],
        [0.0, 1.5, 1.0, -2.0, 0.2],
        [-0.5, 0.3, 0.2, 2.2, 1.0],
        [1.0, 1.0, -1.0, 0.0, 0.5],
    ]
)
CLASSES = torch.tensor([0, 2, 4, 1])


def test_weights_of_nine_classes_by_hand() -> None:
    """Eq. (15), rows the truth 0, 4 and 8, columns the prediction 0..8."""
    by_hand = {
        0: [1, 2, 5, 10, 17, 26, 37, 50, 65],
        4: [17, 16, 13, 8, 1, 10, 21, 34, 49],
        8: [65, 64, 61, 56, 49, 40, 29, 16, 1],
    }
    for truth, row in by_hand.items():
        found = sample_weights(torch.arange(9), torch.full((9,), truth))
        assert found.tolist() == row


def test_wloss_by_hand() -> None:
    """Two patches of three classes: one right (weight 1), one two classes off (weight 5)."""
    logits = torch.tensor([[0.0, 0.0, math.log(2)], [math.log(2), 0.0, 0.0]], requires_grad=True)
    classes = torch.tensor([2, 2])
    right, wrong = math.log(2), math.log(4)
    loss = weighted(logits, classes)
    assert loss.item() == pytest.approx((1 * right + 5 * wrong) / 2)
    assert weighted(logits, classes, "mean").item() == pytest.approx((right + 5 * wrong) / 6)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[1].tolist() == pytest.approx([5 / 4, 5 / 8, -5 * 3 / 8])


@pytest.mark.parametrize(
    ("loss", "settles_at"), [("ce", 0.8), ("wloss", 0.5)], ids=["cross-entropy", "WLoss"]
)
def test_wloss_settles_where_two_neighbours_are_equally_likely(
    loss: str, settles_at: float
) -> None:
    """Four of five like patches are of class 8, one is of class 7: cross-entropy finds 80 %.

    With WLoss each class has weight 16 as long as the other one is predicted, and 1 after that.
    """
    classes = torch.tensor([8, 8, 8, 8, 7])
    evaluate = loss_function(LossSettings(loss=loss))

    def slope(p: float) -> float:
        own = torch.tensor(p).logit().requires_grad_()
        row = torch.cat([torch.full((7,), -30.0), torch.zeros(1), own[None]])
        evaluate(row.expand(5, 9), classes).backward()
        assert own.grad is not None
        return float(own.grad)

    assert slope(settles_at - 0.02) < 0 < slope(settles_at + 0.02)


def test_ranked_probability_score_of_dlordinal() -> None:
    p = torch.tensor(
        [[0.2, 0.4, 0.2, 0.2], [0.7, 0.1, 0.1, 0.1], [0.5, 0.05, 0.1, 0.35], [0.1, 0.05, 0.65, 0.2]]
    )
    score = ranked_probability_score(p.log(), torch.tensor([0, 0, 3, 2]))
    assert score.item() == pytest.approx(0.506875, abs=1e-6)


def test_corn_of_coral_pytorch() -> None:
    assert corn(LOGITS[:, :4], CLASSES).item() == pytest.approx(0.8193, abs=5e-5)


def test_soft_targets_are_a_gaussian_of_classes() -> None:
    found = soft_targets(torch.tensor([0, 2]), 4, 0.8).numpy()
    raw = np.exp(-((np.arange(4)[None] - [[0], [2]]) ** 2) / (2 * 0.8**2))
    assert np.allclose(found, raw / raw.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("loss", ["ce", "smooth", "wloss", "ce_rps", "ce_distance", "soft", "corn"])
def test_every_loss_falls_towards_the_truth(loss: str) -> None:
    function = loss_function(LossSettings(loss=loss))
    logits = torch.zeros(4, outputs(loss, 5), requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=1.0)
    start = function(logits, CLASSES).item()
    for _ in range(20):
        optimizer.zero_grad()
        function(logits, CLASSES).backward()
        optimizer.step()
    assert function(logits, CLASSES).item() < start


def test_sum_of_cross_entropy_and_ranked_score() -> None:
    total = loss_function(LossSettings(loss="ce_rps", rps_weight=2.0))(LOGITS, CLASSES)
    ce = torch.nn.functional.cross_entropy(LOGITS, CLASSES)
    assert total == pytest.approx(float(ce + 2 * ranked_probability_score(LOGITS, CLASSES)))


def test_distance_of_the_expected_class_by_hand() -> None:
    """Expected classes 1 and 1/2 of truths 2 and 1/2: one step off and none, Huber's at 1/2."""
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -1e9]])
    assert distance(logits, torch.tensor([[0.0, 0, 1], [0.5, 0.5, 0]])).item() == pytest.approx(
        (1 - 0.25) / 2
    )


def test_a_depth_between_classes_is_shared_among_them() -> None:
    found = between(torch.tensor([-1.0, 0.0, 1.25, 3.9, 7.0]), 5)
    by_hand = [
        [1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0.75, 0.25, 0, 0],
        [0, 0, 0, 0.1, 0.9],
        [0, 0, 0, 0, 1],
    ]
    assert np.allclose(found.numpy(), by_hand, atol=1e-6)


@pytest.mark.parametrize("loss", ["ce", "smooth", "wloss", "ce_rps", "ce_distance", "soft", "corn"])
def test_shares_of_one_class_are_that_class(loss: str) -> None:
    function = loss_function(LossSettings(loss=loss))
    logits = LOGITS[:, : outputs(loss, 5)]
    shares = between(CLASSES.double(), 5)
    assert function(logits, shares).item() == pytest.approx(function(logits, CLASSES).item())


@pytest.mark.parametrize("loss", ["ce", "ce_rps", "ce_distance", "corn"])
def test_trained_to_shares_the_expected_depth_is_exact(loss: str) -> None:
    """Free logits end where the mean class is the depth itself."""
    places = torch.tensor([0.3, 1.5, 2.0, 3.8])
    logits = torch.zeros(4, outputs(loss, 5), requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss_function(LossSettings(loss=loss))(logits, between(places, 5))
        value.backward()
        return value

    optimizer.step(closure)
    p = class_probabilities(logits.detach(), loss)
    assert np.allclose((p @ torch.arange(5.0).double()).numpy(), places, atol=0.02)
