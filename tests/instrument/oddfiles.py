"""Makers of odd FITS files; a marker pixel at an asymmetric place shows whether the right pixels are read."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.io import fits

MARKER = (305, 706)  # x, y in the 1024 frame
LEVEL, MARKED = 17.0, 3.25  # electrons/s
GAIN = 2.35  # electrons per DN
CARDS = {
    "TELESCOP": "HST",
    "INSTRUME": "WFC3",
    "ROOTNAME": "ich219i8q",
    "DETECTOR": "IR",
    "SUBARRAY": False,
    "IMAGETYP": "EXT",
    "OBSTYPE": "IMAGING",
    "EXPSTART": 57400.5,
    "DATE-OBS": "2016-01-13",
    "TIME-OBS": "12:00:00",
    "EXPTIME": 302.932,
    "FILTER": "F153M",
    "TARGNAME": "DARK-EARTH-CALIB",
    "PROPOSID": 14000,
    "SAMP_SEQ": "SPARS100",
    "NSAMP": 5,
}
TIMES = (0.0, 2.932, 102.932, 202.932, 302.932)  # seconds at the end of each read


@dataclass(frozen=True)
class Odd:
    """One odd file.

    Attributes
    ----------
    name : str
        What is odd about it; it also gives the type of compression.
    kind : str
        ``flt``, ``ima``, ``raw``, ``difference``, or ``refused``.
    write : callable
        Writes it to a path.
    says : str
        Regular expression of the warning or of the reason; empty for no warning.
    value : float
        Of the marker pixel.
    """

    name: str
    kind: str
    write: Callable[[Path], object]
    says: str = ""
    value: float = MARKED

    @property
    def ending(self) -> str:
        endings = {"gzip": ".fits.gz", "bzip2": ".fits.bz2", "tiles": ".fits.fz"}
        return next((ending for word, ending in endings.items() if word in self.name), ".fits")


@lru_cache
def light(size: int = 1014) -> np.ndarray:
    """Return a lit frame with the marker, electrons/s; the reference border of 1024 is dark."""
    image = LEVEL * np.random.default_rng(1).normal(1.0, 0.007, (1024, 1024)).astype(np.float32)
    image[MARKER[1], MARKER[0]] = MARKED
    if size == 1014:
        return image[5:-5, 5:-5].copy()
    image[:5] = image[-5:] = image[:, :5] = image[:, -5:] = 0.0
    return image


@lru_cache
def dark(size: int = 1024) -> np.ndarray:
    """Return a difference image, fractions, whose marker is a new blob's pixel."""
    image = np.random.default_rng(2).normal(0.0, 0.01, (1024, 1024)).astype(np.float32)
    image[MARKER[1], MARKER[0]] = 0.5
    return image if size == 1024 else image[5:-5, 5:-5].copy()


def primary(data=None, **changes) -> fits.PrimaryHDU:
    cards = {key: value for key, value in (CARDS | changes).items() if value is not None}
    return fits.PrimaryHDU(data, header=fits.Header(cards))


def bare(data=None) -> fits.PrimaryHDU:
    return fits.PrimaryHDU(data)


def image(data, name: str = "SCI", version: int = 1, **cards) -> fits.ImageHDU:
    hdu = fits.ImageHDU(data, name=name, ver=version)
    hdu.header.update(cards)
    return hdu


def science(data=None, version: int = 1, unit: str | None = "ELECTRONS/S", **cards) -> fits.ImageHDU:
    return image(
        light() if data is None else data, "SCI", version, **({"BUNIT": unit} if unit else {}), **cards
    )


def constant(name: str, value: float, size: int | None = 1014, version: int = 1, **cards) -> fits.ImageHDU:
    pixels = {} if size is None else {"NPIX1": size, "NPIX2": size}
    return image(None, name, version, PIXVALUE=value, **pixels, **cards)


def dq() -> fits.ImageHDU:
    return constant("DQ", 0)


def table() -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.ones(3))])


def write(path: Path, *hdus) -> Path:
    fits.HDUList(list(hdus)).writeto(path)
    return path


def flt(**changes) -> Callable[[Path], None]:
    return lambda path: write(path, primary(**changes), science(), dq())


def files(*make) -> Callable[[Path], None]:
    """Return a writer of HDUs; callables make theirs when the file is written."""
    return lambda path: write(path, *(one() if callable(one) else one for one in make))


def edited(edit: Callable[[bytes], bytes], maker: Callable[[Path], None] | None = None) -> Callable:
    """Return a writer of a file whose bytes are edited."""

    def write_edited(path: Path) -> None:
        plain = path.with_name(
            f".{path.name}.unpacked.fits"
        )  # astropy compresses what is named .gz by itself
        (maker or flt())(plain)
        path.write_bytes(edit(plain.read_bytes()))
        plain.unlink()

    return write_edited


def card(key: bytes, text: bytes) -> Callable[[bytes], bytes]:
    """Return an edit that replaces the first card of a keyword."""

    def edit(content: bytes) -> bytes:
        start = content.index(key.ljust(8))
        return content[:start] + text.ljust(80) + content[start + 80 :]

    return edit


def flat(path: Path) -> None:
    """Write an exposure whose pixels are all equal to the marker, which is compressed in no time."""
    pixels = np.full((1014, 1014), MARKED, np.float32)
    write(path, primary(), science(pixels), dq())


def null_padded(content: bytes) -> bytes:
    end = content.index(b"END" + b" " * 77) + 80
    return content[:end] + b"\0" * (-end % 2880) + content[end + -end % 2880 :]


def lower_case(content: bytes) -> bytes:
    for key in (b"EXPSTART=", b"FILTER  =", b"EXPTIME =", b"BUNIT   ="):
        assert key in content
        content = content.replace(key, key.lower(), 1)
    return content


def ramp(
    path: Path, unit: str = "ELECTRONS/S", lost: int = 0, backwards: bool = False, planes=True, **changes
) -> None:
    """Write a ramp, newest read first; constant zeroth read, ERR and DQ are stored as PIXVALUE."""
    counts, per_second = unit.upper().startswith("COUNT"), unit.upper().endswith("/S")
    hdus = [primary(**changes)]
    order = TIMES if backwards else TIMES[::-1]
    for version, time in enumerate(order[: len(order) - lost], start=1):
        values = light(1024) / (GAIN if counts else 1.0) * (1.0 if per_second else time)
        if time == 0:
            read = constant("SCI", 0.0, 1024, version, BUNIT=unit)
        else:
            read = science(values.astype(np.float32), version, unit)
        read.header["SAMPTIME"] = time
        hdus.append(read)
        if planes:
            hdus += [constant("ERR", 0.0, 1024, version), constant("DQ", 0, 1024, version)]
    write(path, *hdus)


def uncalibrated(path: Path, **changes) -> None:
    """Write a raw: whole numbers above a bias that drifts."""
    hdus = [primary(**({"FLATCORR": "PERFORM"} | changes))]
    for version, time in enumerate(TIMES[::-1], start=1):
        read = np.round(light(1024) / GAIN * time + 11000 + 9 * version).astype(np.uint16)
        hdus += [science(read, version, "COUNTS", SAMPTIME=time), constant("DQ", 0, 1024, version)]
    write(path, *hdus)


def tiled(path: Path) -> None:
    sci = fits.CompImageHDU(light(), name="SCI", compression_type="GZIP_1", quantize_level=0)
    sci.header["BUNIT"] = "ELECTRONS/S"
    write(path, primary(), sci, dq())


def product(path: Path) -> None:
    planes = [
        image(value, name) for name, value in (("STACK", dark() + 1), ("NOISE", dark()), ("DIFF", dark()))
    ]
    write(path, primary(), *planes)
