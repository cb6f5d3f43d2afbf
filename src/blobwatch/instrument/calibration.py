"""Calibration of an exposure: applied flat fields, version of calwf3, and date."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from astropy.io import fits

FLAT_KEYWORDS = ("PFLTFILE", "DFLTFILE", "LFLTFILE")
KEYWORDS = ("FLATCORR", *FLAT_KEYWORDS, "CAL_VER", "CAL_DATE")


@dataclass(frozen=True)
class Calibration:
    """Flat fields and software version of one file.

    Attributes
    ----------
    flatcorr : str
        COMPLETE, OMIT or PERFORM; empty if missing.
    pflt, dflt, lflt : str
        File names of the pixel, delta and low-order flat without ``iref$``; empty for none.
    version : str
        CAL_VER as in the header, for instance ``3.3(28-Jan-2016)``.
    date : str
        CAL_DATE or DATE of the file; empty if both are missing.
    """

    flatcorr: str = ""
    pflt: str = ""
    dflt: str = ""
    lflt: str = ""
    version: str = ""
    date: str = ""

    @property
    def flats(self) -> str:
        """Return the key of the applied flats: exposures with equal keys can be combined.

        ``none`` if no flat was applied, ``unknown`` if the applied flat is not named.
        """
        if self.flatcorr in ("OMIT", "PERFORM", "SKIPPED"):
            return "none"
        return " ".join(self.flat_files) or "unknown"

    @property
    def flat_files(self) -> tuple[str, ...]:
        """Return the names of the applied flats."""
        if self.flatcorr in ("OMIT", "PERFORM", "SKIPPED"):
            return ()
        return tuple(name for name in (self.pflt, self.dflt, self.lflt) if name)

    @property
    def order(self) -> tuple[tuple[int, ...], str]:
        """Return a key that sorts calibrations from the oldest to the newest."""
        numbers = re.match(r"\s*(\d+(?:\.\d+)*)", self.version)
        return tuple(int(part) for part in numbers[1].split(".")) if numbers else (), self.date


def read_calibration(header: fits.Header) -> Calibration:
    """Return the calibration that a primary header describes.

    Parameters
    ----------
    header : astropy Header
    """

    def text(key: str) -> str:
        value = str(header.get(key, "")).strip()
        return "" if value.upper() in ("N/A", "NONE", "") else value

    pflt, dflt, lflt = (text(key).rpartition("$")[2] for key in FLAT_KEYWORDS)
    date = text("CAL_DATE") or text("DATE")
    return Calibration(text("FLATCORR").upper(), pflt, dflt, lflt, text("CAL_VER"), date)


def dflat_warning(calibrations: Iterable[Calibration]) -> str:
    """Return the warning about D-flats; empty if no exposure was divided by one.

    Parameters
    ----------
    calibrations : iterable of Calibration
        Those of all exposures of a run, so that there is one warning per run.

    Notes
    -----
    The D-flats divide out 148 of the 153 blobs known by July 2018, in six filters [WFC3 ISR 2021-10].
    """
    all_of_run = list(calibrations)
    divided = [one.dflt for one in all_of_run if one.dflt and one.dflt in one.flat_files]
    if not divided:
        return ""
    return (
        f"{len(divided)} of {len(all_of_run)} exposures were divided by a D-flat "
        f"({', '.join(sorted(set(divided)))}): blobs known by July 2018 are divided out of these files and "
        "cannot be found in them. Use raw files, or get the flats with `blobwatch fetch --flats` and pass "
        "them with --flats"
    )
