"""From a map to blobs, each once."""

import numpy as np
import pytest

from blobwatch.images.peaks import SEPARATION, find_peaks, sigmoid, subframe_probabilities
from blobwatch.images.tiling import tiles


def blank(rows: int = 64, columns: int = 64) -> np.ndarray:
    output = np.zeros((3, rows, columns), dtype=np.float32)
    output[0] = -20.0
    return output


def with_peak(output: np.ndarray, row: int, column: int, logit: float = 4.0, dx: float = 0, dy: float = 0):
    output[:, row, column] = logit, dx, dy
    return output


def test_position_is_cell_plus_offset():
    peaks = find_peaks(with_peak(blank(), 50, 7, dx=0.175, dy=-0.15), 4, 0.5)
    assert len(peaks) == 1
    # The middle of cell 7 of 4 pixels is at 7 * 4 + 1.5.
    assert (peaks.x[0], peaks.y[0]) == pytest.approx((29.5 + 0.7, 201.5 - 0.6), abs=1e-5)
    assert peaks.probability[0] == pytest.approx(1 / (1 + np.exp(-4.0)))


def test_one_cell_per_subframe():
    peaks = find_peaks(with_peak(blank(4, 4), 1, 2), 256, 0.5)
    assert (peaks.x[0], peaks.y[0]) == (2 * 256 + 127.5, 256 + 127.5)


def test_most_probable_of_neighbouring_cells_is_the_peak():
    output = with_peak(with_peak(blank(), 20, 20, 3.0), 20, 22, 5.0)  # 8 pixels apart
    output = with_peak(output, 20, 25, 2.0)  # 12 pixels from the best
    peaks = find_peaks(output, 4, 0.5)
    assert peaks.x.tolist() == [22 * 4 + 1.5, 25 * 4 + 1.5]
    assert (np.diff(peaks.probability) < 0).all()


def test_cells_within_the_separation_are_one_peak():
    output = with_peak(with_peak(blank(), 20, 20, 5.0, dx=0.45), 20, 23, 4.0, dx=-0.45)  # 8.4 pixels
    assert find_peaks(output, 4, 0.5).x == pytest.approx([20 * 4 + 1.5 + 1.8])


def test_position_stays_in_its_cell():
    for offset in (-3.0, 3.0):
        peaks = find_peaks(with_peak(blank(), 20, 20, dx=offset, dy=offset), 4, 0.5)
        assert 79.5 <= peaks.x[0] < 83.5
        assert 79.5 <= peaks.y[0] < 83.5


def test_absorbed_cell_does_not_absorb_others():
    """In a chain of three cells the first absorbs the second, so the third remains."""
    output = blank()
    for column, logit in ((20, 5.0), (22, 4.0), (24, 3.0)):
        with_peak(output, 20, column, logit)
    assert find_peaks(output, 4, 0.5).x.tolist() == [81.5, 97.5]
    assert SEPARATION == 10.0


@pytest.mark.parametrize("seed", range(4))
def test_peaks_are_separate_and_complete(seed):
    rng = np.random.default_rng(seed)
    output = rng.normal(0, 1.5, (3, 64, 64)).astype(np.float32) * np.array([1.0, 0.08, 0.08])[:, None, None]
    peaks = find_peaks(output.astype(np.float32), 4, 0.8)
    apart = np.hypot(peaks.x[:, None] - peaks.x, peaks.y[:, None] - peaks.y)
    assert apart[np.triu_indices(len(peaks), 1)].min() > SEPARATION
    rows, columns = np.nonzero(sigmoid(output[0]) >= 0.8)
    x = (columns + output[1, rows, columns] + 0.5) * 4 - 0.5
    y = (rows + output[2, rows, columns] + 0.5) * 4 - 0.5
    assert np.hypot(x[:, None] - peaks.x, y[:, None] - peaks.y).min(axis=1).max() <= SEPARATION + 1e-6


def test_empty_map():
    peaks = find_peaks(blank(), 4, 0.5)
    assert len(peaks) == 0
    assert peaks.x.shape == peaks.probability.shape == (0,)


def test_threshold_is_inclusive():
    output = with_peak(blank(), 3, 3, 0.0)
    assert len(find_peaks(output, 4, 0.5)) == 1
    assert len(find_peaks(output, 4, 0.5001)) == 0


def test_uniformly_bright_map_is_processed():
    """Such maps come from saturated exposures and untrained networks."""
    output = np.random.default_rng(0).normal(3.0, 1.0, (3, 256, 256)).astype(np.float32)
    output[1:] = 0
    peaks = find_peaks(output, 4, 0.02)
    assert len(peaks) > 3000
    assert peaks.probability[0] == peaks.probability.max()


LOWEST = 0.02


def subframes(output: np.ndarray, stride: int = 4, threshold: float = LOWEST) -> np.ndarray:
    return subframe_probabilities(output, stride, find_peaks(output, stride, threshold), threshold)


@pytest.mark.parametrize("apart", [12, 14])
@pytest.mark.parametrize("diagonal", [False, True])
def test_two_close_blobs_are_two_peaks(apart, diagonal):
    angle = np.pi / 4 if diagonal else 0.0
    output = blank()
    for x, y in ((100.0, 100.0), (100.0 + apart * np.cos(angle), 100.0 + apart * np.sin(angle))):
        column, row = int((x + 0.5) // 4), int((y + 0.5) // 4)
        with_peak(output, row, column, 4.0, (x + 0.5) / 4 - column - 0.5, (y + 0.5) / 4 - row - 0.5)
        output[0, row, column + 1] = 3.0  # the cell next to a peak is above the threshold, too
    assert len(find_peaks(output, 4, 0.5)) == 2


def test_wide_blob_is_one_peak():
    """Raise all cells within 10 pixels of the centre of a blob of half-width 11."""
    output = blank()
    rows, columns = np.mgrid[:64, :64]
    output[0, np.hypot(rows - 20, columns - 20) <= 2.5] = 2.0
    peaks = find_peaks(with_peak(output, 20, 20, 3.0), 4, 0.5)
    assert len(peaks) == 1
    assert (peaks.x[0], peaks.y[0]) == (81.5, 81.5)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 255), (255, 0), (255, 255), (63, 64)])
def test_peak_in_an_outermost_cell(row, column):
    output = with_peak(blank(256, 256), row, column, dx=0.5 - (column == 0), dy=-0.5 + (row == 0))
    peaks = find_peaks(output, 4, 0.5)
    assert len(peaks) == 1
    assert -0.5 <= peaks.x[0] < 1023.5
    assert -0.5 <= peaks.y[0] < 1023.5
    assert np.flatnonzero(subframes(output) >= 0.5).tolist() == [row // 64 * 4 + column // 64]


def test_probability_of_a_subframe_is_that_of_its_best_peak():
    assert subframes(with_peak(blank(), 3, 3, 1.5)) == pytest.approx([1 / (1 + np.exp(-1.5))])


def test_blob_over_two_subframes_is_in_one():
    output = with_peak(with_peak(blank(256, 256), 10, 64, 5.0), 10, 63, 4.0)
    output[0, 40, 10] = -5.0
    probabilities = subframes(output)
    assert np.flatnonzero(probabilities >= LOWEST).tolist() == [1]
    assert probabilities[0] == pytest.approx(sigmoid(np.array(-5.0)))  # the best cell outside of peaks


@pytest.mark.parametrize("stride", [4, 256])
@pytest.mark.parametrize("seed", range(6))
def test_subframes_above_threshold_contain_peaks_above_threshold(seed, stride):
    rng = np.random.default_rng(seed)
    size = 1024 // stride
    output = rng.normal(0.0, 1.0, (3, size, size))
    output[0] = output[0] * rng.uniform(1, 3) - rng.uniform(3, 9)
    for _ in range(20):  # warm patches on the borders of subframes
        row, column = rng.integers(1, 4, 2) * size // 4 + rng.integers(-1, 1, 2)
        row = rng.integers(size) if rng.uniform() < 0.7 else row
        output[0, row : row + 2, column - 1 : column + 2] += rng.uniform(2, 12)
    output = output.astype(np.float32)
    probabilities = subframes(output, stride)
    for threshold in (LOWEST, 0.1, 0.5, 0.9):
        peaks = find_peaks(output, stride, threshold)
        holding = [t.index for t in tiles() if any(map(t.contains, peaks.x, peaks.y))]
        for known in (probabilities, subframes(output, stride, threshold)):
            assert np.flatnonzero(known >= threshold).tolist() == holding


def test_best_cell_of_a_single_subframe_is_its_best_peak():
    output = np.random.default_rng(3).normal(-3, 2, (3, 64, 64)).astype(np.float32)
    assert subframes(output) == pytest.approx([sigmoid(output[0].max().astype(np.float64))], rel=1e-12)


@pytest.mark.parametrize("logit", [-1e30, -800.0, 0.0, 800.0, 1e30])
def test_large_logits_do_not_overflow(logit):
    assert 0.0 <= sigmoid(np.array(logit)) <= 1.0
