"""Keywords of an exposure, from the primary or the image header."""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

from blobwatch.errors import BlobwatchError

MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
DAY = 86400.0  # seconds
UNITS = {"ELECTRON": "ELECTRONS", "E-": "ELECTRONS", "E": "ELECTRONS"}
UNITS |= {"COUNT": "COUNTS", "DN": "COUNTS", "ADU": "COUNTS"}
PER_SECOND = ("/S", "/SEC", "/SECOND", " S-1", " S^-1", " S**-1")


def merge_headers(*hdus) -> dict[str, object]:
    """Merge the keywords of several headers; the first value of a keyword is used.

    Parameters
    ----------
    *hdus : HDUs
        The primary HDU first.
    """
    found: dict[str, object] = {}
    for hdu in hdus:
        for card in hdu.header.cards:
            try:
                value = card.value.strip() if isinstance(card.value, str) else card.value
            except Exception:  # astropy parses a card when its value is read
                continue
            if isinstance(value, str | int | float):
                found.setdefault(card.keyword, value)
    return found


def get_upper(header: Mapping, key: str, default: str = "") -> str:
    """Return a keyword's text in capitals, stripped."""
    return str(header.get(key, default)).strip().upper()


def get_number(header: Mapping, key: str) -> float | None:
    """Return a keyword (number or text) as a finite number; else None."""
    value = header.get(key)
    if isinstance(value, str):
        value = value.strip().upper().replace("D", "E")
    if isinstance(value, bool) or value is None:
        return None
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if isfinite(value) else None


def require_time(header: Mapping, key: str, path: Path) -> float:
    """Return a keyword of time as a number; MJD for EXPSTART, seconds for EXPTIME.

    A missing EXPSTART is derived from DATE-OBS and TIME-OBS.

    Raises
    ------
    BlobwatchError
        If the header does not have it.
    """
    value = get_number(header, key)
    if value is None and key == "EXPSTART":
        value = observation_mjd(header)
    if value is None:
        raise BlobwatchError(
            f"{path} has no {key} in its header; without it an exposure cannot be dated or scaled. "
            "Restore the keyword or leave the file out"
        )
    return value


def observation_mjd(header: Mapping) -> float | None:
    """Return the MJD of DATE-OBS and TIME-OBS; None if missing or malformed."""
    day, time = (str(header.get(key, "")).strip() for key in ("DATE-OBS", "TIME-OBS"))
    text = day if "T" in day else f"{day}T{time}"
    try:
        begin = datetime.fromisoformat(text) if len(text) > len("2016-01-01T") else None
    except ValueError:
        return None
    return (begin.replace(tzinfo=UTC) - MJD_ZERO).total_seconds() / DAY if begin else None


def get_rootname(header: Mapping, path: Path) -> str:
    """Return ROOTNAME, or the first part of the file name if the keyword is missing."""
    return str(header.get("ROOTNAME", path.name.split("_")[0])).strip().lower()


def read_unit(header: Mapping) -> tuple[str, bool]:
    """Return the unit of BUNIT, and whether it is per second.

    The unit is ``ELECTRONS``, ``COUNTS`` or other text.
    """
    text = get_upper(header, "BUNIT")
    ending = next((ending for ending in PER_SECOND if text.endswith(ending)), "")
    base = text.removesuffix(ending).strip()
    return UNITS.get(base, base), bool(ending)
