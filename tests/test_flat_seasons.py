"""A season whose flats change: no false blob and every true one, with and without the flats, and as raw."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from made import write_exposure

from blobwatch.errors import BlobwatchError
from blobwatch.history import History
from blobwatch.instrument.blobs import Blob, transmission
from blobwatch.instrument.flats import FlatFields
from blobwatch.instrument.folder import list_exposures
from blobwatch.predict import Predictor

CHAMPION = Path(__file__).parents[1] / "models/champion"
EACH = 4  # exposures per flat: a stack of three and one that is compared with it
NEW = Blob(x=611.8, y=389.1, half_width=5.0, depth=0.05)  # appears in the last exposure
TARGET = {"TARGNAME": "DARK-EARTH-CALIB", "SAMP_SEQ": "SPARS100"}


def old_blobs() -> list[Blob]:
    """Return 60 blobs that are there from the beginning."""
    rng = np.random.default_rng(3)
    places = rng.uniform(60, 960, (60, 2))
    return [
        Blob(x, y, half_width=rng.uniform(4, 7), depth=rng.uniform(0.03, 0.08)) for x, y in places.tolist()
    ]


OLD = old_blobs()


def reference_files(folder: Path) -> dict[str, np.ndarray]:
    """Write P-flats with and without the old blobs, and D-flats of all and of half of them."""
    rng = np.random.default_rng(4)
    pattern = rng.normal(1.0, 0.002, (2, 1024, 1024))
    planes = {
        "old_pfl.fits": pattern[0] * transmission(OLD),
        "new_pfl.fits": pattern[1],
        "all_dfl.fits": transmission(OLD),
        "half_dfl.fits": transmission(OLD[:30]),
    }
    folder.mkdir()
    for name, plane in planes.items():
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(plane.astype(np.float32), name="SCI")]).writeto(
            folder / name
        )
    return planes


@pytest.fixture(scope="module")
def season(tmp_path_factory) -> Path:
    """Exposures in the order of four calibrations, each of which shows other blobs, and their flats."""
    folder = tmp_path_factory.mktemp("season")
    planes = reference_files(folder / "flats")
    number = 0
    for pflt, dflt in [("old", ""), ("new", ""), ("new", "all"), ("new", "half")]:
        names = [f"{pflt}_pfl.fits", *([f"{dflt}_dfl.fits"] if dflt else [])]
        cards = {"PFLTFILE": f"iref${names[0]}", "DFLTFILE": f"iref${names[-1]}" if dflt else "N/A"}
        light = 1 / np.prod([planes[name] for name in names], axis=0)
        for _ in range(EACH):
            blobs = [*OLD, NEW] if number == 4 * EACH - 1 else OLD
            write_exposure(folder, number, blobs, light, FLATCORR="COMPLETE", **TARGET, **cards)
            number += 1
    return folder


@pytest.fixture(scope="module")
def raw_season(tmp_path_factory) -> Path:
    """The like before calibration: a zeroth read and one of all the light, in counts."""
    folder = tmp_path_factory.mktemp("raw")
    pattern = np.random.default_rng(4).normal(1.0, 0.002, (1024, 1024))
    for number in range(EACH + 1):
        seen = transmission([*OLD, NEW] if number == EACH else OLD)
        noise = np.random.default_rng([5, number]).normal(1.0, 0.007, (1024, 1024))
        light = np.pad((6000 * pattern * seen * noise)[5:-5, 5:-5], 5)
        header = fits.Header({"ROOTNAME": f"iaaa{number:02d}01q", "EXPSTART": 58000.0 + number, **TARGET})
        header.update({"FILTER": "F153M", "EXPTIME": 802.9, "NSAMP": 2, "DETECTOR": "IR", "SUBARRAY": False})
        header.update({"FLATCORR": "PERFORM", "PFLTFILE": "iref$new_pfl.fits"})
        hdus = [fits.PrimaryHDU(header=header)]
        for version, (part, seconds) in enumerate([(1.0, 802.9), (0.0, 0.0)], start=1):
            read = fits.ImageHDU((11000 + part * light).astype(np.uint16), name="SCI", ver=version)
            read.header.update({"BUNIT": "COUNTS", "SAMPTIME": seconds})
            hdus += [read, fits.ImageHDU(np.zeros((1024, 1024), dtype=np.int16), name="DQ", ver=version)]
        fits.HDUList(hdus).writeto(folder / f"iaaa{number:02d}01q_raw.fits")
    return folder


def blobs_found(
    folder: Path, numbers: list[int], flats: Path | None = None
) -> list[list[tuple[float, float]]]:
    """Return the blobs of some exposures, each against those before it; all must be of good quality."""
    listed = list_exposures(folder, "F153M")
    history = History(listed, flats=FlatFields(flats) if flats else None)
    predictor = Predictor.load(CHAMPION)
    found = [predictor.predict_file(listed[number].path, history=history) for number in numbers]
    return [[(blob.x, blob.y) for blob in one.blobs] for one in found]


def check_new_blob_alone(found: list[list[tuple[float, float]]]) -> None:
    """Check that the last exposure shows the new blob, and nothing else is found anywhere."""
    *earlier, last = found
    assert earlier == [[]] * len(earlier)
    assert len(last) == 1
    assert np.hypot(last[0][0] - NEW.x, last[0][1] - NEW.y) < 1.5


def test_without_the_flats_each_calibration_has_its_own_stack(season):
    check_new_blob_alone(blobs_found(season, [3, 7, 11, 15]))
    for first, (before, after) in [(4, ("old_pfl", "new_pfl")), (14, ("all_dfl", "half_dfl"))]:
        with pytest.raises(
            BlobwatchError, match=rf"a stack needs 3; the flats changed from .*{before}.* to .*{after}"
        ):
            blobs_found(season, [first])


def test_with_the_flats_all_exposures_are_combined(season):
    check_new_blob_alone(blobs_found(season, [4, 8, 12, 15], season / "flats"))


def test_raw_exposures_need_no_flats(raw_season):
    check_new_blob_alone(blobs_found(raw_season, [3, 4]))
