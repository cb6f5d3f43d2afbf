"""Make the pictures of simulator.md: ``python docs/make_simulator_pictures.py DIRECTORY_OF_REAL_FILES``.

The directory contains three public files, which are not part of the project: ``g141_master_sky.fits``
(master sky of the G141 grism), ``bad_pixels.fits`` (a real bad-pixel map) and ``dq_mask_2009-10-03.fits``
(0 where the DQ array of a real exposure is flagged, else 1). Run it in the project directory.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch.figures.instrument import plot_difference_steps, plot_simulated_and_real
from blobwatch.images.flatten import blob_image
from blobwatch.images.stack import difference_image, median_stack
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.blobs import radius_at
from blobwatch.instrument.season import Season, expose, plan_season
from blobwatch.params import load_params

PICTURES = Path(__file__).parent / "pictures"


def main(real: Path) -> None:
    """Write both pictures."""
    params = load_params()
    season = plan_season(params.seed, params.simulate)
    PICTURES.mkdir(exist_ok=True)
    detector_picture(season, real).savefig(PICTURES / "simulated_detector.png", dpi=75)
    difference_picture(season).savefig(PICTURES / "simulated_difference.png", dpi=90)


def detector_picture(season: Season, real: Path):
    """Return the detector's features next to those of the real files."""
    sky, bad, flagged = (
        wfc3ir.embed(fits.getdata(real / name).astype(float))
        for name in ("g141_master_sky.fits", "bad_pixels.fits", "dq_mask_2009-10-03.fits")
    )
    sky = np.where(sky > 0, sky / np.nanmedian(sky), np.nan)
    detector = season.detector
    sensitivity = np.where(detector.dead, np.nan, detector.sensitivity)
    ours = (detector.dead | (detector.bad_since <= 0)).astype(float)
    _, planes = expose(season, season.pointings[0])
    mask = wfc3ir.embed(planes["DQ"] & ~wfc3ir.DQ_COSMIC_RAY, fill=0) != 0
    return plot_simulated_and_real(
        [
            ("sky, whole", sensitivity, sky, (0, 1024, 0, 1024), 0.80, 1.10, "gray"),
            ("wagon wheel", sensitivity, sky, (880, 1024, 0, 380), 0.60, 1.05, "gray"),
            ("death star", ours, bad > 0, (310, 414, 7, 111), 0.0, 1.0, "gray_r"),
            ("upper left", ours, bad > 0, (0, 50, 974, 1024), 0.0, 1.0, "gray_r"),
            ("DQ, whole", mask, 1.0 - flagged, (0, 1024, 0, 1024), 0.0, 1.0, "gray_r"),
        ]
    )


def difference_picture(season: Season):
    """Return an exposure in which a strong new blob has just appeared, its stack, and the difference."""
    times = [pointing.expstart for pointing in season.pointings]
    # Outside the wagon wheel, where the blob is easy to see.
    moment, _ = max(
        ((moment, blob) for moment, blob in season.new if times[12] < moment < times[-1] and blob.x < 850),
        key=lambda pair: pair[1].depth,
    )
    last = next(number for number, time in enumerate(times) if time > moment)
    images = []
    for number in range(last - 9, last + 1):
        _, planes = expose(season, season.pointings[number])
        images.append(blob_image(wfc3ir.embed(planes["SCI"]), wfc3ir.embed(planes["DQ"], fill=0)))
    stack = median_stack(images[:-1])
    new = [blob for when, blob in season.new if times[last - 5] < when <= times[last]]
    places = [(blob.x, blob.y, radius_at(blob.x, blob.y)) for blob in new]
    return plot_difference_steps(images[-1], stack, difference_image(stack, images[-1]), places)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
