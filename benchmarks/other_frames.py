"""Judge models on frames that share nothing with the simulator but the shapes of blobs.

Run ``python benchmarks/other_frames.py [MODEL...]`` (default: models/champion). The noise is white or
heavy-tailed (Student's t, 5 degrees of freedom), in whole frames of unit noise; the contaminants are coded
here anew, from the measured figures: triplets, streaks, single bad pixels and clusters of two and three,
residuals of old blobs at their measured places and depths (moved by up to 0.25 px, widths changed by up to
3 %), stars' persistence, striped rows and columns, dead areas, the missing border. 36 blobs a frame,
SNR 4-20, none on a dead area. Prints a table; writes nothing.
"""

import sys
from dataclasses import replace

import numpy as np

from blobwatch.artefact import Model
from blobwatch.detector.metrics import snr_at_half
from blobwatch.images.peaks import find_peaks
from blobwatch.images.preparation import prepare_frame
from blobwatch.instrument.blobs import depth_for, draw_blob, old_blobs, overlap, shape
from blobwatch.progress import track

SIZE, FRAMES, PER_SIDE = 1024, 60, 6
Y, X = np.indices((SIZE, SIZE))


def put(frame, blob, sign=1.0):
    """Add a blob whose depth is in units of the noise."""
    stamp, x0, y0 = shape(blob)
    region, part = overlap(stamp, x0, y0, frame.shape)
    frame[region] += sign * blob.depth * part


def dead():
    """Return the areas that give no signal."""
    border = np.minimum.reduce([X, Y, SIZE - 1 - X, SIZE - 1 - Y]) < 5
    star = np.hypot(X - 361.8, Y - 59.1) < 25
    edges = (Y > 1010) & (X > 400) & (X < 560) | (X > 975) & (Y < 120)
    return border | star | edges | (Y > 1008) & ((X < 16) | (X > 1008))


def lines(rng, frame):
    """Add triplets, and in two frames of five streaks."""
    for _ in range(rng.integers(0, 4)):
        x, y, half = rng.uniform(100, 900), rng.uniform(50, 950), rng.uniform(75, 140)
        slope, gap, depth = (
            np.tan(np.radians(rng.uniform(0.5, 0.9))),
            rng.uniform(8.5, 9),
            rng.uniform(0.7, 1.3),
        )
        for start in (y, y + 82)[: rng.integers(1, 3)]:
            for row, weight in ((-1, 1.0), (0, 0.8), (1, 1.0)):
                across = Y - start - row * gap - slope * (X - x)
                frame -= depth * weight * np.exp(-(across**2) / 2.2) * (np.abs(X - x) < half)
    if rng.uniform() < 0.4:
        angle, sign = np.radians(rng.uniform(-60, 60)), rng.choice([-1, 1], p=[0.8, 0.2])
        along, across = X * np.cos(angle) + Y * np.sin(angle), Y * np.cos(angle) - X * np.sin(angle)
        for _ in range(rng.integers(6, 12)):
            place, shift = rng.uniform(across.min(), across.max()), rng.uniform(0, 300)
            period, duty = rng.uniform(100, 300), rng.uniform(0.4, 0.9)
            on = (along + shift) % period < duty * period
            frame += sign * 0.6 * np.exp(-((across - place) ** 2) / 2.2) * on


def pixels(rng, frame):
    """Add bad pixels, alone and in clusters, persistence of stars, stripes."""
    count = int(0.0015 * SIZE**2)
    where = rng.integers(0, SIZE, (2, count))
    frame[where[0], where[1]] += rng.choice([-1, 1], count, p=[0.65, 0.35]) * rng.exponential(6, count)
    for _ in range(rng.integers(20, 80)):
        (y, x), value = rng.integers(8, 1010, 2), rng.choice([-1, 1]) * np.exp(rng.uniform(1.1, 3.7))
        for dy, dx in ((0, 0), (0, 1), (1, 0))[: rng.integers(2, 4)]:
            frame[y + dy, x + dx] += value
    for _ in range(rng.integers(0, 25)):
        x, y, width = *rng.uniform(10, 1010, 2), rng.uniform(0.6, 1.4)
        part = np.s_[int(y) - 8 : int(y) + 9, int(x) - 8 : int(x) + 9]
        star = np.exp(-((X[part] - x) ** 2 + (Y[part] - y) ** 2) / 2 / width**2)
        frame[part] -= np.exp(rng.uniform(1.1, 3.9)) * star
    frame += rng.normal(0, 0.04, SIZE)[None] + rng.normal(0, 0.04, SIZE)[:, None]


def residuals(rng, frame):
    """Add what is left of the old blobs."""
    for old in old_blobs(rng):
        shift, angle, ratio = rng.uniform(0, 0.25), rng.uniform(0, 2 * np.pi), rng.uniform(0.97, 1.03)
        old = replace(old, depth=old.depth / 0.01)  # at a noise of 1 %
        moved = replace(old, x=old.x + shift * np.cos(angle), y=old.y + shift * np.sin(angle))
        put(frame, old)
        put(frame, replace(moved, half_width=old.half_width * ratio, depth=old.depth / ratio**2), -1.0)


def draw_frame(number):
    """Return one frame and its blobs: x, y, SNR."""
    rng = np.random.default_rng([3, number])
    noise = (
        rng.standard_normal((SIZE, SIZE)) if number % 2 else rng.standard_t(5, (SIZE, SIZE)) / np.sqrt(5 / 3)
    )
    frame, unknown, blobs = noise, dead(), []
    for contaminate in (lines, pixels, residuals):
        contaminate(rng, frame)
    cell = SIZE / PER_SIDE
    for row in range(PER_SIDE):
        for column in range(PER_SIDE):
            x, y = (float(n * cell + rng.uniform(20, cell - 20)) for n in (column, row))
            blob, snr = draw_blob(rng, x, y, 0.01), float(rng.uniform(4, 20))
            reach = np.s_[max(0, int(y) - 12) : int(y) + 13, max(0, int(x) - 12) : int(x) + 13]
            if not unknown[reach].any():
                put(frame, replace(blob, depth=depth_for(blob, snr, 1.0)))
                blobs.append((x, y, snr))
    frame[unknown] = np.nan
    return frame.astype(np.float32), np.array(blobs)


def judge(model, frames):
    """Return SNR, whether found, and error of each blob, and the number of false blobs of each frame."""
    snr, hit, error, false = [], [], [], []
    for frame, blobs in frames:
        peaks = find_peaks(model.run(frame[None, None])[0], model.stride, model.threshold)
        distance = np.hypot(blobs[:, :1] - peaks.x, blobs[:, 1:2] - peaks.y)
        nearest = distance.min(axis=1, initial=np.inf)
        snr.append(blobs[:, 2])
        hit.append(nearest <= 6.0)
        error.append(nearest)
        false.append(int((distance.min(axis=0) > 6.0).sum()))
    return np.concatenate(snr), np.concatenate(hit), np.concatenate(error), np.array(false)


def main(folders):
    """Judge and print; intervals are 95 %, by resampling frames."""
    drawn = [draw_frame(n) for n in track(range(FRAMES), FRAMES, "frames")]
    frames = [(prepare_frame(frame).scaled, blobs) for frame, blobs in drawn]
    owner = np.repeat(np.arange(FRAMES), [len(blobs) for _, blobs in frames])
    print(
        "| model | SNR at half | SNR 10-15 | above 15 | false per 100 | position error |\n"
        + "| --- " * 6
        + "|"
    )
    for folder in folders:
        snr, hit, error, false = judge(Model.load(folder), frames)
        rng, rows = np.random.default_rng(1), []
        for draw in range(201):
            chosen = rng.integers(0, FRAMES, FRAMES) if draw else np.arange(FRAMES)
            i = np.concatenate([np.flatnonzero(owner == n) for n in chosen])
            middle, loud = i[(snr[i] >= 10) & (snr[i] < 15)], i[snr[i] >= 15]
            right = i[hit[i] & (snr[i] > 10)]
            recalls = hit[middle].mean(), hit[loud].mean()
            wrong, place = 100 * false[chosen].mean(), np.median(error[right])
            rows.append([snr_at_half(snr[i], hit[i]), *recalls, wrong, place])
        low, high = np.quantile(rows[1:], [0.025, 0.975], axis=0)
        cells = [f"{v:.3g} [{a:.3g}, {b:.3g}]" for v, a, b in zip(rows[0], low, high, strict=True)]
        print(f"| {folder} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(sys.argv[1:] or ["models/champion"])
