"""Count the 108 measured old blobs that a model finds, at their measured positions and depths.

Run ``python benchmarks/old_blobs.py [MODEL...]`` (default: the champion). Each frame is white noise of 1 % of
the background, as in a real difference. The 108 blobs of ``instrument/data/old_blobs.csv`` appear as new
blobs. Prints recall, recall of those above SNR 10, false blobs and the median position error.
"""

import sys

import numpy as np

from blobwatch.instrument.blobs import blob_snr, draw_old_blobs, overlap
from blobwatch.predict import Predictor
from blobwatch.progress import track

FRAMES, NOISE, RADIUS = 10, 0.01, 6.0


def main(models):
    """Apply each model to the same frames and print a table."""
    print("| model | blobs | recall | recall above SNR 10 | false per frame | position error [pixel] |")
    print("| --- " * 6 + "|")
    for model in models:
        predictor = Predictor.load(model)
        snr, error, false = [], [], 0
        for number in track(range(FRAMES), FRAMES, "frames"):
            rng = np.random.default_rng([11, number])
            frame = rng.normal(0.0, NOISE, (1024, 1024)).astype(np.float32)
            blobs = draw_old_blobs(rng)
            for blob in blobs:
                region, part = overlap(*blob.unit_shape(), frame.shape)
                frame[region] += blob.depth * part
            found = predictor(frame).blobs
            x, y = (np.array([getattr(one, axis) for one in found]) for axis in "xy")
            distance = np.hypot(
                np.subtract.outer([b.x for b in blobs], x), np.subtract.outer([b.y for b in blobs], y)
            )
            snr += [blob_snr(blob, NOISE) for blob in blobs]
            error += distance.min(axis=1, initial=np.inf).tolist()
            false += int((distance.min(axis=0, initial=np.inf) > RADIUS).sum())
        snr, error = np.array(snr), np.array(error)
        hit = error <= RADIUS
        strong = hit[snr > 10].mean()
        print(
            f"| {model} | {len(hit)} | {hit.mean():.4f} | {strong:.4f} | {false / FRAMES:.1f} "
            f"| {np.median(error[hit]):.2f} |"
        )


if __name__ == "__main__":
    main(sys.argv[1:] or ["champion"])
