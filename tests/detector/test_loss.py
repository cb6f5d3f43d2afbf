"""Targets and losses."""

import numpy as np
import pytest
import torch

from blobwatch.dataset.shards import turn, turn_image
from blobwatch.detector.loss import focal, logistic, loss, targets
from blobwatch.images.peaks import find_peaks

EIGHT = [(flipped, turns) for flipped in (False, True) for turns in range(4)]
PLACES = np.array([(30.2, 200.9), (101.7, 17.3), (250.1, 251.6)])
EMPTY = np.empty((0, 2))
KINDS = ["logistic", "focal"]


def answer(blobs: list[np.ndarray], kind: str = "focal", sure: float = 12.0) -> torch.Tensor:
    """The map of a detector that knows it all."""
    goal, offset, centre = targets(blobs, 256, 4)
    heat = torch.where(centre, sure, -sure)
    if kind == "logistic":  # beside a centre it is to be less sure
        heat = torch.logit(goal.double() ** 4, eps=1e-6).float()
    return torch.cat([heat[:, None], offset], dim=1)


def test_a_centre_is_one_in_its_cell_and_falls_around_it():
    heat, offset, centre = targets([PLACES[:1]], 256, 4)
    assert heat.shape == centre.shape == (1, 64, 64)
    assert centre.nonzero().tolist() == [[0, 50, 7]]  # y 200.9, x 30.2
    assert heat[0, 50, 7] == 1.0
    assert heat[0].max() == 1.0
    assert 0 < heat[0, 50, 8] < 1
    assert heat[0, 0, 0] == 0
    # The middle of cell 7 is at x 29.5, that of cell 50 at y 201.5.
    assert offset[0, :, 50, 7].tolist() == pytest.approx([0.7 / 4, -0.6 / 4], abs=1e-6)


def test_what_the_targets_say_is_read_back_as_the_places():
    peaks = find_peaks(answer([PLACES])[0].numpy(), 4, 0.5)
    assert len(peaks) == 3
    found = np.stack([peaks.x, peaks.y], axis=1)
    for place in PLACES:
        assert np.abs(found - place).max(axis=1).min() < 1e-5


@pytest.mark.parametrize(("flipped", "turns"), EIGHT)
def test_targets_of_turned_places_are_the_turned_targets(flipped, turns):
    turned = np.stack(turn(PLACES[:, 0], PLACES[:, 1], flipped, turns, 256), axis=1)
    heat, offset, centre = (part.numpy() for part in targets([PLACES], 256, 4))
    new_heat, new_offset, new_centre = (part.numpy() for part in targets([turned], 256, 4))
    np.testing.assert_allclose(new_heat, turn_image(heat, flipped, turns), atol=1e-6)
    np.testing.assert_array_equal(new_centre, turn_image(centre, flipped, turns))
    dx, dy = turn_image(offset[:, 0], flipped, turns), turn_image(offset[:, 1], flipped, turns)
    if flipped:
        dx = -dx
    for _ in range(turns):
        dx, dy = dy, -dx
    np.testing.assert_allclose(new_offset[:, 0], dx, atol=1e-6)
    np.testing.assert_allclose(new_offset[:, 1], dy, atol=1e-6)


@pytest.mark.parametrize("place", [(-0.5, -0.5), (255.49, 255.49), (-0.4, 255.4)])
def test_a_blob_on_the_border_is_in_the_outermost_cell(place):
    heat, offset, centre = targets([np.array([place])], 256, 4)
    assert int(centre.sum()) == 1
    assert offset.abs().max() <= 0.5
    assert heat.max() == 1.0


def test_no_blobs_no_targets():
    heat, offset, centre = targets([EMPTY], 256, 4)
    assert (heat.sum(), offset.abs().sum(), centre.sum()) == (0, 0, 0)


def test_who_knows_it_all_has_no_focal_loss():
    blobs, labels = [PLACES, EMPTY], torch.tensor([1.0, 0.0])
    assert loss(answer(blobs), labels, blobs, 4, "focal", 1.0).item() < 1e-3


def test_the_logistic_loss_is_least_for_the_probabilities_that_are_meant():
    """A proper score: any other map costs more, in either direction."""
    blobs, labels = [PLACES, EMPTY], torch.tensor([1.0, 0.0])
    best = answer(blobs, "logistic")
    least = loss(best, labels, blobs, 4, "logistic", 1.0)
    for place in ((0, 0, 50, 8), (0, 0, 49, 7), (0, 0, 51, 8)):
        for step in (-0.5, 0.5):
            other = best.clone()
            other[place] += step
            assert loss(other, labels, blobs, 4, "logistic", 1.0) > least


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["missed", "false", "displaced", "shifted"])
def test_each_fault_costs(fault, kind):
    blobs, labels = [PLACES, EMPTY], torch.tensor([1.0, 0.0])
    output = answer(blobs, kind)
    before = loss(output, labels, blobs, 4, kind, 1.0).item()
    if fault == "missed":
        output[0, 0, 50, 7] = -12.0
    elif fault == "false":
        output[1, 0, 20, 20] = 12.0
    elif fault == "displaced":
        output[0, 1] += 0.3
    else:
        output[0, 0] = output[0, 0].roll(1, dims=1)
    assert loss(output, labels, blobs, 4, kind, 1.0).item() > before + 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_near_misses_cost_less_than_far_ones(kind):
    blobs, labels = [PLACES[:1]], torch.tensor([1.0])
    near, far = answer(blobs, kind), answer(blobs, kind)
    near[0, 0, 50, 8] = 3.0
    far[0, 0, 20, 20] = 3.0
    least, close, distant = (
        loss(output, labels, blobs, 4, kind, 1.0) for output in (answer(blobs, kind), near, far)
    )
    assert 0 < close - least < 0.8 * (distant - least)


def test_the_focal_loss_forgives_what_is_nearly_right():
    heat, centre = torch.tensor([1.5, -1.5]), torch.tensor([True, False])
    goal = centre.float()
    probability = 1 / (1 + np.exp(1.5))  # of the other answer
    each_cost = float(-np.log(1 - probability))
    assert logistic(heat, goal).item() == pytest.approx(2 * each_cost, rel=1e-5)
    assert focal(heat, goal, centre).item() == pytest.approx(2 * each_cost * probability**2, rel=1e-5)


def test_a_cell_beside_a_centre_may_say_so_in_the_focal_loss():
    heat, centre = torch.tensor([2.0]), torch.tensor([False])
    costs = [focal(heat, torch.tensor([goal]), centre).item() for goal in (0.0, 0.5, 0.9)]
    assert costs[1] == pytest.approx(costs[0] / 16, rel=1e-5)
    assert costs[2] < costs[1]


def test_the_gradient_of_the_logistic_loss_is_what_is_said_less_what_is_meant():
    heat = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    goal, _, _ = targets([np.array([(14.2, 20.9)])], 32, 4)
    logistic(heat, goal).backward()
    torch.testing.assert_close(heat.grad, torch.sigmoid(heat.detach()) - goal**4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_steps(kind):
    heat = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    goal, _, centre = targets([np.array([(6.2, 9.4)])], 16, 4)
    goal = goal.double()

    def value(heat):
        return logistic(heat, goal) if kind == "logistic" else focal(heat, goal, centre)

    assert torch.autograd.gradcheck(value, (heat.requires_grad_(),))


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_offsets_at_centres_are_learned(kind):
    blobs, labels = [PLACES, EMPTY], torch.tensor([1.0, 0.0])
    output = answer(blobs, kind)
    output[:, 1:] += 0.1
    output.requires_grad_()
    loss(output, labels, blobs, 4, kind, 1.5).backward()
    _, _, centre = targets(blobs, 256, 4)
    for plane in (1, 2):
        assert output.grad[:, plane][centre].tolist() == pytest.approx([1.5 / 3] * 3)
        assert (output.grad[:, plane][~centre] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sure", [-60.0, 60.0])
def test_however_sure_the_loss_and_its_gradient_are_numbers(kind, sure):
    output = torch.full((1, 3, 64, 64), sure, requires_grad=True)
    value = loss(output, torch.ones(1), [PLACES], 4, kind, 1.0)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(output.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_without_positions_only_the_class_counts(kind):
    blobs, labels = [PLACES, EMPTY], torch.tensor([1.0, 0.0])
    output = torch.zeros(2, 3, 1, 1, requires_grad=True)
    value = loss(output, labels, blobs, 256, kind, 1.0)
    assert value.item() == pytest.approx(np.log(2))
    assert loss(torch.zeros(2, 3, 64, 64), labels, blobs, 4, kind, 0.0).item() == pytest.approx(np.log(2))
    value.backward()
    assert (output.grad[:, 1:] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_any_blob_has_a_loss(kind):
    output = torch.zeros(2, 3, 64, 64, requires_grad=True)
    value = loss(output, torch.zeros(2), [EMPTY, EMPTY], 4, kind, 1.0)
    assert torch.isfinite(value)
    value.backward()
    assert torch.isfinite(output.grad).all()
    assert (output.grad[:, 0] > 0).any()
    assert (output.grad[:, 1:] == 0).all()
