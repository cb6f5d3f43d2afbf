"""Tests of the loss."""

import numpy as np
import pytest
import torch

from blobwatch.dataset.shards import orient_image, orient_position
from blobwatch.detector.loss import (
    REACH,
    detection_logit,
    detection_loss,
    false_detection_weight,
    focal_loss,
    locate_centres,
)
from blobwatch.images.peaks import find_peaks

EIGHT = [(flipped, turns) for flipped in (False, True) for turns in range(4)]
PLACES = np.array([(30.2, 200.9), (101.7, 17.3), (250.1, 251.6)])
EMPTY = np.empty((0, 2))


def ideal(blobs: list[np.ndarray], sure: float = 12.0) -> torch.Tensor:
    """Return the output of a perfect detector, shape (n, 3, 64, 64)."""
    output = torch.zeros(len(blobs), 3, 64, 64)
    output[:, 0] = -sure
    for index, places in enumerate(blobs):
        for x, y in places:
            column, row = int((x + 0.5) // 4), int((y + 0.5) // 4)
            offset = [(x - (4 * column + 1.5)) / 4, (y - (4 * row + 1.5)) / 4]
            output[index, :, row, column] = torch.tensor([sure, *offset])
    return output


def total(output: torch.Tensor, blobs: list[np.ndarray], weight: float = 1.0) -> torch.Tensor:
    """Return the loss; a subframe with blobs has label 1."""
    labels = torch.tensor([float(len(places) > 0) for places in blobs], dtype=output.dtype)
    return detection_loss(output, labels, blobs, 256 // output.shape[-1], weight)


def test_locate_centres_converts_pixels_to_cells():
    owner, centres = locate_centres([PLACES[:1], EMPTY, PLACES[1:]], 4)
    assert owner.tolist() == [0, 2, 2]
    # The middle of cell 7 is at x 29.5, that of cell 50 at y 201.5.
    assert centres[0].tolist() == pytest.approx([7 + 0.7 / 4, 50 - 0.6 / 4])


def test_perfect_map_has_zero_loss_and_correct_peaks():
    blobs = [PLACES, EMPTY]
    assert total(ideal(blobs), blobs).item() < 1e-3
    peaks = find_peaks(ideal(blobs)[0].numpy(), 4, 0.5)
    found = np.stack([peaks.x, peaks.y], axis=1)
    assert len(found) == len(PLACES)
    for place in PLACES:
        assert np.abs(found - place).max(axis=1).min() < 1e-4


@pytest.mark.parametrize("place", [(-0.5, -0.5), (255.49, 255.49), (-0.4, 255.4)])
def test_blob_on_border_belongs_to_outermost_cell(place):
    blobs = [np.array([place])]
    # The centre is up to 0.7 cells from the middle of its cell, so the loss is not exactly 0.
    assert total(ideal(blobs), blobs).item() < 0.01
    assert total(torch.zeros(1, 3, 64, 64), blobs).item() > 1.0


@pytest.mark.parametrize(("flipped", "turns"), EIGHT)
def test_loss_is_invariant_under_rotations_and_flips(flipped, turns):
    output = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    expected = total(output, [PLACES]).item()
    planes = orient_image(output.numpy(), flipped, turns).copy()
    rows, columns = np.indices((64, 64))
    x, y = orient_position(columns + output[0, 1].numpy(), rows + output[0, 2].numpy(), flipped, turns, 64)
    planes[0, 1] = orient_image(x, flipped, turns) - columns
    planes[0, 2] = orient_image(y, flipped, turns) - rows
    places = np.stack(orient_position(PLACES[:, 0], PLACES[:, 1], flipped, turns, 256), axis=1)
    assert total(torch.from_numpy(planes), [places]).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("fault", ["missed", "false", "displaced", "shifted"])
def test_each_error_increases_the_loss(fault):
    blobs = [PLACES, EMPTY]
    output = ideal(blobs)
    if fault == "missed":
        output[0, 0, 50, 7] = -12.0
    elif fault == "false":
        output[1, 0, 20, 20] = 12.0
    elif fault == "displaced":
        output[0, 1] += 0.3
    else:
        output[0, 0] = output[0, 0].roll(REACH + 1, dims=1)
    assert total(output, blobs).item() > 0.2


def test_false_detection_near_a_centre_costs_less():
    near, far = ideal([PLACES[:1]]), ideal([PLACES[:1]])
    near[0, 0, 50, 8] = 3.0
    far[0, 0, 20, 20] = 3.0
    close, distant = (total(output, [PLACES[:1]]).item() for output in (near, far))
    assert close < 0.2 * distant


# Detections near a centre


def lone_detection(column: int, row: int, logit: float = 2.0) -> torch.Tensor:
    """Return a map of logits, shape (1, 16, 16), with a detection in one cell."""
    heat = torch.full((1, 16, 16), -40.0)
    heat[0, row, column] = logit
    return heat


@pytest.mark.parametrize(("column", "row"), [(7, 9), (8, 9), (9, 9), (5, 7), (7, 11), (6, 8)])
def test_detection_logit_decreases_with_distance(column, row):
    centre = np.array([[7.2, 8.9]])
    square = (column - 7.2) ** 2 + (row - 8.9) ** 2
    found = detection_logit(lone_detection(column, row), np.array([0]), centre)
    assert found.item() == pytest.approx(2.0 - square / 2, abs=1e-4)


def test_detection_logit_pools_cells_within_reach_in_each_subframe():
    # The centre of a large blob is uncertain: nine cells of 0.2 are equivalent to one of 0.55.
    heat = torch.full((2, 16, 16), -40.0)
    heat[0, 8:11, 6:9] = float(np.log(0.2 / 0.8))
    heat[1, 15, 15], heat[1, 9, 7 + REACH + 1] = 2.0, 3.0
    centres = np.array([[7.0, 9.0], [15.0, 15.0], [7.0, 9.0]])
    pooled, corner, empty = detection_logit(heat, np.array([0, 1, 1]), centres).tolist()
    weights = np.exp(-np.array([[2, 1, 2], [1, 0, 1], [2, 1, 2]]) / 2).sum()
    assert (pooled, corner) == pytest.approx((np.log(weights * 0.2 / 0.8), 2.0), abs=1e-4)
    assert pooled > 0
    assert empty < -25.0


def test_false_detection_weight_is_0_at_centres_and_1_far_away():
    centres = np.array([[20.0, 30.0], [63.0, 2.0], [40.0, 40.0]])
    weight = false_detection_weight((3, 64, 64), np.array([0, 0, 2]), centres).numpy()
    assert weight[0, 30, 20] == weight[0, 2, 63] == weight[2, 40, 40] == 0.0
    assert (weight[1] == 1.0).all()
    along = weight[0, 30, 20:26]
    assert (np.diff(along) > 0).all()
    assert (along[1] < 0.01, along[4] > 0.98, weight[0, 30, 26:].min() > 0.99) == (True,) * 3
    for other in (weight[0, 30, 20:14:-1], weight[0, 30:36, 20]):
        np.testing.assert_allclose(other, along, atol=1e-6)


# Values and gradients


@pytest.mark.parametrize("logit", [-4.0, 0.0, 1.5, 9.0])
def test_focal_loss_matches_definition(logit):
    probability = 1 / (1 + np.exp(-logit))
    expected = -np.log(probability) * (1 - probability) ** 2
    assert focal_loss(torch.tensor(logit)).item() == pytest.approx(expected, rel=1e-4)


def test_gradients_match_finite_differences():
    output = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    blobs = [np.array([(100.2, 150.4), (-0.3, 250.0)]), EMPTY]
    assert torch.autograd.gradcheck(lambda x: total(x, blobs, 0.7), (output.requires_grad_(),))


def test_only_offsets_at_centres_have_gradients():
    blobs = [PLACES, EMPTY]
    output = ideal(blobs)
    output[:, 1:] += 0.1
    output.requires_grad_()
    total(output, blobs, 1.5).backward()
    centre = torch.zeros(2, 64, 64, dtype=torch.bool)
    centre[0, [50, 4, 63], [7, 25, 62]] = True
    for plane in (1, 2):
        assert output.grad[:, plane][centre].tolist() == pytest.approx([1.5 / 3] * 3)
        assert (output.grad[:, plane][~centre] == 0).all()


def test_loss_does_not_depend_on_batch_size():
    output = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    blobs = [PLACES, EMPTY]
    twice = total(torch.cat([output, output]), blobs + blobs)
    assert twice.item() == pytest.approx(total(output, blobs).item(), rel=1e-5)


@pytest.mark.parametrize("sure", [-60.0, 60.0])
def test_loss_is_finite_for_extreme_logits(sure):
    output = torch.full((1, 3, 64, 64), sure, requires_grad=True)
    value = total(output, [PLACES])
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(output.grad).all()


def test_loss_without_positions_is_the_class_loss():
    output = torch.zeros(2, 3, 1, 1, requires_grad=True)
    value = total(output, [PLACES, EMPTY])
    assert value.item() == pytest.approx(np.log(2))
    value.backward()
    assert (output.grad[:, 1:] == 0).all()
    heat = torch.full((1, 3, 64, 64), -5.0)
    heat[0, 0, 9, 5], heat[0, 0, 40, 40] = 1.0, 0.9  # the best cell counts
    assert total(heat, [EMPTY], 0.0).item() == pytest.approx(np.log1p(np.exp(1.0)), rel=1e-5)


def test_loss_of_a_batch_without_blobs():
    output = torch.zeros(2, 3, 64, 64, requires_grad=True)
    total(output, [EMPTY, EMPTY]).backward()
    assert (output.grad[:, 0] > 0).all()
    assert (output.grad[:, 1:] == 0).all()
