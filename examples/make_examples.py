"""Make the example files of this directory: ``python examples/make_examples.py`` in the project directory.

The exposures come from a simulated season with its own seed, so the deployed model was not trained on them.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from astropy.io import fits

from blobwatch.instrument.blobs import blob_snr
from blobwatch.instrument.contaminants import SIGMA
from blobwatch.instrument.differences import read_difference
from blobwatch.instrument.exposures import FLUX_STEP
from blobwatch.instrument.fitsfile import write_hdus
from blobwatch.instrument.season import Pointing, Season, expose, plan_season
from blobwatch.params import Params, load_params
from blobwatch.stages.difference import difference
from blobwatch.stages.simulate import write_exposure

EXAMPLES = Path(__file__).parent
SEED = 2028  # params.yaml, and so the training, uses 2016
# Days of the season: the exposure that follows each of them becomes an example.
WITHOUT_BLOB, THREE_BLOBS, ONE_BLOB = 60.0, 96.0, 137.0
STEP = 2.0**-10  # of the background; the noise of a difference is about 10 of these steps


def main() -> None:
    """Simulate the exposures, compute their difference images and write the examples."""
    params = load_params()
    season = plan_example_season(params)
    with TemporaryDirectory() as name:
        folder = Path(name)
        products = process_season(season, params, folder)
        chosen = find_pointing(season, THREE_BLOBS)
        write_example_exposure(season, chosen, EXAMPLES / "three_blobs_flt.fits.fz")
        write_plane(products, chosen, "stack", EXAMPLES / "three_blobs_stack.fits.fz")
        write_plane(products, find_pointing(season, ONE_BLOB), "image", EXAMPLES / "one_blob_diff.fits.fz")
        write_plane(products, find_pointing(season, WITHOUT_BLOB), "image", EXAMPLES / "no_blob_diff.fits.fz")
    for day in (THREE_BLOBS, ONE_BLOB, WITHOUT_BLOB):
        print_truth(season, find_pointing(season, day), params.difference.days)


def plan_example_season(params: Params) -> Season:
    """Return a season like that of the pipeline with another seed, without bad exposures."""
    return plan_season(SEED, params.simulate.model_copy(update={"bad_exposures": 0}))


def find_pointing(season: Season, day: float) -> Pointing:
    """Return the first exposure after a day of the season."""
    return next(one for one in season.pointings if one.expstart >= season.settings.start + day)


def process_season(season: Season, params: Params, folder: Path) -> Path:
    """Run the stages simulate and difference on the needed exposures; return the output directory."""
    first = season.settings.start + WITHOUT_BLOB - params.difference.days
    last = find_pointing(season, ONE_BLOB).expstart
    exposures = folder / "exposures"
    exposures.mkdir()
    for pointing in season.pointings:
        if first <= pointing.expstart <= last:
            write_exposure(season, exposures, pointing)
    difference(exposures, folder, folder / "difference", params.difference, params.data.filter)
    return folder / "difference"


def write_example_exposure(season: Season, pointing: Pointing, path: Path) -> None:
    """Write SCI, ERR and DQ of an exposure, without SAMP and TIME."""
    header, planes = expose(season, pointing)
    header["FILENAME"] = path.name
    extensions = [
        gzip_hdu("SCI", planes["SCI"], FLUX_STEP, "ELECTRONS/S"),
        gzip_hdu("ERR", planes["ERR"], FLUX_STEP, "ELECTRONS/S"),
        gzip_hdu("DQ", planes["DQ"].astype(np.int16)),
    ]
    write_hdus(path, [fits.PrimaryHDU(header=header), *extensions])


def write_plane(products: Path, pointing: Pointing, plane: str, path: Path) -> None:
    """Write the image or the stack of a difference product, compressed."""
    source = products / f"{pointing.rootname}_diff.fits"
    header = fits.getheader(source)
    header["SIMSEED"] = (SEED, "seed of the simulated season")
    if plane == "stack":
        header["PRODUCT"] = ("STACK", "median of the exposures below")
    data = getattr(read_difference(source), plane)
    hdu = gzip_hdu("STACK" if plane == "stack" else "DIFF", data, STEP, "FRACTION")
    write_hdus(path, [fits.PrimaryHDU(header=header), hdu])


def gzip_hdu(name: str, data: np.ndarray, step: float | None = None, unit: str = "") -> fits.CompImageHDU:
    """Return a gzip-compressed extension; images with NaN become three times smaller than with Rice."""
    header = fits.Header()
    if unit:
        header["BUNIT"] = unit
    if step is not None:
        data = (np.round(data / step) * step).astype(np.float32)
    return fits.CompImageHDU(
        data,
        header=header,
        name=name,
        compression_type="GZIP_2",
        tile_shape=(64, data.shape[1]),
        quantize_level=-step if step is not None else 16.0,
        quantize_method=-1,  # no dither, as in the pipeline
    )


def print_truth(season: Season, pointing: Pointing, days: float) -> None:
    """Print the blobs that appeared in the window before an exposure, in the 1024 frame."""
    print(f"{pointing.rootname}, day {pointing.expstart - season.settings.start:.1f}:")
    for moment, blob in season.new:
        if pointing.expstart - days <= moment <= pointing.expstart:
            print(f"  blob at ({blob.x:.1f}, {blob.y:.1f}), SNR {blob_snr(blob, SIGMA):.1f}")


if __name__ == "__main__":
    main()
