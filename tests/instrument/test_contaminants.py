"""What comes and goes, against the measured figures."""

import numpy as np
import pytest

from blobwatch.instrument.contaminants import (
    SIGMA,
    add_line,
    draw_cosmic_rays,
    draw_glow,
    draw_streaks,
    draw_triplets,
)


def peaks(profile: np.ndarray, floor: float) -> np.ndarray:
    """Sub-pixel places of the local maxima above ``floor``."""
    top = np.flatnonzero(
        (profile[1:-1] > profile[:-2]) & (profile[1:-1] >= profile[2:]) & (profile[1:-1] > floor)
    )
    left, middle, right = profile[top], profile[top + 1], profile[top + 2]
    return top + 1 + 0.5 * (left - right) / (left - 2 * middle + right)


def width_at_half(profile: np.ndarray) -> float:
    """Full width at half maximum of a single peak, pixels."""
    fine = np.interp(np.arange(0, profile.size - 1, 0.01), np.arange(profile.size), profile)
    return 0.01 * np.count_nonzero(fine > profile.max() / 2)


@pytest.fixture(scope="module")
def whole_triplets() -> list[np.ndarray]:
    """Rendered triplets that do not touch the frame's edges."""
    images = (draw_triplets(np.random.default_rng(seed)) for seed in range(60))
    return [
        image for image in images if image.any() and not image[[0, -1]].any() and not image[:, [0, -1]].any()
    ]


def test_triplets_have_the_measured_geometry(whole_triplets):
    assert len(whole_triplets) > 20
    pairs = 0
    for image in whole_triplets:
        lit = np.flatnonzero(image.max(axis=0) > 0.3 * SIGMA)
        assert 145 <= lit[-1] - lit[0] <= 285
        middle = (lit[0] + lit[-1]) // 2
        rows = peaks(image[:, middle], 0.3 * SIGMA)
        assert rows.size in (3, 6)
        assert all(8.4 <= gap <= 9.1 for gap in (*np.diff(rows[:3]), *np.diff(rows[3:])))
        if rows.size == 6:
            pairs += 1
            assert 80.9 <= rows[3] - rows[0] <= 83.1
        quarter = (lit[-1] - lit[0]) // 4
        later, earlier = (peaks(image[:, middle + d], 0.3 * SIGMA)[1] for d in (quarter, -quarter))
        assert 0.45 <= np.degrees(np.arctan2(later - earlier, 2 * quarter)) <= 0.95
        tops = [image[round(row) - 1 : round(row) + 2, middle - 5 : middle + 6].max() for row in rows[:3]]
        assert min(tops) / SIGMA >= 0.65
        assert max(tops) / SIGMA <= 1.31
        assert tops[1] < min(tops[0], tops[2])  # the outer lines are stronger
    assert 0.4 < pairs / len(whole_triplets) < 0.85  # often in pairs


def test_triplet_lines_are_two_to_three_pixels_wide(whole_triplets):
    for image in whole_triplets[:10]:
        lit = np.flatnonzero(image.max(axis=0) > 0.3 * SIGMA)
        profile = image[:, (lit[0] + lit[-1]) // 2]
        first = round(peaks(profile, 0.3 * SIGMA)[0])
        assert 1.8 <= width_at_half(profile[first - 4 : first + 5]) <= 3.3


@pytest.mark.parametrize("seed", range(6))
def test_streaks_share_one_direction(seed):
    image = draw_streaks(np.random.default_rng(seed), lines=10)
    down, across = np.gradient(image)
    doubled = (across + 1j * down) ** 2  # the angle doubled, so that both sides of a line agree
    assert np.abs(doubled.sum()) / np.abs(doubled).sum() > 0.85


@pytest.mark.parametrize("seed", range(6))
def test_streaks_are_faint_and_cross_the_frame(seed):
    image = draw_streaks(np.random.default_rng(seed), lines=10)
    lit = image[image > 0.1 * SIGMA]
    assert np.median(image[image > 0.3 * SIGMA]) / SIGMA == pytest.approx(0.5, abs=0.2)
    assert np.quantile(lit, 0.99) / SIGMA < 1.0
    rows, columns = np.nonzero(image > 0.1 * SIGMA)
    assert max(np.ptp(rows), np.ptp(columns)) > 900


def test_streaks_differ_in_direction_from_frame_to_frame():
    def direction(seed):
        down, across = np.gradient(draw_streaks(np.random.default_rng(seed), lines=10))
        return np.degrees(np.angle(((across + 1j * down) ** 2).sum())) / 2

    assert np.ptp([direction(seed) for seed in range(8)]) > 10


def test_line_position_length_width_tilt_amplitude():
    image = np.zeros((1024, 1024))
    add_line(image, 300.3, 701.8, length=100.0, tilt=0.0, width=2.5, amplitude=0.4)
    assert width_at_half(image[690:714, 300]) == pytest.approx(2.5, abs=0.15)
    assert np.count_nonzero(image[702] > 0.19) == pytest.approx(100, abs=1)
    y, x = np.indices((1024, 1024))
    assert (image * x).sum() / image.sum() == pytest.approx(300.3, abs=0.1)
    assert (image * y).sum() / image.sum() == pytest.approx(701.8, abs=0.1)
    tilted = np.zeros((1024, 1024))
    add_line(tilted, 512, 512, length=400.0, tilt=30.0, width=2.0, amplitude=1.0)
    assert tilted[512 + 50, 512 + 87] > 0.9
    assert tilted[512 - 50, 512 + 87] == 0
    assert image.max() <= 0.4


def test_line_outside_frame_changes_nothing():
    image = np.zeros((1024, 1024))
    add_line(image, -500, 2000, 100, 10, 2, 1.0)
    assert not image.any()


def test_cosmic_rays_are_eleven_a_second():
    ndimage = pytest.importorskip("scipy.ndimage", reason="needs the extra train")
    seconds = 100.0
    rates = [
        ndimage.label(draw_cosmic_rays(np.random.default_rng(seed), seconds, 16_000) > 0, np.ones((3, 3)))[1]
        / seconds
        for seed in range(40)
    ]
    assert np.mean(rates) == pytest.approx(11.0, abs=0.75)  # three standard errors
    assert np.std(rates) == pytest.approx(1.5, abs=0.6)


def test_light_of_the_limb_doubles_the_left_and_ends_at_200():
    dark, limb = (draw_glow(np.random.default_rng(1), scattered) for scattered in (0.0, 1.0))
    excess = limb - dark
    assert excess[500, 0] == pytest.approx(1.0)
    assert excess[500, 100] > 0.1
    assert not excess[:, 200:].any()
    assert (np.diff(excess[500, :200]) < 0).all()


def test_glow_has_only_a_gradient():
    frames = [draw_glow(np.random.default_rng(seed), 0.0) for seed in range(20)]
    assert np.mean([frame.mean() for frame in frames]) == pytest.approx(1.0, abs=0.01)
    assert all(frame.min() > 0.6 and frame.max() < 1.4 for frame in frames)
