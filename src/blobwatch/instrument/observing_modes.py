"""Observations without IR blobs, or with blobs that cannot be compared: refused by name."""

from collections.abc import Mapping
from pathlib import Path

from blobwatch.errors import UnusableFile
from blobwatch.instrument.keywords import word

GRISMS = ("G102", "G141")


def refuse_other_frames(header: Mapping, path: Path) -> None:
    """Raise an error unless a frame is a full one of the infrared channel.

    Raises
    ------
    UnusableFile
        For another instrument, the UVIS channel, and subarrays.
    """
    instrument, channel = word(header, "INSTRUME") or "WFC3", word(header, "DETECTOR") or "IR"
    if instrument != "WFC3":
        raise UnusableFile(f"{path} is a frame of {instrument}; only WFC3's IR channel has IR blobs")
    if channel != "IR":
        raise UnusableFile(f"{path} is a {channel} frame; only the IR channel has IR blobs")
    if word(header, "SUBARRAY") in ("T", "TRUE"):
        raise UnusableFile(f"{path} is a subarray; give a full 1024 x 1024 frame")


def refuse_other_exposures(header: Mapping, path: Path) -> None:
    """Raise an error unless an exposure is an image of an evenly lit field.

    A dark-Earth exposure (target ``DARK-EARTH-CALIB``) is no dark.

    Raises
    ------
    UnusableFile
        For a grism, whose orders overlap, and for darks and biases, which see no light that a blob could
        take away; as well as for what `refuse_other_frames` refuses.
    """
    refuse_other_frames(header, path)
    chosen = word(header, "FILTER")
    if chosen in GRISMS or word(header, "OBSTYPE") == "SPECTROSCOPIC":
        raise UnusableFile(
            f"{path} is a grism exposure ({chosen or 'no filter named'}); give one through a filter"
        )
    kind = word(header, "IMAGETYP")
    if kind in ("DARK", "BIAS") or word(header, "TARGNAME") in ("DARK", "BIAS") or chosen == "BLANK":
        name = "bias" if "BIAS" in (kind, word(header, "TARGNAME")) else "dark"
        raise UnusableFile(
            f"{path} is a {name}, which saw no light that a blob could take away; leave it out"
        )
