"""Targets and losses."""

import numpy as np
import pytest
import torch

from blobwatch.dataset.shards import turn, turn_image
from blobwatch.detector.loss import loss, targets
from blobwatch.images.peaks import find_peaks

EIGHT = [(flipped, turns) for flipped in (False, True) for turns in range(4)]
PLACES = np.array([(30.2, 200.9), (101.7, 17.3), (250.1, 251.6)])
EMPTY = np.empty((0, 2))


def answer(blobs: list[np.ndarray], sure: float = 12.0) -> torch.Tensor:
    """The map of a detector that knows it all."""
    _, offset, centre = targets(blobs, 256, 4)
    heat = torch.where(centre, sure, -sure)
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


def test_who_knows_it_all_has_no_loss():
    blobs, labels = [PLACES, EMPTY], torch.tensor([1.0, 0.0])
    assert loss(answer(blobs), labels, blobs, 4, 1.0).item() < 1e-3


@pytest.mark.parametrize("fault", ["missed", "false", "displaced", "shifted"])
def test_each_fault_costs(fault):
    blobs, labels = [PLACES, EMPTY], torch.tensor([1.0, 0.0])
    output = answer(blobs)
    if fault == "missed":
        output[0, 0, 50, 7] = -12.0
    elif fault == "false":
        output[1, 0, 20, 20] = 12.0
    elif fault == "displaced":
        output[0, 1] += 0.3
    else:
        output[0, 0] = output[0, 0].roll(5, dims=1)
    assert loss(output, labels, blobs, 4, 1.0).item() > 0.2


def test_near_misses_cost_less_than_far_ones():
    blobs, labels = [PLACES[:1]], torch.tensor([1.0])
    near, far = answer(blobs), answer(blobs)
    near[0, 0, 50, 8] = 3.0
    far[0, 0, 20, 20] = 3.0
    assert loss(near, labels, blobs, 4, 1.0) < 0.5 * loss(far, labels, blobs, 4, 1.0)


def test_without_positions_only_the_class_counts():
    blobs, labels = [PLACES, EMPTY], torch.tensor([1.0, 0.0])
    output = torch.zeros(2, 3, 1, 1, requires_grad=True)
    value = loss(output, labels, blobs, 256, 1.0)
    assert value.item() == pytest.approx(np.log(2))
    assert loss(torch.zeros(2, 3, 64, 64), labels, blobs, 4, 0.0).item() == pytest.approx(np.log(2))
    value.backward()
    assert (output.grad[:, 1:] == 0).all()


def test_a_batch_without_any_blob_has_a_loss():
    output = torch.zeros(2, 3, 64, 64, requires_grad=True)
    value = loss(output, torch.zeros(2), [EMPTY, EMPTY], 4, 1.0)
    assert torch.isfinite(value)
    value.backward()
    assert torch.isfinite(output.grad).all()
