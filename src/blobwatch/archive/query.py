"""Which exposures are wanted, checked before the archive is asked; which it holds."""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from blobwatch.errors import BlobwatchError

TARGET = "DARK-EARTH-CALIB"  # of the monitor
PRODUCTS = ("flt", "ima", "raw")
# i, programme, visit, exposure, and how it was taken down; an association's name ends in a digit.
ROOTNAME = re.compile(r"i[a-z0-9]{7}[a-z]")
MJD_ZERO = date(1858, 11, 17)


@dataclass(frozen=True)
class Wanted:
    """The exposures that are asked for.

    Attributes
    ----------
    target, filter : str
        As the archive writes them; empty for any.
    start, end : date or None
        First and last day of the exposures' beginning, UTC; None for no end to that side.
    proposals, rootnames : tuple of str
        Any of these; empty for all.
    product : str
        ``flt``, ``ima`` or ``raw``.
    """

    target: str = ""
    filter: str = ""
    start: date | None = None
    end: date | None = None
    proposals: tuple[str, ...] = ()
    rootnames: tuple[str, ...] = ()
    product: str = "flt"

    @property
    def unlimited(self) -> bool:
        """Whether nothing but target and filter narrows it down: that is years of exposures."""
        return not (self.start or self.end or self.proposals or self.rootnames)

    @property
    def span(self) -> tuple[int, int]:
        """First MJD, and the MJD at which the last day is over; far away where none is given."""
        first = mjd(self.start) if self.start else 0
        return first, mjd(self.end) + 1 if self.end else 100_000

    def __str__(self) -> str:
        """Say in words what is asked for."""
        parts = [self.product, *(f"of {one}" for one in [self.target] if one)]
        parts += [f"in {one}" for one in [self.filter] if one]
        parts += [f"from {one}" for one in [self.start] if one] + [f"to {one}" for one in [self.end] if one]
        for name, several in (("programme", self.proposals), ("rootname", self.rootnames)):
            parts += [f"{name} {', '.join(several)}"] if several else []
        return " ".join(map(str, parts))


@dataclass(frozen=True)
class Product:
    """One file of the archive.

    Attributes
    ----------
    rootname, product : str
        For instance ``ich219i8q`` and ``flt``.
    size : int or None
        Bytes, by the archive's list; None where it names none.
    expstart : float
        MJD; of a member of an association that of the association, until the file itself is here.
    filter, programme : str
    public : bool
        False where only the programme's own astronomers may have it.
    """

    rootname: str
    product: str
    size: int | None
    expstart: float
    filter: str
    programme: str
    public: bool

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.rootname}_{self.product}.fits"

    @property
    def uri(self) -> str:
        """The archive's own name for the file."""
        return f"mast:HST/product/{self.name}"


def wanted_from(given: dict[str, Any]) -> Wanted:
    """Return what the words of the command line ask for.

    Parameters
    ----------
    given : dict
        ``target``, ``filter``, ``start``, ``end`` (words or None), ``proposals``, ``rootnames`` (lists),
        ``product``.

    Raises
    ------
    BlobwatchError
        If a date, a product, a proposal or a rootname cannot be one.
    """
    start, end = (day(given[name], name) for name in ("start", "end"))
    if start and end and start > end:
        raise BlobwatchError(f"--start {start} is after --end {end}; exchange them")
    product = given["product"].lower()
    if product not in PRODUCTS:
        raise BlobwatchError(f"--product {given['product']} is not one of {', '.join(PRODUCTS)}")
    proposals = tuple(one.strip().lstrip("0") for one in given["proposals"])
    for one in proposals:
        if not one.isdecimal():
            raise BlobwatchError(f"--proposal {one} is no number of a programme; give one such as 14389")
    rootnames = tuple(one.strip().lower() for one in given["rootnames"])
    for one in rootnames:
        if not ROOTNAME.fullmatch(one):
            raise BlobwatchError(
                f"--rootname {one} is not the rootname of a WFC3 exposure; give one such as ich219i8q"
            )
    target = (given["target"] or "").strip().upper()
    # A programme or a rootname says by itself which exposures are meant; a season does not.
    target = target or ("" if proposals or rootnames else TARGET)
    return Wanted(target, (given["filter"] or "").strip().upper(), start, end, proposals, rootnames, product)


def day(text: str | None, option: str) -> date | None:
    """Return a day given as YYYY-MM-DD."""
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BlobwatchError(f"--{option} {text} is no day; give one as 2016-01-31") from None


def mjd(when: date) -> int:
    """Return the MJD at which a day begins."""
    return (when - MJD_ZERO).days


def day_of(expstart: float) -> str:
    """Return the day of an MJD as YYYY-MM-DD."""
    return str(MJD_ZERO + timedelta(days=int(expstart)))
