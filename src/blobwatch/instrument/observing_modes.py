"""Checks that a frame is a usable WFC3/IR image."""

from collections.abc import Mapping
from pathlib import Path

from blobwatch.errors import UnusableFile
from blobwatch.instrument.keywords import get_upper

GRISMS = ("G102", "G141")


def require_ir_frame(header: Mapping, path: Path) -> None:
    """Raise an error unless a frame is a full one of the infrared channel.

    Raises
    ------
    UnusableFile
        For another instrument, the UVIS channel, and subarrays.
    """
    instrument, channel = get_upper(header, "INSTRUME") or "WFC3", get_upper(header, "DETECTOR") or "IR"
    if instrument != "WFC3":
        raise UnusableFile(f"{path} is a frame of {instrument}; only WFC3's IR channel has IR blobs")
    if channel != "IR":
        raise UnusableFile(f"{path} is a {channel} frame; only the IR channel has IR blobs")
    if get_upper(header, "SUBARRAY") in ("T", "TRUE"):
        raise UnusableFile(f"{path} is a subarray; give a full 1024 x 1024 frame")


def require_imaging_exposure(header: Mapping, path: Path) -> None:
    """Raise an error unless an exposure is an image of an evenly lit field.

    A dark-Earth exposure (target ``DARK-EARTH-CALIB``) does not count as a dark.

    Raises
    ------
    UnusableFile
        For grism exposures, darks and biases, and if `require_ir_frame` raises.
    """
    require_ir_frame(header, path)
    chosen = get_upper(header, "FILTER")
    if chosen in GRISMS or get_upper(header, "OBSTYPE") == "SPECTROSCOPIC":
        raise UnusableFile(
            f"{path} is a grism exposure ({chosen or 'no filter named'}); give one through a filter"
        )
    kind = get_upper(header, "IMAGETYP")
    if kind in ("DARK", "BIAS") or get_upper(header, "TARGNAME") in ("DARK", "BIAS") or chosen == "BLANK":
        name = "bias" if "BIAS" in (kind, get_upper(header, "TARGNAME")) else "dark"
        raise UnusableFile(
            f"{path} is a {name}, which saw no light that a blob could take away; leave it out"
        )
