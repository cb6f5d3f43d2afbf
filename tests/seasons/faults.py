"""Eleven kinds of bad exposures. Each function changes a good frame in place; strengths are chosen."""

import numpy as np
from seasons.frame import COSMIC_RAY, FULL_WELL, LOST, SIZE, X, Y, time_of
from seasons.lights import add_points, parallel_lines, trailed
from seasons.sky import FILTERS, Frame, sigma_of


def limb(rng, frame: Frame) -> None:
    """The bright limb of the Earth: 2-10 times the background at an edge, fading over 60-400 px."""
    angle = rng.uniform(0, 2 * np.pi)
    distance = (X - 512) * np.cos(angle).astype(np.float32) + (Y - 512) * np.sin(angle).astype(np.float32)
    distance = distance.max() - distance
    frame.light += np.median(frame.light) * rng.uniform(2, 10) * np.exp(-distance / rng.uniform(60, 400))


def streaks(rng, frame: Frame) -> None:
    """Trailed city lights of 1-6 sigma on at least a third of the frame."""
    angle, dash, gap = rng.uniform(-90, 90), (150, 600), (10, 120)
    lines, covered = np.zeros((SIZE, SIZE), dtype=np.float32), 0.0
    while covered < 1 / 3:
        fresh = parallel_lines(rng, angle, 150, dash, gap)
        lines = np.maximum(lines, fresh * np.exp(rng.normal(0, 0.4)))
        covered = float((lines > 0.3).mean())
    frame.light += lines * rng.uniform(1, 6) * frame.sigma


def guiding(rng, frame: Frame) -> None:
    """Every light trailed along one path of 300-900 px that wavers; all trails are alike."""
    steps = np.linspace(0, 1, 2400)
    length, angle = rng.uniform(300, 900), rng.uniform(0, 2 * np.pi)
    waver = rng.uniform(0, 12) * np.sin(2 * np.pi * rng.uniform(1, 8) * steps + rng.uniform(0, 6))
    bend = rng.normal(0, 60) * (steps - 0.5) ** 2
    along = length * (steps - 0.5)
    drift = np.stack([along * np.cos(angle) - (waver + bend) * np.sin(angle),
                      along * np.sin(angle) + (waver + bend) * np.cos(angle)], axis=1)  # fmt: skip
    sigma = frame.sigma

    def brightness(points: int) -> np.ndarray:
        return sigma * np.minimum(8 * rng.pareto(1.2, points) + 8, 400)  # electrons per pixel of path

    frame.light += trailed(rng, int(rng.integers(40, 160)), brightness, drift)


def saturated(rng, frame: Frame) -> None:
    """The sunlit Earth: full wells on 40 % of the frame and more."""
    tilt = 1 + rng.uniform(0, 1.5) * (
        X * np.float32(rng.choice([-1, 1])) / 512 + Y / 512 * rng.uniform(-1, 1)
    )
    tilt = np.clip(tilt - np.quantile(tilt[::8, ::8], 0.6) + 1, 0.05, None)
    frame.light *= tilt * np.float32(FULL_WELL / np.median(frame.light) * rng.uniform(1.05, 20))


def blank(rng, frame: Frame) -> None:
    """No light at all, the shutter was closed: dark current and reads, and what hot pixels add."""
    frame.light = np.clip(frame.light - frame.sky, 0, None)
    frame.sigma = sigma_of(50.0, 1.0)


def flagged(rng, frame: Frame) -> None:
    """More than half of the pixels unusable: lines lost in transmission, or cosmic-ray flags all over."""
    share = rng.uniform(0.54, 0.95)
    if rng.uniform() < 0.5:
        together, start = np.arange(SIZE), rng.integers(0, SIZE)
        lines = rng.permutation(SIZE) if rng.uniform() < 0.5 else np.roll(together, start)
        lines = lines[: int(share * SIZE)]
        frame.flags[lines] |= LOST
        frame.light[lines] = 0  # a lost line is filled
    else:
        frame.flags[rng.uniform(size=frame.flags.shape) < share] |= COSMIC_RAY


def stars(rng, frame: Frame) -> None:
    """A field of the sky: 60-600 stars, ten times as many per 3.3 magnitudes; low or usual background."""
    if rng.uniform() < 0.5:  # zodiacal light, 0.4-1.2 electrons/s (chosen)
        level = rng.uniform(0.4, 1.2) * frame.seconds
        frame.light *= np.float32(level / np.median(frame.light))
        frame.sigma = sigma_of(level, 1.0)
    count = int(np.exp(rng.uniform(*np.log((60, 600)))))
    magnitudes = 16 + np.log10(rng.uniform(1, 10 ** (0.3 * 9), count)) / 0.3  # 16 to 25
    electrons = frame.seconds * 10 ** (-0.4 * (magnitudes - 26.2))  # zeropoint about that of broad filters
    width = 0.5 * rng.uniform(1.0, 1.2)  # FWHM 1.2-1.4 px
    add_points(frame.light, *rng.uniform(0, SIZE, (2, count)), electrons, width)


def persistence(rng, frame: Frame) -> None:
    """Strong afterimages of a grism exposure or of bright stars, 4-60 sigma."""
    if rng.uniform() < 0.5:
        for _ in range(int(rng.integers(12, 80))):
            height, length = rng.uniform(3, 8), int(rng.uniform(110, 170))
            x0, y0 = rng.integers(0, SIZE - 110), rng.integers(10, SIZE - 10)
            rows, columns = slice(max(y0 - 20, 0), y0 + 20), slice(x0, x0 + length)
            slope = np.tan(np.radians(0.7)) * (X[rows, columns] - x0)
            profile = np.exp(-(((Y[rows, columns] - y0 - slope) / (height / 2)) ** 2) / 2)
            strength = min(4 * (1 + rng.pareto(1.5)), 60)
            frame.light[rows, columns] += strength * frame.sigma * profile
        return
    for _ in range(int(rng.integers(40, 250))):
        x, y, radius = *rng.uniform(0, SIZE, 2), np.exp(rng.uniform(*np.log((1.5, 12))))
        rows, columns = slice(max(int(y) - 40, 0), int(y) + 40), slice(max(int(x) - 40, 0), int(x) + 40)
        rho = np.hypot(X[rows, columns] - x, Y[rows, columns] - y) / radius
        frame.light[rows, columns] += min(4 * (1 + rng.pareto(1.2)), 60) * frame.sigma * np.exp(-(rho**4))


def banding(rng, frame: Frame) -> None:
    """Bands of rows or columns of 0.3-1.5 sigma rms: each line for itself, in groups, or a wave."""
    kind, lines = rng.integers(0, 3), np.arange(SIZE)
    if kind == 0:
        bands = rng.standard_normal(SIZE)
    elif kind == 1:
        bands = np.repeat(rng.standard_normal(SIZE), rng.integers(2, 17))[:SIZE]
    else:
        bands = np.sqrt(2) * np.sin(2 * np.pi * lines / rng.uniform(4, 40) + rng.uniform(0, 6))
    bands = (bands / bands.std() * rng.uniform(0.3, 1.5) * frame.sigma).astype(np.float32)
    frame.offset = frame.offset + (bands[:, None] if rng.uniform() < 0.5 else bands[None, :])


def filter_wheel(rng, frame: Frame) -> None:
    """A grism, the blank, or another filter than the season's."""
    own = frame.cards["FILTER"]
    other = str(rng.choice(["G102", "G141", "BLANK", *(name for name in FILTERS if name != own)]))
    kind = "SPECTROSCOPIC" if other.startswith("G1") else "IMAGING"
    frame.cards = frame.cards | {"FILTER": other, "OBSTYPE": kind}
    if other == "BLANK":
        blank(rng, frame)


def truncated(rng, frame: Frame) -> None:
    """A ramp of 2-4 reads instead of 10 or 13; or a raw from which reads are missing."""
    if rng.uniform() < 0.3:
        frame.lost = frame.nsamp - int(rng.integers(2, 4))
        return
    nsamp = int(rng.integers(2, 5))
    share = time_of(nsamp) / frame.seconds
    frame.light *= np.float32(share)
    frame.seconds, frame.nsamp, frame.sigma = time_of(nsamp), nsamp, frame.sigma * np.sqrt(share)


FAULTS = {
    "limb light": limb,
    "streaks": streaks,
    "guiding loss": guiding,
    "saturated": saturated,
    "blank": blank,
    "half flagged": flagged,
    "stars": stars,
    "persistence": persistence,
    "banding": banding,
    "wrong filter": filter_wheel,
    "truncated ramp": truncated,
}
